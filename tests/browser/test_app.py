"""The web page as an app, with keys and without a connection."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import axe, steps
from tests.browser.conftest import Site

pytestmark = pytest.mark.console_ui

Browse = Callable[..., Page]


def test_pages_are_reached_by_keys_and_a_lost_connection_is_said(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page.get_by_role("heading", level=1)).to_have_text("Classes")
    page.wait_for_load_state()
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys.get_by_text("My machines")).to_be_visible()
    assert axe.findings(page) == []
    letters, names = keys.locator("dt").all_inner_texts(), keys.locator("dd").all_inner_texts()
    assert len(set(letters)) == len(letters) == len(set(names))  # each once, though some are in the head, too
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    page.get_by_role("link", name="Search").focus()
    page.keyboard.press("/")
    page.keyboard.type("gm?")  # in a field they are letters
    expect(page.get_by_role("combobox", name="Search")).to_have_value("gm?")
    page.keyboard.press("Escape")
    page.wait_for_function("navigator.serviceWorker.ready.then(found => found.active.state === 'activated')")
    page.context.set_offline(True)
    page.goto("/admin/machines/")
    expect(page.get_by_role("heading", name="The appliance cannot be reached")).to_be_visible()
    expect(page.get_by_role("link", name="Try again")).to_have_css("background-color", "rgb(15, 118, 110)")  # its style is kept, too
    page.context.set_offline(False)
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, Grace")
    # What a form sends does not end on that page: the browser's own can send it again.
    page.context.set_offline(True)
    with page.expect_event("requestfailed", lambda request: request.method == "POST"):
        page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("chrome-error://chromewebdata/")
    page.context.set_offline(False)
