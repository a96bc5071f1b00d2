"""Classes as forms say them: versions of the scenario, the end of a class, and what one comes to on this host."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import (
    Actor,
    Class,
    Event,
    Grant,
    Machine,
    MachineState,
    Quota,
    Request,
    RequestState,
    Run,
    RunState,
    Seed,
    SeedState,
    class_rows,
)
from appliance.errors import BadInput, Conflict, NotFound
from appliance.services import class_specs, classes, scenarios
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import Settings
from tests import packages, world
from tests.unit.scenario.test_load import GOOD, write

MAPS: dict[str, Any] = {"title": "Maps", "os": "debian-12", "application": {"port": 80}}


@pytest.fixture
def shop(opened: Settings, tmp_path: Path) -> Settings:
    settings = replace(opened, scenario=write(tmp_path, GOOD))
    scenarios.follow_folder(settings)
    adopt_scenario(class_specs.scenario())
    return settings


def notes(**changes: Any) -> dict[str, Any]:
    return {**class_specs.spec_of("notes").model_dump(mode="json", exclude_defaults=True, exclude_none=True), **changes}


def save(admin: Actor, name: str, values: dict[str, Any], *, new: bool = False, build: bool = False) -> int:
    draft = class_specs.draft(name, values, new=new)
    return int(class_specs.save(admin, draft, seen=scenarios.current().number, build=build).number)


def test_a_class_is_made_changed_and_gone_back_from(shop: Settings, admin: Actor) -> None:
    assert save(admin, "maps", MAPS, new=True, build=True) == 2
    assert Class.get_by_id("maps").spec["title"] == "Maps"
    assert [(seed.class_name, seed.state) for seed in Seed.select()] == [("maps", SeedState.QUEUED)]
    assert Event.get(Event.kind == "scenario.changed").message.startswith("admin changed the class maps, version 2")
    assert save(admin, "maps", {**MAPS, "packages": ["nginx"]}) == 3
    scenarios.go_back(admin, 2, seen=3)
    assert Class.get_by_id("maps").spec["packages"] == []


def test_which_kind_a_change_is_is_what_the_engine_makes_of_it(shop: Settings) -> None:
    for changes, kinds in (
        ({"packages": ["git", "less"]}, [("seed", ("packages",))]),
        ({"title": "Notes", "icon": "database"}, [("now", ("title", "icon"))]),
        ({"fork": False, "readiness": "cold"}, [("machines", ("fork", "readiness"))]),
        ({"title": "Notes", "fork": False, "size": {"memory": 1024, "disk": 4}},
         [("seed", ("size.memory",)), ("machines", ("fork",)), ("now", ("title",))]),
    ):  # fmt: skip
        draft = class_specs.draft("notes", notes(**changes), new=False)
        (one,) = draft.change.classes
        assert [(effect, set(keys)) for effect, keys in one.kinds] == [(effect, set(keys)) for effect, keys in kinds]
        assert one.is_built == (class_specs.spec_of("notes").ingredients() != draft.spec.ingredients())


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"os": "debian-31"}, {"os"}), ({"size": {"memory": 4}, "title": ""}, {"size.memory", "title"}), ({"packages": ["git", "No"]}, {"packages"}),
        ({"roles": ["web", "none"]}, {"roles"}), ({"policy": {"minimum": 9, "maximum": 3}}, {"policy.minimum"}), ({"burst": 7}, {"burst"}),
        ({"size": {"memory": "much"}}, {"size.memory"}), ({"lease": {"idle": {"then": "sleep"}}}, {"lease.idle.minutes", "lease.idle.then"}),
        ({"policy": {"windows": [{"name": "Day", "begin": "9", "end": "10:00", "buffer": 1}]}}, {"policy.windows"}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_field(shop: Settings, changes: dict[str, Any], fields: set[str]) -> None:
    with pytest.raises(class_specs.Wrong) as refused:
        class_specs.draft("notes", notes(**changes), new=False)
    assert set(refused.value.fields) == fields
    assert all(message and hint for message, hint in refused.value.fields.values())


@pytest.mark.badinput
def test_a_short_name_is_one_and_free(shop: Settings) -> None:
    for name in ("", "Maps", "notes", "a b", "x" * 32, "../x"):
        with pytest.raises(class_specs.Wrong) as refused:
            class_specs.draft(name, MAPS, new=True)
        assert set(refused.value.fields) == {"name"}
    with pytest.raises(NotFound):
        class_specs.draft("maps", MAPS, new=False)
    with pytest.raises(BadInput, match="what there is already"):
        class_specs.draft("notes", notes(), new=False)


# -- its end --------------------------------------------------------------------------------------


@pytest.fixture
def maps(shop: Settings, admin: Actor) -> Class:
    """A withdrawn class with everything that there can be of one."""
    save(admin, "maps", MAPS, new=True)
    machine_class: Class = Class.get_by_id("maps")
    seed = world.seed("maps", 1, promoted=True)
    world.snapshot(seed)
    ada = world.account("ada")
    with catalog.write():
        machine = world.machine(machine_class, MachineState.IN_USE, owner=ada)
        asked = Request.create(account=ada.account_id, machine_class="maps", state=RequestState.WAITING, hit=False)
        Run.create(kind="assign", state=RunState.WAITING, request=asked, machine=machine.id, machine_class="maps")
        Grant.create(role="user", account=ada.account_id, over_class="maps")
        Quota.create(account=ada.account_id, each=True, machines=5, class_name="maps")
    classes.set_enabled(admin, "maps", enabled=False)
    return machine_class


def test_a_class_is_deleted_when_nothing_is_left_of_it_and_says_what_is(maps: Class, admin: Actor) -> None:
    kinds = ["machine", "request", "run", "seed", "grant", "quota"]
    assert [one.kind for one in class_specs.leaving("maps").left] == kinds
    with pytest.raises(Conflict, match="live machines were made from v1"):
        class_specs.remove_seeds(admin, "maps")
    with catalog.write():
        Machine.update(state=MachineState.RETIRED).execute()
        Request.update(state=RequestState.CANCELLED, ended_at=catalog.now()).execute()
        Run.update(state=RunState.CANCELLED, ended_at=catalog.now()).execute()
        Grant.delete().where(Grant.over_class == "maps").execute()
        Quota.delete().execute()
    with pytest.raises(Conflict, match="Something is left of maps"):
        class_specs.delete(admin, "maps", seen=2)
    assert scenarios.current().number == 2, "nothing is half done"
    assert class_specs.remove_seeds(admin, "maps") == 1
    assert [one.kind for one in class_specs.leaving("maps").left] == ["seed"], "its files are still there"
    Seed.update(stored=False).execute()
    assert class_specs.leaving("maps").is_free
    made = class_specs.delete(admin, "maps", seen=2)
    assert made is not None
    assert made.number == 3
    assert Class.get_or_none(Class.name == "maps") is None
    assert "maps" not in class_specs.scenario().classes
    assert Event.get(Event.kind == "class.deleted").message == "admin deleted the class maps."
    assert Event.select().where(Event.class_name == "maps").count() > 3, "what happened to it stays on record"
    scenarios.go_back(admin, 2, seen=3)
    assert Class.get_by_id("maps").enabled


def test_one_that_is_offered_or_the_only_one_stays(shop: Settings, admin: Actor) -> None:
    with pytest.raises(Conflict, match="is offered"):
        class_specs.delete(admin, "notes", seen=1)
    with pytest.raises(Conflict, match="is offered"):
        class_specs.remove_seeds(admin, "notes")
    classes.set_enabled(admin, "notes", enabled=False)
    with pytest.raises(Conflict, match="the only class"):
        class_specs.delete(admin, "notes", seen=1)
    assert class_specs.leaving("notes").is_only


def test_one_that_the_scenario_has_no_more_goes_without_a_version(shop: Settings, admin: Actor) -> None:
    save(admin, "maps", MAPS, new=True)
    scenarios.go_back(admin, 1, seen=2)
    assert class_specs.delete(admin, "maps", seen=3) is None
    assert Class.get_or_none(Class.name == "maps") is None
    assert class_rows.left("maps") == []


# -- what it comes to -----------------------------------------------------------------------------


def build(class_name: str, version: int, seconds: int, *, os: str = "debian-12", log: str = "/var/log/seed.log") -> None:
    began = catalog.now() - timedelta(hours=1)
    manifest = {"os": os, "files": {"disk.qcow2": {"size": 300 << 20}}}
    world.seed(class_name, version, started_at=began, ended_at=began + timedelta(seconds=seconds), manifest=manifest, log=log)


def test_a_preview_says_what_is_downloaded_for_its_packages_and_those_of_its_applications(shop: Settings) -> None:
    spec = {"os": "debian-13", "packages": ["less"], "applications": [{"name": "postgresql"}, {"name": "gone"}]}
    assert class_specs.download(spec) is None, "nothing is known of the release yet"
    packages.write(shop.packages)
    found = class_specs.download(spec)
    assert found is not None
    assert {"less", "postgresql-17", "adminer", "libpq5"} <= set(found.packages)
    alone = class_specs.download({**spec, "applications": []})
    assert alone is not None
    assert (alone.packages, alone.size) == (("less",), 150 << 10)


def test_a_preview_is_by_this_host_and_the_builds_that_were_measured_on_it(shop: Settings, admin: Actor) -> None:
    world.engine()
    before = class_specs.preview(shop, "maps", "debian-12", 1024)
    assert (before.seconds, before.seed, before.builds) == (None, None, 0)
    assert before.memory == 1024 + 64
    assert before.holds.count > class_specs.preview(shop, "maps", "debian-12", 8192).holds.count
    build("notes", 1, 900, os="debian-13")
    build("notes", 2, 1, log="")  # it came with the image
    assert (found := class_specs.preview(shop, "maps", "debian-12", 1024)).like == "other classes"
    assert found.seconds == pytest.approx(900, abs=1)
    save(admin, "maps", MAPS, new=True)
    for version, seconds in enumerate((100, 120, 400), 1):
        build("maps", version, seconds)
    found = class_specs.preview(shop, "maps", "debian-12", 1024)
    assert (found.builds, found.like, found.seed) == (3, "this class", 300)
    assert found.seconds == pytest.approx(120, abs=1)
    assert class_specs.preview(shop, "atlas", "debian-12", 1024).like == "debian-12"
