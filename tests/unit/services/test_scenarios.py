"""The scenario's versions: where they come from, going back, import and export, and a newer one from the folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import durable
from appliance.catalog import Actor, Class, Event, ScenarioFile, ScenarioState, Seed, SeedState, database
from appliance.catalog import scenarios as rows
from appliance.errors import BadInput, Conflict, NotFound, Unavailable
from appliance.scenario import tree
from appliance.scenario.load import ScenarioErrors, load
from appliance.scenario.merge import Side
from appliance.services import scenarios
from appliance.settings import Settings
from tests.unit.scenario.test_load import GOOD, write
from tests.unit.scenario.test_merge import OTHER

Edit = Callable[..., None]


@pytest.fixture
def shop(opened: Settings, tmp_path: Path) -> Settings:
    """An appliance that serves the scenario shop, started once."""
    settings = replace(opened, scenario=write(tmp_path, GOOD))
    scenarios.follow_folder(settings)
    return settings


def edit(settings: Settings, *change: str) -> None:
    """Somebody changes scenario.yml in the folder; the appliance starts again."""
    file = settings.scenario / "scenario.yml"
    file.write_text(file.read_text().replace(*change))
    scenarios.follow_folder(settings)


def changed(*change: str) -> str:
    return scenarios.text(scenarios.current()).replace(*change)


def spec(name: str = "notes") -> dict[str, object]:
    found: dict[str, object] = Class.get_by_id(name).spec
    return found


def events() -> list[str]:
    return [event.kind for event in Event.select().where(Event.kind.startswith("scenario.")).order_by(Event.id)]


def test_the_folder_is_where_it_begins_and_is_read_once(shop: Settings) -> None:
    first = scenarios.current()
    assert (first.number, first.author, scenarios.text(first)) == (1, "", GOOD)
    scenarios.follow_folder(shop)
    assert [one.number for one in rows.versions()] == [1]


def test_a_change_is_a_version_with_author_time_and_difference_and_holds_at_once(shop: Settings, admin: Actor) -> None:
    made = scenarios.save_text(admin, changed("buffer: 1", "buffer: 2"), seen=1, comment="More of them")
    assert (made.number, made.author, made.comment, made.changes) == (2, "admin", "More of them", "notes: policy.buffer")
    assert Class.get_by_id("notes").buffer == 2
    shown = scenarios.compare(scenarios.version(1).tree, made.tree)
    assert [(one.name, one.effect) for one in shown.classes] == [("notes", "now")]
    assert [line.text for line in shown.files[0].lines if line.what == "added"] == ["      buffer: 2"]
    before = scenarios.before(made)
    assert before is not None
    assert before.number == 1
    event = Event.get(Event.kind == "scenario.changed")
    assert event.message == "admin changed scenario.yml, version 2 of the scenario: notes: policy.buffer."
    assert event.actor == "admin"


@pytest.mark.badinput
@pytest.mark.parametrize(("text", "line"), [("buffer: one", 14), ("buffer: [", 14), ("bufer: 1", 14)])
def test_what_is_wrong_is_refused_with_its_line_and_nothing_is_lost(shop: Settings, admin: Actor, text: str, line: int) -> None:
    with pytest.raises(ScenarioErrors) as refused:
        scenarios.save_text(admin, changed("buffer: 1", text), seen=1)
    assert abs(scenarios.errors_of(refused.value)[0][1] - line) <= 1
    assert scenarios.errors_of(refused.value)[0][0] == "scenario.yml"
    assert [one.number for one in rows.versions()] == [1]


@pytest.mark.badinput
def test_who_saves_over_somebody_else_is_told(shop: Settings, admin: Actor) -> None:
    scenarios.save_text(admin, changed("buffer: 1", "buffer: 2"), seen=1)
    with pytest.raises(Conflict, match="admin made version 2 in the meantime"):
        scenarios.save_text(admin, changed("buffer: 2", "buffer: 3"), seen=1)
    with pytest.raises(BadInput, match="what there is already"):
        scenarios.save_text(admin, changed("", ""), seen=2)
    assert scenarios.current().number == 2


def test_going_back_is_a_version_of_its_own_and_classes_come_back_open(shop: Settings, admin: Actor) -> None:
    scenarios.save_text(admin, changed("packages: [git]", "packages: [vim]") + OTHER, seen=1)
    assert {name: Class.get_by_id(name).enabled for name in ("notes", "maps")} == {"notes": True, "maps": True}
    change = scenarios.compare(scenarios.current().tree, scenarios.version(1).tree)
    assert [(one.name, one.effect) for one in change.classes] == [("notes", "seed"), ("maps", "withdrawn")]
    assert [one.name for one in change.built] == ["notes"]
    back = scenarios.go_back(admin, 1, seen=2)
    assert (back.number, scenarios.text(back), back.comment) == (3, GOOD, "Back to version 1")
    assert spec()["packages"] == ["git"]
    assert not Class.get_by_id("maps").enabled
    scenarios.go_back(admin, 2, seen=3)
    assert Class.get_by_id("maps").enabled
    with pytest.raises(Conflict):
        scenarios.go_back(admin, 4, seen=4)
    with pytest.raises(NotFound):
        scenarios.go_back(admin, 9, seen=4)


def test_seeds_are_asked_for_where_they_are_made_from_something_else(shop: Settings, admin: Actor) -> None:
    scenarios.save_text(admin, changed("buffer: 1", "buffer: 2"), seen=1, build=True)
    assert not Seed.select().exists()
    scenarios.save_text(admin, changed("packages: [git]", "packages: [vim]") + OTHER, seen=2, build=True)
    assert {(seed.class_name, seed.state) for seed in Seed.select()} == {("notes", SeedState.QUEUED), ("maps", SeedState.QUEUED)}
    scenarios.save_text(admin, changed("packages: [vim]", "packages: [git]"), seen=3, build=True)
    assert Seed.select().count() == 2, "one that is queued is built of what is current then"


def test_what_is_exported_is_imported_as_it_was(shop: Settings, admin: Actor) -> None:
    name, packed = scenarios.export(scenarios.current())
    assert name == "shop.zip"
    files = tree.read_zip(packed)
    other = {**files, "roles/web/files/run": tree.File(b"#!/bin/sh\n", executable=True)}
    sent = scenarios.import_zip(admin, tree.to_zip(other, "shop"))
    assert scenarios.current().number == 1, "nothing goes by it yet"
    with pytest.raises(Conflict):
        scenarios.take_import(admin, digest="another", seen=1)
    made = scenarios.take_import(admin, digest=sent.digest, seen=1)
    assert (made.number, made.changes) == (2, "roles/web/files/run")
    assert scenarios.export(made)[1] == tree.to_zip(other, "shop")
    with pytest.raises(NotFound):
        scenarios.take_import(admin, digest=sent.digest, seen=2)
    assert events() == ["scenario.imported", "scenario.changed"]


@pytest.mark.badinput
def test_an_import_that_cannot_be_used_leaves_all_as_it_is(shop: Settings, admin: Actor) -> None:
    broken = {"scenario.yml": tree.File(GOOD.replace("os: debian-13", "os: beos").encode())}
    with pytest.raises(ScenarioErrors):
        scenarios.import_zip(admin, tree.to_zip(broken, "shop"))
    with pytest.raises(BadInput):
        scenarios.import_zip(admin, b"no zip")
    with pytest.raises(NotFound):
        scenarios.waiting(ScenarioState.IMPORTED)
    scenarios.import_zip(admin, scenarios.export(scenarios.current())[1])
    scenarios.discard_import(admin)
    with pytest.raises(NotFound):
        scenarios.discard_import(admin)


# -- the folder -----------------------------------------------------------------------------------


def test_where_nobody_changed_anything_a_newer_folder_is_taken_by_itself(shop: Settings) -> None:
    edit(shop, "buffer: 1", "buffer: 3")
    assert (scenarios.current().number, scenarios.current().author) == (2, "")
    assert Class.get_by_id("notes").buffer == 3
    edit(shop, "buffer: 3", "buffer: 1")
    assert scenarios.text(scenarios.version(3)) == GOOD


def test_a_newer_folder_is_merged_with_what_was_changed_here(shop: Settings, admin: Actor) -> None:
    scenarios.save_text(admin, changed("memory: 512", "memory: 2048"), seen=1)
    edit(shop, "packages: [git]", "packages: [git, less]")
    assert scenarios.current().number == 2, "nothing is taken by itself"
    assert events()[-1] == "scenario.offered"
    scenarios.follow_folder(shop)
    assert events().count("scenario.offered") == 1
    offered = scenarios.waiting(ScenarioState.OFFERED)
    assert scenarios.merged({}).conflicts == ()
    shown = scenarios.outcome_digest(scenarios.merged({}))
    made = scenarios.take_merged(admin, {}, digest=offered.digest, seen=2, shown=shown)
    assert (spec()["packages"], spec()["size"]["memory"]) == (["git", "less"], 2048)  # type: ignore[index]
    scenarios.follow_folder(shop)
    assert (made.number, scenarios.current().number, rows.in_state(ScenarioState.OFFERED)) == (3, 3, None)
    edit(shop, "disk: 4", "disk: 6")
    assert scenarios.merged({}).conflicts == (), "it is compared with what was merged last"


def test_conflicts_are_chosen_one_by_one(shop: Settings, admin: Actor) -> None:
    scenarios.save_text(admin, changed("memory: 512", "memory: 2048").replace("buffer: 1", "buffer: 0"), seen=1)
    edit(shop, "memory: 512", "memory: 1024")
    edit(shop, "buffer: 1", "buffer: 3")
    digest = scenarios.waiting(ScenarioState.OFFERED).digest
    places = [one.place for one in scenarios.merged({}).conflicts]
    assert places == ["scenario.yml: classes.notes.size.memory", "scenario.yml: classes.notes.policy.buffer"]
    with pytest.raises(BadInput, match="Nothing is chosen for"):
        scenarios.take_merged(admin, {places[0]: "theirs"}, digest=digest, seen=2, shown="")
    choices: dict[str, Side] = {places[0]: "theirs", places[1]: "ours"}
    with pytest.raises(Conflict, match="not what you looked at"):
        scenarios.take_merged(admin, choices, digest=digest, seen=2, shown="another")
    scenarios.take_merged(admin, choices, digest=digest, seen=2, shown=scenarios.outcome_digest(scenarios.merged(choices)))
    assert (spec()["size"]["memory"], Class.get_by_id("notes").buffer) == (1024, 0)  # type: ignore[index]


def test_a_newer_folder_can_be_left_or_taken_as_it_is(shop: Settings, admin: Actor) -> None:
    scenarios.save_text(admin, changed("memory: 512", "memory: 2048"), seen=1)
    edit(shop, "memory: 512", "memory: 1024")
    scenarios.keep_ours(admin, digest=scenarios.waiting(ScenarioState.OFFERED).digest, seen=2)
    scenarios.follow_folder(shop)
    assert rows.in_state(ScenarioState.OFFERED) is None, "it is not offered again"
    assert spec()["size"]["memory"] == 2048  # type: ignore[index]
    edit(shop, "memory: 1024", "memory: 4096")
    scenarios.take_offer(admin, digest=scenarios.waiting(ScenarioState.OFFERED).digest, seen=3)
    assert scenarios.text(scenarios.current()) == (shop.scenario / "scenario.yml").read_text()
    edit(shop, "memory: 4096", "memory: 512")
    assert scenarios.current().number == 5, "nothing is changed here any more: it is followed"


def test_an_offer_goes_when_the_folder_is_as_it_was(shop: Settings, admin: Actor) -> None:
    scenarios.save_text(admin, changed("memory: 512", "memory: 2048"), seen=1)
    edit(shop, "memory: 512", "memory: 1024")
    edit(shop, "memory: 1024", "memory: 512")
    with pytest.raises(NotFound):
        scenarios.merged({})


@pytest.mark.badinput
def test_a_folder_that_cannot_be_used_changes_nothing(shop: Settings, opened: Settings, tmp_path: Path) -> None:
    edit(shop, "os: debian-13", "os: beos")
    scenarios.follow_folder(replace(shop, scenario=tmp_path / "gone"))
    assert (scenarios.current().number, events()) == (1, ["scenario.unreadable"] * 2)


@pytest.mark.badinput
def test_without_any_scenario_the_folder_has_to_be_right(opened: Settings, tmp_path: Path) -> None:
    with pytest.raises(ScenarioErrors, match="there is no folder"):
        scenarios.follow_folder(replace(opened, scenario=tmp_path / "gone"))
    with pytest.raises(NotFound):
        scenarios.current()


# -- files for Ansible ----------------------------------------------------------------------------


def test_the_current_version_is_laid_out_and_those_before_are_removed(shop: Settings, admin: Actor) -> None:
    first = rows.lay_out(shop)
    assert tree.read_folder(first) == tree.read_folder(shop.scenario)
    assert load(first, anywhere=True).scenario.name == "shop"
    scenarios.save_text(admin, changed("buffer: 1", "buffer: 2"), seen=1)
    second = rows.lay_out(shop)
    assert (second / "scenario.yml").read_text() == scenarios.text(scenarios.current())
    assert first.is_dir(), "a build may go by it"
    rows.tidy(shop)
    assert list(shop.scenarios.iterdir()) == [second]


@pytest.mark.crash
@pytest.mark.parametrize("at", ["write", "replace"])
def test_cut_off_between_writing_and_renaming_it_is_laid_out_whole_the_next_time(
    shop: Settings, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    written = tree.write
    with monkeypatch.context() as patched:
        if at == "write":
            patched.setattr(tree, "write", lambda files, folder: (written(dict(list(files.items())[:1]), folder), killed()))
        else:
            patched.setattr(durable, "replace", killed)
        with pytest.raises(Killed):
            rows.lay_out(shop)
    assert not rows.folder(shop).exists()
    assert len(list(shop.scenarios.iterdir())) == 1, "what was written lies there"
    assert tree.read_folder(rows.lay_out(shop)) == tree.read_folder(shop.scenario)
    assert list(shop.scenarios.iterdir()) == [rows.folder(shop)]


@pytest.mark.hostile
def test_what_was_tampered_with_in_the_catalog_is_not_laid_out(shop: Settings) -> None:
    ScenarioFile.update(content=b"- hosts: localhost\n").execute()
    with pytest.raises(Unavailable, match="damaged"):
        rows.lay_out(shop)
    database.rows("DROP TRIGGER scenario_version_kept")
    database.rows("UPDATE scenario_version SET digest = '../../etc'")
    with pytest.raises(BadInput):
        rows.lay_out(shop)
    database.rows("UPDATE scenario_version SET digest = 'another'")
    with pytest.raises(Unavailable):
        rows.lay_out(shop)


def test_versions_never_change_and_old_ones_go_with_their_files(shop: Settings, admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="does not change"):
        database.rows("UPDATE scenario_version SET tree = '{}'")
    monkeypatch.setattr(rows, "VERSIONS", 3)
    for number in range(2, 7):
        scenarios.save_text(admin, changed("title: Notebook", "title: Notebooks"), seen=number - 1)
    assert [one.number for one in rows.versions()] == [6, 5, 4]
    assert ScenarioFile.select().count() == 2 + 3, "the role, the folder's and three"
    monkeypatch.setattr(rows, "BYTES", 10)
    scenarios.save_text(admin, changed("title: Notebook", "title: Notebooks"), seen=6)
    assert [one.number for one in rows.versions()] == [7]
