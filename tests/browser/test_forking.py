"""How machines are made, as an admin sees it in a real browser: each state of it, live, and in every width and light."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from appliance import catalog
from appliance.catalog import Class, Seed, Snapshot, SnapshotState, now, record
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import sound

pytestmark = pytest.mark.fork

Browse = Callable[..., Page]
CLASS = "/admin/classes/notebook"


def seed() -> Seed:
    found: Seed = Seed.get(Seed.machine_class == "notebook", Seed.promoted == True)  # noqa: E712
    return found


def become(state: str) -> None:
    """The notebook's machines are made like that from now on."""
    with catalog.write():
        Snapshot.update(state=SnapshotState.STALE).where(Snapshot.seed == seed().id).execute()
        Class.update(fork=state != "off", fork_failures=0).where(Class.name == "notebook").execute()
        if state in SNAPSHOTS:
            world.snapshot(seed(), SNAPSHOTS[state])
        record("support.bundle", f"The class is {state} now.")


SNAPSHOTS = {"taking": SnapshotState.BUILDING, "forked": SnapshotState.READY, "booted": SnapshotState.FAILED}
WORDS = {"off": "Forking is switched off", "taking": "booting the seed", "forked": "Forked from the snapshot", "booted": "booted for now"}


def card(page: Page) -> Locator:
    return page.get_by_role("region", name="Provisioning", exact=True)


def test_the_class_page_follows_the_snapshot_and_keeps_what_is_typed(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto(f"{CLASS}/making")
    page.get_by_label("Cold").check()
    for state in ("taking", "booted", "off", "forked"):
        become(state)
        expect(card(page)).to_contain_text(WORDS[state])
    expect(page.get_by_label("Cold")).to_be_checked()
    page.get_by_role("button", name="Save provisioning").click()
    expect(page.get_by_text("Machines are made like that from now on")).to_be_visible()
    assert Class.get_by_id("notebook").readiness == "cold"


def test_a_class_that_boots_for_now_is_seen_on_the_overview_and_tried_again_there(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/")
    become("booted")
    warning = page.get_by_role("alert").filter(has_text="booted for now, not forked")
    expect(warning).to_be_in_viewport()
    expect(warning).to_contain_text("3 forks in a row failed.")
    warning.get_by_role("button", name="Try forking again").click()
    expect(warning).to_contain_text("Another snapshot is tried in a moment.")
    assert Snapshot.get(Snapshot.state == SnapshotState.FAILED).retry_at <= now()


def test_every_state_can_be_read_everywhere(busy: Site, browse: Browse) -> None:
    page = browse(busy, reduced_motion="reduce")
    steps.sign_in(page, "grace")
    for state in WORDS:
        become(state)
        for path in (CLASS, "/admin/", "/admin/classes/", f"/admin/seeds/{seed().id}", "/setup/progress"):
            page.goto(path)
            sound(page, state)
