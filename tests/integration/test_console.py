"""Consoles of a real machine, through all that is between: Chromium, nginx, the web process, dpe-console, QEMU and the guest."""

import ssl
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from appliance import catalog
from appliance.catalog import Account, Class, ConsoleSession, Grant, Lease, Machine, MachineState, Seed, SeedState, machines, now, options
from appliance.catalog import seeds as seed_rows
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec
from appliance.identity import passwords
from appliance.supervisor import Appliance
from tests import world
from tests.browser.steps import sign_in
from tests.integration.conftest import Libvirtd, MakeSpec, empty
from tests.integration.look import traces
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.console
SPEC = {"title": "S", "os": "debian-13", "size": {"vcpus": 1, "memory": 256, "disk": 2}, "application": {"port": 8080, "path": "/", "ready": "/"}}  # fmt: skip
SLOT = 9
PRESSED = {"$": "Shift+Digit4", "|": "Shift+Backslash", " ": "Space", "\n": "Enter"}  # as people press them
# How many pixels of the picture are lit: text, on black.
LIT = """canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let lit = 0;
  for (let at = 0; at < data.length; at += 4) lit += data[at] + data[at + 1] + data[at + 2] > 150;
  return lit;
}"""


@pytest.fixture
def site(libvirtd: Libvirtd) -> Iterator[str]:
    """The appliance's pages over its libvirtd; ada is a person, grace an admin."""
    settings = libvirtd.settings
    empty(settings)
    catalog.open(settings.catalog)
    hashed = passwords.digest(world.PASSWORD)
    with catalog.write():
        options.put("setup_done", True)
        Class.create(
            name="small", spec=SPEC, minimum=0, maximum=9, buffer=0, lease_minutes=60, extend_minutes=30, extensions=1, per_person=9
        )
        seed_rows.promote(Seed.create(machine_class="small", version=1, state=SeedState.READY))
        people = {name: Account.create(name=name, password=hashed) for name in ("ada", "grace")}
        Grant.create(role="owner", account=people["grace"])
    appliance = Appliance(settings)
    appliance.children = [child for child in appliance.children if child.name in ("web", "relay", "console", "nginx")]
    try:
        appliance.start()
        yield f"https://localhost:{settings.https_port}"
    finally:
        for child in reversed(appliance.children):
            child.stop()
        appliance.close()
        catalog.close()
        empty(settings)


@pytest.fixture
def waiting(libvirtd: Libvirtd, provider: LibvirtProvider, site: str, make_spec: MakeSpec, small_snapshot: str) -> Iterator[MachineSpec]:
    """A fork that waits, paused."""
    spec, before = make_spec(SLOT, snapshot=small_snapshot), traces(libvirtd.settings)
    provider.fork(spec)
    with catalog.write():
        row = machines.create(Class.get(), Seed.get(), spec.id, SLOT)
        machines.change(row.id, [MachineState.PLANNED], MachineState.READY)
    yield spec
    provider.destroy(spec.id)
    ours = (str(libvirtd.settings.run / "vnc"), str(libvirtd.settings.run / "tty"))
    assert {one for one in traces(libvirtd.settings) - before if one.startswith(ours)} == set()


@pytest.fixture
def person(chromium: Browser, site: str) -> Iterator[Callable[[str], Page]]:
    contexts = []

    def come(name: str) -> Page:
        contexts.append(context := chromium.new_context(base_url=site, ignore_https_errors=True))
        page = context.new_page()
        sign_in(page, name)
        return page

    yield come
    for context in contexts:
        context.close()


def opened(page: Page, id: str, *, target: str = "serial", origin: str = "", cookies: Page | None = None) -> list[bool]:
    """Whether a new ticket of this page's person for the serial line opens a target, and whether it does once more; in another browser,
    from another origin."""
    ask = "([id, token]) => fetch(`/machines/${id}/console/ticket`, {method: 'POST', body: new URLSearchParams({target: 'serial'}), headers: token}).then(answer => answer.json())"
    token = page.evaluate("JSON.parse(document.body.getAttribute('hx-headers:inherited'))")
    ticket = page.evaluate(ask, [id, token])["ticket"]
    here = "/".join(page.url.split("/")[:3])
    cookie = "; ".join(f"{one['name']}={one['value']}" for one in (cookies or page).context.cookies())
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2  # websockets reads and writes it with two threads, which 1.3 cannot bear
    found = []
    for _ in range(2):
        try:
            with connect(
                f"wss{here.removeprefix('https')}/ws/{id}/{target}?ticket={ticket}",
                ssl=trusting, origin=Origin(origin or here), additional_headers={"Cookie": cookie}, compression=None,
            ):  # fmt: skip
                found.append(True)
        except InvalidStatus as refused:
            found.append(refused.response.status_code != 403)
    return found


