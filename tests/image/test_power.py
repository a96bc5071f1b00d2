"""The power fails at random points of set-up, of taking over the seeds, and between a click and a machine; it comes back by itself each time.

One appliance lives through all of it. Points are counted in processor seconds of the emulator, so that a busy machine cuts where an idle
one does; DPE_TEST_SEED repeats them.
"""

import contextlib
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, expect

from tests import world
from tests.browser import steps
from tests.image import people
from tests.image.booted import Booted, patience, wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(14400)]
FIRST_START = 100  # processor seconds of a first start up to where the seeds are being copied
FINISHING = 8  # of Finish, up to the next page
SNAPSHOT = 100  # of the most part of a snapshot
NESTED = 2700  # seconds for a machine to come up inside
HELD = "('assigned', 'in_use')"


class Storm:
    """Cuts the power of one appliance, and tells what was in the way."""

    def __init__(self, server: Booted, seed: int) -> None:
        self.server, self.random, self.cuts = server, random.Random(seed), list[str]()

    def after(self, least: float, most: float) -> float:
        """Processor seconds from now, at random."""
        return self.server.work() + self.random.uniform(least, most)

    def cut_at(self, work: float, what: str) -> None:
        """Wait until the emulator has worked so much, and cut."""
        wait_for(lambda: self.server.work() >= work or None, 900, what)
        self.server.power_cut()
        self.cuts.append(f"{what} after {self.server.seconds():.0f} s")

    @contextlib.contextmanager
    def meanwhile(self, least: float, most: float, what: str) -> Iterator[Callable[[], bool]]:
        """Cut while what is in the block goes on, or soon after it; call what is given to learn whether the power is gone."""
        cutter = threading.Thread(target=self.cut_at, args=(self.after(least, most), what))
        cutter.start()
        yield lambda: not self.server.alive()
        cutter.join(patience(900))
        assert not cutter.is_alive()

    def comes_back(self) -> None:
        """By itself, whole, and with nothing half done."""
        self.server.start()

        def answers() -> bool | None:
            assert self.server.alive()
            with contextlib.suppress(OSError):
                return self.server.get("/healthz")[0] == 200 or None
            return None

        wait_for(answers, 300, f"the page after a cut while {self.cuts[-1]}")
        self.server.wait_shell()
        wait_for(lambda: self.server.shell("systemctl is-active dpe-engine || true").strip() == "active" or None, 300, "the engine")
        assert self.server.catalog("PRAGMA integrity_check") == [["ok"]]
        assert self.server.catalog("PRAGMA foreign_key_check") == []
        assert self.server.shell("systemctl --failed --no-legend --plain").strip() == ""
        assert self.server.shell("journalctl -b -k --no-pager -o cat | grep -E 'EXT4-fs (error|warning)' || true") == ""


def test_the_power_fails_again_and_again(boot: Callable[..., Booted], capsys: pytest.CaptureFixture[str]) -> None:
    server = boot()
    storm = Storm(server, int(os.environ.get("DPE_TEST_SEED", "6")))
    for _ in range(2):
        storm.cut_at(storm.after(1, FIRST_START), "the first start goes on")
        storm.comes_back()
    code = server.setup_code()
    seeds_are_whole(storm)
    set_up_happens_once(storm, code)
    what_is_made_is_kept(storm)
    a_snapshot_is_taken_in_the_end(storm)
    for _ in range(2):
        a_claim_is_kept(storm)
    with capsys.disabled():
        print(f"\n{json.dumps(storm.cuts)}")


def seeds_are_whole(storm: Storm) -> None:
    """One cut while a seed is copied: it is copied again, and is as it was made."""
    server = storm.server
    copying = "SELECT 1 FROM seed WHERE state IN ('queued', 'building')"
    if server.catalog(copying):
        storm.cut_at(storm.after(0, 20), "a seed is copied")
        storm.comes_back()
    wait_for(lambda: None if server.catalog(copying) else True, 600, "the seeds")
    assert server.catalog("SELECT class_name, version, state FROM seed ORDER BY 1") == [["small", 1, "ready"], ["small12", 1, "ready"]]
    for name in ("small", "small12"):
        server.shell(
            f"for each in disk.qcow2 vmlinuz initrd; do cmp /var/lib/dpe/seeds/{name}/1/$each /usr/share/dpe/seeds/{name}/$each; done", 300
        )
    assert server.shell("ls -A /var/lib/dpe/work").strip() == ""


def set_up_happens_once(storm: Storm, code: str) -> None:
    """Cut around Finish: what the page has said is so afterwards; what it has not is so wholly, or not at all."""
    with people.visitors(storm.server) as visit:
        page = visit()
        people.fill_the_wizard(page, code)
        with storm.meanwhile(0, FINISHING, "set-up is finished") as is_off:
            said = until_it_is_off(page, is_off, lambda: people.finish(page))
    storm.comes_back()
    done = storm.server.get("/setup")[0] != 200
    assert done or not said
    accounts = storm.server.catalog("SELECT name FROM account")
    assert accounts == ([[people.ADMIN]] if done else [])
    with people.visitors(storm.server) as visit:
        page = visit()
        if not done:
            assert storm.server.setup_code() == code
            people.fill_the_wizard(page, code)
            people.finish(page)
        else:
            steps.sign_in(page, people.ADMIN)


