"""The appliance's version, which is said in one place, and twice for what packs it."""

import tomllib

import pytest

from appliance import __version__
from appliance.settings import REPOSITORY


@pytest.mark.parametrize("file", ["pyproject.toml", "appliance/client/pyproject.toml"])
def test_it_is_the_package_s(file: str) -> None:
    assert tomllib.loads((REPOSITORY / file).read_text())["project"]["version"] == __version__


def test_nobody_asks_the_package_for_it() -> None:
    """In the image the appliance is copied, and no package is there to ask."""
    sources = [file for room in ("appliance", "webui") for file in (REPOSITORY / room).rglob("*.py") if "client" not in file.parts]
    assert [str(file) for file in sources if 'version("dpe-appliance")' in file.read_text()] == []
