"""German in a real browser: its longer words break no page on a phone, and scripts speak it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests import world
from tests.browser.conftest import Site
from tests.browser.test_pages import is_sideways

pytestmark = pytest.mark.i18n

PAGES = [
    "/", "/account", "/todo/", "/admin/", "/admin/classes/notebook/policy", "/admin/machines/", "/admin/accounts/", "/admin/settings/",
    "/admin/workflow/", "/admin/events/",
]  # fmt: skip


def signed_in(page: Page) -> Page:
    page.goto("/sign-in")
    page.get_by_label("Name").fill("grace")
    page.get_by_label("Passwort").fill(world.PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    expect(page.locator("#live-dot")).to_have_attribute("title", "Diese Seite ist live")
    return page


def test_pages_in_german_fit_on_a_phone(busy: Site, browse: Callable[..., Page]) -> None:
    page = signed_in(browse(busy, width=390, locale="de-DE"))
    for path in PAGES:
        page.goto(path)
        assert page.locator("html").get_attribute("lang") == "de"
        assert not is_sideways(page), path


def test_lists_in_german_need_no_scrolling_on_a_desk(busy: Site, browse: Callable[..., Page]) -> None:
    page = signed_in(browse(busy, width=1280, locale="de-DE"))
    wide = {}
    for path in ("/admin/accounts/", "/admin/machines/", "/admin/groups/"):
        page.goto(path)
        wide[path] = page.locator(".table-scroll").evaluate("one => one.scrollWidth - one.clientWidth")
    assert set(wide.values()) == {0}, wide
