"""The image that the tests boot: DPE_IMAGE, or the small one in build/, which is made when it is missing."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.settings import REPOSITORY
from tests.image.booted import Booted, build

SMALL = "tests/scenarios/small"


@pytest.fixture(scope="session")
def image() -> Path:
    """The image under test."""
    if named := os.environ.get("DPE_IMAGE"):
        return Path(named).resolve()
    made = REPOSITORY / "build/dpe-small.img"
    return made if made.exists() else build(SMALL)


@pytest.fixture
def boot(image: Path, tmp_path: Path) -> Iterator[Callable[..., Booted]]:
    """Switch on an appliance with a new disk; takes what Booted takes. All are switched off in the end."""
    made: list[Booted] = []

    def switch_on(name: str = "server", **options: object) -> Booted:
        booted = Booted(image, tmp_path / name, **options).start()  # type: ignore[arg-type]
        made.append(booted)
        return booted

    yield switch_on
    for booted in made:
        if booted.alive():
            booted.power_cut()
