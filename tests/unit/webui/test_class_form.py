"""The form of a class: made, copied, changed, looked at before it is saved, gone back from, deleted."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

import webui
from appliance import catalog
from appliance.catalog import Class, Event, Seed, SeedState
from appliance.scenario.schema import ClassSpec
from appliance.services import class_specs, scenarios
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import Settings
from appliance.yamlfile import is_model, without_none
from tests.unit.scenario.test_load import GOOD, write
from tests.unit.webui.conftest import Browser
from webui import schema_form
from webui.admin.class_form import FIELDS

NEW = "/admin/scenario/new-class"
EDIT = "/admin/scenario/classes/notes/edit"
MAPS = {
    "name": "maps", "title": "Maps", "os": "debian-12", "packages": "nginx\r\nless", "application.port": "80", "size.memory": "2048",
    "lease.idle.minutes": "0", "fork": "yes", "pictures": "yes",
}  # fmt: skip
NOTES = {
    "title": "Notebook", "os": "debian-13", "packages": "git", "roles": "web", "size.memory": "512", "size.disk": "4", "application.port": "8888",
    "application.ready": "/api", "policy.maximum": "3", "lease.idle.minutes": "0", "fork": "yes", "pictures": "yes",
}  # fmt: skip


@pytest.fixture
def owner(grace: Browser, opened: Settings, tmp_path: Path) -> Browser:
    scenarios.follow_folder(replace(opened, scenario=write(tmp_path, GOOD)))
    adopt_scenario(class_specs.scenario())
    return grace


def looked_at(browser: Browser, path: str, values: dict[str, str]) -> str:
    """The page with what the values change; its form, with what goes along, is sent by `saved`."""
    browser.get(path)
    answer = browser.post(path, {**values, "seen": str(scenarios.current().number)})
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def saved(browser: Browser, path: str, values: dict[str, str], page: str, **more: str) -> str:
    """Save what was looked at; where that leads to."""
    along = {name: re.findall(f'name="{name}" value="(.*?)"', page)[0] for name in ("seen", "digest")}
    answer = browser.post(f"{path}/save", {**values, **along, **more})
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def test_a_class_is_made_from_nothing_and_built(owner: Browser) -> None:
    assert f'href="{NEW}"' in owner.get("/admin/classes/").text
    assert "New class" in owner.get("/search?q=new+class").text
    page = looked_at(owner, NEW, MAPS)
    for words in (">new</span>", "Its seed is built before it can be had.", "Fit on this server", "what ends first", "not known"):
        assert words in page
    assert scenarios.current().number == 1, "nothing is saved yet"
    assert saved(owner, NEW, MAPS, page, build="yes", comment="For the geographers") == "/admin/classes/maps/seeds"
    assert Class.get_by_id("maps").spec["packages"] == ["nginx", "less"]
    assert Seed.get(Seed.machine_class == "maps").state is SeedState.QUEUED
    assert "    packages: [nginx, less]\n" in scenarios.text(scenarios.current())
    page = owner.get("/admin/classes/maps/seeds").text
    assert "Maps is saved, as version 2. Its seed is built now." in page
    assert '<a href="/admin/scenario/versions/1#back">Undo</a>' in page


def test_the_kind_of_a_change_is_said_before_it_is_saved(owner: Browser) -> None:
    for changes, said in (
        ({"packages": "git\nless"}, "other seed"),
        ({"title": "Notes"}, "at once"),
        ({"readiness": "cold"}, "new machines"),
    ):
        page = looked_at(owner, EDIT, {**NOTES, **changes})
        assert f">{said}</span>" in page
        assert ('name="build"' in page) == (said == "other seed")
    values = {**NOTES, "title": "Notes"}
    page = looked_at(owner, EDIT, values)
    assert saved(owner, EDIT, values, page) == "/admin/classes/notes/machine"
    assert scenarios.text(scenarios.current()) == GOOD.replace("title: Notebook", "title: Notes")
    assert not Seed.select().where(Seed.machine_class == "notes").exists()


def test_the_form_has_what_the_class_is(owner: Browser) -> None:
    page = owner.get(EDIT).text
    assert 'placeholder="one a line">git</textarea>' in page
    assert '<option value="debian-13" selected> Debian 13 (trixie)</option>' in page
    assert 'value="512"' in page
    assert 'The scenario\'s roles: <span class="mono">web</span>' in unescape(page)
    copied = owner.get(f"{NEW}?copy=notes").text
    assert 'value="512"' in copied
    assert 'name="name"' in copied
    assert owner.get(f"{NEW}?copy=none").status_code == 404
    assert owner.get("/admin/scenario/classes/none/edit").status_code == 404


def test_every_key_of_a_scenario_has_a_field_with_its_words() -> None:
    """What is declared at the model is in the form, whatever is added."""

    def keys(model: type, above: str = "") -> set[str]:
        found = set()
        for key, info in model.model_fields.items():  # type: ignore[attr-defined]
            kind = without_none(info.annotation)
            found |= keys(kind, f"{above}{key}.") if is_model(kind) else {above + key}
        return found

    def flat(fields: tuple[schema_form.Field, ...]) -> list[schema_form.Field]:
        return [one for field in fields for one in (flat(field.fields) if field.fields else [field])]

    fields = {field.name: field for field in flat(tuple(FIELDS.values()))}
    assert fields.keys() == keys(ClassSpec) - {"applications"}, "the catalogue has a field for each of these"
    assert [name for name, field in fields.items() if not field.help] == []
    assert (fields["policy.buffer"].label, fields["policy.buffer"].unit) == ("Ready and waiting", "machines")
    assert (fields["size.memory"].label, fields["size.memory"].unit) == ("Memory", "MiB")


def test_a_class_s_icon_is_one_that_there_is_and_stands_beside_its_title(ada: Browser) -> None:
    drawn = (Path(webui.__file__).parent / "icons.txt").read_text().split()
    assert set(FIELDS["icon"].choices) <= set(drawn)
    Class.update(spec={**Class.get_by_id("notebook").spec, "icon": "database"}).where(Class.name == "notebook").execute()
    offer = ada.get("/").text.split('id="offer-notebook"')[1].split("</h2>")[0]
    assert "#database" in offer


@pytest.mark.badinput
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays(owner: Browser) -> None:
    owner.get(EDIT)
    wrong = {**NOTES, "size.memory": "much", "packages": "git\n<b>", "policy.minimum": "7"}
    for path in (EDIT, f"{EDIT}/save"):
        answer = owner.post(path, {**wrong, "seen": "1"})
        page = unescape(answer.text)
        assert answer.status_code == 400
        assert "3 errors; nothing was saved." in page
        assert '<a href="#f-size.memory">size.memory must be a whole number' in page
        assert 'value="much"' in page
        assert "&lt;b&gt;</textarea>" in answer.text
        assert 'aria-invalid="true"' in page
    answer = owner.post(EDIT, {**NOTES, "policy.minimum": "7", "seen": "1"})
    assert "minimum (7) is above maximum (3)" in unescape(answer.text)
    assert scenarios.current().number == 1


@pytest.mark.badinput
def test_nothing_is_saved_that_was_not_looked_at_or_that_somebody_overtook(owner: Browser) -> None:
    values = {**NOTES, "title": "Notes"}
    page = looked_at(owner, EDIT, values)
    refused = owner.post(
        f"{EDIT}/save", {**values, "title": "Other", "seen": "1", "digest": re.findall('name="digest" value="(.*?)"', page)[0]}
    )
    assert (refused.status_code, "since you looked" in refused.text) == (409, True)
    saved(owner, EDIT, values, page)
    other = {**NOTES, "title": "Other"}
    page = looked_at(owner, EDIT, other).replace('name="seen" value="2"', 'name="seen" value="1"')
    along = {"seen": "1", "digest": re.findall('name="digest" value="(.*?)"', page)[0]}
    refused = owner.post(f"{EDIT}/save", {**other, **along})
    assert (refused.status_code, "grace made version 2 in the meantime" in refused.text) == (409, True)
    same = owner.post(EDIT, {**values, "seen": "2"})
    assert (same.status_code, "what there is already" in same.text) == (400, True)


def test_what_an_admin_changed_on_the_class_s_own_page_counts_on_and_is_told(owner: Browser) -> None:
    owner.get("/admin/classes/notes/policy")
    owner.post("/admin/classes/notes/reset/buffer")
    Class.update(overrides={"buffer": 3}, buffer=3).where(Class.name == "notes").execute()
    assert "own page has 3, which counts on" in owner.get(EDIT).text


def test_a_class_is_withdrawn_emptied_and_deleted(owner: Browser) -> None:
    page = looked_at(owner, NEW, MAPS)
    saved(owner, NEW, MAPS, page, build="yes")
    there = "/admin/scenario/classes/maps/delete"
    assert f'href="{there}"' in owner.get("/admin/classes/maps/machine").text
    page = owner.get(there).text
    assert "It is offered." in page
    assert "1 seed" in page
    assert "Delete it" not in page
    assert owner.post(there, {"seen": "2"}).status_code == 409
    owner.post("/admin/classes/maps/enabled", {"enabled": "no"})
    with catalog.write():
        Seed.update(state=SeedState.READY, stored=True).where(Seed.machine_class == "maps").execute()
    assert owner.post(f"{there}/seeds").status_code == 303
    with catalog.write():
        Seed.update(stored=False).execute()
    assert "Nothing is left" in owner.get(there).text
    assert owner.post(there, {"seen": "2"}).headers["Location"] == "/admin/classes/"
    page = owner.get("/admin/classes/").text
    assert "Maps is deleted." in page
    assert '<a href="/admin/scenario/versions/2#back">Undo</a>' in page
    assert owner.get("/admin/classes/maps").status_code == 404
    assert scenarios.text(scenarios.current()) == GOOD
    assert Event.select().where(Event.kind == "class.deleted").count() == 1


@pytest.mark.authz
def test_it_is_for_owners_alone(owner: Browser, signed_in: Callable[[str], Browser]) -> None:
    mary = signed_in("mary")  # who manages the class studio
    for path in (NEW, EDIT, "/admin/scenario/classes/studio/delete"):
        assert mary.get(path).status_code == 403
    page = mary.get("/admin/classes/studio/machine").text
    assert not any(word in page for word in (">Edit", ">Copy", ">Delete"))
    assert "New class" not in mary.get("/admin/classes/").text