def lit(page: Page, more_than: int = 0) -> int:
    """The lit pixels of the screen, when there are more than that."""
    deadline = time.monotonic() + PATIENCE
    while (found := int(page.locator("[data-view] canvas").evaluate(LIT))) <= more_than:
        assert time.monotonic() < deadline, "nothing more is shown"
        page.wait_for_timeout(20)
    return found


def in_guest(provider: LibvirtProvider, spec: MachineSpec, file: str) -> str:
    return until(lambda: provider.execute(spec.id, ["cat", file]).output, f"{file} is not there", every=0.1)


def test_a_machine_that_waited_is_seen_typed_into_and_lost_with_its_lease(
    libvirtd: Libvirtd, provider: LibvirtProvider, waiting: MachineSpec, person: Callable[[str], Page]
) -> None:
    operator, state = person("grace"), "#console [data-state]"
    took = []
    for _ in range(4):  # within two seconds of the click, when nothing else has the processors just then
        begun = time.monotonic()
        operator.goto(f"/machines/{waiting.id}/console")
        expect(operator.locator(state)).to_have_text("Watching")
        lit(operator, 500)  # paused it shows what its snapshot showed
        took.append(time.monotonic() - begun)
        if took[-1] < 2:
            break
    assert min(took) < 2, took

    provider.start(waiting)
    provider.wait(waiting)
    with catalog.write():
        ada = Account.get(Account.name == "ada")
        machines.change(waiting.id, [MachineState.READY], MachineState.IN_USE, owner=ada)
        Lease.create(machine=waiting.id, account=ada, began_at=now(), ends_at=now() + timedelta(hours=1))
    expect(operator.locator("[data-reason]")).to_have_text("The machine is somebody else's now.", timeout=2000)

    page = person("ada")
    page.goto(f"/machines/{waiting.id}/console")
    expect(page.locator(state)).to_have_text("Connected")
    _shell_is_its_own(provider, waiting)
    shown = lit(page, 100)
    for sign in "echo $HOME|tee /tmp/typed\n":
        page.keyboard.press(PRESSED.get(sign) or (f"Shift+Key{sign}" if sign.isupper() else sign))
    assert in_guest(provider, waiting, "/tmp/typed") == "/home/user\n"
    page.get_by_role("button", name="Paste").click()
    page.get_by_label("Text to type in the machine").fill("echo $((6*7)) | tee /tmp/pasted\n")
    page.get_by_role("button", name="Type it").click()
    assert in_guest(provider, waiting, "/tmp/pasted") == "42\n"
    lit(page, shown + 50)  # and it came back on the screen

    page.get_by_role("link", name="Serial line").click()
    expect(page.locator(state)).to_have_text("Connected")
    page.keyboard.type("echo $((6*8)) | tee /tmp/line\n")
    expect(page.locator(".xterm-rows")).to_contain_text("48")
    assert in_guest(provider, waiting, "/tmp/line") == "48\n"

    assert opened(page, waiting.id) == [True, False]  # twice
    assert opened(page, waiting.id, origin=f"https://localhost:{libvirtd.settings.app_port}") == [False, False]
    assert opened(page, waiting.id, target="screen") == [False, False]
    assert opened(page, waiting.id, cookies=operator) == [False, False]

    operator.get_by_role("button", name="Connect again").click()
    expect(operator.locator(state)).to_have_text("Watching")
    assert [(row.account.name, row.control) for row in ConsoleSession.select().order_by(ConsoleSession.id)] == [
        ("ada", True),
        ("grace", False),
    ]
    with catalog.write():
        machines.change(waiting.id, machines.LIVE, MachineState.RECLAIMING, reclaim_reason="lease ended")
    for one in (page, operator):
        expect(one.locator("[data-reason]")).to_have_text("Its lease has ended.", timeout=2000)
    deadline = time.monotonic() + 2
    while ConsoleSession.select().exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    provider.destroy(waiting.id)
    assert not list(Path(libvirtd.settings.screens).iterdir()) + list(Path(libvirtd.settings.serial_lines).iterdir())
    assert Machine.select().count() == 1


def _shell_is_its_own(provider: LibvirtProvider, spec: MachineSpec) -> None:
    """A fork's shells begin anew, a moment after it was handed over."""
    prompt = f"user@{spec.name}:~$"
    until(lambda: prompt in provider.execute(spec.id, ["cat", "/dev/vcs1"]).output and provider.console(spec.id).endswith("$ "), every=0.2)
