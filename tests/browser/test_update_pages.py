"""The page of updates in a real browser, over the real dpe-host: an update sent with its progress, installed, and gone back from."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from appliance.host.updates import installation
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import sound
from tests.fake_rauc import GOOD, REAL, FakeHost
from tests.hosted import serving

Browse = Callable[..., Page]
PAGE = "/admin/server/updates/"


@pytest.fixture
def image(fake_host: FakeHost, serve: Callable[..., Site]) -> Iterator[Site]:
    """The web page on a busy morning, in the bootable image."""
    site = serve(world.busy)
    with serving(site.settings) as host:
        yield site
        host.operations.wait(20)


def history(site: Site) -> None:
    """Two updates, of which one was not good."""
    settings = site.settings
    installation.settle(settings)
    for version, outcome, reason in (
        ("1.2.0", installation.UPDATED, ""),
        ("1.3.0", installation.ROLLED_BACK, "The web page does not answer: Connection refused."),
    ):
        trial = installation.Switch(
            before="1.1.0" if version == "1.2.0" else "1.2.0",
            version=version,
            slot="B",
            by="grace",
            at=datetime.now(UTC),
            back=False,
            catalog=1,
        )
        installation.end_update(settings, trial, outcome, reason=reason)


def test_an_update_is_sent_installed_and_switched_to(image: Site, browse: Browse, tmp_path: Path) -> None:
    page = browse(image)
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    steps.sign_in(page, "grace")
    page.goto("/admin/server/")
    page.get_by_role("link", name="Updates").click()
    expect(page.get_by_role("heading", name="Version 1.2.0")).to_be_visible()
    broken = tmp_path / "broken.raucb"
    broken.write_bytes(GOOD[:9000])
    page.get_by_label("The update's file").set_input_files(broken)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("only a part of one")
    page.get_by_label("The update's file").set_input_files(REAL / "good.raucb")
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("heading", name="Version 1.3.0 is here")).to_be_visible()
    page.get_by_role("button", name="Install 1.3.0").click()
    expect(page.get_by_role("heading", name="1.3.0 is written, and waits for a restart")).to_be_visible()  # by itself
    page.get_by_label("Tonight at 03:00").check()
    page.get_by_role("button", name="Restart into 1.3.0").click()
    expect(page.locator("#restart")).to_contain_text("The appliance restarts at")
    other = browse(image)
    steps.sign_in(other, "ada")
    expect(other.locator("#restart")).to_contain_text("for an update to 1.3.0")
    page.get_by_role("button", name="Do not restart").click()
    expect(page.get_by_role("heading", name="1.3.0 is written, and waits for a restart")).to_be_visible()
    other.reload()
    expect(other.locator("#restart")).to_have_count(0)
    assert asked == [], "a file that was sent is nothing unsaved"


def test_without_script_the_form_does_it_alone(image: Site, browse: Browse) -> None:
    page = browse(image, java_script_enabled=False)
    steps.sign_in(page, "grace")
    page.goto(PAGE)
    page.get_by_label("The update's file").set_input_files(REAL / "good.raucb")
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("heading", name="Version 1.3.0 is here")).to_be_visible()


def test_the_page_fits_and_is_sound(image: Site, browse: Browse) -> None:
    page = browse(image)
    steps.sign_in(page, "grace")

    def look() -> None:
        page.goto(PAGE)
        for summary in page.locator("summary").all():
            summary.click()
        sound(page)

    settings = image.settings
    look()
    history(image)
    moment = datetime.now(UTC)
    staged = installation.Staged(
        version="1.1.0",
        built="2026-10-02T10:00:00Z",
        signed_by="Updates of the DPE Appliance",
        size=317 << 20,
        system_size=1800 << 20,
        by="grace",
        at=moment,
    )
    installation.remember(settings, staged=staged, versions={"A": "1.2.0", "B": "1.1.0"})
    look()
    installation.remember(settings, installed=installation.Installed(version="1.4.0", slot="B", by="grace", at=moment))
    look()
    installation.remember(settings, plan=installation.Plan(version="1.4.0", at=moment + timedelta(hours=7), by="grace", back=False))
    look()


def test_on_a_debian_of_ones_own(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    with serving(busy.settings):
        page.goto(PAGE)
        expect(page.get_by_text("git pull")).to_be_visible()
        expect(page.get_by_role("button", name="Upload", exact=True)).to_have_count(0)
