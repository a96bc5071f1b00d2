"""Machines that serve a screen of their own: a small one at each run, and the real desktop (`make soak`, item desktop), whose seed takes minutes to build."""

import os
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import Account, Class, Lease, MachineState, Seed, machines, now
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec, answering
from appliance.lifecycle import specs
from appliance.scenario import applications
from appliance.scenario.schema import Chosen
from appliance.seeds import guest
from appliance.settings import REPOSITORY
from tests.integration.conftest import Libvirtd, MakeSpec, kept_snapshot
from tests.integration.test_console import SPEC, person, site
from tests.seeds import cached_seed, place, small_scenario

__all__ = ["person", "site"]
pytestmark = [pytest.mark.console, pytest.mark.fork]
DESKTOP = REPOSITORY / "playbooks/scenarios/desktop"
STATE = "#console [data-state]"
PIXEL = "canvas => [...canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data].slice(0, 3)"
OWNER = guest.personalise_input(user="user", full_name="Ada", ssh_keys=[], owner="ada")


@dataclass
class Held:
    """A machine that ada holds, and its address on the pages."""

    spec: MachineSpec
    console: str


@contextmanager
def held(provider: LibvirtProvider, spec: MachineSpec, described: dict[str, object]) -> Iterator[Held]:
    """A fork with a data disk of its own, handed over to ada when it was ready."""
    spec = replace(spec, data=spec.id, data_size=1)
    provider.make_data(spec.id, 1)
    try:
        provider.fork(replace(spec, data=None, data_size=0))
        with catalog.write():
            Class.update(spec=described).execute()
            ada = Account.get(Account.name == "ada")
            slot = specs.slot_of(spec.card.mac, provider.settings)
            assert slot is not None
            machines.create(Class.get(), Seed.get(), spec.id, slot)
        provider.start(spec)
        provider.wait(spec, personalise=OWNER)
        with catalog.write():
            machines.change(spec.id, [MachineState.PLANNED], MachineState.IN_USE, owner=ada)
            Lease.create(machine=spec.id, account=ada, began_at=now(), ends_at=now() + timedelta(hours=1))
        yield Held(spec, f"/machines/{spec.id}/console")
    finally:
        provider.destroy(spec.id)
        provider.remove_data(spec.id)


def inside(provider: LibvirtProvider, one: Held, command: str) -> str:
    done = provider.execute(one.spec.id, ["sh", "-c", command], timeout=120)
    assert done.status == 0, done
    return done.output


