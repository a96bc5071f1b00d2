"""The catalogue of applications: its pages, the form of a class, search and API; and the doors of a machine with several."""

import io
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from appliance import catalog
from appliance.catalog import Actor, Class, Lease, Machine, ScenarioState
from appliance.catalog import scenarios as rows
from appliance.errors import NotAllowed, NotFound
from appliance.scenario import applications, packaged, tree
from appliance.scenario.applications import catalogue
from appliance.scenario.packaged import Packaged
from appliance.services import app_access, class_specs, scenarios
from appliance.services import machines as verbs
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import Settings
from tests.pages import forms_of
from tests.unit.scenario.test_load import GOOD, write
from tests.unit.scenario.test_tree import packed
from tests.unit.webui.conftest import HOST, Browser
from tests.unit.webui.test_class_form import NEW, looked_at, saved

OURS = {
    "name": "ours", "title": "Ours", "os": "debian-12", "size.memory": "512", "size.disk": "4", "lease.idle.minutes": "0", "fork": "yes",
    "applications.pages": "yes", "applications.pages.options.heading": "Our pages", "applications.pages.port": "8080",
    "applications.terminal": "yes", "applications.terminal.options.colours": "yes", "applications.terminal.port": "4201",
}  # fmt: skip


@pytest.fixture
def owner(grace: Browser, opened: Settings, tmp_path: Path) -> Browser:
    scenarios.follow_folder(replace(opened, scenario=write(tmp_path, GOOD)))
    adopt_scenario(class_specs.scenario())
    return grace


def test_the_catalogue_shows_what_there_is_and_leads_to_a_class(owner: Browser) -> None:
    page = unescape(owner.get("/admin/applications/").text)
    for name, entry in catalogue(rows.own_applications).items():
        assert f'href="/admin/applications/{name}"' in page
        assert entry.manifest.description in page
    page = unescape(owner.get("/admin/applications/pages").text)
    for words in ("BSD-2-Clause", "Debian 12, Debian 13", "nginx-light", "Heading of the first page", "port 8080", "~/Pages"):
        assert words in page
    assert owner.get("/admin/applications/none").status_code == 404
    assert 'href="/admin/applications/pages"' in owner.get("/search?q=web+pages").text
    begun = owner.get(f"{NEW}?application=pages").text
    (hint,) = re.findall(r'name="applications\.pages" aria-describedby="(h\d+)" checked', " ".join(begun.split()))
    assert catalogue(rows.own_applications)["pages"].manifest.description in unescape(begun).partition(f'id="{hint}"')[2][:300]
    assert owner.get(f"{NEW}?application=none").status_code == 404


def test_a_class_is_made_of_applications(owner: Browser) -> None:
    page = looked_at(owner, NEW, OURS)
    assert "its applications need 240 MiB" in " ".join(page.split())
    assert saved(owner, NEW, OURS, page) == "/admin/classes/ours/machine"
    spec = Class.get_by_id("ours").spec
    assert [(one["name"], one["options"], one["port"]) for one in spec["applications"]] == [
        ("pages", {"heading": "Our pages", "listing": False}, 8080),
        ("terminal", {}, 4201),
    ]
    assert spec["application"]["port"] == 8080
    page = unescape(owner.get("/admin/classes/ours/machine").text)
    assert "port 4201" in page
    assert 'value="4201"' in owner.get("/admin/scenario/classes/ours/edit").text
    assert ">ours</a>" in owner.get("/admin/applications/terminal").text


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"applications.terminal.port": "8080"}, "applications.terminal.port", "Web terminal and Web pages both take port 8080"),
        ({"size.memory": "128"}, "size.memory", "need 240 with the operating system"),
        (
            {"applications.redis": "yes", "applications.redis.options.memory": "1", "size.memory": "900", "size.disk": "9"},
            "applications.redis.options.memory",
            "which is too small",
        ),
    ],
)
def test_what_does_not_go_together_is_said_at_its_field(owner: Browser, changes: dict[str, str], field: str, says: str) -> None:
    owner.get(NEW)
    answer = owner.post(NEW, {**OURS, **changes, "seen": str(scenarios.current().number)})
    page = unescape(answer.text)
    assert answer.status_code == 400
    assert f'<a href="#f-{field}">' in page
    assert says in page.partition(f'id="h-{field}"')[2][:300]


