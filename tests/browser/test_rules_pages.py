"""A rule as a person makes it: tried on yesterday with its charts, refused with its reason, saved; wide and on a phone, in both lights."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from appliance.catalog import Class, now, policies
from appliance.readings import Store
from tests.browser import axe, steps
from tests.browser.conftest import Site
from tests.browser.test_pages import is_sideways

pytestmark = pytest.mark.policy


def test_a_rule_is_tried_on_yesterday_and_then_saved(busy: Site, browse: Callable[..., Page]) -> None:
    with contextlib.closing(Store(busy.settings.readings)) as store:
        store.thin(now())  # a day is looked at minute by minute
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/classes/notebook/rules/")
    form = page.locator("form#rule")
    form.get_by_label("Name").fill("Load")
    form.get_by_label("Metric", exact=True).fill("production")
    form.get_by_label("Add at or above").fill("3")
    form.get_by_label("Remove at or below").fill("1")
    form.get_by_role("button", name="Preview on yesterday").click()
    shown = page.locator("section#preview")
    expect(shown.get_by_role("heading", name="What Load would have done")).to_be_visible()
    expect(shown.locator(".canvas canvas")).to_have_count(2)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert not is_sideways(page)
            if folder := os.environ.get("DPE_TEST_SHOTS"):
                page.screenshot(path=Path(folder) / f"rules-{scheme}-{width}.png", full_page=True)
        assert axe.findings(page) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(form.get_by_label("Name")).to_have_value("Load")
    form.get_by_label("Remove at or below").fill("3")
    form.get_by_role("button", name="Save the rule").click()
    expect(page.locator(".form-summary")).to_contain_text("Load fights itself: at 3 it both adds and removes.")
    form.get_by_label("Remove at or below").fill("1")
    form.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_role("link", name="Change Load")).to_be_visible()
    assert [one["name"] for one in policies.value(Class.get_by_id("notebook"), "rules")] == ["Load"]
