"""The engine goes by the scenario that the catalog has now, whoever changed it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.catalog import Actor, Class, Event, MachineState, Seed, SeedState, Sequence, database, machines, sequences
from appliance.catalog import scenarios as rows
from appliance.engine import Engine
from appliance.engine.scenario import adopt
from appliance.lifecycle import seed_builds, specs
from appliance.lifecycle.batch import order
from appliance.scenario import tree
from appliance.services import scenarios
from appliance.settings import Settings
from appliance.workflow.kinds import playbook_file
from tests.unit.engine.fake import FakeProvider, settle
from tests.unit.scenario.test_load import GOOD, write


@pytest.fixture
def shop(opened: Settings, tmp_path: Path) -> Settings:
    """As the engine's start leaves it."""
    settings = replace(opened, scenario=write(tmp_path, GOOD))
    scenarios.follow_folder(settings)
    assert adopt(settings) is not None
    return settings


def send(admin: Actor, **files: str) -> None:
    """An admin imports the scenario with these files besides."""
    current = scenarios.current()
    whole = {**rows.read(current.tree), **{path.replace("__", "/"): tree.File(text.encode()) for path, text in files.items()}}
    sent = scenarios.import_zip(admin, tree.to_zip(whole, "shop"))
    scenarios.take_import(admin, digest=sent.digest, seen=current.number)


def test_another_version_is_laid_out_adopted_and_those_before_go(shop: Settings, admin: Actor) -> None:
    engine = Engine(shop, FakeProvider())
    before = rows.folder(shop)
    send(admin, **{"workflows__quiet.yml": "name: quiet\ntitle: Quiet\nmoves: {}\n", "playbooks__greet.yml": "- hosts: all\n"})
    settle(engine)
    assert Sequence.get_by_id("quiet").title == "Quiet"
    assert sequences.promoted("quiet") is not None
    assert list(shop.scenarios.iterdir()) == [rows.folder(shop)]
    assert not before.exists()
    assert (rows.folder(shop) / "playbooks/greet.yml").is_file()
    engine.close()


def test_a_build_is_of_the_version_that_counts_when_it_begins(shop: Settings, admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[list[str], Path]] = []
    monkeypatch.setattr(
        seed_builds, "run", lambda _seed, loaded, *_: built.append((loaded.scenario.classes["notes"].packages, loaded.folder))
    )
    seed = Seed.create(machine_class="notes", version=1)
    scenarios.save_text(admin, GOOD.replace("packages: [git]", "packages: [vim]"), seen=1)
    seed_builds.run_current(seed, shop, FakeProvider())
    assert built == [(["vim"], rows.folder(shop))]


@pytest.mark.badinput
def test_a_scenario_that_this_version_does_not_take_stops_builds_and_nothing_else(shop: Settings, admin: Actor) -> None:
    database.rows("DROP TRIGGER scenario_version_kept")
    broken = tree.File(GOOD.replace("os: debian-13", "os: debian-1").encode())
    listed = {**scenarios.current().tree, tree.MAIN: [broken.digest, False]}
    database.rows("INSERT INTO scenario_file VALUES (?, ?)", (broken.digest, broken.content))
    scenarios.ScenarioVersion.update(tree=listed, digest=tree.digest(listed)).execute()
    assert adopt(shop) is None
    assert Event.select().where(Event.kind == "scenario.unreadable").count() == 1
    assert Class.get_by_id("notes").enabled
    seed = Seed.create(machine_class="notes", version=1)
    seed_builds.run_current(seed, shop, FakeProvider())
    assert (Seed.get_by_id(seed.id).state, "debian-1" in Seed.get_by_id(seed.id).problem) == (SeedState.FAILED, True)
    scenarios.save_text(admin, GOOD.replace("title: Notebook", "title: Notes"), seen=1)
    assert adopt(shop) is not None


def test_roles_and_playbooks_are_those_of_the_current_version(
    shop: Settings, admin: Actor, monkeypatch: pytest.MonkeyPatch, ready: Callable[[int], list[machines.Machine]]
) -> None:
    monkeypatch.setattr("appliance.workflow.kinds.load_settings", lambda: shop)
    (machine,) = ready(1)
    Class.update(spec={**machine.machine_class.spec, "roles": ["web"]}).where(Class.name == "small").execute()
    machine = machines.Machine.get_by_id(machine.number)
    assert machine.state is MachineState.READY
    assert (specs.machine_roles(machine, rows.lay_out(shop)), playbook_file("greet.yml")) == ([], None)
    send(admin, **{"roles__web__tasks__machine.yml": "- debug: {msg: hello}\n", "playbooks__greet.yml": "- hosts: all\n"})
    assert (order(machine, shop).roles, order(machine, shop).scenario) == (["web"], rows.folder(shop))
    assert playbook_file("greet.yml") == rows.folder(shop) / "playbooks/greet.yml"
