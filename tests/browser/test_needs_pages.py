"""What needs somebody, in a real browser: the bell, the list, and the way to where it is mended; and that it goes by itself."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog, durable
from appliance.catalog import Seed, SeedState, options, record
from appliance.host.interface.conditions import Backups, Conditions
from appliance.host.system import conditions
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import LOOKS, sound

pytestmark = pytest.mark.console_ui

Browse = Callable[..., Page]
SHOTS = os.environ.get("DPE_TEST_SHOTS", "")


def look(page: Page, name: str) -> None:
    sound(page)
    for width, scheme in LOOKS if SHOTS else ():
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.screenshot(path=Path(SHOTS) / f"{name}-{width}.png", full_page=True)


def test_from_the_bell_to_where_it_is_mended(busy: Site, browse: Browse) -> None:
    durable.write(conditions.file(busy.settings), Conditions(backups=Backups()).model_dump_json(), mode=0o644)
    page = browse(busy, width=390, reduced_motion="reduce")
    steps.sign_in(page, "grace")
    bell, needs = page.locator("#bell"), page.locator("#needs li")
    expect(bell).to_contain_text("5 need you")
    steps.key(page, bell)
    expect(page.get_by_role("heading", name="Needs you")).to_be_visible()
    expect(needs).to_have_count(5)
    expect(needs.first).to_contain_text("Statistics studio: the seed could not be built")
    look(page, "needs")

    # It is mended elsewhere, and goes from here.
    with catalog.write():
        Seed.create(machine_class="studio", version=3, state=SeedState.BUILDING)
        record("support.bundle", "Another one is built.")
    expect(needs).to_have_count(4)
    expect(bell).to_contain_text("4 need you")
    steps.key(page, needs.filter(has_text="E-mail is not sent.").get_by_role("link"))
    expect(page.get_by_role("heading", name="E-mail", exact=True)).to_be_visible()
    page.goto("/admin/")
    expect(needs).to_have_count(4)
    look(page, "overview")
    durable.write(conditions.file(busy.settings), Conditions(backups=Backups(set_up=True, noted=True)).model_dump_json(), mode=0o644)
    with catalog.write():
        options.put("mail", {"on": True})
        options.put("directory", {"on": False, "none": True})
        catalog.Grant.create(role="owner", account=busy.people["ada"].account_id)
        record("support.bundle", "All is well.")
    expect(page.get_by_text("Nothing needs you.").first).to_be_visible()
    expect(page.locator("#bell .bell-count")).to_have_count(0)
    look(page, "nothing")
