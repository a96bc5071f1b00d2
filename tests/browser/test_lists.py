"""The component of lists in a real browser: narrowed while one types, selected and done by keyboard, and on a phone."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from appliance import catalog, framebuffer
from appliance.catalog import Account, OrgUnit
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import LINT, is_sideways, sound
from tests.browser.test_presses import change, watched

pytestmark = pytest.mark.console_ui

Browse = Callable[..., Page]


def crowd() -> None:
    with catalog.write():
        for number in range(60):
            Account.create(name=f"p{number:02}", full_name=f"Person {number}", password="!")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_sixty_people_are_found_selected_and_moved_by_keyboard(busy: Site, browse: Browse, width: int, scheme: str) -> None:
    crowd()
    page = browse(busy, width=width, scheme=scheme)
    steps.sign_in(page, "grace")
    page.goto("/admin/org-units/1")
    page.locator("#select-all").focus()
    page.keyboard.press("Space")
    expect(page.get_by_text("64 selected")).to_be_visible()
    page.get_by_role("checkbox", name="Select grace").uncheck()
    expect(page.get_by_text("63 selected")).to_be_visible()
    assert page.evaluate("document.getElementById('select-all').indeterminate")
    page.get_by_label("Move to").focus()
    page.keyboard.type("Work")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("63 accounts moved to Workshop.")).to_be_visible()
    assert Account.select().where(Account.org_unit == OrgUnit.get(OrgUnit.name == "Workshop")).count() == 63
    assert not is_sideways(page)
    # The list of all: narrowed while one types, without a reload, and the address follows.
    page.goto("/admin/accounts/?sort=-name")
    page.evaluate("window.same = true")
    expect(page.locator("td a.name")).to_have_count(50)
    search = page.get_by_label("Name or e-mail")
    search.focus()
    page.keyboard.type("Person 1")
    expect(page.locator("td a.name")).to_have_text([f"p{number:02}" for number in (*range(19, 9, -1), 1)])
    expect(search).to_be_focused()
    expect(page).to_have_url(f"{busy.url}/admin/accounts/?text=Person+1&sort=-name")
    assert page.evaluate("window.same")
    page.get_by_role("checkbox", name="Select p19").check()
    with catalog.write():
        Account.update(email="changed@example.org").where(Account.name == "p19").execute()
        catalog.record("support.bundle", "Something happened.")
    expect(page.get_by_text("changed@example.org")).to_be_visible()  # the page is live, and what is selected stays so
    expect(page.get_by_role("checkbox", name="Select p19")).to_be_checked()
    page.reload()
    expect(page.locator("td a.name")).to_have_count(11)
    page.get_by_role("button", name="View", exact=True).press("Enter")
    page.get_by_role("link", name="Created").last.press("Enter")
    expect(page.locator("td[data-label=Created]").first).to_be_visible()
    assert not is_sideways(page)
    assert page.evaluate(LINT) == []
    if width == 390:
        pictures_come_one_after_the_other(page)


def pictures_come_one_after_the_other(page: Page) -> None:
    """A list's pictures of screens, of which the server takes few at a time: those that it turned away are asked for again."""
    png = framebuffer._png([b"\x20\x60\x90" * 320] * 200, 320)
    asked: set[str] = set()

    def answer(route: Route) -> None:
        turned_away = route.request.url not in asked
        asked.add(route.request.url)
        route.fulfill(status=503) if turned_away else route.fulfill(body=png, content_type="image/png")

    page.route(re.compile(r"/machines/[^/]+/picture$"), answer)
    page.goto("/admin/machines/?state=in_use&columns=machine,state,picture")
    expect(page.locator("td .screen-picture img")).to_have_count(4)
    page.wait_for_function("() => [...document.querySelectorAll('.screen-picture img')].every(image => image.naturalWidth)", timeout=60_000)
    assert not is_sideways(page)
    sound(page, "pictures")


def test_without_scripts_there_are_links_and_a_form(busy: Site, browse: Browse) -> None:
    page = browse(busy, java_script_enabled=False)
    steps.sign_in(page, "grace")
    page.goto("/admin/machines/")
    page.get_by_label("State").select_option("in_use")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("td a.name")).to_have_count(4)
    page.get_by_role("link", name="Owner").click()
    expect(page.locator("td[data-label=Owner]")).to_have_text(["ada", "alan", "mary", "mary"])
    page.get_by_role("link", name="Select all on this page").click()
    page.get_by_role("button", name="Reclaim").click()
    expect(page.get_by_role("heading", name="Reclaim: 4 machines?")).to_be_visible()
    expect(page.locator(".list-names li")).to_have_count(4)
    page.get_by_role("link", name="Cancel").click()
    expect(page.locator("td a.name")).to_have_count(4)


def test_an_answer_from_before_does_not_take_the_place_of_what_was_searched_for(busy: Site, browse: Browse) -> None:
    """The page asks for itself whenever something happened; that answer may come after the list was narrowed."""
    crowd()
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/accounts/")
    held: list[Route] = []
    page.route("**/admin/accounts/", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/admin/accounts/"):
        page.evaluate("document.body.dispatchEvent(new CustomEvent('changed'))")
    page.get_by_label("Name or e-mail").fill("Person 1")
    expect(page.locator("td a.name")).to_have_count(11)
    with page.expect_response(re.compile(r"/admin/accounts/\?text=")):  # it asks for what it shows now, in place of what it asked for then
        held[0].continue_()
    expect(page.locator("td a.name")).to_have_count(11)


def test_a_view_gets_a_name_and_all_that_it_shows_is_moved_beyond_the_page(busy: Site, browse: Browse) -> None:
    crowd()
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/accounts/?text=Person&columns=name,unit")
    page.get_by_role("button", name="View", exact=True).click()
    page.get_by_role("link", name="Save this view …").click()
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    sound(page, "save view")
    page.keyboard.type("The crowd")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The view is saved.")).to_be_visible()
    page.goto("/admin/accounts/")
    page.get_by_role("button", name="View", exact=True).click()
    page.get_by_role("link", name="The crowd", exact=True).click()
    expect(page).to_have_url(f"{busy.url}/admin/accounts/?text=Person&columns=name%2Cunit")
    sound(page, "the list of a view")
    watched(page)
    page.get_by_role("checkbox", name="All 60 accounts that fit").check()
    expect(page.get_by_role("checkbox", name="Select p00")).to_be_disabled()
    page.get_by_label("Move to").select_option("Workshop")
    change(page)  # what was chosen stays so while the page renews itself
    page.get_by_role("button", name="Move", exact=True).click()
    expect(page.get_by_role("heading", name="Move: 60 accounts?")).to_be_visible()
    pieces: list[int] = []
    page.on("response", lambda one: pieces.append(one.status) if one.request.headers.get("accept") == "application/json" else None)
    page.get_by_role("button", name="Move 60 accounts").click()
    expect(page.get_by_text("60 accounts moved to Workshop.")).to_be_visible()
    assert pieces == [200, 200]  # of 25 each; the form has the rest
