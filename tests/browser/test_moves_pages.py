"""The menu of a machine in a real browser: mouse, keyboard and phone; what is asked before something is lost."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import Machine, MachineState, Run, machines
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import is_sideways

pytestmark = pytest.mark.workflow
Browse = Callable[..., Page]
S = MachineState


@pytest.fixture
def mine(busy: Site) -> Machine:
    """Ada's notebook."""
    found: Machine = Machine.get(Machine.owner == busy.people["ada"].account_id)
    return found


def become(machine: Machine, state: MachineState) -> None:
    """What the engine would write."""
    with catalog.write():
        Run.update(state="done", ended_at=catalog.now()).where(Run.machine == machine.id).execute()
        machines.change(machine.id, list(S), state)


def test_stop_and_start_with_mouse_and_keyboard(busy: Site, browse: Browse, mine: Machine) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    card = steps.held(page).first
    card.get_by_role("button", name="More").click()
    menu = page.get_by_role("group", name=f"More for {mine.name}")
    expect(menu).to_be_visible()
    expect(menu.get_by_role("button")).to_have_count(3)
    become(mine, S.IN_USE)  # something changed; the live part is renewed under the open menu
    page.wait_for_timeout(1500)
    expect(menu).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()

    card.get_by_role("button", name="More").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(menu.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    asked = page.locator("dialog#confirm")
    expect(asked).to_contain_text("Its disk and your lease stay")
    expect(menu).to_be_hidden()
    asked.get_by_role("button", name="Stop").click()
    expect(card.get_by_text("being stopped")).to_be_visible()
    expect(card.get_by_role("button", name="More")).to_be_disabled()

    become(mine, S.STOPPED)
    start = card.get_by_role("button", name="Start")
    expect(start).to_be_visible()
    expect(card.get_by_role("link", name="Open")).to_be_hidden()
    start.click()
    expect(card.get_by_text("being started")).to_be_visible()
    assert [run.kind for run in Run.select().where(Run.machine == mine.id).order_by(Run.id)][-2:] == ["stop", "start"]


def test_reprovision_says_what_is_lost_first(busy: Site, browse: Browse, mine: Machine) -> None:
    page = browse(busy, width=390, height=800)
    steps.sign_in(page, "ada")
    assert not is_sideways(page)
    steps.held(page).first.get_by_role("button", name="More").click()
    page.get_by_role("button", name="Reprovision").click()
    asked = page.locator("dialog#confirm")
    expect(asked).to_contain_text("LOST: everything on its system disk")
    expect(asked).to_contain_text("KEPT: its name, its address")
    page.keyboard.press("Escape")
    assert Run.select().where(Run.kind == "reprovision").count() == 0


def test_transfer_from_the_machines_page(busy: Site, browse: Browse, mine: Machine) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto(f"/admin/machines/{mine.id}")
    page.get_by_role("button", name="More").click()
    page.get_by_role("link", name="Transfer").click()
    field = page.get_by_label("Account of the person who gets it")
    expect(field).to_be_focused()
    page.keyboard.type("nosuch")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("There is no account nosuch.")
    expect(field).to_have_value("nosuch")
    expect(field).to_be_focused()
    field.fill("grace")
    page.get_by_role("button", name="Transfer it").click()
    expect(page.get_by_text("It is being passed on")).to_be_visible()
    expect(page.get_by_role("button", name="More")).to_be_disabled()
