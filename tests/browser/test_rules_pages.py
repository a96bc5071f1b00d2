"""A rule as a person makes it: tried on yesterday with its charts, refused with its reason, saved; then a job; wide and on a phone, in both lights."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import Actor, Class, Job, JobState, now, policies
from appliance.readings import Store
from appliance.scenario.policy import Form
from appliance.services import classes
from tests.browser import axe, steps
from tests.browser.conftest import Site
from tests.browser.test_pages import is_sideways

pytestmark = pytest.mark.policy


def looked_at(page: Page, name: str) -> None:
    """Wide and on a phone, in both lights."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # else axe sees colours on their way
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert not is_sideways(page)
            if folder := os.environ.get("DPE_TEST_SHOTS"):
                page.screenshot(path=Path(folder) / f"{name}-{scheme}-{width}.png", full_page=True)
        assert axe.findings(page) == []
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_rule_is_tried_on_yesterday_and_saved_and_a_job_submitted(busy: Site, browse: Callable[..., Page]) -> None:
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
    looked_at(page, "rules")
    expect(form.get_by_label("Name")).to_have_value("Load")
    form.get_by_label("Remove at or below").fill("3")
    form.get_by_role("button", name="Save the rule").click()
    expect(page.locator(".form-summary")).to_contain_text("Load fights itself: at 3 it both adds and removes.")
    form.get_by_label("Remove at or below").fill("1")
    form.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_role("link", name="Change Load")).to_be_visible()
    assert [one["name"] for one in policies.value(Class.get_by_id("notebook"), "rules")] == ["Load"]
    classes.change_policy(Actor("grace"), "studio", Form.MAKING, {"jobs": True})
    page.goto("/admin/classes/studio/jobs/")
    page.get_by_label("Command").fill("python3 script 'a b'")
    page.get_by_label("File", exact=True).fill("print(1)")
    page.get_by_label("Times").fill("3")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("3 jobs are submitted.")).to_be_visible()
    page.get_by_title("Cancel job 2").click()
    expect(page.get_by_title("Retry job 2")).to_be_visible()
    with catalog.write():
        Job.update(state=JobState.DEAD, attempt=3, status=1, output="Traceback:\n  no such file", problem="It ended with status 1.").where(
            Job.id == 1
        ).execute()
    page.reload()
    page.get_by_text("End of its output").first.click()
    expect(page.get_by_text("no such file")).to_be_visible()
    looked_at(page, "jobs")
