"""The first boot as a person meets it: the screen at the server, the wizard in a browser, and the menu over the serial line."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest
from playwright.sync_api import expect, sync_playwright

from tests import world
from tests.browser.conftest import QUIET
from tests.image.booted import Booted, patience
from tests.terminal import KEYS

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
Boot = Callable[..., Booted]


class Serial:
    """What a terminal on the appliance's serial line shows."""

    def __init__(self, server: Booted) -> None:
        self.server = server

    @property
    def text(self) -> str:
        screen = pyte.Screen(80, 24)
        pyte.ByteStream(screen).feed(self.server.serial_log.read_bytes())
        return "\n".join(row.rstrip() for row in screen.display)

    def until(self, words: str, seconds: float = 60) -> str:
        deadline = time.monotonic() + patience(seconds)
        while words not in (shown := self.text):
            assert time.monotonic() < deadline, f"{words!r} does not come:\n{shown}"
            time.sleep(0.25)
        return shown

    def press(self, *keys: str) -> None:
        for key in keys:
            self.server.type(KEYS.get(key, key))


def menu(serial: Serial, number: str) -> None:
    """From anywhere to an item of the menu."""
    serial.press("escape")
    time.sleep(1)
    serial.press("escape")
    serial.until("Enter: menu")
    serial.press("enter")
    serial.until("Factory reset")
    serial.press(number)


def test_a_first_boot_up_to_the_progress_page_and_the_menu_at_the_screen(boot: Boot, tmp_path: Path) -> None:
    server = boot()
    server.wait_page()
    serial = Serial(server)
    shown = serial.until("Setup code: ", 120)
    assert "____" in shown  # the logo
    address = re.search(r"https://(\d+\.\d+\.\d+\.\d+)/", shown)
    assert address
    assert address[1] == "10.0.2.15"
    prints = re.findall(r"^ {4}((?:[0-9A-F]{2}:){15}[0-9A-F]{2}:?)$", shown, re.M)
    served = server.shell("openssl x509 -in /var/lib/dpe/tls/appliance.crt -noout -fingerprint -sha256").split("=")[1].strip()
    assert "".join(prints) == served
    code = re.search(r"Setup code: (\S+)", shown)
    assert code
    assert server.shell("cat /var/lib/dpe/setup-code").strip() == code[1]
    server.screenshot(tmp_path / "first.png")

    walk_the_wizard(server, code[1], tmp_path)
    assert "Setup code" not in serial.until("Machines   ")
    menu(serial, "2")
    serial.until("Status")
    assert "running" in serial.text
    menu(serial, "1")
    serial.until("by DHCP, from your router")
    assert "Host name" in serial.text
    menu(serial, "4")
    serial.until("grace")
    serial.press("enter")
    serial.until("Give grace a new password now?")
    serial.press("2")
    password = serial.until("Password  ").split("Password  ")[1].split()[0]
    sign_in(server, password)
    menu(serial, "6")
    serial.until("Erase, takes a minute")
    serial.press("2")
    serial.until("Type ERASE")
    menu(serial, "9")
    serial.until("The appliance needs no shell.")
    serial.press("\x03", "\x1a", "\x1c", "\x04")
    serial.until("The appliance needs no shell.")
    server.screenshot(tmp_path / "status.png")


def pages(server: Booted) -> Iterator[object]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        context = browser.new_context(base_url=server.url, ignore_https_errors=True)
        context.set_default_timeout(patience(60_000))
        yield context.new_page()
        browser.close()


def walk_the_wizard(server: Booted, code: str, shots: Path) -> None:
    expect.set_options(timeout=patience(60_000))
    for page in pages(server):
        page.goto("/")
        page.get_by_label("Setup code").fill(code)
        page.get_by_role("button", name="Begin").click()
        expect(page.get_by_role("heading", name="Network")).to_be_visible()
        expect(page.get_by_text("10.0.2.15")).to_be_visible()
        forward(page, "Your account")
        page.get_by_label("Name to sign in with").fill("grace")
        page.get_by_label("Password", exact=True).fill(world.PASSWORD)
        page.get_by_label("The same password again").fill(world.PASSWORD)
        for heading in ("The appliance", "Storage", "How many machines", "Your directory", "This hardware", "All set?"):
            forward(page, heading)
            page.screenshot(path=shots / f"{heading.split()[-1].strip('?')}.png")
        page.get_by_role("button", name="Finish").last.click()
        expect(page.get_by_role("heading", name=re.compile("The appliance is"))).to_be_visible()
        page.screenshot(path=shots / "progress.png")


def forward(page: object, heading: str) -> None:
    page.get_by_role("button", name="Next").last.click()
    expect(page.get_by_role("heading", name=heading)).to_be_visible()


def sign_in(server: Booted, password: str) -> None:
    for page in pages(server):
        page.goto("/sign-in")
        page.get_by_label("Name").fill("grace")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