def what_is_made_is_kept(storm: Storm) -> None:
    """Cut while the admin makes account after account."""
    made: list[str] = []
    with people.visitors(storm.server) as visit:
        page = visit()
        steps.sign_in(page, people.ADMIN)
        steps.add_account(page, "nina", world.PASSWORD)

        def go_on() -> None:
            for number in range(50):
                steps.add_account(page, f"user{number}", world.PASSWORD)
                made.append(f"user{number}")

        with storm.meanwhile(1, 4 * FINISHING, "accounts are made") as is_off:
            until_it_is_off(page, is_off, go_on)
    storm.comes_back()
    kept = {name for (name,) in storm.server.catalog("SELECT name FROM account")}
    assert {people.ADMIN, "nina", *made} <= kept
    assert len(kept) <= len(made) + 3  # one may have been made that nobody was told of


def a_snapshot_is_taken_in_the_end(storm: Storm) -> None:
    """Cut while the seed is booted for its snapshot."""
    server = storm.server
    building = "SELECT 1 FROM snapshot JOIN seed ON seed.id = seed_id WHERE class_name = 'small' AND snapshot.state = 'building'"
    wait_for(lambda: server.catalog(building) or None, 300, "the snapshot's begin")
    storm.cut_at(storm.after(0, SNAPSHOT), "a snapshot is taken")
    storm.comes_back()
    wait_for(lambda: server.catalog("SELECT 1 FROM machine WHERE state = 'ready'") or None, NESTED, "a ready machine")
    nothing_leaks(server)


def a_claim_is_kept(storm: Storm) -> None:
    """Cut between the click and the machine: whoever was told of a machine has it, or is told what became of it; nobody has two."""
    server = storm.server
    wait_for(lambda: server.catalog("SELECT 1 FROM machine WHERE state = 'ready'") or None, NESTED, "a ready machine")
    told = False
    with people.visitors(server) as visit:
        nina = visit()
        steps.sign_in(nina, "nina")
        nina.goto("/")
        with storm.meanwhile(0, 20, "a machine is handed over") as is_off:

            def ask() -> None:
                nonlocal told
                steps.get_machine(nina, "small")
                expect(steps.held(nina)).to_be_visible()
                told = True

            until_it_is_off(nina, is_off, ask)
    mine = f"SELECT machine.name FROM machine JOIN account ON account.id = owner_id WHERE account.name = 'nina' AND machine.state IN {HELD}"
    storm.comes_back()
    if told:
        has = server.catalog(mine)
        said = server.catalog(
            "SELECT problem FROM machine JOIN account ON account.id = owner_id WHERE account.name = 'nina' AND problem <> ''"
        )
        assert has or said
        assert len(has) <= 1
    with people.visitors(server) as visit:
        nina = visit()
        steps.sign_in(nina, "nina")
        nina.goto("/")
        if server.catalog("SELECT 1 FROM lease WHERE ended_at IS NULL") or server.catalog(
            "SELECT 1 FROM request WHERE state IN ('pending', 'waiting', 'granted')"
        ):
            card = steps.held(nina)
            expect(card.get_by_role("link", name="Open")).to_be_visible(timeout=patience(NESTED) * 1000)
            steps.give_back(nina, card)
            expect(card).to_have_count(0)
        else:
            assert not told
    wait_for(lambda: None if server.catalog("SELECT 1 FROM machine WHERE state = 'reclaiming'") else True, 600, "its end")
    nothing_leaks(server)


def until_it_is_off(page: Page, is_off: Callable[[], bool], do: Callable[[], None]) -> bool:
    """Do it; whether it came to its end before the power was gone. An error while there is power is one."""
    page.set_default_timeout(patience(10_000))
    expect.set_options(timeout=patience(10_000))
    deadline = time.monotonic() + patience(900)
    try:
        do()
        return True
    except (PlaywrightError, AssertionError):
        while not is_off() and time.monotonic() < deadline:
            time.sleep(0.1)
        if not is_off():
            raise
        return False


def nothing_leaks(server: Booted) -> None:
    """What lies and runs in the appliance is what the catalog knows of."""

    def clean() -> bool | None:
        known = {id for (id,) in server.catalog("SELECT id FROM machine WHERE state <> 'retired'")}
        lying = set(server.shell("ls /var/lib/dpe/machines").split())
        running = set(server.shell("ps -o args= -C qemu-system-x86_64 | grep -o 'uuid [0-9a-f-]*' | cut -d' ' -f2 || true").split())
        taking = server.catalog("SELECT 1 FROM snapshot WHERE state = 'building'")
        return True if taking or (lying <= known and running <= known) else None

    wait_for(clean, 120, "an appliance without leftovers")
    assert server.catalog("SELECT owner_id, count(*) FROM machine WHERE state = 'ready' AND owner_id IS NOT NULL GROUP BY 1") == []
