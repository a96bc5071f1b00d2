"""The wizard as the bootable image shows it, in a real browser: network and storage besides; wide and on a phone, with and without JavaScript."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from werkzeug.serving import make_server

from appliance import catalog, layout
from appliance.access import tls
from appliance.catalog import Account
from appliance.host.disks import inventory
from appliance.host.interface import disks
from appliance.host.system import config, network, network_trial
from appliance.scenario import tree
from appliance.services import class_specs, scenarios, setup
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import load
from tests import world
from tests.browser.conftest import Site, free_port
from tests.browser.test_pages import fresh, sound
from tests.hosted import do_instead, hosted
from tests.unit.scenario.test_load import GOOD, write
from webui.app import create_app

Browse = Callable[..., Page]
DISKS = [
    inventory.Disk("/dev/vda", "First disk", "A1", 64 << 30, "system", [], "The appliance itself is on it."),
    inventory.Disk("/dev/vdb", "Great SSD", "S3R1AL", 1000 << 30, "foreign", ["Windows data (NTFS) “Photos”, 999.0 GB"]),
    inventory.Disk("/dev/vdc", "Empty disk", "", 2000 << 30, "empty", [], healthy=False, health="It says that it is failing."),
    inventory.Disk("/dev/sda", "USB disk", "U1", 16 << 30, "other", [], "It is in use: /mnt."),
]


@pytest.fixture
def image_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The web page and dpe-host in this process, which takes itself for the image."""
    port = free_port()
    settings = load({}, state=tmp_path / "state", https_port=port, app_port=20000 if port < 20000 else 10000, network="pages")
    layout.prepare(settings)
    catalog.open(settings.catalog)
    fresh(settings)
    certificate, key = tls.ensure(settings)
    monkeypatch.setattr(inventory, "disks", lambda *_: DISKS)
    monkeypatch.setattr(network, "PAUSE", 0.0)
    with hosted(settings, tmp_path) as host:
        assert host.server is not None
        do_instead(monkeypatch, disks.USE, lambda args, host: None)
        server = make_server("127.0.0.1", port, create_app(settings), threaded=True, ssl_context=(os.fspath(certificate), os.fspath(key)))
        server.daemon_threads = True  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Site(f"https://127.0.0.1:{port}", settings, {}, None)
        server.shutdown()
        thread.join()
        assert host.server.operations.wait(10)
    catalog.close()


def begin(site: Site, page: Page) -> None:
    page.goto("/setup")
    page.get_by_label("Setup code").fill((site.settings.state / "setup-code").read_text().strip())
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="Network")).to_be_visible()


def forward(page: Page, heading: str) -> None:
    page.get_by_role("button", name="Next").last.click()
    expect(page.get_by_role("heading", name=heading)).to_be_visible()


def fill_account(page: Page) -> None:
    page.get_by_label("Name to sign in with").fill("grace")
    page.get_by_label("Password", exact=True).fill(world.PASSWORD)
    page.get_by_label("The same password again").fill(world.PASSWORD)


