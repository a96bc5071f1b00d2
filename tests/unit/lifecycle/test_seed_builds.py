"""A seed's build as the catalog sees it. The build itself is replaced; tests/integration/test_seeds.py does real ones."""

from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Event, Seed, SeedState, seeds
from appliance.errors import BadInput, Conflict, DpeError
from appliance.lifecycle import seed_builds
from appliance.scenario.load import Loaded
from appliance.scenario.schema import Scenario
from appliance.seeds.build import SeedFiles, SeedProgress
from appliance.services import seeds as verbs
from tests.unit.conftest import SPEC
from tests.unit.engine.fake import FakeProvider

FILES = SeedFiles(Path("/s/disk.qcow2"), Path("/s/vmlinuz"), Path("/s/initrd"), "root=/dev/vda", {"packages": {"bash": "5"}})


@pytest.fixture
def loaded(tmp_path):
    scenario = Scenario.model_validate({"name": "test", "title": "Test", "classes": {"small": SPEC}})
    return Loaded(scenario, tmp_path)


@pytest.fixture
def queued(small, admin) -> Seed:
    """The class has a promoted version 1; version 2 is asked for."""
    return verbs.build("small", admin)


def run(monkeypatch, seed, loaded, settings, build):
    monkeypatch.setattr(seed_builds, "build", build)
    seed_builds.run(seed, loaded, settings, FakeProvider())
    return Seed.get_by_id(seed.id)


def test_a_good_build_is_promoted_and_the_older_version_kept(queued, loaded, opened, monkeypatch):
    seen = []

    def build(job, settings, progress, cancelled, provider):
        progress(SeedProgress(3, 21, "Install packages", 1.0))
        row = Seed.get_by_id(queued.id)
        seen.append((row.state, row.task_number, row.task_total, row.task))
        return FILES

    after = run(monkeypatch, queued, loaded, opened, build)
    assert seen == [(SeedState.BUILDING, 3, 21, "Install packages")]
    assert (after.state, after.promoted, after.stored, after.manifest) == (SeedState.READY, True, True, FILES.manifest)
    older = Seed.get(Seed.version == 1)
    assert (older.state, older.promoted) == (SeedState.READY, False)
    assert Path(after.log).name == "small-2.log"


@pytest.mark.badinput
def test_a_failed_build_leaves_the_promoted_one_in_use_and_says_what_to_do(queued, loaded, opened, monkeypatch):
    def build(*_):
        raise BadInput("There is no package nosuch.", "Correct packages of the class small in scenario.yml.")

    after = run(monkeypatch, queued, loaded, opened, build)
    assert (after.state, after.promoted, after.problem) == (SeedState.FAILED, False, "There is no package nosuch.")
    assert "scenario.yml" in after.hint
    assert seeds.promoted("small").version == 1
    assert Event.select().where(Event.kind == "seed.failed").get().level is catalog.Level.ERROR


def test_a_cancelled_build_leaves_the_promoted_one_in_use(queued, loaded, opened, monkeypatch, admin):
    def build(job, settings, progress, cancelled, provider):
        assert not cancelled()
        verbs.cancel(queued.id, admin)
        cancelled.asked_at = 0.0
        assert cancelled()
        raise DpeError("The build was cancelled.")

    after = run(monkeypatch, queued, loaded, opened, build)
    assert after.state is SeedState.CANCELLED
    assert seeds.promoted("small").version == 1


def test_a_build_cut_off_by_the_engine_s_death_is_begun_again_but_not_for_ever(queued, loaded, opened, monkeypatch):
    class Killed(BaseException):
        pass

    def build(*_):
        raise Killed

    for _ in range(seed_builds.BUILDS):
        seed = seeds.unfinished()[0]
        with pytest.raises(Killed):
            run(monkeypatch, seed, loaded, opened, build)
    after = run(monkeypatch, seeds.unfinished()[0], loaded, opened, build)
    assert (after.state, seeds.unfinished()) == (SeedState.FAILED, [])
    assert "cut off 3 times" in after.problem


@pytest.mark.badinput
def test_a_class_that_the_scenario_lost_cannot_be_built(queued, tmp_path, opened, monkeypatch):
    scenario = Scenario.model_validate({"name": "test", "title": "Test", "classes": {"other": SPEC}})
    after = run(monkeypatch, queued, Loaded(scenario, tmp_path), opened, None)
    assert after.state is SeedState.FAILED
    assert "no longer has a class small" in after.problem


def test_only_a_seed_that_booted_can_be_promoted_and_back(queued, loaded, opened, monkeypatch, admin):
    with pytest.raises(Conflict, match="test-booted"):
        verbs.promote(queued.id, admin)
    run(monkeypatch, queued, loaded, opened, lambda *_: FILES)
    verbs.promote(Seed.get(Seed.version == 1).id, admin)
    assert seeds.promoted("small").version == 1
    with pytest.raises(Conflict, match="being built already"):
        verbs.build("small", admin)
        verbs.build("small", admin)
