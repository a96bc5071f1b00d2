"""The calendar of a class as a person uses it: an exam is added and seen in its week, wide and on a phone, in both lights."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import Class
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import is_sideways

pytestmark = pytest.mark.policy


def test_an_exam_is_added_where_one_clicked_and_seen_in_its_week(busy: Site, browse: Callable[..., Page]) -> None:
    monday = catalog.now().date() + timedelta(days=7 - catalog.now().date().weekday())
    thursday = monday + timedelta(days=3)
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/classes/notebook")
    page.locator('section[aria-labelledby="calendar"]').get_by_role("link", name="Change").click()
    expect(page.get_by_role("heading", name="Calendar", exact=True)).to_be_visible()
    page.get_by_role("navigation", name="Week").get_by_role("link", name="Next").click()
    page.get_by_label("Add at 09:00 on Thursday").click()
    form = page.locator("form#one-off")
    expect(form.get_by_label("Day", exact=True)).to_have_value(thursday.isoformat())
    expect(form.get_by_label("Begins", exact=True)).to_have_value("09:00")
    form.get_by_label("Ends", exact=True).fill("12:00")
    form.get_by_label("Ready when it begins").fill("60")
    form.get_by_role("button", name="Save the one-off").click()
    expect(form.get_by_label("Name")).to_be_focused()  # the browser asks for it
    form.get_by_label("Name").fill("Exam")
    page.keyboard.press("Enter")
    band = page.locator(".week .band")
    expect(band).to_have_count(1)
    expect(band).to_contain_text("09:00–12:00")
    expect(band).to_contain_text("60 ready at the start")
    expect(page.locator(".week-day", has=page.locator(".band")).get_by_role("heading")).to_contain_text(f"{thursday:%a} {thursday.day}")
    assert Class.get_by_id("notebook").one_offs[0]["name"] == "Exam"
    height = (band.bounding_box() or {})["height"]
    hour = (page.get_by_label("Add at 14:00 on Thursday").bounding_box() or {})["height"]
    assert 2.8 * hour < height < 3.2 * hour, "three hours are three hours high"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": 1280, "height": 900})
        assert not is_sideways(page)
        page.set_viewport_size({"width": 390, "height": 800})
        assert not is_sideways(page)
        expect(page.get_by_label("Add at 14:00 on Thursday")).to_be_hidden()
        expect(band).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    page.locator("dialog#confirm").get_by_role("button", name="Delete it").click()
    expect(band).to_have_count(0)
