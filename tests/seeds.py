"""A real small seed for the tests: built once for one state of the sources and kept in build/, as it takes half a minute."""

import fcntl
import hashlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from appliance.scenario.schema import Scenario
from appliance.seeds.build import SeedFiles, SeedJob, build, load_files, seed_folder
from appliance.settings import REPOSITORY, Settings, load

SMALL = REPOSITORY / "tests/scenarios/small"
CACHE = REPOSITORY / "build/test-cache"
_INPUTS = (
    SMALL,
    *(REPOSITORY / part for part in ("appliance/seeds", "playbooks/files", "playbooks/roles", "playbooks/plugins", "playbooks/seed.yml")),
)


def small_scenario() -> Scenario:
    """The tests' scenario, with the classes small (Debian 13) and small12 (Debian 12)."""
    return Scenario.model_validate(yaml.safe_load((SMALL / "scenario.yml").read_text()))


def cached_seed(class_name: str = "small") -> SeedFiles:
    """The seed of a class of the tests' scenario, from build/test-cache or built there, without its test boot."""
    digest = hashlib.sha256(f"{datetime.now(UTC):%G-%V}".encode())
    for path in _INPUTS:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(REPOSITORY)}:{file.stat().st_mode}".encode() + file.read_bytes())
    # A version of its own for each state of the sources: what is there already is used, as in the product.
    version = int.from_bytes(digest.digest()[:4], "big")
    settings = load({}, state=CACHE)
    spec = small_scenario().classes[class_name]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:  # two runs of the tests may want it at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        files = build(SeedJob(version, class_name, version, spec, SMALL, test_boot=False), settings, lambda progress: None, lambda: False)
        for other in seed_folder(class_name, version, settings).parent.iterdir():
            if other.name != str(version):
                shutil.rmtree(other)
    return files


def place(seed: SeedFiles, settings: Settings, class_name: str = "small", version: int = 1) -> SeedFiles:
    """Put a seed where an appliance with these settings keeps it, and return its files there."""
    folder = seed_folder(class_name, version, settings)
    if not folder.exists():
        folder.mkdir(parents=True)
        for file in seed.disk.parent.iterdir():
            _link(file, folder / file.name)
    return load_files(class_name, version, settings)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


@pytest.fixture(scope="session")
def small_seed() -> SeedFiles:
    """A bootable seed of the class small; `place` puts it into an appliance."""
    return cached_seed()
