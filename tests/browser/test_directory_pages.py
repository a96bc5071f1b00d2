"""The directory's page in a real browser, before a real slapd: from nothing to somebody of the directory who is signed in."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import Account, DirectoryRun, RunState
from appliance.identity import secrets
from appliance.lifecycle import directory_runs
from tests import slapd
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import sound
from tests.slapd import PEOPLE, READER, READER_PASSWORD, SUFFIX, Slapd

pytestmark = pytest.mark.directory

Browse = Callable[..., Page]


@pytest.fixture
def school(tmp_path: Path) -> Iterator[Slapd]:
    entries = [
        *slapd.top(),
        slapd.unit("people"),
        slapd.somebody("emmy", "Emmy Noether", PEOPLE, mail="emmy@example.org", password="emmy's password"),
        slapd.somebody("ada", "Ada, who has a local account", PEOPLE),
        slapd.group("algebra", [f"uid=emmy,{PEOPLE}"]),
    ]
    with slapd.serve(tmp_path / "slapd", entries) as server:
        yield server


def synchronise() -> None:
    """What the engine would do."""
    run = directory_runs.due_run()
    assert run is not None
    directory_runs.run(run)


def fill(page: Page, server: Slapd, *, password: str = READER_PASSWORD) -> None:
    page.get_by_label("Servers, one a line").fill(f"127.0.0.1:{server.port}")
    page.get_by_label("Search base").fill(SUFFIX)
    page.get_by_label("Reading account").fill(READER)
    page.get_by_label("Its password").fill(password)
    page.get_by_label("Certificate of the authority").fill(server.authority.pem)


def test_from_nothing_to_signing_in(busy: Site, browse: Browse, school: Slapd) -> None:
    secrets.open(busy.settings.web_secret)
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/accounts/")
    page.get_by_role("link", name="Directory").click()
    expect(page.get_by_text("No directory is used; only local accounts sign in.")).to_be_visible()
    fill(page, school, password="wrong")
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_role("status").get_by_text("does not take this name and password")).to_be_visible()
    expect(page.get_by_label("Search base")).to_have_value(SUFFIX)  # what was entered is still there
    page.get_by_label("Its password").fill(READER_PASSWORD)
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("2 people: ada, emmy")).to_be_visible()
    expect(page.get_by_text("1 groups: algebra")).to_be_hidden()
    expect(page.get_by_text("1 group: algebra")).to_be_visible()
    page.get_by_label("Search base").fill("here")
    page.get_by_role("button", name="Save and synchronise").click()
    expect(page.get_by_role("alert")).to_contain_text("'here' is not a place in a directory.")
    page.get_by_label("Search base").fill(SUFFIX)
    page.get_by_role("button", name="Save and synchronise").click()
    expect(page.get_by_text("Waiting for the engine to begin")).to_be_visible()
    synchronise()
    expect(page.get_by_text("2 people, 1 group, 1 org unit")).to_be_visible()  # without a reload
    expect(page.get_by_text("there is a local account called ada")).to_be_visible()
    assert READER_PASSWORD not in page.content()
    theirs = browse(busy)
    steps.sign_in(theirs, "emmy", "emmy's password")
    expect(theirs.get_by_role("heading", name="Hello, Emmy")).to_be_visible()
    theirs.goto("/account")
    expect(theirs.get_by_text("Your password is the one of the directory")).to_be_visible()
    expect(theirs.get_by_label("Old password")).to_have_count(0)
    page.goto(f"/admin/accounts/{Account.get(Account.name == 'emmy').id}")
    expect(page.get_by_text("comes from the directory")).to_be_visible()
    expect(page.get_by_label("Full name")).to_be_disabled()


def test_a_directory_that_lost_its_people_asks_before_it_locks_them_out(busy: Site, browse: Browse, school: Slapd) -> None:
    secrets.open(busy.settings.web_secret)
    page = browse(busy, width=390)
    steps.sign_in(page, "grace")
    page.goto("/admin/directory/")
    fill(page, school)
    page.get_by_role("button", name="Save and synchronise").click()
    expect(page.get_by_text("Waiting for the engine to begin")).to_be_visible()
    synchronise()
    school.delete(f"uid=emmy,{PEOPLE}", f"uid=ada,{PEOPLE}")
    page.get_by_role("button", name="Synchronise now").click()
    expect(page.get_by_text("Waiting for the engine to begin")).to_be_visible()
    synchronise()
    expect(page.get_by_text("The directory no longer has 1 of 1 people, so nothing was changed.").first).to_be_visible()
    assert not Account.get(Account.name == "emmy").disabled
    page.get_by_role("button", name="Synchronise anyway").click()
    page.locator("dialog#confirm").get_by_role("button", name="Synchronise anyway").click()
    expect(page.get_by_text("Waiting for the engine to begin")).to_be_visible()
    synchronise()
    expect(page.get_by_text("1 removed")).to_be_visible()
    assert Account.get(Account.name == "emmy").disabled
    page.get_by_role("button", name="Disable").click()
    page.locator("dialog#confirm").get_by_role("button", name="Disable").click()
    expect(page.get_by_text("switched off", exact=True)).to_be_visible()
    assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def test_the_page_fits_every_screen(busy: Site, browse: Browse, school: Slapd) -> None:
    secrets.open(busy.settings.web_secret)
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/directory/")
    fill(page, school)
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("2 people: ada, emmy")).to_be_visible()
    page.get_by_role("button", name="Save and synchronise").click()
    expect(page.get_by_text("Waiting for the engine to begin")).to_be_visible()  # else it is one that was due by the clock
    synchronise()
    expect(page.get_by_text("2 people, 1 group, 1 org unit")).to_be_visible()
    with catalog.write():
        DirectoryRun.create(
            state=RunState.FAILED,
            problem="ldap.example.org:389 cannot be reached.",
            hint="Check the address.",
            started_at=catalog.now(),
            ended_at=catalog.now(),
        )
        DirectoryRun.create(state=RunState.RUNNING, step="Reading people: 1500", started_at=catalog.now())
    expect(page.get_by_text("Reading people: 1500")).to_be_visible()
    with catalog.write():
        DirectoryRun.delete().where(DirectoryRun.state == RunState.RUNNING).execute()
    expect(page.get_by_text("Reading people: 1500")).to_be_hidden()
    sound(page)
