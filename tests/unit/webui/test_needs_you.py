"""The bell on every page, the list that it leads to, and its buttons: for who can mend something, and with nothing of what is beyond their reach."""

import re
from collections.abc import Callable

import pytest
from flask import Flask

from appliance import catalog, durable
from appliance.catalog import Engine, Grant, Machine, MachineState, Seed, SeedState
from appliance.host.interface.conditions import Backups, Certificate, Conditions, Updates
from appliance.host.system import conditions
from appliance.identity import permissions
from appliance.identity.roles import OWN, ROLES
from appliance.services.needs import KINDS, Kind, of
from appliance.settings import Settings
from tests import world
from tests.plans import scans, statements
from tests.unit.services.test_needs import CASES
from tests.unit.webui.conftest import Browser
from webui.guard import Person

pytestmark = pytest.mark.console_ui

Browse = Callable[[str], Browser]


def bell(page: str) -> str | None:
    """The number on the bell of a page, empty without one; None when it is hidden."""
    found = re.search(r'<a class="tool bell" id="bell"([^>]*)>(.*?)</a>', page, re.DOTALL)
    assert found
    number = re.search(r'aria-hidden="true">(\d+)</span>', found[2])
    return None if " hidden" in found[1] else number[1] if number else ""


def kinds(page: str) -> list[str]:
    return re.findall(r'data-kind="([\w-]+)"', page)


def test_the_bell_counts_what_the_page_and_the_overview_list(grace: Browser, opened: Settings) -> None:
    page = grace.get("/needs/").text
    assert kinds(page) == ["seed", "second-admin", "connect-directory", "mail"]
    assert kinds(grace.get("/admin/").text) == kinds(page)
    assert bell(grace.get("/account").text) == "4"
    assert "4 need you" in page
    with catalog.write():
        Seed.create(machine_class="studio", version=3, state=SeedState.READY)
        Grant.create(role="owner", org_unit=1)
        catalog.options.put("mail", {"on": True})
        catalog.options.put("directory", {"on": False, "none": True})
    assert bell(grace.get("/account").text) == ""
    assert "Nothing needs you." in grace.get("/needs/").text


def test_it_follows_a_live_page(grace: Browser) -> None:
    live = grace.live("/admin/machines/").text
    assert 'hx-swap-oob="true"' in live.split('id="bell"')[1].split(">")[0]
    assert bell(live) == "4"


def test_who_can_mend_nothing_has_no_bell(signed_in: Browse) -> None:
    ada = signed_in("ada")
    assert bell(ada.get("/").text) is None
    assert "Nothing needs you." in ada.get("/needs/").text


def test_who_looks_after_one_class_is_told_of_that(signed_in: Browse) -> None:
    with catalog.write():
        Machine.update(state=MachineState.QUARANTINED).where(Machine.state == MachineState.IN_USE).execute()
    mary = signed_in("mary")  # the studio is hers, and the notebooks are not
    page = mary.get("/admin/").text
    assert kinds(page) == ["quarantine", "seed"]
    assert bell(page) == "2"
    assert "notebook" not in page.split('id="needs"')[1].split("</section>")[0]


def test_every_button_leads_to_a_page(grace: Browser, opened: Settings) -> None:
    parts = Conditions(backups=Backups(set_up=True, same_disk=True), certificate=Certificate(problem="x"), updates=Updates(staged="9"))
    durable.write(conditions.file(opened), parts.model_dump_json())
    with catalog.write():
        Machine.update(state=MachineState.QUARANTINED).where(Machine.state == MachineState.READY).execute()
        Machine.update(state=MachineState.FAILED).where(Machine.state == MachineState.RECLAIMING).execute()
        Engine.delete().execute()
        catalog.options.put("trends", {"disk": 3, "memory": 3})
    page = grace.get("/needs/").text
    links = re.findall(r'<a class="btn btn-sm" href="([^"]+)"', page)
    assert len(links) == len(kinds(page)) >= 11
    for link in links:
        assert grace.get(link.replace("&amp;", "&")).status_code in (200, 503), link  # some need dpe-host, which is not there


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_who_is_told_may_open_where_it_is_mended(app: Flask, opened: Settings, kind: Kind) -> None:
    """Whoever has a role with the kind's permission has that of the page, too."""
    world.set_up()
    admin = world.account("root", is_admin=True)
    world.seed(world.machine_class("small", world.NOTEBOOK).name, 1, promoted=True)
    for case in CASES[kind.name]:
        with catalog.write():
            case.so(opened)
        for need in [one for one in of(permissions.of(admin), opened) if one.kind == kind.name]:
            view = app.view_functions[need.endpoint].need.permission  # type: ignore[attr-defined]
            assert "GET" in next(rule for rule in app.url_map.iter_rules(need.endpoint)).methods  # type: ignore[operator]
            for role in ROLES.values():
                assert kind.permission not in role.permissions or view == OWN or view in role.permissions, (need, role)
        with catalog.write():
            case.mended(opened)


def test_a_page_costs_three_statements_more_for_an_owner_and_none_for_who_uses_machines(
    signed_in: Browse, opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {}
    for name in ("grace", "ada"):
        browser = signed_in(name)
        browser.get("/account")
        for is_asked_for in (True, False):
            with monkeypatch.context() as patch:
                if not is_asked_for:
                    patch.setattr(Person, "needs", None)
                with statements(monkeypatch) as seen:
                    assert browser.get("/account").status_code == 200
            assert scans(seen) == []
            counts[name, is_asked_for] = len(seen)
    assert counts["grace", True] - counts["grace", False] <= 3
    assert counts["ada", True] == counts["ada", False]