def certificate_of_rdp(address: str, port: int) -> bytes:
    """The certificate of an RDP server that is asked for TLS; how it is asked: MS-RDPBCGR 2.2.1.1 and 2.2.1.2."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((address, port), timeout=300) as plain:
        plain.sendall(bytes.fromhex("030000130ee000000000000100080001000000"))
        answer = plain.recv(19, socket.MSG_WAITALL)
        assert (answer[11], answer[15]) == (2, 1), answer  # it negotiated, and chose TLS
        with context.wrap_socket(plain) as secure:
            return secure.getpeercert(binary_form=True) or b""


def picture(page: Page, one: Held) -> bytes:
    """Asked for again while it is said that there is none: it has seconds, on whatever host this is."""
    deadline = time.monotonic() + 300
    while (answer := page.request.get(f"/machines/{one.spec.id}/picture")).status == 503 and time.monotonic() < deadline:
        time.sleep(1)
    assert answer.ok, answer.text()
    return answer.body()


def test_a_screen_that_a_machine_serves_is_ready_seen_typed_into_and_pictured(
    provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: str, person: Callable[[str], Page]
) -> None:
    spec = make_spec(11, snapshot=small_snapshot, screen_port=5901)
    with held(provider, spec, {**SPEC, "screen": {"port": 5901}}) as one:
        assert inside(provider, one, "cat /run/dpe/noted") == "/data\n"  # data.d, once the disk was there
        page = person("ada")
        page.goto("/")
        page.get_by_role("link", name="Console").click()
        expect(page.locator(STATE)).to_have_text("Connected")
        tabs = page.get_by_label("Console of this machine")
        assert [one.inner_text().strip() for one in tabs.get_by_role("link").all()] == ["Application", "Desktop", "Screen", "Serial line"]
        canvas = page.locator("[data-view] canvas")
        page.wait_for_function(f"canvas => ({PIXEL})(canvas)[1] === 200", arg=canvas.element_handle())
        page.keyboard.press("a")
        page.wait_for_function(f"canvas => ({PIXEL})(canvas)[2] === 200", arg=canvas.element_handle())
        shown = picture(page, one)
        assert shown.startswith(b"\x89PNG")
        assert zlib.decompress(shown[41:-16])[1:4] == bytes([0, 200, 0])  # of a connection of its own, in which no key was pressed
        tabs.get_by_text("Screen").click()
        expect(page.locator(STATE)).to_have_text("Connected")


# -- the real one ----------------------------------------------------------------------------------------


@pytest.fixture
def desktop(libvirtd: Libvirtd, provider: LibvirtProvider, site: str, make_spec: MakeSpec) -> Iterator[tuple[MachineSpec, dict[str, Any]]]:
    """A fork of the desktop's snapshot, to be made, and its class: the scenario's, with RDP."""
    shipped = small_scenario(DESKTOP).classes["desktop"]
    spec = applications.resolved(
        shipped.model_copy(update={"applications": [Chosen(name="desktop", options={"rdp": True})], "screen": None}), dict
    )
    described = spec.model_dump(mode="json")
    seed = place(cached_seed("desktop", DESKTOP, spec), libvirtd.settings, "desktop")
    size = described["size"]
    template = make_spec(
        12, class_name="desktop", seed="desktop/1", cmdline=seed.cmdline, disk_size=size["disk"], vcpus=size["vcpus"], memory=size["memory"],
        **answering(described),
    )  # fmt: skip
    name = "desktop/1/snapshot-1"
    kept_snapshot(provider, template, seed, name)
    yield replace(template, snapshot=name), described
    provider.remove_snapshot(name)


@pytest.mark.timeout(3600)
@pytest.mark.skipif("DPE_TEST_DESKTOP" not in os.environ, reason="make soak builds a desktop")
def test_a_desktop_is_drawn_in_and_keeps_what_is_its_owners(
    provider: LibvirtProvider, desktop: tuple[MachineSpec, dict[str, Any]], person: Callable[[str], Page]
) -> None:
    spec, described = desktop
    with held(provider, spec, described) as one:
        running = inside(provider, one, "ps -eo comm")
        assert not {"ssh-agent", "gpg-agent", "firefox-esr", "soffice.bin", "xrdp"} & set(running.split())
        links = inside(provider, one, "cd /home/user && readlink Documents .config/mozilla .config/libreoffice && stat -c %U Documents/.")
        assert links.split() == ["/data/home/Documents", "/data/home/.config/mozilla", "/data/home/.config/libreoffice", "user"]
        page = person("ada")
        page.goto("/")
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Open", exact=True).click()
        page = opened.value
        page.set_viewport_size({"width": 1280, "height": 900})
        expect(page.locator(STATE)).to_have_text("Connected", timeout=60_000)
        page.wait_for_timeout(5000)
        before = picture(page, one)
        inside(provider, one, "runuser -u user -- env DISPLAY=:1 setsid -f mousepad > /dev/null 2>&1 < /dev/null")
        inside(
            provider, one, "until runuser -u user -- env DISPLAY=:1 xwininfo -root -tree | grep -qi mousepad; do sleep 0.5; done; sleep 5"
        )
        page.locator("[data-view] canvas").click(position={"x": 500, "y": 300})
        page.keyboard.type("drawn in")
        page.wait_for_timeout(5000)
        if folder := os.environ.get("DPE_TEST_SHOTS"):
            page.screenshot(path=f"{folder}/desktop.png")
        page.wait_for_timeout(15_000)
        assert picture(page, one) != before
        port = described["screen"]["rdp"]
        certificate = certificate_of_rdp(spec.card.address, port)
        assert certificate == certificate_of_rdp(spec.card.address, port)
        made = inside(provider, one, "cat /run/desktop-rdp/certificate.pem; readlink /etc/xrdp/rsakeys.ini; ls /etc/ssl/private")
        assert ssl.PEM_cert_to_DER_cert(made[: made.index("-----END") + 25]) == certificate
        assert made.splitlines()[-1] == "/run/desktop-rdp/rsakeys.ini", "no key of the seed's is left"
