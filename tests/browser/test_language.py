"""German in a real browser: its longer words break no page, on a desk or on a phone, and scripts speak it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance.catalog import Machine, MachineState
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import ADMIN_PAGES, CUT, is_sideways

pytestmark = pytest.mark.i18n

ENGLISH = ("/docs/api", "/docs/api/grants")  # in every language, and so looked at there


def signed_in(page: Page) -> Page:
    page.goto("/sign-in")
    page.get_by_label("Name").fill("grace")
    page.get_by_label("Passwort").fill(world.PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    expect(page.locator("#live-dot")).to_have_attribute("title", "Diese Seite ist live")
    return page


def test_pages_in_german_fit_on_a_desk_and_on_a_phone(busy: Site, browse: Callable[..., Page]) -> None:
    """Each is loaded once, and then looked at in both widths."""
    page = signed_in(browse(busy, locale="de-DE", reduced_motion="reduce"))
    machine = Machine.get(Machine.state == MachineState.IN_USE)
    paths = ["/", "/account", "/todo/", *ADMIN_PAGES, f"/admin/machines/{machine.id}", "/admin/classes/notebook/seeds"]
    found = []
    for path in [one for one in paths if one not in ENGLISH]:
        page.goto(path)
        assert page.locator("html").get_attribute("lang") == "de"
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            found += [f"{path} at {width}: {one}" for one in page.evaluate(CUT)]
            if is_sideways(page):
                found.append(f"{path} at {width}: scrolls sideways")
    assert found == []


def test_lists_in_german_need_no_scrolling_on_a_desk(busy: Site, browse: Callable[..., Page]) -> None:
    page = signed_in(browse(busy, width=1280, locale="de-DE"))
    wide = {}
    for path in ("/admin/accounts/", "/admin/machines/", "/admin/groups/"):
        page.goto(path)
        wide[path] = page.locator(".table-scroll").evaluate("one => one.scrollWidth - one.clientWidth")
    assert set(wide.values()) == {0}, wide


@pytest.mark.console_ui
def test_a_language_is_chosen_with_the_keyboard_alone(busy: Site, browse: Callable[..., Page]) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    page.goto("/account")
    steps.tab_to(page, page.locator("#f-language"))
    page.keyboard.type("Deutsch")
    steps.key(page, page.get_by_role("button", name="Save the language"))
    expect(page.get_by_role("heading", name="Sprache")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "de")
