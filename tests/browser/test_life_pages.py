"""Several machines at once, and machines that nobody uses, in a real browser. Machines are rows here."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import Actor, Class, Lease, Machine, MachineState, Sequence, VersionState, now, record, sequences
from appliance.lifecycle import outcomes
from appliance.services import machines
from appliance.settings import Settings
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site

pytestmark = pytest.mark.console_ui

Serve = Callable[[Callable[[Settings], dict[str, Actor] | None]], Site]
Browse = Callable[..., Page]


def farm(settings: Settings) -> dict[str, Actor]:
    """A busy morning on which ada may have several notebooks at once; the one that she holds seems unused."""
    people = world.busy(settings)
    with catalog.write():
        Class.update(burst=5, per_person=9, idle_minutes=60, idle_grace=15).where(Class.name == "notebook").execute()
        mine = Machine.get(Machine.owner == people["ada"].account_id)
        Lease.update(idle_warned_at=now() - timedelta(minutes=6)).where(Lease.machine == mine.id).execute()
        Sequence.create(name="farm", title="Test environment", about="Many machines for an hour or two.")
        sequences.add("farm", "{}", VersionState.PROMOTED)
    return people


def is_sideways(page: Page) -> bool:
    wide: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return wide


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_five_are_asked_for_waited_for_and_given_back_together(serve: Serve, browse: Browse, width: int, scheme: str) -> None:
    site = serve(farm)
    page = browse(site, width=width, scheme=scheme)
    steps.sign_in(page, "ada")
    offer = page.get_by_role("article", name="Notebook")
    offer.get_by_label("How many at once").fill("5")
    with catalog.write():
        Machine.update(step="being looked at").where(Machine.owner == site.people["ada"].account_id).execute()
        record("support.bundle", "Something changed.")
    expect(page.get_by_text("being looked at")).to_be_visible()
    expect(offer.get_by_label("How many at once")).to_have_value("5")  # what is being entered stays when the page is renewed
    offer.get_by_role("button", name=re.compile("Get a notebook")).click()
    expect(offer.get_by_text("3 of 5 are ready")).to_be_visible()
    assert not is_sideways(page)
    with catalog.write():
        machine_class = Class.get(Class.name == "notebook")
        for _ in range(2):
            world.machine(machine_class, MachineState.READY)
    outcomes.serve_waiting("notebook")
    with catalog.write():
        three = [machine.id for machine in machines.my_machines(site.people["ada"].account_id)[:4]]
        Machine.update(state=MachineState.IN_USE).where(Machine.id.in_(three)).execute()
    together = page.get_by_label("5 of Notebook, together")
    expect(together.get_by_text("3 of 5 are ready")).to_be_visible()
    assert not is_sideways(page)
    expect(together.get_by_role("article")).to_have_count(0)
    together.get_by_text("Each of the 5").click()
    expect(together.get_by_role("article")).to_have_count(5)
    page.get_by_role("button", name="Extend all").click()
    expect(page.get_by_text("Extended: 5 are held for another 11 h 59 min.")).to_be_visible()
    expect(together.get_by_role("article")).to_have_count(5)  # still open
    page.get_by_role("button", name="Give all 5 back").click()
    expect(page.get_by_role("heading", name="Give all 5 back?")).to_be_visible()
    page.get_by_role("button", name="Destroy all 5").click()
    expect(together).to_have_count(0)
    expect(page.get_by_text("You hold 1 machine.")).to_be_visible()


def test_who_is_there_says_so(serve: Serve, browse: Browse) -> None:
    page = browse(serve(farm), width=390)
    steps.sign_in(page, "ada")
    warning = page.get_by_text("Nobody seems to use it.")
    expect(warning).to_be_visible()
    assert not is_sideways(page)
    page.get_by_role("button", name="I am still here").click()
    expect(warning).to_have_count(0)


def test_a_machines_life_is_set_with_the_keyboard_alone(serve: Serve, browse: Browse) -> None:
    page = browse(serve(farm), width=390, scheme="dark")
    steps.sign_in(page, "grace")
    page.goto("/admin/classes/notebook/life")
    form = page.locator("#life")
    form.get_by_label("Sequence").select_option("Test environment")
    form.get_by_label("Idle after").fill("90")
    form.get_by_label("It is suspended").check()
    form.get_by_label("Burst").fill("10")
    page.keyboard.press("Enter")
    expect(form.get_by_role("alert")).to_be_focused()
    expect(form.get_by_role("alert")).to_have_text(re.compile("Burst \\(10\\) is above machines per person \\(9\\)."))
    expect(form.get_by_label("Burst")).to_have_accessible_description(re.compile("Burst \\(10\\) is above machines per person \\(9\\)."))
    expect(form.get_by_label("Idle after")).to_have_value("90")
    form.get_by_label("Burst").fill("9")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Saved. What is under way ends as it began")).to_be_visible()
    expect(form.get_by_label("It is suspended")).to_be_checked()
    expect(form.get_by_text("Many machines for an hour or two.")).to_be_visible()
    assert not is_sideways(page)


NOTED = """
    window.noted = [];
    window.Notification = class { static permission = 'default'; constructor(text) { window.noted.push(text); }
        static async requestPermission() { return this.permission = 'granted'; } };
"""


@pytest.mark.cases
def test_the_end_of_a_lease_is_told_by_the_title_and_to_who_wants_it_by_the_browser(serve: Serve, browse: Browse) -> None:
    site = serve(farm)
    mine = Machine.get(Machine.owner == site.people["ada"].account_id)
    with catalog.write():
        Lease.update(idle_warned_at=None, began_at=now() - timedelta(hours=8), ends_at=now() + timedelta(hours=3)).execute()
    page = browse(site)
    page.add_init_script(NOTED)
    steps.sign_in(page, "ada")
    button = page.get_by_role("button", name="Notify me in time")
    button.click()
    expect(button).to_be_hidden()
    with catalog.write():
        Lease.update(ends_at=now() + timedelta(minutes=40)).where(Lease.machine == mine.id).execute()
        record("support.bundle", "Something changed.")
    expect(page).to_have_title(re.compile(rf"\(1\) {mine.name}: the lease ends at \d\d:\d\d$"))
    assert page.evaluate("window.noted") == [page.title().removeprefix("(1) ")]
    page.get_by_role("button", name="Extend", exact=True).click()
    expect(page).not_to_have_title(re.compile("lease ends"))
