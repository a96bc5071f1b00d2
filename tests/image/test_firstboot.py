"""The first boot as a person meets it: the screen at the server, the wizard in a browser, and the menu over the serial line."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pyte
import pytest

from tests.browser import steps
from tests.image.booted import Booted, patience
from tests.image.people import ADDRESS, ADMIN, fill_the_wizard, finish, visitors
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
    assert address[1] == ADDRESS
    prints = re.findall(r"^ {4}((?:[0-9A-F]{2}:){15}[0-9A-F]{2}:?)$", shown, re.M)
    served = server.shell("openssl x509 -in /var/lib/dpe/tls/appliance.crt -noout -fingerprint -sha256").split("=")[1].strip()
    assert "".join(prints) == served
    code = re.search(r"Setup code: (\S+)", shown)
    assert code
    assert server.shell("cat /var/lib/dpe/setup-code").strip() == code[1]
    server.screenshot(tmp_path / "first.png")

    with visitors(server) as visit:
        page = visit()
        fill_the_wizard(page, code[1], tmp_path)
        finish(page)
        page.screenshot(path=tmp_path / "progress.png")
    assert "Setup code" not in serial.until("Machines   ")
    menu(serial, "2")
    serial.until("running")
    menu(serial, "1")
    serial.until("by DHCP, from your router")
    assert "Host name" in serial.text
    menu(serial, "4")
    serial.until(ADMIN)
    serial.press("enter")
    serial.until(f"Give {ADMIN} a new password now?")
    serial.press("2")
    password = serial.until("Password  ").split("Password  ")[1].split()[0]
    with visitors(server) as visit:
        steps.sign_in(visit(), ADMIN, password)
    menu(serial, "6")
    serial.until("Erase, takes a minute")
    serial.press("2")
    serial.until("Type ERASE")
    menu(serial, "9")
    serial.until("The appliance needs no shell.")
    serial.press("\x03", "\x1a", "\x1c", "\x04")
    serial.until("The appliance needs no shell.")
    server.screenshot(tmp_path / "status.png")
