"""Packages as an admin looks them up: by the keyboard, from a name that is offered to the page of a package."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import Site


def test_a_package_is_found_by_the_keyboard(busy: Site, browse: Callable[..., Page]) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/packages/")
    field = page.get_by_role("combobox", name="Name or words of the description")
    expect(field).to_be_focused()
    page.keyboard.type("postg")
    expect(page.locator(".lookup-list [role=option]").first).to_contain_text("postgresql")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(field).to_have_value("postgresql")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="5 packages")).to_be_visible()
    page.get_by_role("link", name="postgresql", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("postgresql")
    expect(page.get_by_role("link", name="libpq5")).to_be_visible()
    page.goto("/admin/packages/?release=debian-12")
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("The package index of Debian 12 is being read for grace.")).to_be_visible()
