"""The images that the tests boot, which are made when they are missing in build/."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.settings import REPOSITORY
from tests.image.booted import Booted, build, wait_for


def of(scenario: str) -> Path:
    """The image of one of the tests' scenarios."""
    made = REPOSITORY / f"build/dpe-{scenario}.img"
    return made if made.exists() else build(f"tests/scenarios/{scenario}", "QUICK=yes")


@pytest.fixture(scope="session")
def image() -> Path:
    """The image under test: DPE_IMAGE, or that of the small scenario."""
    named = os.environ.get("DPE_IMAGE")
    return Path(named).resolve() if named else of("small")


@pytest.fixture(scope="session")
def micro() -> Path:
    """The same appliance with machines that start within it, too: `boot(of=micro)`."""
    return of("micro")


@pytest.fixture(scope="session")
def came_up(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an appliance after its first boot, with the page that sets it up and its seeds there: `boot(like=came_up)`."""
    folder = Path(os.environ.get("DPE_IMAGE_UP") or tmp_path_factory.mktemp("up"))
    if not (folder / "base.img").exists() or not (folder / "base.img").samefile(image):
        shutil.rmtree(folder, ignore_errors=True)
        with Booted(image, folder) as server:
            server.wait_page()
            server.wait_shell()
            seeds = "ls /var/lib/dpe/seeds/*/*/seed.json 2>/dev/null | wc -l; ls /usr/share/dpe/seeds | wc -l"
            wait_for(lambda: len(set(server.shell(seeds).split())) == 1 or None, 900, "the seeds that came with the image")
            server.wait_idle(900)
            server.shell("sync")
            server.keep()
    return folder


@pytest.fixture
def boot(image: Path, tmp_path: Path) -> Iterator[Callable[..., Booted]]:
    """Switch on an appliance with a new disk, of this image or another; takes what Booted takes. All are switched off in the end."""
    made: list[Booted] = []

    def switch_on(name: str = "server", of: Path = image, **options: object) -> Booted:
        booted = Booted(of, tmp_path / name, **options).start()  # type: ignore[arg-type]
        made.append(booted)
        return booted

    yield switch_on
    for booted in made:
        if booted.alive():
            booted.power_cut()
