"""Backups in a real browser, with dpe-host and restic behind them: set up, made, checked, and restored as the first step of a new appliance."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.host.backup import appliance_backup, restore
from appliance.run import start
from appliance.services import setup
from appliance.settings import Settings, environment
from tests.browser import steps, test_pages
from tests.browser.conftest import Site

pytestmark = [pytest.mark.backup, pytest.mark.console_ui]
Browse = Callable[..., Page]
PAGE = "/admin/server/backups/"
PATIENCE = 120_000  # ms
SHOTS = os.environ.get("DPE_TEST_SHOTS", "")


@pytest.fixture
def hosts() -> Iterator[Callable[[Settings], None]]:
    """dpe-host over a state directory, in a process of its own; its new repositories are opened quickly."""
    with ExitStack() as stack:

        def begin(settings: Settings) -> None:
            process = start([sys.executable, "-m", "tests.quick_keys"], env=environment(settings))
            stack.callback(process.wait)
            stack.callback(process.terminate)

        yield begin


def sound(page: Page, name: str = "") -> None:
    test_pages.sound(page, name)
    if SHOTS and name:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def is_there(page: Page) -> None:
    """dpe-host answers."""
    expect(page.get_by_role("heading", name=re.compile("Set up backups|Target"))).to_be_visible()


def choose_folder(page: Page, folder: Path) -> None:
    page.get_by_label("A folder of this server").check()
    page.get_by_label("Path").fill(str(folder))


def await_host(page: Page, settings: Settings) -> None:
    while not settings.host_socket.exists():
        page.wait_for_timeout(50)


def test_set_up_made_checked(busy: Site, browse: Browse, hosts: Callable[[Settings], None], tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    hosts(busy.settings)
    page = browse(busy)
    await_host(page, busy.settings)
    steps.sign_in(page, "grace")
    page.goto(PAGE)
    expect(page.get_by_text("Nothing of this appliance is backed up.")).to_be_visible()
    sound(page, "empty")
    choose_folder(page, tmp_path / "nowhere")
    steps.key(page, page.get_by_role("button", name="Save"))
    expect(page.get_by_role("alert")).to_contain_text("There is no folder")
    expect(page.get_by_label("Path")).to_have_value(str(tmp_path / "nowhere"))  # nothing entered is lost
    sound(page, "wrong")
    choose_folder(page, target)
    steps.key(page, page.get_by_role("button", name="Test"))
    expect(page.get_by_text("can be used; no backups are there yet")).to_be_visible()
    assert not list(target.iterdir()), "trying changes nothing"
    steps.key(page, page.get_by_role("button", name="Save"))
    expect(page.get_by_text("Backups go there from now on.")).to_be_visible()
    sound(page, "begin")

    steps.key(page, page.get_by_role("button", name="Show the recovery key"))
    shown = page.locator(".recovery-key")
    assert shown.inner_text() == re.sub(r"(.{4})(?!$)", r"\1-", (busy.settings.host / "backup/key").read_text())
    sound(page, "key")
    key = shown.inner_text()
    steps.key(page, page.get_by_role("link", name="I wrote it down"))
    expect(page.locator(".recovery-key")).to_have_count(0)
    expect(page.get_by_label("Its first and its last group")).to_be_focused()
    page.keyboard.type("ABCD EFGH")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not how the recovery key begins and ends")
    sound(page, "written")
    page.get_by_label("Its first and its last group").fill(f"{key[:4].lower()} {key[-4:]}")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Good. It is not shown again.")).to_be_visible()
    expect(page.get_by_role("button", name="Show the recovery key")).to_have_count(0)
    expect(page.get_by_text("This is the appliance's own disk.")).to_be_visible()

    steps.key(page, page.get_by_role("button", name="Back up now"))
    expect(page.locator(".operation")).to_contain_text("Done", timeout=PATIENCE)
    sound(page, "operation")
    page.goto(PAGE)
    row = page.get_by_role("row").filter(has_text="newest")
    expect(row).to_contain_text("people", timeout=PATIENCE)
    steps.key(page, page.get_by_role("button", name="Verify all"))
    expect(page.locator(".operation")).to_contain_text("Done", timeout=PATIENCE)
    page.goto(PAGE)
    expect(page.get_by_text("One backup is whole")).to_be_visible()
    page.get_by_role("button", name="Try a restore now").click()
    expect(page.locator(".operation")).to_contain_text("Done", timeout=PATIENCE)
    page.goto(PAGE)
    expect(page.get_by_text("The newest backup could be restored")).to_be_visible()

    page.get_by_label("Mon", exact=True).uncheck()
    page.locator("#f-daily").fill("0")
    page.locator("#plan").get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("number of days")
    page.locator("#f-daily").fill("14")
    page.get_by_label("Test a restore").select_option("Every month")
    page.locator("#plan").get_by_role("button", name="Save").click()
    known = appliance_backup.config(busy.settings)
    assert known is not None
    assert (known.plan.daily, known.plan.days, known.plan.restore_test) == (14, [1, 2, 3, 4, 5, 6], "monthly")
    page.goto(PAGE)
    saved = page.locator("#plan").get_by_role("button", name="Save")
    saved.click()
    expect(page.get_by_text("Saved.")).to_be_in_viewport()
    expect(saved).to_be_in_viewport()  # the page stays where it was

    expect(row).to_contain_text("people", timeout=PATIENCE)
    row.get_by_text("Restore", exact=True).click()
    for name in ("sftp", "s3", "disk", "folder"):
        page.locator(f"#kind-{name}").check()
        sound(page, f"full-{name}")
    row.get_by_role("button", name="Restore all of it").click()
    expect(page.locator("#confirm-text")).to_contain_text("LOST: everything that happened since")
    expect(page.locator("#confirm-text")).to_contain_text("is cut off.")
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / "confirm.png")
    page.locator("#confirm").get_by_role("button", name="Cancel").click()
    assert not restore.waits(busy.settings)


def fresh(settings: Settings) -> None:
    setup.ensure_code(settings)


def test_a_new_appliance_takes_the_place_of_a_lost_one(
    serve: Callable[..., Site], browse: Browse, hosts: Callable[[Settings], None], tmp_path: Path
) -> None:
    from tests.integration.test_backup import Host
    from tests.unit.host.backed_up import small_appliance

    target = tmp_path / "elsewhere"
    target.mkdir()
    lost = small_appliance(tmp_path / "l")
    host = Host(lost)
    host.ask("backup.configure", target={"kind": "folder", "path": str(target)})
    key = host.ask("backup.key")
    assert host.do("backup.run").error == ""
    host.close()

    site = serve(fresh)
    hosts(site.settings)
    page = browse(site)
    await_host(page, site.settings)
    page.goto("/setup/restore")
    sound(page, "restore-code")
    page.get_by_label("Setup code").fill("AAAA-AAAA-AAAA")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("alert")).to_contain_text("not the setup code")
    page.get_by_label("Setup code").fill((site.settings.state / "setup-code").read_text().strip())
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="Backup location")).to_be_visible()
    choose_folder(page, target)
    page.get_by_label("Recovery key").fill("ABCD-" * 7 + "ABCD")
    page.get_by_role("button", name="Look for backups").click()
    expect(page.get_by_role("alert")).to_contain_text("does not open the backups")
    sound(page, "restore-where")
    page.get_by_label("Recovery key").fill(key)
    page.get_by_role("button", name="Look for backups").click()
    expect(page.get_by_role("heading", name="Backup to restore")).to_be_visible()
    sound(page, "restore-which")
    page.get_by_role("button", name="Restore it").click()
    expect(page.get_by_role("heading", name="Restoring")).to_be_visible()
    sound(page, "restore-progress")
    while not restore.waits(site.settings):
        page.wait_for_timeout(200)
    site.stop()
    catalog.close()
    assert restore.finish(site.settings)
    catalog.open(site.settings.catalog)
    assert setup.is_done()
    assert [one.name for one in catalog.Account.select()] == ["ada"]
