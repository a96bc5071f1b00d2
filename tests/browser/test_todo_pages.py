"""What waits for people, where a request stands, and runs, in a real browser: on a phone first."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import Actor, Run, RunState, WorkItem, WorkItemState, record
from appliance.settings import Settings
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import is_sideways, sound

pytestmark = pytest.mark.workflow

Browse = Callable[..., Page]


def fill(settings: Settings) -> dict[str, Actor]:
    people = world.busy(settings)
    world.asking(people)
    return people


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    return serve(fill)


def todo() -> WorkItem:
    found: WorkItem = WorkItem.get(WorkItem.state == WorkItemState.OPEN)
    return found


def test_a_yes_from_a_phone_is_seen_by_who_waits(site: Site, browse: Browse) -> None:
    phone, desk = browse(site, width=390, height=844), browse(site)
    steps.sign_in(desk, "ada")
    offer = desk.locator("#offer-studio")
    expect(offer).to_contain_text("with Mary Somerville since")
    steps.sign_in(phone, "mary")
    expect(phone.locator(".nav-count")).to_have_text("1")
    phone.get_by_role("link", name="To do").click()
    phone.get_by_role("button", name="Say yes").click()
    expect(phone.get_by_text("You said yes.")).to_be_visible()
    expect(phone.locator(".nav-count")).to_have_count(0)
    world.go_on()
    expect(offer).to_contain_text("Register the licence: with Grace Hopper since")
    assert not is_sideways(phone)


def test_a_no_is_confirmed_with_a_reason_that_whoever_asked_reads(site: Site, browse: Browse) -> None:
    phone, desk = browse(site, width=390, height=844), browse(site)
    steps.sign_in(desk, "ada")
    steps.sign_in(phone, "mary")
    phone.goto("/todo/")
    expect(phone.get_by_role("button", name="Say no")).to_be_hidden()
    phone.get_by_text("Say no …").click()
    phone.get_by_role("button", name="Say no").click()
    assert todo().state is WorkItemState.OPEN  # the browser asks for the reason
    phone.get_by_label("Why not?").fill("Use a <b>notebook</b>")
    phone.evaluate("document.addEventListener('htmx:after:swap', () => document.body.dataset.renewed = 'yes', {once: true})")
    with catalog.write():
        record("support.bundle", "Something else happened.")
    expect(phone.locator("body[data-renewed]")).to_have_count(1)  # and what is being written stays
    expect(phone.get_by_label("Why not?")).to_have_value("Use a <b>notebook</b>")
    phone.get_by_role("button", name="Say no").click()
    expect(phone.get_by_text("You said no.")).to_be_visible()
    world.go_on()
    refused = desk.locator("#offer-studio .refused")
    expect(refused).to_contain_text("mary said no: Use a <b>notebook</b>")
    refused.get_by_role("button", name="Dismiss").click()
    expect(refused).to_have_count(0)


def test_decided_by_another_while_it_was_open(site: Site, browse: Browse) -> None:
    page = browse(site)
    steps.sign_in(page, "mary")
    page.goto("/todo/")
    page.route("**/live*", lambda route: route.abort())
    with catalog.write():
        WorkItem.update(state=WorkItemState.DONE, decided_by="grace", decided_at=catalog.now()).where(WorkItem.id == todo().id).execute()
    page.get_by_role("button", name="Say yes").click()
    expect(page.get_by_role("alert")).to_contain_text("grace said yes already. The first answer counts.")


def test_it_all_works_without_scripts(site: Site, browse: Browse) -> None:
    page = browse(site, width=390, java_script_enabled=False)
    steps.sign_in(page, "mary")
    page.goto("/todo/")
    page.get_by_text("Add a comment").click()
    page.get_by_label("Comment, if you like").fill("For the course")
    page.get_by_role("button", name="Say yes").click()
    expect(page.get_by_text("For the course")).to_be_visible()


def test_a_run_is_watched_and_cancelled(site: Site, browse: Browse) -> None:
    page = browse(site)
    steps.sign_in(page, "grace")
    page.goto("/admin/workflow/runs/?state=live")
    page.get_by_role("link", name="Assign studio").click()
    expect(page.locator("#step-0")).to_contain_text("With Mary Somerville since")
    with catalog.write():
        WorkItem.update(state=WorkItemState.DONE, decided_by="mary", decided_at=catalog.now()).where(WorkItem.id == todo().id).execute()
        Run.update(state=RunState.QUEUED).where(Run.state == RunState.WAITING).execute()
    world.go_on()
    expect(page.locator("#step-0")).to_contain_text("by mary")  # by itself
    expect(page.locator("#step-1")).to_contain_text("With Grace Hopper since")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel it").click()
    expect(page.get_by_text("It is being cancelled")).to_be_visible()
    world.go_on()
    expect(page.locator(".page-head .badge")).to_have_text("cancelled")


def test_pages_fit_and_are_sound(site: Site, browse: Browse) -> None:
    run, refused = Run.get(Run.state == RunState.WAITING), Run.get(Run.state == RunState.FAILED)
    for name, paths in {
        "mary": ["/todo/"],
        "ada": ["/", f"/runs/{run.id}"],
        "alan": ["/"],
        "grace": ["/todo/", "/admin/workflow/runs/", f"/runs/{run.id}", f"/runs/{refused.id}"],
    }.items():
        page = browse(site)
        steps.sign_in(page, name)
        for path in paths:
            page.goto(path)
            sound(page, path)
