"""The guide as a person uses it: from the foot of a page to its section, and by Ctrl-K, with the keyboard alone."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import Site

pytestmark = pytest.mark.console_ui


def test_help_is_one_key_away(busy: Site, browse: Callable[..., Page]) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/quotas/")
    page.get_by_role("link", name="Guide: Quotas").press("Enter")
    expect(page).to_have_url(re.compile("/guide/delegate#quotas$"))
    expect(page.get_by_role("heading", name="Quotas")).to_be_in_viewport()
    page.keyboard.press("Control+k")
    page.keyboard.type("first week")
    expect(page.get_by_role("option", name="The first week")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/guide/admin#the-first-week$"))
    expect(page.get_by_role("heading", name="The first week")).to_be_in_viewport()
    page.emulate_media(media="print")
    expect(page.locator("header.top")).to_be_hidden()
    expect(page.locator(".guide-contents")).to_be_hidden()
    expect(page.locator(".guide-text")).to_be_visible()