def looks_right(page: Page) -> None:
    """Nothing is pale, unnamed or sticks out; the headings of the other steps are hidden, not gone."""
    sound(page, but="headings")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_whole_wizard_of_the_image(image_site: Site, browse: Browse, width: int, scheme: str, tmp_path: Path) -> None:
    scenarios.follow_folder(replace(image_site.settings, scenario=write(tmp_path, GOOD)))
    adopt_scenario(class_specs.scenario())
    page = browse(image_site, width=width, scheme=scheme, reduced_motion="reduce")
    begin(image_site, page)
    expect(page.get_by_label("Address with prefix")).to_be_hidden()
    page.get_by_label("A fixed address").check()
    page.get_by_label("Address with prefix").fill("192.0.2.20")
    page.get_by_role("button", name="Next").last.click()
    expect(page.get_by_text("has no prefix").last).to_be_visible()
    expect(page.get_by_role("alert")).to_be_focused()
    looks_right(page)
    page.get_by_label("By DHCP").check()
    forward(page, "Administrator account")
    fill_account(page)
    forward(page, "Appliance")
    page.get_by_label("Name of the appliance").fill("Hillside School")
    forward(page, "Storage")
    expect(page.get_by_label("USB disk")).to_be_disabled()
    page.get_by_label("Great SSD").check()
    page.get_by_role("button", name="Next").last.click()
    expect(page.get_by_text("To say that you mean it, type S3R1AL.").last).to_be_visible()
    looks_right(page)
    page.get_by_label("To erase it").fill("S3R1AL")
    forward(page, "Pools")
    expect(page.get_by_label("A class from the catalogue")).to_be_hidden()
    page.get_by_text("Other machines than these").click()
    page.get_by_label("A class from the catalogue").check()
    page.get_by_label("Application").select_option("dokuwiki")
    page.get_by_role("button", name="Use these").click()
    expect(page.locator("#wizard").get_by_role("heading", name="DokuWiki")).to_be_visible()
    looks_right(page)
    page.get_by_label("A scenario from a zip").check()
    sent = tree.to_zip({"scenario.yml": tree.File(GOOD.encode())}, "shop")
    page.get_by_label("Zip file").set_input_files({"name": "shop.zip", "mimeType": "application/zip", "buffer": sent})
    with page.expect_response("**/setup/machines"):  # where a file of more than a form may be sent to
        page.get_by_role("button", name="Use these").click()
    expect(page.get_by_text("there is no role web").last).to_be_visible()
    page.get_by_label("What came with the appliance").check()
    page.get_by_role("button", name="Use these").click()
    expect(page.locator("#wizard").get_by_role("heading", name="Notebook")).to_be_visible()
    forward(page, "Directory")
    expect(page.get_by_label("Search base")).to_be_hidden()
    page.get_by_label("Use this one").check()
    page.get_by_label("Servers").fill("localhost:1")
    page.get_by_label("Search base").fill("dc=example,dc=org")
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("The test found something to look at.")).to_be_visible()
    expect(page.locator("#findings")).to_be_focused()
    looks_right(page)
    page.get_by_label("Later").check()
    forward(page, "Hardware")
    expect(page.get_by_role("heading", name="Hardware")).to_be_focused()
    expect(page.get_by_text("This server can hold")).to_be_visible()
    looks_right(page)
    forward(page, "Review")
    expect(page.get_by_text("All data on Great SSD")).to_be_visible()
    looks_right(page)
    page.get_by_role("button", name="Back").click()
    expect(page.get_by_role("heading", name="Hardware")).to_be_visible()
    forward(page, "Review")
    page.get_by_role("button", name="Finish and build").click()
    expect(page.get_by_text("The data is being moved to the second disk.")).to_be_visible(timeout=60_000)
    assert Account.get().name == "grace"


def test_another_address_is_opened_by_its_link_and_kept(image_site: Site, browse: Browse) -> None:
    page = browse(image_site)
    begin(image_site, page)
    page.get_by_label("A fixed address").check()
    page.get_by_label("Address with prefix").fill("192.0.2.20/24")
    page.get_by_label("Gateway").fill("192.0.2.1")
    page.get_by_role("button", name="Next").last.click()
    link = page.get_by_role("link", name="Go on at 192.0.2.20")
    expect(link).to_be_visible()
    looks_right(page)
    network.step(image_site.settings)
    keep = str(link.get_attribute("href"))
    assert keep.startswith(f"https://192.0.2.20:{image_site.settings.https_port}/")
    other = browse(image_site)
    other.goto(keep.replace("192.0.2.20", "127.0.0.1"))
    expect(other.get_by_role("heading", name="It works")).to_be_visible()
    assert config.read(image_site.settings)[0].network.address == "192.0.2.20/24"
    other.goto("/setup")
    expect(other.get_by_label("Setup code")).to_be_visible()


def test_without_javascript_too_and_a_browser_that_does_not_come_back_loses_nothing(
    image_site: Site, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = browse(image_site, java_script_enabled=False)
    begin(image_site, page)
    page.get_by_label("A fixed address").check()
    page.get_by_label("Address with prefix").fill("192.0.2.20")
    page.get_by_role("button", name="Next").last.click()
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_role("link", name="has no prefix").click()
    expect(page.get_by_label("Address with prefix")).to_be_focused()
    page.get_by_label("Address with prefix").fill("192.0.2.20/24")
    page.get_by_role("button", name="Next").last.click()
    expect(page.get_by_role("heading", name="The network is being changed")).to_be_visible()
    network.step(image_site.settings)
    late = network_trial.clock() + 1000
    monkeypatch.setattr(network_trial, "clock", lambda: late)
    network.step(image_site.settings)
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("The old settings are in use again")).to_be_visible()
    expect(page.get_by_label("Address with prefix")).to_have_value("192.0.2.20/24")
    page.get_by_label("By DHCP").check()
    forward(page, "Administrator account")
    fill_account(page)
    forward(page, "Appliance")
    page.get_by_label("Name of the appliance").fill("Hillside School")
    for heading in ("Storage", "Pools", "Directory", "Hardware", "Review"):
        forward(page, heading)
    page.get_by_role("button", name="Finish and build").click()
    expect(page.get_by_role("heading", name="The appliance is getting ready")).to_be_visible(timeout=60_000)
    assert setup.is_done()
