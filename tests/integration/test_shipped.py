"""A real seed as an image ships it, adopted by an engine's first start, and a machine booted from it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import seeds
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec
from appliance.lifecycle import seed_builds
from appliance.scenario.load import load as load_scenario
from appliance.seeds import shipped
from appliance.seeds.build import SeedFiles, seed_folder
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import Settings
from tests.integration.conftest import MakeSpec
from tests.seeds import SMALL


@pytest.fixture
def settings(appliance_settings: Settings, small_seed: SeedFiles, tmp_path: Path) -> Settings:
    """The tests' appliance, whose image ships the small seed."""
    shipped.export(small_seed, tmp_path)
    return replace(appliance_settings, shipped_seeds=tmp_path)


def test_a_machine_boots_from_a_seed_that_came_with_the_image(
    settings: Settings, provider: LibvirtProvider, make_spec: MakeSpec, small_seed: SeedFiles
) -> None:
    loaded = load_scenario(SMALL)
    shutil.rmtree(seed_folder("small", 1, settings))  # that of other tests, which is the same
    for file in settings.catalog.parent.glob("catalog*"):  # theirs, too
        file.unlink()
    catalog.open(settings.catalog)
    try:
        adopt_scenario(loaded.scenario)
        seed_builds.queue_shipped(loaded, settings)
        (queued,) = seeds.unfinished()
        assert queued.class_name == "small"  # small12 was not shipped
        seed_builds.run(queued, loaded, settings, provider)
        seed = seeds.promoted("small")
        assert seed is not None, seeds.by_id(queued.id)
    finally:
        catalog.close()
    assert seed.manifest["files"] == small_seed.manifest["files"]
    spec: MachineSpec = make_spec(9, seed=seed.name, cmdline=seed.cmdline)
    try:
        provider.clone(spec)
        provider.start(spec)
        provider.wait(spec)  # until its application answers
    finally:
        provider.destroy(spec.id)