@pytest.mark.api
def test_programs_read_the_catalogue(owner: Browser) -> None:
    found = {one["name"]: one for one in owner.get("/api/v1/admin/applications").json["items"]}
    assert found.keys() == catalogue(rows.own_applications).keys()
    assert found["redis"]["port"] is None
    assert found["redis"]["options"][0] == {
        "name": "memory", "type": "integer", "title": "Memory for data", "description": "MiB; beyond that, nothing more is taken in.",
        "default": 64, "minimum": 16, "maximum": 4096, "choices": [],
    }  # fmt: skip


def test_each_page_of_a_machine_has_a_door_of_its_own(
    ready: Callable[[int], list[Machine]], alice: Actor, bob: Actor, opened: Settings
) -> None:
    ready(1)
    small = Class.get_by_id("small")
    with catalog.write():
        chosen = [{"name": "terminal", "options": {}, "port": 4200}]
        Class.update(spec={**small.spec, "applications": chosen}).where(Class.name == "small").execute()
    granted = verbs.request(alice, "small")
    machine = verbs.get_machine(alice, granted.machine_id or "")
    with catalog.write():
        Machine.update(state=catalog.MachineState.IN_USE).where(Machine.id == machine.id).execute()
    machine = verbs.get_machine(alice, machine.id)
    first, second = verbs.ways(machine, opened)
    assert (second.title, second.port) == ("Web terminal", opened.port(1, machine.door))
    here, there = (app_access.admit(alice, way.port, opened) for way in (first, second))
    assert (there.port, there.address, there.machine_id) == (4200, here.address, here.machine_id)
    assert (here.fresh, there.fresh) == (True, True), (
        "each is a place of its own to a browser, which forgets what the machine before it left there"
    )
    assert not app_access.admit(alice, first.port, opened).fresh
    assert not app_access.admit(alice, second.port, opened).fresh
    assert Lease.get(Lease.machine == machine.id).opened_pages == 3
    for way in (first, second):
        with pytest.raises(NotAllowed):
            app_access.admit(bob, way.port, opened)
    with pytest.raises(NotFound):
        app_access.admit(alice, second.port + opened.slots, opened)


MADE = {
    "short": "graphs", "title": "Graphs", "description": "Draws graphs.", "releases": "debian-13", "packages": "graphviz",
    "script": "systemctl enable graphs", "port": "8091", "memory": "64", "disk": "1", "icon": "package", "licence": "MIT",
}  # fmt: skip
NEW_ONE = "/admin/own-applications/new"


def kept(owner: Browser, name: str) -> None:
    """Go by what the page shows of what was sent."""
    form = next(one for one in forms_of(owner.get("/admin/own-applications/sent").text) if one.action == "/admin/own-applications/take")
    answer = owner.post(form.action, form.values)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/admin/applications/{name}"), answer.text


@pytest.mark.i18n
def test_one_of_your_own_keeps_its_words_in_every_language(owner: Browser) -> None:
    owner.post("/admin/own-applications/make", {**MADE, "title": "Data", "description": "Storage"})
    kept(owner, "graphs")
    main = unescape(owner.get("/admin/applications/graphs", **{"Accept-Language": "de"}).text).partition("<main")[2]
    assert "<h1>Data</h1>" in main
    assert "Storage" in main


