"""Charts of readings over time: what is drawn, what the cursor tells, and that they follow."""

import contextlib
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import EventKind, Machine, MachineState, record
from appliance.readings import HOST, Kind, Store, Subject
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import is_sideways

Browse = Callable[..., Page]

# How many pixels of a canvas are not empty, between two parts of its width.
INK = """(canvas, [from, to]) => {
  const width = canvas.width, image = canvas.getContext('2d').getImageData(Math.floor(from * width), 0, Math.ceil((to - from) * width), canvas.height);
  let inked = 0;
  for (let at = 3; at < image.data.length; at += 4) inked += image.data[at] > 200 ? 1 : 0;
  return inked / (image.data.length / 4);
}"""


def canvas(page: Page, title: str):  # type: ignore[no-untyped-def]
    return page.get_by_role("figure", name=title, exact=True).locator("canvas")


def test_charts_are_drawn_with_a_gap_where_nothing_was_read_and_tell_values(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/server/metrics/")
    expect(page.locator("#over-time canvas")).to_have_count(8)
    memory = canvas(page, "Memory")
    # The areas of memory fill the chart but where the engine was away: minutes 20 to 25 of the hour, beside the axis.
    assert memory.evaluate(INK, [0.6, 0.9]) > 2 * memory.evaluate(INK, [0.41, 0.45])
    last = page.get_by_role("figure", name="Processors", exact=True).locator("[data-last]")
    before = last.inner_text()
    page.get_by_role("figure", name="Memory", exact=True).locator(".u-over").hover(position={"x": 150, "y": 40})
    expect(last).not_to_have_text(before)  # all charts tell of the same moment
    page.get_by_role("link", name="Table").click()
    expect(page.get_by_role("figure", name="Memory", exact=True).get_by_role("cell").first).to_be_visible()
    page.get_by_role("link", name="Day").click()
    expect(page.get_by_role("link", name="Day")).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("link", name="Table")).to_have_attribute("aria-current", "true")


def test_a_chart_follows_what_is_read_and_marks_decisions(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    machine = Machine.get(Machine.state == MachineState.IN_USE)
    steps.sign_in(page, "grace")
    page.clock.install()
    page.goto(f"/admin/machines/{machine.id}")
    section = page.locator("#over-time")
    expect(section.locator("canvas")).to_have_count(4)
    steps.until_live(page)
    page.evaluate("dispatchEvent(new Event('pagehide'))")  # nothing else tells it of changes now
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 0.1)
    with contextlib.closing(Store(busy.settings.readings)) as store:
        store.record(catalog.now(), {Subject(Kind.MACHINE, machine.id): {"cpu": 0.77}, HOST: {}})
    page.evaluate("document.body.dispatchEvent(new CustomEvent('changed'))")  # before the last answer is ten seconds old
    with page.expect_response("**/readings?*"):
        page.clock.fast_forward(10_000)
    page.clock.resume()
    expect(section.get_by_role("figure", name="Processors").locator("[data-last]")).to_have_text("77 %")
    expect(section.locator("canvas")).to_have_count(4)
    page.clock.fast_forward(10_000)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    with catalog.write():
        record(EventKind.MACHINE_REVIVED, "It runs again.", machine_id=machine.id)
    section.get_by_text("on the axis").click()
    expect(section).to_contain_text("A machine that had gone runs again.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_fit_a_phone(busy: Site, browse: Browse, scheme: str) -> None:
    page = browse(busy, width=390, scheme=scheme)
    steps.sign_in(page, "grace")
    page.goto("/admin/classes/notebook")
    expect(page.locator("#over-time canvas")).to_have_count(7)
    assert not is_sideways(page)
    page.goto("/admin/classes/notebook?as=table")
    assert not is_sideways(page)


def test_a_chart_never_pushes_the_page_sideways(busy: Site, browse: Browse) -> None:
    """Between the moment in which a window changes its width and the one in which charts are told."""
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/server/metrics/")
    page.locator(".uplot").first.evaluate("plot => plot.style.width = '3000px'")
    assert not is_sideways(page)


def test_without_javascript_there_is_the_table(busy: Site, browse: Browse) -> None:
    page = browse(busy, java_script_enabled=False)
    page.goto("/sign-in?next=/admin/server/metrics/%3Fas%3Dtable")
    page.get_by_label("Name").fill("grace")
    page.get_by_label("Password").fill(world.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    memory = page.get_by_role("figure", name="Memory", exact=True)
    expect(memory).to_be_visible()
    assert 12 <= memory.get_by_role("row").count() <= 14  # its head, and each five minutes of an hour, which begins and ends within some
