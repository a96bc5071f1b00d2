"""The page of a machine's console, in front of a machine that the test plays: what is drawn, what is typed, and how it ends."""

import re
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from appliance import catalog
from appliance.catalog import Class, ConsoleSession, Machine
from tests.browser import axe
from tests.browser.conftest import Site
from tests.browser.steps import sign_in

pytestmark = pytest.mark.console
WIDTH, HEIGHT = 72, 40
BITS = struct.pack(">BBBBHHHBBBxxx", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
INIT = struct.pack(">HH", WIDTH, HEIGHT) + BITS + struct.pack(">I", 4) + b"test"

# What stands for a WebSocket here has its methods from further up than noVNC looks for them.
OWN_METHODS = """const Played = WebSocket;
window.WebSocket = class extends Played { send(...said) { super.send(...said); } close(...why) { super.close(...why); }
  get binaryType() { return super.binaryType; } set binaryType(kind) { super.binaryType = kind; }
  get onopen() { return super.onopen; } set onopen(call) { super.onopen = call; }
  get onclose() { return super.onclose; } set onclose(call) { super.onclose = call; }
  get onerror() { return super.onerror; } set onerror(call) { super.onerror = call; }
  get onmessage() { return super.onmessage; } set onmessage(call) { super.onmessage = call; } };"""


class Screen:
    """A server of RFB as QEMU's, or a machine's own: one picture, all green, and what it was told."""

    def __init__(self, page: Page, target: str = "screen") -> None:
        self.by_key = target == "screen"
        self.keys: list[tuple[int, int]] = []  # scancode, down
        self.said = b""
        self.tickets: list[str] = []
        self.route: WebSocketRoute | None = None
        page.route_web_socket(re.compile(f"/ws/.*/{target}"), self.serve)
        page.add_init_script(OWN_METHODS)

    def serve(self, route: WebSocketRoute) -> None:
        self.route, self.said = route, b""
        self.tickets.append(route.url.partition("ticket=")[2])
        steps = [b"\1\1", bytes(4), INIT]
        route.on_message(lambda said: self.hear(route, said, steps))
        route.send(b"RFB 003.008\n")

    def say(self, data: bytes) -> None:
        assert self.route
        self.route.send(data)

    def hear(self, route: WebSocketRoute, said: bytes | str, steps: list[bytes]) -> None:
        data = said if isinstance(said, bytes) else said.encode()
        if steps:
            route.send(steps.pop(0))
            return
        self.said += data
        if data[:1] == b"\2":  # encodings: extended keys are understood (rectangle -258), and here is the picture
            if self.by_key:
                route.send(b"\0\0\0\1" + struct.pack(">4Hi", 0, 0, 0, 0, -258))
            picture = struct.pack(">4Hi", 0, 0, WIDTH, HEIGHT, 0) + bytes([0, 200, 0, 0]) * (WIDTH * HEIGHT)
            route.send(b"\0\0\0\1" + picture)
        for down, code in re.findall(rb"\xff\x00(\x00[\x00\x01])....(....)", data, re.DOTALL):
            self.keys.append((int.from_bytes(code), down[1]))


GREEN = """() => {
  const canvas = document.querySelector('[data-view] canvas');
  return canvas?.width > 1 && canvas.getContext('2d').getImageData(1, 1, 1, 1).data[1] > 150;
}"""


def until_drawn(page: Page) -> None:
    """All that the server has said is understood, that it takes keys by their places among it: its picture comes last."""
    page.wait_for_function(GREEN)


def until_heard(page: Page, heard: Callable[[], bool]) -> None:
    """What was typed has come to the server, which hears when the page is asked for something."""
    deadline = time.monotonic() + 60
    while not heard():
        assert time.monotonic() < deadline
        page.evaluate("new Promise(requestAnimationFrame)")


def open_console(page: Page, site: Site, who: str = "ada", target: str = "screen") -> Machine:
    catalog.open(site.settings.catalog)
    machine: Machine = Machine.get(Machine.owner == site.people["ada"].account_id)
    sign_in(page, who)
    page.goto(f"/machines/{machine.id}/console?target={target}")
    return machine


def test_a_screen_is_drawn_typed_into_kept_as_a_picture_and_ends_with_its_reason(
    busy: Site, browse: Callable[..., Page], tmp_path: Path
) -> None:
    page = browse(busy)
    screen = Screen(page)
    open_console(page, busy)
    state = page.locator("#console [data-state]")
    expect(state).to_have_text("Connected")
    expect(page.locator("[data-view] canvas")).to_be_visible()
    until_drawn(page)
    assert axe.findings(page) == []
    page.keyboard.press("a")
    page.keyboard.press("Shift+Digit4")
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("button", name="Ctrl Alt Del").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Paste").click()
    page.get_by_label("Text to type in the machine").fill("$é")
    page.get_by_role("button", name="Type it").click()
    expect(state).to_have_text("Left out, as no US keyboard has it: é")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Picture").click()
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")
    until_heard(page, lambda: [code for code, down in screen.keys if down][-2:] == [0x2A, 0x05] and len(screen.keys) > 8)
    pressed = [code for code, down in screen.keys if down]
    assert pressed[:3] == [0x1E, 0x2A, 0x05]
    assert {0x1D, 0x38, 0xD3} <= set(pressed)
    assert pressed[-2:] == [0x2A, 0x05]
    assert screen.route
    screen.route.close(code=4001, reason="Its lease has ended.")
    expect(page.locator("[data-reason]")).to_have_text("Its lease has ended.")
    page.get_by_role("button", name="Connect again").click()
    expect(state).to_have_text("Connected")
    screen.route.close(code=1012, reason="")  # dpe-console starts again: so does the page, by itself, with another ticket
    expect(state).not_to_have_text("Connected")
    expect(state).to_have_text("Connected")
    assert len(set(screen.tickets)) == 3


def test_an_operator_watches_and_takes_over_and_the_owner_sees_it(busy: Site, browse: Callable[..., Page]) -> None:
    page = browse(busy, width=390)
    screen = Screen(page)
    machine = open_console(page, busy, "grace")
    state = page.locator("#console [data-state]")
    expect(state).to_have_text("Watching")
    page.locator("[data-view] canvas").click()
    page.keyboard.press("a")
    assert screen.keys == []
    page.get_by_role("button", name="Take over").click()
    expect(state).to_have_text("Connected")
    until_drawn(page)
    page.keyboard.press("a")
    expect(page.get_by_text("You watch")).to_be_hidden()
    until_heard(page, lambda: len(screen.keys) > 1)
    assert screen.keys == [(0x1E, 1), (0x1E, 0)]
    with catalog.write():
        ConsoleSession.create(machine=machine.id, account=busy.people["grace"].account_id, target="screen", control=False)
    owner = browse(busy)
    sign_in(owner, "ada")
    expect(owner.get_by_role("status").filter(has_text="watches its console")).to_be_visible()


def test_a_desktop_hears_every_sign_and_its_clipboard_goes_both_ways(busy: Site, browse: Callable[..., Page]) -> None:
    page = browse(busy)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    desktop = Screen(page, "vnc/5901")
    catalog.open(busy.settings.catalog)
    spec = Class.get_by_id("notebook").spec
    Class.update(spec={**spec, "application": None, "screen": {"port": 5901}}).where(Class.name == "notebook").execute()
    sign_in(page, "ada")
    page.get_by_role("link", name="Console").click()
    expect(page.locator("#console [data-state]")).to_have_text("Connected")
    assert page.get_by_label("Console of this machine").get_by_text("Desktop").get_attribute("aria-current") == "true"
    page.get_by_role("button", name="Paste").click()
    page.get_by_label("Text to type in the machine").fill("é→")
    page.get_by_role("button", name="Type it").click()
    page.get_by_role("button", name="Paste").click()
    page.get_by_label("Text to type in the machine").fill("for it")
    page.get_by_role("button", name="Put it into its clipboard").click()
    desktop.say(b"\3\0\0\0" + struct.pack(">I", 7) + b"from it")
    page.wait_for_function("async () => await navigator.clipboard.readText() === 'from it'")
    until_heard(page, lambda: b"for it" in desktop.said)
    typed = [int.from_bytes(sign) for sign in re.findall(rb"\x04\x01\x00\x00(....)", desktop.said, re.DOTALL)]
    assert [0xE9, 0x1000000 + ord("→")] == typed
    assert b"\x06\0\0\0" + struct.pack(">I", 6) + b"for it" in desktop.said
    page.get_by_role("button", name="Viewer").click()
    expect(page.get_by_role("dialog", name="Viewer")).to_contain_text("--target vnc/5901 --listen 5900")
    assert axe.findings(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_serial_line_shows_and_takes_text(busy: Site, browse: Callable[..., Page], scheme: str) -> None:
    page = browse(busy, scheme=scheme)
    heard: list[bytes | str] = []

    def serve(route: WebSocketRoute) -> None:
        route.on_message(lambda said: heard.append(said))
        route.send(b"Debian GNU/Linux\r\nuser@notebook-1:~$ ")

    page.route_web_socket(re.compile("/ws/.*/serial"), serve)
    open_console(page, busy, target="serial")
    expect(page.locator("#console [data-state]")).to_have_text("Connected")
    expect(page.locator(".xterm-rows")).to_contain_text("user@notebook-1:~$")
    page.keyboard.type("echo ($|)\n")
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("button", name="Ctrl C").click()
    page.wait_for_timeout(50)
    assert "".join(one if isinstance(one, str) else one.decode() for one in heard) == "echo ($|)\r\x03"