def test_one_of_your_own_is_made_looked_at_kept_changed_withdrawn_and_removed(owner: Browser) -> None:
    lacking = {name: value for name, value in MADE.items() if name != "releases"}
    refused = owner.post("/admin/own-applications/make", {**lacking, "title": "", "packages": "Grap"}).text
    for words in (
        "Title: It is missing.",
        "Releases: Choose one at least.",
        "That is no name of a Debian package.",
        "systemctl enable graphs",
    ):
        assert words in unescape(refused)
    assert owner.post("/admin/own-applications/make", {**MADE, "short": "pages"}).status_code == 400
    assert owner.post("/admin/own-applications/make", MADE).headers["Location"] == "/admin/own-applications/sent"
    assert "graphs" not in catalogue(rows.own_applications)
    assert "sent an application" in owner.get("/admin/applications/").text
    shown = unescape(owner.get("/admin/own-applications/sent").text)
    for words in ("Draws graphs.", "graphviz", "port 8091", "applications/graphs/files/install", "systemctl enable graphs"):
        assert words in shown
    kept(owner, "graphs")
    page = unescape(owner.get("/admin/applications/graphs").text)
    assert "Edit" in page
    assert ">own<" in owner.get("/admin/applications/").text
    again = unescape(owner.get(f"{NEW_ONE}?of=graphs").text)
    for words in ("Another version of Graphs", 'value="graphviz"', "systemctl enable graphs"):
        assert words in again

    zipped = owner.client.get("/admin/own-applications/graphs/zip", base_url=HOST).data
    form = {"file": (io.BytesIO(zipped), "x.zip"), "name": "graphs-two"}
    assert owner.post("/admin/own-applications/send", form).headers["Location"] == "/admin/own-applications/sent"
    owner.post("/admin/own-applications/discard", {})
    broken = packed({"wiki/application.yml": "title: [", "wiki/tasks/main.yml": "- {}"})
    refused = owner.post("/admin/own-applications/send", {"file": (io.BytesIO(broken), "x.zip")}).text
    assert "application.yml," in refused
    assert "2 errors; nothing was saved." in " ".join(unescape(refused).replace("<strong>", "").split()) or "this is not YAML" in refused

    assert owner.post("/admin/own-applications/graphs/withdraw", {}).status_code == 303
    assert 'name="applications.graphs"' not in owner.get(NEW).text
    assert ">withdrawn<" in owner.get("/admin/applications/graphs").text
    assert owner.post("/admin/own-applications/graphs/offer", {}).status_code == 303
    assert 'name="applications.graphs"' in owner.get(NEW).text
    assert owner.post("/admin/own-applications/graphs/remove", {}).status_code == 303
    assert owner.get("/admin/applications/graphs").status_code == 404


def test_one_whose_name_came_with_the_appliance_too_says_so(owner: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.post("/admin/own-applications/make", MADE)
    kept(owner, "graphs")
    there = {**applications.shipped(), "graphs": replace(applications.shipped()["pages"], name="graphs")}
    assert "has the same name" not in owner.get("/admin/applications/graphs").text
    monkeypatch.setattr(applications, "shipped", lambda: there)
    page = owner.get("/admin/applications/graphs").text
    assert "has the same name" in page
    assert "Draws graphs." in page
    assert "own, in place of the appliance" in owner.get("/admin/applications/").text
    with catalog.write():
        rows.put(rows.read(scenarios.current().base), ScenarioState.OFFERED, {})
    page = owner.get("/admin/scenario/offer").text
    assert "have the names of some here" in page
    assert 'href="/admin/applications/graphs"' in page


def call(browser: Browser, method: str, path: str, sent: dict[str, str] | None = None) -> TestResponse:
    browser.get("/admin/own-applications/new")
    headers = {"Referer": HOST + browser.at, "X-CSRFToken": browser.token}
    return browser.client.open(f"/api/v1/admin/applications{path}", method=method, base_url=HOST, json=sent, headers=headers)


@pytest.mark.api
def test_programs_bring_applications_too(owner: Browser) -> None:
    files = packaged.files(Packaged(title="Graphs", description="Draws graphs.", releases=["debian-13"], packages=["graphviz"]))
    sent = {"zip": b64encode(tree.to_zip(files, "graphs")).decode()}
    made = call(owner, "POST", "", sent)
    assert (made.status_code, made.json) == (201, {"name": "graphs", "version": 2})
    again = call(owner, "GET", "/graphs/zip").json
    assert tree.read_application(b64decode(again["zip"])) == ("graphs", files)
    refused = call(owner, "POST", "", {"zip": b64encode(b"PK").decode()})
    assert (refused.status_code, "cannot be read" in refused.text) == (400, True)
    assert call(owner, "POST", "/graphs/withdraw").json == {"state": "withdrawn"}
    listed = {one["name"]: (one["own"], one["withdrawn"]) for one in call(owner, "GET", "").json["items"]}
    assert (listed["graphs"], listed["pages"]) == ((True, True), (False, False))
    assert call(owner, "POST", "/graphs/offer").json == {"state": "offered"}
    assert call(owner, "DELETE", "/graphs").status_code == 204
    assert call(owner, "DELETE", "/pages").status_code == 409
