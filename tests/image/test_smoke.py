"""What every commit must show: the image is made and boots, and boots again after the power was cut. All else of the image is `make soak`'s."""

from pathlib import Path

import pytest

from tests.image.booted import Booted, build
from tests.kept import CACHE

pytestmark = [pytest.mark.image, pytest.mark.smoke, pytest.mark.timeout(1800)]


def test_it_boots_to_the_setup_page_and_again_after_a_power_cut(tmp_path: Path) -> None:
    """Of the smallest scenario. Trees, Python packages and seeds that it is made from are kept for the next run."""
    image = build("tests/scenarios/micro", "QUICK=yes", f"BUILD={CACHE / 'image'}")
    with Booted(image, tmp_path, firmware="uefi", shell=False) as server:
        assert "<form" in server.wait_page()
        code = server.setup_code()
        server.power_cut()
        server.start()
        assert "<form" in server.wait_page()
        assert server.setup_code() == code
