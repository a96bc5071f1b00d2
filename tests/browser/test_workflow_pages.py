"""A machine's life in a real browser: seen, reached by the keyboard, and moving by itself."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import Class, Machine, MachineState, record
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site

pytestmark = pytest.mark.workflow

Browse = Callable[..., Page]

# What is drawn beyond its box, over another box, or too pale on what it lies on.
LOOK = """() => {
  const wrong = [];
  const box = element => element.getBoundingClientRect();
  const within = (one, two, by = 0) => one.left >= two.left - by && one.right <= two.right + by && one.top >= two.top - by && one.bottom <= two.bottom + by;
  const meet = (one, two) => one.left < two.right && two.left < one.right && one.top < two.bottom && two.top < one.bottom;
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3); };
  const light = colour => rgb(colour).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
  const contrast = (one, two) => { const [low, high] = [light(one), light(two)].sort((a, b) => a - b); return (high + .05) / (low + .05); };
  const states = [...document.querySelectorAll('.life-state')];
  const pools = [...document.querySelectorAll('.life-pool rect')];
  const card = getComputedStyle(document.querySelector('.life')).backgroundColor;
  for (const state of states) for (const text of state.querySelectorAll('text')) {
    if (!within(box(text), box(state.querySelector('rect')), 1)) wrong.push(`beyond its box: ${text.textContent}`);
    if (contrast(getComputedStyle(text).fill, getComputedStyle(state.querySelector('rect')).fill) < 4.5) wrong.push(`pale: ${text.textContent}`);
  }
  const labels = [...document.querySelectorAll('.life-label')];
  for (const label of labels) {
    if (states.some(state => meet(box(label), box(state)))) wrong.push(`over a box: ${label.textContent}`);
    if (labels.some(other => other !== label && meet(box(label), box(other)))) wrong.push(`over a label: ${label.textContent}`);
    for (const ground of [card, ...pools.map(pool => getComputedStyle(pool).fill)])
      if (contrast(getComputedStyle(label).fill, ground) < 4.5) wrong.push(`pale: ${label.textContent}`);
  }
  for (const line of document.querySelectorAll('.life-line path:first-of-type'))
    for (const ground of [card, ...pools.map(pool => getComputedStyle(pool).fill)])
      if (contrast(getComputedStyle(line).stroke, ground) < 3) wrong.push(`a pale line: ${line.parentElement.textContent}`);
  return { wrong, labels: labels.length, states: states.length };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_in_the_drawing_can_be_read(busy: Site, browse: Browse, scheme: str) -> None:
    page = browse(busy, scheme=scheme)
    steps.sign_in(page, "grace")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Lifecycle").click()
    expect(page.get_by_role("heading", name="Lifecycle", level=1)).to_be_visible()
    page.evaluate("document.fonts.ready")
    found = page.evaluate(LOOK)
    assert found["wrong"] == []
    assert found["states"] == len(MachineState)
    assert found["labels"] >= 14


def test_the_drawing_moves_by_itself_and_leads_to_the_machines(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/workflow/?class=notebook")
    page.evaluate("window.same = true")
    expect(page.get_by_role("link", name="Ready: 3 machines")).to_be_visible()
    ready = page.get_by_role("link", name="Ready: ")
    ready.focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Assigned: 0 machines")).to_be_focused()
    with catalog.write():
        machine = Machine.get(Machine.state == MachineState.READY)
        Machine.update(state=MachineState.QUARANTINED).where(Machine.id == machine.id).execute()
        record("machine.quarantined", "It vanished.", machine_id=machine.id)
    expect(page.get_by_role("link", name="Quarantined: 1 machine")).to_be_visible()
    expect(page.get_by_role("link", name="Ready: 2 machines")).to_be_visible()
    expect(page.get_by_role("link", name="Assigned: 0 machines")).to_be_focused()
    assert page.evaluate("window.same"), "the page was never loaded again"
    page.get_by_role("link", name="Quarantined: 1 machine").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name=machine.name)).to_be_visible()
    expect(page.locator("td .badge.state")).to_have_text(["quarantined"])
    expect(page.get_by_label("Class")).to_have_value("notebook")


def test_on_a_phone_the_tables_say_it_all(busy: Site, browse: Browse) -> None:
    world.machine(Class.get_by_id("notebook"), MachineState.FAILED)
    page = browse(busy, width=390)
    steps.sign_in(page, "grace")
    page.goto("/admin/workflow/")
    expect(page.locator(".life")).to_be_hidden()
    failed = page.get_by_role("row").filter(has_text="It could not be made")
    expect(failed.get_by_role("link", name="1", exact=True)).to_be_visible()
    failed.get_by_role("link", name="Discard").click()
    expect(page.locator("#move-discard")).to_be_in_viewport()
    page.get_by_label("Class").select_option("studio")
    page.get_by_role("button", name="Show").click()
    expect(failed.get_by_role("link", name="0", exact=True)).to_be_visible()
