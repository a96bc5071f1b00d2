"""Seeds that come with the image: exported, adopted, refused."""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Actor, Event, Seed, SeedState, after_restore, seeds
from appliance.errors import Conflict, DpeError, Unavailable
from appliance.lifecycle import seed_builds
from appliance.scenario.load import Loaded
from appliance.scenario.schema import Scenario
from appliance.seeds import recipe, shipped
from appliance.seeds.build import SeedFiles, seed_folder, work_folder
from appliance.services import seeds as services
from appliance.services import setup
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import Settings, load
from tests.unit.conftest import SPEC
from tests.unit.engine.fake import FakeProvider

CONTENT = {"disk.qcow2": b"disk" + bytes(5 << 20) + b"end" + bytes(1 << 20), "vmlinuz": b"kernel", "initrd": b"initrd"}


def never() -> bool:
    return False


def step(name: str, number: int, total: int) -> None:
    pass


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    (tmp_path / "scenario/roles/app").mkdir(parents=True)
    (tmp_path / "scenario/roles/app/main.yml").write_text("one")
    scenario = Scenario.model_validate({"name": "test", "title": "Test", "classes": {"small": SPEC, "other": SPEC}})
    return Loaded(scenario, tmp_path / "scenario")


@pytest.fixture
def folder(loaded: Loaded, tmp_path: Path) -> Path:
    """What an image ships: a seed of the class small."""
    built = tmp_path / "built"
    built.mkdir()
    files = {name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in CONTENT.items()}
    spec = loaded.scenario.classes["small"]
    manifest = {"class": "small", "version": 7, "cmdline": "root", "recipe": recipe.digest(spec, loaded.folder), "files": files}
    for name, content in CONTENT.items():
        (built / name).write_bytes(content)
    (built / "seed.json").write_text(json.dumps(manifest))
    (built / "snapshot-1").mkdir()  # of the host that built it, and no good elsewhere
    made = SeedFiles(built / "disk.qcow2", built / "vmlinuz", built / "initrd", "root", manifest)
    return shipped.export(made, tmp_path / "shipped")


@pytest.fixture
def with_image(opened: Settings, folder: Path, loaded: Loaded) -> Settings:
    """An appliance at its first start, whose image ships the seed."""
    settings = load({}, state=opened.state, network=opened.network, slots=opened.slots, shipped_seeds=folder.parent)
    adopt_scenario(loaded.scenario)
    return settings


def promoted(class_name: str) -> Seed:
    seed = seeds.promoted(class_name)
    assert seed is not None
    return seed


def finish(settings: Settings) -> None:
    setup.ensure_code(settings)
    code = (settings.state / "setup-code").read_text().strip()
    setup.finish(code, setup.Wishes("ada", "Ada", "correct horse battery", "Ours", "Europe/Berlin", {}), "127.0.0.1")


def test_what_is_exported_is_the_seed_and_nothing_else(folder: Path) -> None:
    assert folder.name == "small"
    assert {file.name for file in folder.iterdir()} == {*CONTENT, "seed.json"}
    assert all((folder / name).read_bytes() == content for name, content in CONTENT.items())


def test_a_seed_of_the_image_is_adopted_before_set_up_which_then_builds_only_the_others(with_image: Settings, loaded: Loaded) -> None:
    seed_builds.queue_shipped(loaded, with_image)
    (queued,) = seeds.unfinished()
    seed_builds.run(queued, loaded, with_image, FakeProvider())
    seed = promoted("small")
    assert (seed.version, seed.state, seed.manifest["version"]) == (1, SeedState.READY, 1)
    final = seed_folder("small", 1, with_image)
    assert (seed.stored, seed.name, seed.cmdline) == (True, "small/1", "root")
    assert all((final / name).read_bytes() == content for name, content in CONTENT.items())
    assert (final / "disk.qcow2").stat().st_mode & 0o777 == 0o444
    assert (final / "disk.qcow2").stat().st_blocks * 512 < 4 << 20  # its holes are holes
    assert "is here: promoted" in Event.select().where(Event.kind == "seed.promoted").get().message

    finish(with_image)
    assert [(one.class_name, one.version) for one in seeds.unfinished()] == [("other", 1)]
    seed_builds.queue_shipped(loaded, with_image)
    assert len(seeds.of_class("small")) == 1


