"""Search and navigation as people use them: by the keyboard alone, on a phone, and without a script."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import Grant, Group, Machine, Quota
from tests.browser import axe, steps
from tests.browser.conftest import Site
from tests.browser.test_pages import is_sideways

pytestmark = pytest.mark.console_ui

Browse = Callable[..., Page]


def machine_of(site: Site, name: str) -> Machine:
    return Machine.get(Machine.owner == site.people[name].account_id)


def test_from_anything_to_a_machine_by_the_keyboard(busy: Site, browse: Browse) -> None:
    machine = machine_of(busy, "ada")
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/events/")
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Search")
    expect(box).to_be_focused()
    page.keyboard.type("not")
    expect(page.get_by_role("option").first).to_have_attribute("aria-selected", "true")
    expect(box).to_have_attribute("aria-expanded", "true")
    first = box.get_attribute("aria-activedescendant")
    page.keyboard.press("ArrowDown")
    assert box.get_attribute("aria-activedescendant") != first
    page.keyboard.press("ArrowUp")
    expect(box).to_have_attribute("aria-activedescendant", first or "")
    assert axe.findings(page) == []
    page.keyboard.press("Control+a")
    page.keyboard.type(machine.name)
    page.keyboard.press("Enter")  # sooner than the answer comes: it waits for that
    expect(page.get_by_role("heading", level=1)).to_have_text(machine.name)
    # Back where one was, with nothing found and nothing done.
    steps.until_live(page)
    page.locator(".brand").focus()
    page.keyboard.press("/")
    expect(box).to_be_focused()
    page.keyboard.type("xyzzy nothing like it")
    expect(page.get_by_text("Nothing is called like that.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(page.locator(".brand")).to_be_focused()
    # In a field the key is a letter.
    page.goto("/admin/machines/")
    page.get_by_label("Name of machine or owner").focus()
    page.keyboard.press("/")
    expect(page.get_by_label("Name of machine or owner")).to_have_value("/")
    # An action is done at once.
    page.keyboard.press("Control+k")
    page.keyboard.type("sign out")
    expect(page.get_by_role("option", name="Sign out")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_phone_has_all_of_it_behind_a_button(busy: Site, browse: Browse) -> None:
    page = browse(busy, width=390)
    steps.sign_in(page, "grace")
    page.goto("/admin/machines/")
    menu = page.get_by_role("button", name="Menu", exact=True)
    pages = page.get_by_role("navigation", name="Pages").get_by_role("link")
    expect(pages.first).to_be_hidden()
    menu.press("Enter")
    panel = page.get_by_role("dialog", name="Menu")
    expect(panel).to_be_visible()
    expect(panel.get_by_role("link", name="Machines", exact=True)).to_be_focused()
    assert panel.get_by_role("link").count() > 25
    assert axe.findings(page) == []
    for _ in range(60):  # the focus stays in it
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || document.activeElement.closest('#side') !== null")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(menu).to_be_focused()
    menu.press("Enter")
    panel.get_by_role("link", name="Org units").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Org units")
    page.get_by_role("link", name="Search").click()
    page.keyboard.type("ada")
    expect(page.get_by_role("option").first).to_contain_text("ada")
    assert not is_sideways(page)


@pytest.mark.parametrize("width", [390, 1280])
def test_without_a_script_search_is_a_page_and_the_panel_opens(busy: Site, browse: Browse, width: int) -> None:
    page = browse(busy, width=width, java_script_enabled=False)
    steps.sign_in(page, "grace")
    if width < 992:
        page.get_by_role("button", name="Menu", exact=True).click()
    page.get_by_role("link", name="Org units").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Org units")
    page.get_by_role("link", name="Search").click()
    page.get_by_role("searchbox", name="Name").fill("lovelace")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name=re.compile("^ada")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("ada")


def test_names_are_found_while_they_are_typed(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/quotas/")
    expect(page.get_by_label("Org unit")).to_be_hidden()
    name = page.get_by_role("combobox", name="Name of the person or group")
    name.press_sequentially("love")
    offered = page.get_by_role("option", name=re.compile("^ada"))
    expect(offered).to_be_visible()
    assert axe.findings(page) == []
    page.keyboard.press("Escape")
    expect(offered).to_be_hidden()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(name).to_have_value("ada")
    page.get_by_label("Machines", exact=True).fill("3")
    page.get_by_role("button", name="Set quota").click()
    expect(page.get_by_text("The quota counts from now on")).to_be_visible()
    assert Quota.select().where(Quota.account == busy.people["ada"].account_id).count() == 1
    # Several in one field, each by itself.
    page.goto(f"/admin/groups/{Group.get().id}")
    names = page.get_by_role("combobox", name="Accounts to add")
    names.press_sequentially("ala")
    page.get_by_role("option", name=re.compile("^alan")).click()
    expect(names).to_have_value("alan ")
    expect(names).to_be_focused()
    names.press_sequentially("gr")
    expect(page.get_by_role("option", name=re.compile("^grace"))).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(names).to_have_value("alan grace ")
    page.get_by_role("button", name="Add members").click()
    expect(page.get_by_text("2 new in the group.")).to_be_visible()


def test_a_delegate_is_offered_what_is_theirs_to_give(busy: Site, browse: Browse) -> None:
    with catalog.write():
        Grant.delete().where(Grant.role == "user").execute()
    page = browse(busy)
    steps.sign_in(page, "mary")
    page.keyboard.press("Control+k")
    page.keyboard.type("stud")
    expect(page.get_by_role("option").first).to_be_visible()
    assert not [text for text in page.get_by_role("option").all_inner_texts() if "notebook" in text]
