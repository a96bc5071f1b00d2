"""The pages of the server in a real browser: as in the bootable image, and on a Debian of somebody's own; wide and on a phone."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType

import pytest
from playwright.sync_api import Page, expect

from appliance.access import own_certificate
from appliance.host.rpc.registry import HANDLERS, Host
from appliance.host.rpc.verb import LongVerb, Nothing
from appliance.host.system import network, network_trial
from tests.authority import root
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import is_sideways, sound
from tests.hosted import Hosted, do_instead, hosted

Browse = Callable[..., Page]
PAGES = ("", "network", "certificate", "proxies", "machine-names", "time", "hardware", "power/restart", "power/off")


@pytest.fixture
def host(busy: Site, tmp_path: Path) -> Iterator[Hosted]:
    with hosted(busy.settings, tmp_path) as made:
        yield made


def open_page(busy: Site, browse: Browse, path: str = "", **options: object) -> Page:
    page = browse(busy, **options)
    steps.sign_in(page, "grace")
    page.goto(f"/admin/server/{path}")
    return page


def confirm(page: Page) -> None:
    page.locator("#confirm-yes").click()


def test_a_change_of_the_network_is_kept_by_the_link_and_else_taken_back(busy: Site, host: Hosted, browse: Browse) -> None:
    page = open_page(busy, browse, "network")
    page.get_by_label("Static").check()
    page.get_by_label("Network interface", exact=True).select_option(label="enp1s0 – 52:54:00:12:34:56")
    page.get_by_label("Address with prefix").fill("192.0.2.20/24")
    page.get_by_label("Gateway").fill("198.51.100.1")
    page.get_by_label("Name servers").fill("192.0.2.1, 192.0.2.3")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_role("alert")).to_contain_text("The gateway 198.51.100.1 is not in the network of the address, 192.0.2.0/24.")
    expect(page.get_by_label("Name servers")).to_have_value("192.0.2.1, 192.0.2.3")  # nothing entered is lost
    page.get_by_label("Gateway").fill("192.0.2.1")
    page.get_by_role("button", name="Try it").click()
    link = page.get_by_role("link", name="Open https://192.0.2.20")
    port = busy.url.rpartition(":")[2]
    keep = str(link.get_attribute("href"))
    assert keep.startswith(f"https://192.0.2.20:{port}/admin/server/network/keep/")
    begin(busy)
    written = (host.written / "run/systemd/network/10-dpe.network").read_text()
    assert "Address=192.0.2.20/24\nGateway=192.0.2.1\nDNS=192.0.2.1\nDNS=192.0.2.3\n" in written
    expect(page.get_by_role("button", name="Keep it")).to_be_visible()  # the page renews itself
    other = browse(busy)  # nobody is signed in there: the new address is another one to the browser
    other.goto(keep.replace("192.0.2.20", "127.0.0.1"))
    expect(other.get_by_role("heading", name="It works")).to_be_visible()
    expect(page.get_by_text("The new network settings are kept.")).to_be_visible()
    assert json.loads((busy.settings.host / "host.json").read_text())["network"]["address"] == "192.0.2.20/24"
    page.goto("/admin/server/network")
    page.get_by_label("Address with prefix").fill("192.0.2.21/24")
    page.get_by_role("button", name="Try it").click()
    begin(busy)
    page.get_by_role("button", name="Revert now").click()
    expect(page.get_by_text("The last change of the network was taken back")).to_be_visible()
    assert "192.0.2.20/24" in (host.written / "run/systemd/network/10-dpe.network").read_text()


@pytest.mark.cases
def test_a_certificate_of_ones_own_is_refused_mended_used_and_removed(
    busy: Site, host: Hosted, browse: Browse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = root()
    monkeypatch.setattr(own_certificate, "authorities", lambda: [house.certificate])
    middle = house.sign("House Middle", ca=True)
    leaf = middle.sign("dpe", names=("dpe.example.org",))
    for name, content in (("dpe.crt", leaf.pem), ("chain.pem", middle.pem), ("dpe.key", leaf.key_pem(b"correct horse"))):
        (tmp_path / name).write_bytes(content)
    page = open_page(busy, browse, "certificate", width=390)
    send = page.get_by_role("button", name="Check and use it")

    def choose() -> None:
        page.get_by_label("Certificate", exact=True).set_input_files(tmp_path / "dpe.crt")
        page.get_by_label("Private key").set_input_files(tmp_path / "dpe.key")
        page.get_by_label("Passphrase").fill("correct horse")

    choose()
    send.click()
    expect(page.get_by_role("alert")).to_contain_text("The certificate is not for 127.0.0.1, where you are now: it is for dpe.example.org.")
    choose()
    page.get_by_label("It is for another name than 127.0.0.1").check()
    send.click()
    expect(page.get_by_role("alert")).to_contain_text("dpe.example.org was issued by House Middle, whose certificate is missing")
    assert not is_sideways(page)
    choose()
    page.get_by_label("Intermediate certificates").set_input_files(tmp_path / "chain.pem")
    send.click()
    expect(page.get_by_text("The certificate for dpe.example.org is used from now on.")).to_be_visible()
    expect(page.get_by_role("region", name="In use")).to_contain_text("House Middle")
    page.get_by_role("button", name="Remove it").click()
    confirm(page)
    expect(page.get_by_role("region", name="In use")).to_contain_text("the appliance itself")


def begin(busy: Site) -> None:
    """The change's moment has come."""
    found = network_trial.current(busy.settings)
    assert found is not None
    network_trial.write_trial(busy.settings, found.model_copy(update={"begins": 0.0}))
    network.step(busy.settings)