def update(settings: Settings, loaded: Loaded, **changed: str) -> None:
    """The engine starts on an image with another seed."""
    about = settings.shipped_seeds / "small/seed.json"
    about.chmod(0o644)
    about.write_text(json.dumps({**json.loads(about.read_text()), **changed}))
    seed_builds.queue_shipped(loaded, settings)
    seed_builds.offer_shipped(loaded, settings)


def offered() -> list[str]:
    return [event.message for event in Event.select().where(Event.kind == "seed.offered")]


def test_a_newer_seed_that_came_with_an_update_is_offered_and_used_when_an_admin_says_so(with_image: Settings, loaded: Loaded) -> None:
    update(with_image, loaded, built="2026-10-01T10:00:00+00:00")
    assert services.offers() == {}  # it is being copied
    seed_builds.run(seeds.unfinished()[0], loaded, with_image, FakeProvider())
    update(with_image, loaded)
    assert services.offers() == {}
    update(with_image, loaded, built="2026-11-01T10:00:00+00:00")
    assert services.offers() == {"small": datetime(2026, 11, 1, 10, tzinfo=UTC)}
    update(with_image, loaded)
    assert offered() == ["A newer seed of small came with the image."]  # said once
    assert promoted("small").version == 1

    queued = services.use_shipped("small", Actor("ada"))
    assert services.offers() == {}
    seed_builds.run(Seed.get_by_id(queued.id), loaded, with_image, FakeProvider())
    assert (promoted("small").version, promoted("small").manifest["built"]) == (2, "2026-11-01T10:00:00+00:00")
    assert seeds.of_class("small")[1].state is SeedState.READY  # to go back to
    update(with_image, loaded)
    assert services.offers() == {}


def test_what_is_no_newer_or_does_not_fit_is_not_offered(with_image: Settings, loaded: Loaded) -> None:
    update(with_image, loaded, built="2026-10-01T10:00:00+00:00")
    seed_builds.run(seeds.unfinished()[0], loaded, with_image, FakeProvider())
    update(with_image, loaded, built="2026-09-01T10:00:00+00:00")
    assert services.offers() == {}  # after going back to an older version
    update(with_image, loaded, built="2026-11-01T10:00:00+00:00")
    assert list(services.offers()) == ["small"]
    (loaded.folder / "roles/app/main.yml").write_text("two")
    update(with_image, loaded)
    assert services.offers() == {}  # the scenario is another by now
    assert services.build("small", Actor("ada")).version == 2


@pytest.mark.badinput
@pytest.mark.parametrize("built", ["yesterday", "2026-11-01T10:00:00", ""])
def test_a_seed_that_does_not_say_when_it_was_built_is_not_offered(with_image: Settings, loaded: Loaded, built: str) -> None:
    update(with_image, loaded, built="2026-10-01T10:00:00+00:00")
    seed_builds.run(seeds.unfinished()[0], loaded, with_image, FakeProvider())
    update(with_image, loaded, built=built)
    assert services.offers() == {}


