"""The scenario's pages in a real browser: an error mended, a version saved, looked at and gone back from."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance.catalog import Actor
from appliance.services import scenarios
from appliance.settings import Settings
from tests import world
from tests.browser import axe, steps
from tests.browser.conftest import Site
from tests.browser.test_pages import sound

Browse = Callable[..., Page]
HERE = "/admin/scenario/"


def fill(settings: Settings) -> dict[str, Actor]:
    people = world.busy(settings)
    world.scenario()
    return people


@pytest.mark.a11y
def test_an_error_is_mended_saved_looked_at_and_gone_back_from(serve: Callable[..., Site], browse: Browse) -> None:
    page = browse(serve(fill))
    steps.sign_in(page, "grace")
    page.goto(HERE)
    page.get_by_role("link", name="Edit").click()
    text = page.get_by_label("scenario.yml")
    before = text.input_value()
    text.fill(before.replace("os: debian-13", "os: debian-31"))
    page.get_by_role("button", name="Show changes").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("line 10 classes.notebook.os cannot be 'debian-31'; write debian-13")
    expect(text).to_have_value(before.replace("os: debian-13", "os: debian-31"))
    text.fill(before.replace("os: debian-13", "os: debian-12"))
    page.get_by_role("button", name="Show changes").click()
    expect(page.get_by_role("heading", name="Changes")).to_be_visible()
    expect(page.locator(".diff-added")).to_contain_text("os: debian-12")
    expect(page.locator(".changes")).to_contain_text("Machines are other ones once its seed is built anew.")
    page.get_by_label("Comment, for the versions").fill("The older one")
    page.get_by_role("button", name="Save as a new version").click()
    expect(page.get_by_text("Saved as version 3.")).to_be_visible()
    expect(page.get_by_role("row", name="The older one")).to_contain_text("notebook: os")
    page.get_by_role("link", name="v2", exact=True).click()
    page.get_by_role("button", name="Go back to this version").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Notebook: Machines are other ones once its seed is built anew.")
    dialog.get_by_role("button", name="Go back").click()
    expect(page.get_by_text("Version 2 counts again, as version 4.")).to_be_visible()
    assert scenarios.text(scenarios.current()) == before
    for path in ("edit", "versions/1", "offer"):  # the list is among all pages, and an import is as a version is
        page.goto(HERE + path)
        assert axe.findings(page) == [], path
        sound(page)