def test_a_task_is_watched_and_cancelled(busy: Site, host: Hosted, browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def count(args: Nothing, at: Host) -> None:
        at.tell("Counting what there is", 40)
        assert at.cancelled.wait(60)
        at.tell("Putting it back", 41)
        assert go.wait(60)

    do_instead(monkeypatch, LongVerb("test.count", Nothing, NoneType, title="Counting"), count)
    assert host.server is not None
    host.server.operations.begin(HANDLERS["test.count"], Nothing(), "grace")
    page = open_page(busy, browse)
    page.get_by_role("link", name="Counting").click()
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "40")
    page.get_by_role("button", name="Cancel", exact=True).first.click()
    confirm(page)
    expect(page.get_by_text("Putting it back").first).to_be_visible()
    go.set()
    expect(page.get_by_text("Done in")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


def test_processes_clock_and_power(busy: Site, host: Hosted, browse: Browse) -> None:
    page = open_page(busy, browse)
    page.get_by_role("row", name="nginx").get_by_role("button", name="Restart").click()
    confirm(page)
    expect(page.get_by_text("nginx is restarted.")).to_be_visible()
    assert ["restart", "nginx"] in host.asked
    page.get_by_role("region", name="Time").get_by_role("link", name="Change").click()
    page.get_by_label("Ask time servers").uncheck()
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Date and time in Europe/Berlin").fill("2027-03-01T14:30:00")
    page.get_by_role("button", name="Set clock").click()
    confirm(page)
    expect(page.get_by_text("The clock is set.")).to_be_visible()
    assert ["timedatectl", "set-time", "2027-03-01 13:30:00 UTC"] in host.asked
    page.goto("/admin/server/")
    page.get_by_role("link", name="Restart …").click()
    expect(page.get_by_text("4 machines are in people's hands.")).to_be_visible()
    expect(page.get_by_text("Mary Somerville: 2 machines")).to_be_visible()
    page.get_by_role("button", name="Restart the server").click()
    expect(page.get_by_role("heading", name="The server restarts")).to_be_visible()
    assert host.asked[-1] == ["systemctl", "--no-block", "reboot"]


def test_every_page_fits_and_is_sound(busy: Site, host: Hosted, browse: Browse) -> None:
    page = open_page(busy, browse)
    for path in PAGES:
        page.goto(f"/admin/server/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        sound(page)
    page.goto("/admin/server/network")
    page.get_by_label("Static").check()
    page.get_by_label("Network interface", exact=True).select_option(index=1)
    page.get_by_label("Address with prefix").fill("192.0.2.20/24")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("About to be used: 192.0.2.20/24")).to_be_visible()
    sound(page)


@pytest.mark.parametrize("width", [1280, 390])
def test_on_a_debian_of_ones_own_pages_say_so(busy: Site, tmp_path: Path, browse: Browse, width: int) -> None:
    with hosted(busy.settings, tmp_path, in_image=False):
        page = open_page(busy, browse, width=width)
        expect(page.get_by_text("restart it and switch it off with the tools of that")).to_be_visible()
        for path in ("network", "time", "power/off"):
            page.goto(f"/admin/server/{path}")
            expect(page.get_by_text("This appliance runs on a Debian of your own")).to_be_visible()
            expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)
            assert not is_sideways(page), path


def test_without_dpe_host_the_page_still_shows_what_it_can(busy: Site, browse: Browse) -> None:
    page = open_page(busy, browse)
    expect(page.get_by_role("alert").first).to_contain_text("takes care of this server (dpe-host) does not answer")
    expect(page.get_by_text("Running for")).to_be_visible()
    expect(page.get_by_text("This server can hold")).to_have_count(2)
