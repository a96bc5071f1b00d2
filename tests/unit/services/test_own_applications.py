"""Applications that people bring: looked at before they are kept, versions of the scenario once they are, and what is refused of them."""

import io
import stat
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.catalog import Actor, Class, Event, ScenarioState, options
from appliance.catalog import scenarios as rows
from appliance.engine import scenario as engine_scenario
from appliance.errors import BadInput, Conflict, DpeError, NotFound
from appliance.scenario import applications, packaged, tree
from appliance.scenario.load import ScenarioErrors
from appliance.scenario.packaged import Packaged
from appliance.seeds import recipe
from appliance.services import class_specs, own_applications, scenarios
from appliance.settings import Settings
from tests.unit.scenario.test_load import GOOD, write
from tests.unit.scenario.test_tree import packed

ABOUT = """\
title: Wiki of ours
description: Pages that everybody writes.
icon: notebook
licence: MIT
releases: [debian-13]
access: web
web: {port: 8090}
needs: {memory: 64}
"""
TASKS = "- name: Have a folder\n  ansible.builtin.file: {path: /srv/wiki, state: directory}\n"
WIKI = {"wiki/application.yml": ABOUT, "wiki/tasks/main.yml": TASKS}
WITH_IT = GOOD.replace("packages: [git]", "packages: [git]\n    applications: [{name: wiki}]")


@pytest.fixture
def shop(opened: Settings, tmp_path: Path) -> Settings:
    settings = replace(opened, scenario=write(tmp_path, GOOD))
    scenarios.follow_folder(settings)
    return settings


def wiki(**changed: str) -> bytes:
    """A zip of the application, with other files, by their names with two underscores for a slash and one for a point."""
    return packed({**WIKI, **{f"wiki/{name.replace('__', '/').replace('_', '.')}": text for name, text in changed.items()}})


def test_it_is_looked_at_then_taken_changed_downloaded_withdrawn_and_removed(shop: Settings, admin: Actor) -> None:
    own_applications.send(admin, wiki())
    sent = own_applications.waiting()
    assert (sent.name, sent.entry.manifest.title, sent.was, len(sent.change.files)) == ("wiki", "Wiki of ours", None, 2)
    assert "wiki" not in applications.catalogue(rows.own_applications), "nothing goes by it yet"
    own_applications.take(admin, digest=sent.version.digest, seen=1)
    assert rows.in_state(ScenarioState.APPLICATION) is None
    assert applications.catalogue(rows.own_applications)["wiki"].is_own
    scenarios.save_text(admin, WITH_IT, seen=2)
    assert Class.get_by_id("notes").spec["applications"] == [{"name": "wiki", "options": {}, "port": 8090}]
    assert [page.title for page in applications.pages(Class.get_by_id("notes").spec, rows.own_applications)] == ["Notebook", "Wiki of ours"]

    # Sent again, it is another version, and the classes that have it get another seed.
    before = recipe.digest(class_specs.spec_of("notes"), rows.lay_out(shop))
    own_applications.send(admin, wiki(tasks__main_yml=TASKS.replace("/srv/wiki", "/srv/pages")))
    again = own_applications.waiting()
    assert again.was is not None
    assert [(one.name, one.effect, one.keys) for one in again.change.built] == [("notes", "seed", ("applications/wiki",))]
    own_applications.take(admin, digest=again.version.digest, seen=3, build=True)
    assert recipe.digest(class_specs.spec_of("notes"), rows.lay_out(shop)) != before
    assert [event.message for event in Event.select().where(Event.kind == "scenario.changed")][-1].startswith(
        "admin changed the application wiki, version 4 of the scenario"
    )

    # What is exported has it and can be imported, and so has its own zip.
    _, content = scenarios.export(scenarios.current())
    assert {path for path in tree.read_zip(content) if path.startswith("applications/")} == {f"applications/{path}" for path in WIKI}
    scenarios.import_zip(admin, content)
    scenarios.discard_import(admin)
    assert tree.read_application(own_applications.download("wiki"))[0] == "wiki"
    assert tree.read_application(own_applications.download("pages"))[1].keys() >= {"application.yml", "tasks/main.yml"}

    own_applications.withdraw(admin, "wiki", withdrawn=True)
    assert options.get("withdrawn_applications") == ["wiki"]
    own_applications.withdraw(admin, "wiki", withdrawn=False)
    assert options.get("withdrawn_applications") == []
    with pytest.raises(Conflict, match="notes has it"):
        own_applications.remove(admin, "wiki", seen=4)
    with pytest.raises(Conflict, match="came with the appliance"):
        own_applications.remove(admin, "pages", seen=4)
    scenarios.save_text(admin, GOOD, seen=4)
    own_applications.remove(admin, "wiki", seen=5)
    assert "wiki" not in applications.catalogue(rows.own_applications)
    with pytest.raises(NotFound):
        own_applications.download("wiki")
    scenarios.go_back(admin, 4, seen=6)
    assert "wiki" in applications.catalogue(rows.own_applications)


