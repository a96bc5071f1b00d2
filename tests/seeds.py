"""A real small seed for the tests: built once for one state of the sources and kept (`kept.py`), as it takes half a minute."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from appliance.scenario import applications
from appliance.scenario.schema import ClassSpec, Scenario
from appliance.seeds.build import SeedFiles, SeedJob, build, load_files, seed_folder
from appliance.settings import REPOSITORY, Settings, load
from tests import kept

SMALL = REPOSITORY / "tests/scenarios/small"
SOURCES = (
    "appliance/packages/sources.py",
    "appliance/scenario",
    "appliance/seeds",
    "playbooks/files",
    "playbooks/roles",
    "playbooks/plugins",
    "playbooks/seed.yml",
)


def small_scenario(folder: Path = SMALL) -> Scenario:
    """The tests' scenario, with the classes small (Debian 13) and small12 (Debian 12), or another one; what their applications say is in them."""
    found = Scenario.model_validate(yaml.safe_load((folder / "scenario.yml").read_text()))
    return found.model_copy(update={"classes": {name: applications.resolved(spec, dict) for name, spec in found.classes.items()}})


def cached_seed(class_name: str = "small", scenario: Path = SMALL, spec: ClassSpec | None = None) -> SeedFiles:
    """The seed of a class of the tests' scenario, or of another one, kept or built now, without its test boot. A week's is not used in the next one.

    With `spec` the class is that.
    """
    spec = spec or small_scenario(scenario).classes[class_name]
    folders = [entry.folder for _, entry in applications.of(spec, dict)]
    parts = [REPOSITORY / part for part in SOURCES]
    made_of = kept.digest(class_name, f"{datetime.now(UTC):%G-%V}", spec.model_dump_json(), scenario, *folders, *parts)
    # A version of its own for each class and state of the sources: what is there already is used, as in the product.
    version = int(made_of[:8], 16)
    settings = load({}, state=kept.CACHE)
    with kept.locked(f"seed-{class_name}"):
        files = build(SeedJob(version, class_name, version, spec, scenario), settings, lambda progress: None, lambda: False)
        kept.used(seed_folder(class_name, version, settings))
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


def older_guests() -> list[str]:
    """The class of an older Debian, for tests that `make soak` runs with it, too."""
    return ["small12"] if "DPE_TEST_OLDER" in os.environ else []


@pytest.fixture(scope="session")
def small_seed() -> SeedFiles:
    """A bootable seed of the class small; `place` puts it into an appliance."""
    return cached_seed()