def test_the_engine_is_woken_when_what_was_asked_for_can_be_seen(
    with_image: Settings, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    update(with_image, loaded, built="2026-10-01T10:00:00+00:00")
    seed_builds.run(seeds.unfinished()[0], loaded, with_image, FakeProvider())
    update(with_image, loaded, built="2026-11-01T10:00:00+00:00")
    rung = list[bool]()
    monkeypatch.setattr(services.doorbell, "ring", lambda: rung.append(catalog.database.db.in_transaction()))
    services.use_shipped("small", Actor("ada"))
    services.build("other", Actor("ada"))
    assert rung == [False, False]


@pytest.mark.crash
def test_one_whose_copy_came_to_nothing_is_offered_again(with_image: Settings, loaded: Loaded) -> None:
    update(with_image, loaded, built="2026-10-01T10:00:00+00:00")
    seed_builds.run(seeds.unfinished()[0], loaded, with_image, FakeProvider())
    update(with_image, loaded, built="2026-11-01T10:00:00+00:00")
    queued = services.use_shipped("small", Actor("ada"))
    with pytest.raises(Conflict, match="No newer seed of small"):
        services.use_shipped("small", Actor("ada"))
    disk = with_image.shipped_seeds / "small/disk.qcow2"
    disk.chmod(0o644)
    disk.write_bytes(b"half of it")
    seed_builds.run(Seed.get_by_id(queued.id), loaded, with_image, FakeProvider())
    assert (Seed.get_by_id(queued.id).state, promoted("small").version) == (SeedState.FAILED, 1)
    update(with_image, loaded)
    assert list(services.offers()) == ["small"]
    services.build("small", Actor("ada"))
    with pytest.raises(Conflict, match="is being built already"):
        services.use_shipped("small", Actor("ada"))
    assert list(services.offers()) == ["small"]


def test_set_up_does_not_build_what_is_still_being_copied(with_image: Settings, loaded: Loaded) -> None:
    seed_builds.queue_shipped(loaded, with_image)
    finish(with_image)
    assert {(one.class_name, "shipped" in one.manifest) for one in seeds.unfinished()} == {("small", True), ("other", False)}


@pytest.mark.parametrize("there", ["nothing", "another one"])
def test_one_that_a_restored_backup_lacked_is_adopted_again_where_it_fits(with_image: Settings, loaded: Loaded, there: str) -> None:
    seed_builds.queue_shipped(loaded, with_image)
    (queued,) = seeds.unfinished()
    seed_builds.run(queued, loaded, with_image, FakeProvider())
    after_restore.adopt("b0", catalog.now(), "grace", str(with_image.state), with_image.state, {})
    assert [one.version for one in seeds.of_class("small")] == [1]  # is the one that the catalog tells of
    if there == "nothing":
        shutil.rmtree(seed_folder("small", 1, with_image))
    else:
        about = seed_folder("small", 1, with_image) / "seed.json"
        about.chmod(0o644)
        about.write_text(json.dumps({**json.loads(about.read_text()), "built_at": "another time"}))
    after_restore.adopt("b1", catalog.now(), "grace", str(with_image.state), with_image.state, {})
    assert [(one.version, one.promoted) for one in seeds.of_class("small")] == [(2, False), (1, False)]
    kept = (loaded.folder / "roles/app/main.yml").read_text()
    (loaded.folder / "roles/app/main.yml").write_text("two")
    seed_builds.queue_shipped(loaded, with_image)
    assert ["shipped" in one.manifest for one in seeds.unfinished()] == [False]  # does not fit: it is built
    (loaded.folder / "roles/app/main.yml").write_text(kept)
    seed_builds.queue_shipped(loaded, with_image)
    (queued,) = seeds.unfinished()
    seed_builds.run(queued, loaded, with_image, FakeProvider())
    seed = promoted("small")
    assert (seed.version, (with_image.seeds / seed.name / "disk.qcow2").read_bytes()) == (2, CONTENT["disk.qcow2"])


@pytest.mark.badinput
@pytest.mark.parametrize("damage", ["bit", "missing", "no manifest", "half a manifest"])
def test_a_damaged_one_is_left_out_and_a_build_offered(with_image: Settings, loaded: Loaded, folder: Path, damage: str) -> None:
    file = folder / ("disk.qcow2" if damage in ("bit", "missing") else "seed.json")
    file.chmod(0o644)
    if damage == "bit":
        content = bytearray(CONTENT["disk.qcow2"])
        content[3 << 20] ^= 1
        file.write_bytes(content)
    elif damage == "half a manifest":
        file.write_text(file.read_text()[:40])
    else:
        file.unlink()
    seed_builds.queue_shipped(loaded, with_image)
    for seed in seeds.unfinished():
        seed_builds.run(seed, loaded, with_image, FakeProvider())
    (seed,) = seeds.of_class("small")
    assert seed.state is SeedState.FAILED
    assert "the image" in seed.problem
    assert "Build the seed" in seed.hint
    assert not seed_folder("small", 1, with_image).exists()
    assert not work_folder(seed.id, with_image).exists()
    assert Event.select().where(Event.kind == "seed.failed").get().level is catalog.Level.ERROR
    finish(with_image)
    assert ("small", 2) in [(one.class_name, one.version) for one in seeds.unfinished()]


@pytest.mark.badinput
def test_one_of_another_recipe_does_not_fit(with_image: Settings, loaded: Loaded) -> None:
    (loaded.folder / "roles/app/main.yml").write_text("two")
    seed_builds.queue_shipped(loaded, with_image)
    (seed,) = seeds.of_class("small")
    assert (seed.state, seeds.unfinished()) == (SeedState.FAILED, [])
    assert "another state of the scenario" in seed.problem


@pytest.mark.crash
@pytest.mark.parametrize("at", ["copying", "moved"])
def test_one_that_was_cut_off_is_begun_anew_or_taken_as_it_is(with_image: Settings, loaded: Loaded, folder: Path, at: str) -> None:
    seed_builds.queue_shipped(loaded, with_image)
    (seed,) = seeds.unfinished()
    work = work_folder(seed.id, with_image)
    if at == "copying":
        work.mkdir(parents=True)
        (work / "disk.qcow2").write_bytes(b"half")
    else:
        shipped.adopt(seed.id, "small", 1, folder, with_image, step, never)
    for _ in range(seed_builds.BUILDS + 1):  # however often it was
        Seed.update(state=SeedState.BUILDING, attempts=Seed.attempts + 1).execute()
    seed_builds.run(Seed.get_by_id(seed.id), loaded, with_image, FakeProvider())
    assert promoted("small").state is SeedState.READY
    assert (seed_folder("small", 1, with_image) / "disk.qcow2").read_bytes() == CONTENT["disk.qcow2"]
    assert not work.exists()


def test_a_copy_can_be_cancelled(with_image: Settings, folder: Path) -> None:
    with pytest.raises(DpeError, match="cancelled"):
        shipped.adopt(1, "small", 1, folder, with_image, step, lambda: True)
    assert not seed_folder("small", 1, with_image).exists()


@pytest.mark.badinput
def test_a_seed_that_does_not_fit_on_the_disk_is_refused(with_image: Settings, folder: Path) -> None:
    settings = load({}, state=with_image.state, disk_reserve=1 << 40)
    with pytest.raises(Unavailable, match="are kept back"):
        shipped.adopt(1, "small", 1, folder, settings, step, never)


def test_the_recipe_is_the_class_and_its_roles(loaded: Loaded) -> None:
    spec = loaded.scenario.classes["small"]
    first = recipe.digest(spec, loaded.folder)
    assert recipe.digest(spec, loaded.folder) == first
    assert recipe.digest(spec.model_copy(update={"packages": ["vim"]}), loaded.folder) != first
    assert recipe.digest(spec.model_copy(update={"title": "Large", "per_person": 7, "fork": not spec.fork}), loaded.folder) == first
    (loaded.folder / "roles/app/more.yml").write_text("")
    assert recipe.digest(spec, loaded.folder) != first
    (loaded.folder / "elsewhere/tasks").mkdir(parents=True)  # a role may be a link to one
    (loaded.folder / "roles/linked").symlink_to("../elsewhere")
    before = recipe.digest(spec, loaded.folder)
    (loaded.folder / "elsewhere/tasks/main.yml").write_text("[]")
    assert recipe.digest(spec, loaded.folder) != before
