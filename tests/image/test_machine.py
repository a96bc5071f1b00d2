"""A person's whole way on the booted image: the wizard, a machine inside, its application through the front door, and a clean one in its place.

The machine inside is emulated within the emulation, which is why this takes its time, and why there is no systemd in it.
"""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import world
from tests.browser import steps
from tests.image import people
from tests.image.booted import Booted, patience, wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(10800)]
NESTED = 2700  # seconds for a machine to come up inside


def test_a_machine_is_had_used_and_given_back(
    boot: Callable[..., Booted], micro: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = boot(of=micro)
    server.wait_page()
    figures: dict[str, float] = {}
    with people.visitors(server) as visit:
        grace = visit()
        people.fill_the_wizard(grace, server.setup_code())
        begun = time.monotonic()
        people.finish(grace)

        # The seed that came with the image is taken as it is, and booted once.
        ready = grace.get_by_text("Booted once, and its memory kept")
        expect(ready.first).to_be_visible(timeout=patience(NESTED) * 1000)
        figures["finish_to_snapshot_s"] = round(time.monotonic() - begun, 1)
        assert server.catalog(
            "SELECT DISTINCT kind FROM event WHERE kind IN ('seed.building', 'seed.promoted', 'seed.failed') ORDER BY kind"
        ) == [
            ["seed.building"],
            ["seed.promoted"],
        ]
        assert all("from the image" in message for (message,) in server.catalog("SELECT message FROM event WHERE kind = 'seed.building'"))
        grace.screenshot(path=tmp_path / "ready.png")
        grace.get_by_role("link", name="Get the first machine").click()
        expect(steps.offer(grace, "micro").get_by_text("1 ready, yours at once")).to_be_visible(timeout=patience(NESTED) * 1000)
        figures["finish_to_first_machine_s"] = round(time.monotonic() - begun, 1)
        at_work = "ps -eo args | grep -c '[a]nsible' || true"
        wait_for(lambda: True if server.shell(at_work).strip() == "0" else None, 300, "the end of making machines")
        figures["idle_memory_mib"] = server.memory_used()

        # A user, made by the admin, presses the button.
        steps.add_account(grace, "nina", world.PASSWORD)
        nina = visit()
        steps.sign_in(nina, "nina")
        nina.goto("/")
        pressed = time.monotonic()
        steps.get_machine(nina, "micro")
        card = steps.held(nina)
        link = card.get_by_role("link", name="Open")
        expect(link).to_be_visible(timeout=patience(NESTED) * 1000)
        figures["click_to_machine_s"] = round(time.monotonic() - pressed, 1)
        name = card.locator(".mono").inner_text()
        address = steps.open_address(card)
        assert re.fullmatch(rf"https://{re.escape(people.ADDRESS)}:900\d/", address)
        it_is_hers(nina, address, name)
        nina.screenshot(path=tmp_path / "application.png")
        stranger = visit()
        stranger.goto(address)
        expect(stranger).to_have_url(re.compile(r"/sign-in\?next="))

        machines_are_confined(server)
        origin = server.catalog("SELECT origin FROM machine WHERE state = 'in_use'")

        # Given back, it is gone, and a clean one takes its place.
        nina.goto("/")
        steps.give_back(nina, card)
        expect(steps.held(nina)).to_have_count(0)
        wait_for(lambda: server.catalog(f"SELECT 1 FROM machine WHERE name = '{name}' AND state = 'retired'") or None, 300, "its end")
        expect(steps.offer(nina, "micro").get_by_text("1 ready, yours at once")).to_be_visible(timeout=patience(NESTED) * 1000)
        answer = nina.goto(address)
        assert answer
        assert answer.status == 403
        assert name not in server.catalog("SELECT group_concat(name) FROM machine WHERE state = 'ready'")[0][0]
    with capsys.disabled():
        print(f"\n{json.dumps(figures)}")
    assert server.leftovers() == set()
    assert origin == [["fork"]]
    assert server.shell("systemctl --failed --no-legend --plain").strip() == ""
    assert figures["idle_memory_mib"] < 400


def it_is_hers(page: Page, address: str, name: str) -> None:
    """What her browser gets at its address is that machine's own page, which knows her."""
    answer = page.goto(address)
    assert answer
    assert answer.status == 200
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text("nina")).to_be_visible()


def machines_are_confined(server: Booted) -> None:
    """Every machine's QEMU: under AppArmor, in the machines' slice, not root's; and nothing it needs was refused."""
    running = server.shell("pidof qemu-system-x86_64").split()
    assert running
    for pid in running:
        assert server.shell(f"cat /proc/{pid}/attr/current").strip() == "dpe-qemu (enforce)"
        assert "/dpe-machines.slice/" in server.shell(f"cat /proc/{pid}/cgroup")
        assert server.shell(f"stat -c %U /proc/{pid}").strip() == "dpe-qemu"
    assert server.shell("journalctl -b --no-pager -o cat | grep 'apparmor=\"DENIED\"' || true") == ""