def test_one_whose_name_an_update_brings_stays_counts_is_told_once_and_can_be_changed(
    shop: Settings, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_applications.add(admin, wiki())
    engine_scenario.adopt(shop)
    assert not applications.catalogue(rows.own_applications)["wiki"].hides
    shipped = {**applications.shipped(), "wiki": replace(applications.shipped()["dokuwiki"], name="wiki")}
    monkeypatch.setattr(applications, "shipped", lambda: shipped)
    for _ in range(2):
        engine_scenario.adopt(shop)
    [told] = Event.select().where(Event.kind == "scenario.application_hidden")
    assert "called wiki came with the appliance" in told.message
    found = applications.catalogue(rows.own_applications)["wiki"]
    assert (found.is_own, found.hides, found.manifest.title, own_applications.hidden()) == (True, True, "Wiki of ours", ["wiki"])
    own_applications.add(admin, wiki(tasks__main_yml=TASKS.replace("/srv/wiki", "/srv/pages")))
    assert rows.current().number == 3, "it is another version of ours"
    with pytest.raises(BadInput, match="is called pages"):
        own_applications.add(admin, wiki(), "pages")
    # As its page says: the same under another name, then this one goes, and the appliance's is there.
    own_applications.add(admin, own_applications.download("wiki"), "wiki-ours")
    own_applications.remove(admin, "wiki", seen=4)
    assert {name: applications.catalogue(rows.own_applications)[name].is_own for name in ("wiki", "wiki-ours")} == {
        "wiki": False,
        "wiki-ours": True,
    }
    engine_scenario.adopt(shop)
    assert options.get("hidden_applications") == []


def test_a_list_of_packages_and_a_script_become_one_and_can_be_read_back(shop: Settings, admin: Actor) -> None:
    made = Packaged(
        title="Graphs", description="Draws graphs.", releases=["debian-13"], packages=["graphviz"], script="echo {{ 6 * 7 }}\r\n", port=8091
    )
    own_applications.keep(admin, "graphs", packaged.files(made))
    found = own_applications.waiting()
    assert found.entry.manifest.packages == ["graphviz"]
    assert found.files["files/install"].content == b"#!/bin/sh\nset -eu\necho {{ 6 * 7 }}\n"
    own_applications.take(admin, digest=found.version.digest, seen=1)
    again = own_applications.made_of("graphs")
    assert again is not None
    assert (again.script, again.port, again.packages) == ("echo {{ 6 * 7 }}\n", 8091, ["graphviz"])
    assert own_applications.made_of("pages") is None
    own_applications.keep(admin, "graphs", packaged.files(made.model_copy(update={"script": ""})))
    assert own_applications.waiting().files.keys() == {"application.yml", "tasks/main.yml"}
    own_applications.discard(admin)
    with pytest.raises(NotFound):
        own_applications.waiting()


def test_two_who_send_at_once_never_take_each_others(shop: Settings, admin: Actor) -> None:
    own_applications.send(admin, wiki())
    seen = own_applications.waiting().version.digest
    own_applications.send(admin, wiki(tasks__main_yml=TASKS + TASKS))
    with pytest.raises(Conflict):
        own_applications.take(admin, digest=seen, seen=1)
    assert own_applications.add(admin, wiki()) == "wiki"
    with pytest.raises(BadInput, match="there is already"):
        own_applications.add(admin, wiki())


BOMB = "- &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"- &{one} [*{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}]\n"
    for before, one in zip("abcdefghij", "bcdefghijk", strict=True)
)
TASK = "- name: One\n  ansible.builtin.command: id\n"


