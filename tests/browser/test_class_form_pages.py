"""A class made in the page, as a new admin does it: from nothing, changed by one package, gone back from."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance.catalog import Actor, Class, Seed, SeedState
from appliance.services import scenarios
from appliance.settings import Settings
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import sound

pytestmark = pytest.mark.studio

Browse = Callable[..., Page]


def fill(settings: Settings) -> dict[str, Actor]:
    people = world.busy(settings)
    world.scenario(offered=False)
    return people


def test_a_class_is_made_from_nothing_changed_and_gone_back_from(serve: Callable[..., Site], browse: Browse) -> None:
    page = browse(serve(fill))
    steps.sign_in(page, "grace")
    page.goto("/admin/classes/notebook#policy")  # as a bookmark of before has it
    expect(page).to_have_url("/admin/classes/notebook/policy")
    page.goto("/admin/classes/")
    page.get_by_role("link", name="New class").click()
    page.get_by_label("Short name").fill("files")
    page.locator("#f-title").fill("Folder of pages")
    page.get_by_role("combobox", name="Operating system").select_option("Debian 12 (bookworm)")
    page.get_by_role("textbox", name="Debian packages").fill("nginx\nNano")
    page.locator("[name='size.memory']").fill("512")
    page.get_by_role("button", name="Show changes").click()
    wrong = page.get_by_role("alert")
    expect(wrong).to_be_focused()
    wrong.get_by_role("link", name="packages.1 cannot be 'Nano'").click()
    expect(page.get_by_role("textbox", name="Debian packages")).to_be_focused()
    expect(page.get_by_role("textbox", name="Debian packages")).to_have_accessible_description(
        "packages.1 cannot be 'Nano'; write the name of a Debian package, like python3-venv."
    )
    page.get_by_role("textbox", name="Debian packages").fill("nginx")
    page.get_by_role("button", name="Show changes").click()
    wrong.get_by_role("link", name="nothing of this machine can be opened in a browser").click()
    expect(page.locator("#f-applications")).to_be_focused()
    expect(page.locator("#f-applications\\.postgresql\\.options\\.connections")).to_be_hidden()
    page.get_by_label("PostgreSQL with Adminer").check()
    page.locator("#f-applications\\.postgresql\\.options\\.connections").fill("30")
    page.get_by_label("Web terminal").check()
    page.locator("[name='applications.terminal.port']").fill("8081")
    page.get_by_role("button", name="Show changes").click()
    wrong.get_by_role("link", name="Web terminal and PostgreSQL with Adminer both take port 8081").click()
    expect(page.locator("[name='applications.terminal.port']")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("4200")
    page.get_by_role("button", name="Show changes").click()
    expect(page.locator(".changes")).to_contain_text("Its seed is built before it can be had.")
    expect(page.get_by_role("region", name="Preview")).to_contain_text("Fit on this server")
    sound(page)
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("region", name="Preview")).to_be_visible()
    assert asked == ["beforeunload"], "what was only looked at is not saved"
    page.get_by_role("button", name="Save as a new version").click()
    expect(page.get_by_text("Folder of pages is saved, as version 3. Its seed is built now.")).to_be_visible()
    assert Seed.get(Seed.machine_class == "files").state is SeedState.QUEUED
    page.get_by_role("navigation", name="Sections of the class").get_by_role("link", name="Machine").click()
    page.get_by_role("link", name="Edit").click()
    page.get_by_role("textbox", name="Debian packages").fill("nginx\nless")
    page.get_by_role("button", name="Show changes").click()
    expect(page.locator(".changes")).to_contain_text("Machines are other ones once its seed is built anew.")
    page.get_by_label("Build these seeds now").uncheck()
    page.get_by_role("button", name="Save as a new version").click()
    assert Class.get_by_id("files").spec["packages"] == ["nginx", "less"]
    page.get_by_role("link", name="Undo").click()
    page.get_by_role("button", name="Go back to this version").click()
    page.get_by_role("dialog").get_by_role("button", name="Go back").click()
    expect(page.get_by_text("Version 3 counts again, as version 5.")).to_be_visible()
    assert Class.get_by_id("files").spec["packages"] == ["nginx"]
    assert "packages: [nginx]" in scenarios.text(scenarios.current())
    page.goto("/admin/scenario/classes/files/delete")
    expect(page.get_by_text("It is offered.")).to_be_visible()
