"""The catalogue of applications: its pages, the form of a class, search and API; and the doors of a machine with several."""

from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Actor, Class, Lease, Machine
from appliance.errors import NotAllowed, NotFound
from appliance.scenario.applications import catalogue
from appliance.services import app_access, class_specs, scenarios
from appliance.services import machines as verbs
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import Settings
from tests.unit.scenario.test_load import GOOD, write
from tests.unit.webui.conftest import Browser
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
    for name, entry in catalogue().items():
        assert f'href="/admin/applications/{name}"' in page
        assert entry.manifest.description in page
    page = unescape(owner.get("/admin/applications/pages").text)
    for words in ("BSD-2-Clause", "Debian 12, Debian 13", "nginx-light", "Heading of the first page", "port 8080", "~/Pages"):
        assert words in page
    assert owner.get("/admin/applications/none").status_code == 404
    assert 'href="/admin/applications/pages"' in owner.get("/search?q=web+pages").text
    begun = owner.get(f"{NEW}?application=pages").text
    assert 'name="applications.pages" aria-describedby="h-applications.pages" checked' in " ".join(begun.split())
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
    assert found.keys() == catalogue().keys()
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