WRONG = (
    (wiki(application_yml=ABOUT.replace("memory: 64", "memory: much")), "application.yml", 8, "must be a whole number"),
    (wiki(application_yml=ABOUT + "colour: red\n"), "application.yml", 9, "colour is not a known key"),
    (wiki(application_yml="a: &a [*a, *a]\n"), "application.yml", 1, "an alias"),
    (wiki(application_yml="\xff".encode("utf-16").decode("utf-16")), "application.yml", 1, "must have keys below it"),
    (wiki(tasks__main_yml="- name: x\n  command: [unclosed\n"), "tasks/main.yml", 3, "this is not YAML"),
    (wiki(tasks__main_yml="hello"), "tasks/main.yml", 1, "there is no list of tasks"),
    (wiki(tasks__main_yml="- hosts: all\n  tasks: []\n"), "tasks/main.yml", 1, "this is a play"),
    (wiki(tasks__main_yml="- name: Only words\n"), "tasks/main.yml", 1, "this task has no module"),
    (wiki(tasks__main_yml="- name: x\n  comand: id\n"), "tasks/main.yml", 2, "there is no module comand; write command"),
    (wiki(tasks__main_yml="- command: id\n  regster: x\n"), "tasks/main.yml", 2, "no keyword of Ansible; write register"),
    (wiki(tasks__main_yml="- command: id\n  copy: {}\n"), "tasks/main.yml", 2, "two modules in one task"),
    (wiki(tasks__main_yml="- a.b.c: {}\n"), "tasks/main.yml", 1, "of the collection a.b"),
    (wiki(tasks__main_yml=TASK + "  delegate_to: localhost\n"), "tasks/main.yml", 3, "leads out of the machine"),
    (wiki(handlers__main_yml="- local_action: command id\n"), "handlers/main.yml", 1, "leads out of the machine"),
    (wiki(tasks__main_yml="- block:\n    - command: id\n      connection: local\n"), "tasks/main.yml", 3, "leads out of the machine"),
    (wiki(tasks__main_yml=TASK + "  vars: {x: \"{{ lookup('pipe', 'id') }}\"}\n"), "tasks/main.yml", 3, "lookup() reads where the seed"),
    (wiki(tasks__main_yml=TASK + "  with_pipe: id\n"), "tasks/main.yml", 3, "with_pipe reads where the seed"),
    (wiki(templates__page_html="\n{{ query('file', '/etc/shadow') }}"), "templates/page.html", 2, "query() reads where the seed"),
    (wiki(tasks__main_yml=BOMB), "tasks/main.yml", 1, "this is no task"),
    (wiki(tasks__main_yml="? &a [x, x]\n: [*a]\n"), "tasks/main.yml", 1, "there is no list of tasks"),
    (packed({"wiki/application.yml": ABOUT}), "tasks/main.yml", 1, "there are no tasks"),
)


@pytest.mark.hostile
@pytest.mark.badinput
def test_what_is_wrong_is_told_with_file_and_line_and_nothing_is_left(shop: Settings, admin: Actor) -> None:
    for content, file, line, said in WRONG:
        with pytest.raises(ScenarioErrors) as refused:
            own_applications.send(admin, content)
        told = [(str(one.file), one.line, f"{one.message}; {one.hint}") for one in refused.value.errors]
        assert any(one[:2] == (file, line) and said in one[2] for one in told), told
    assert (rows.in_state(ScenarioState.APPLICATION), scenarios.current().number) == (None, 1)


def twice() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as writing:
        writing.writestr("application.yml", "one")
        with pytest.warns(UserWarning, match="Duplicate"):
            writing.writestr("application.yml", "two")
    return out.getvalue()


def million() -> bytes:
    """What says that it lists a million files, which nobody reads."""
    listed = b"PK\x01\x02" + bytes(42)
    return listed * 100_000 + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(listed) * 100_000, 0, 0)


HARM = (
        (packed({"wiki/../../etc/cron.d/x": "", **WIKI}), "cannot be the name"),
        (packed({"/etc/cron.d/x": "", **WIKI}), "cannot be the name"),
        (packed({"wiki/a\\b": "", **WIKI}), "cannot be the name"),
        (packed({"wiki/tasks/main.yml": "/etc/shadow", "wiki/application.yml": ABOUT}, external_attr=(stat.S_IFLNK | 0o777) << 16), "link"),
        (packed({**WIKI, "wiki/noughts": bytes(2 << 20)}), "larger than 1 MiB"),
        (packed(WIKI).replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00").replace(
            b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"), "encrypted"),
        (twice(), "twice"),
        (million(), "more than 2000 files"),
        (b"PK", "cannot be read"),
        (packed({"wiki/readme": ""}), "no application.yml"),
        (packed({"application.yml": ABOUT, "tasks/main.yml": TASKS}), "short name is missing"),
        (packed({f"Wiki of Ada/{path.split('/', 1)[1]}": text for path, text in WIKI.items()}), "cannot be the short name"),
        (packed({f"pages/{path.split('/', 1)[1]}": text for path, text in WIKI.items()}), "came with the appliance"),
)  # fmt: skip


@pytest.mark.hostile
@pytest.mark.badinput
def test_a_zip_that_means_harm_or_is_none_is_refused_and_nothing_is_left(
    shop: Settings, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "BYTES", 1 << 20)  # there is more than that in the zip
    for content, said in HARM:
        with pytest.raises(DpeError, match=said) as refused:
            own_applications.send(admin, content)
        assert refused.value.hint
    assert (rows.in_state(ScenarioState.APPLICATION), scenarios.current().number) == (None, 1)


@pytest.mark.hostile
def test_all_of_a_scenario_stays_within_its_bounds(shop: Settings, admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "BYTES", 1 << 20)
    half = "x" * (1 << 19)
    own_applications.add(admin, wiki(files__a=half))
    with pytest.raises(BadInput, match="larger than 1 MiB"):
        own_applications.send(admin, packed({**{path.replace("wiki", "b"): text for path, text in WIKI.items()}, "b/files/b": half}))
