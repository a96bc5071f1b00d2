"""The power fails at random points of the first start, of set-up, and between a click and a machine; the appliance comes back by itself.

Points are counted in processor seconds of the emulator, so that a busy machine cuts where an idle one does; DPE_TEST_SEED repeats them.
Power cuts of updates are in test_update.py.
"""

import contextlib
import http.client
import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import world
from tests.image.booted import Booted, patience, wait_for
from tests.image.forms import Visitor, invite, set_up, setup_code

pytestmark = [pytest.mark.image, pytest.mark.timeout(10800)]
FIRST_START = 90  # processor seconds of a first start, to where the page comes and seeds are copied
WIZARD = 10  # of all its pages, sent as fast as they come
ACCOUNT = 3  # of making an account
SNAPSHOT = 300  # of a snapshot, or the most part of it
CLAIM = 20  # from a click to a machine
NESTED = 2700  # seconds for a machine to come up inside


class Storm:
    """Cuts the power of one appliance, and tells what was in the way."""

    def __init__(self, server: Booted) -> None:
        self.server, self.random, self.cuts = server, random.Random(int(os.environ.get("DPE_TEST_SEED", "6"))), list[str]()

    def cut(self, within: float, what: str) -> None:
        """Cut at random within so many processor seconds from now."""
        at = self.server.work() + self.random.uniform(0, within)
        wait_for(lambda: self.server.work() >= at or None, 900, f"the moment to cut while {what}")
        self.server.power_cut()
        self.cuts.append(f"{what}, {self.server.seconds():.0f} s after the start")

    def cut_during(self, within: float, what: str, do: Callable[[], object]) -> bool:
        """Cut while something is done, or soon after it; whether it had come to its end."""
        cutter = threading.Thread(target=self.cut, args=(within, what))
        cutter.start()
        ended = False
        try:
            do()
            ended = True
        except (OSError, http.client.HTTPException, AssertionError):
            cutter.join(5)
            if self.server.alive():  # what fails while there is power is no cut
                raise
        cutter.join(patience(900))
        return ended

    def comes_back(self) -> None:
        """By itself, and whole."""
        self.server.start()
        self.server.wait_shell(600)

        def works() -> bool | None:
            assert self.server.alive()
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.server.get("/healthz")[0] == 200:
                    return self.server.shell("systemctl is-active dpe-engine || true").strip() == "active" or None
            return None

        wait_for(works, 600, f"the appliance after a cut while {self.cuts[-1]}")
        assert self.server.catalog("PRAGMA integrity_check") == [["ok"]]
        assert self.server.catalog("PRAGMA foreign_key_check") == []
        assert self.server.shell("systemctl --failed --no-legend --plain").strip() == ""
        assert self.server.shell("journalctl -b -k --no-pager -o cat | grep -E 'EXT4-fs (error|warning)|FAT-fs .*error' || true") == ""


@pytest.fixture
def storm(boot: Callable[..., Booted], capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Storm]]:
    """An appliance whose power is going to fail, and in the end where it did."""
    storms: list[Storm] = []

    def begin(**options: object) -> Storm:
        storms.append(Storm(boot(**options)))
        return storms[-1]

    yield begin
    with capsys.disabled():
        print(f"\n{json.dumps([cut for each in storms for cut in each.cuts], indent=1)}")


def test_power_cuts_from_the_first_start_to_the_first_accounts(storm: Callable[..., Storm]) -> None:
    new = storm()
    new.cut(FIRST_START, "it starts for the first time")
    new.server.start()
    new.cut(FIRST_START, "it starts after that")
    new.comes_back()
    seeds_are_as_they_were_made(new)
    set_up_is_done_or_not(new)
    accounts_are_kept(new)


def seeds_are_as_they_were_made(storm: Storm) -> None:
    """A cut while one is copied from the image, if the start has left any; then they are there, byte for byte, and nothing beside them."""
    server = storm.server
    left = "SELECT count(*) FROM seed WHERE state IN ('queued', 'building')"
    wait_for(lambda: server.catalog("SELECT 1 FROM seed") or None, 300, "the seeds' names")
    if server.catalog(left) != [[0]]:
        storm.cut(FIRST_START / 3, "seeds are copied")
        storm.comes_back()
    wait_for(lambda: True if server.catalog(left) == [[0]] else None, 900, "the seeds")
    assert server.catalog("SELECT class_name, version, state FROM seed ORDER BY 1") == [["small", 1, "ready"], ["small12", 1, "ready"]]
    for name in ("small", "small12"):
        for file in ("disk.qcow2", "vmlinuz", "initrd"):
            server.shell(f"cmp /var/lib/dpe/seeds/{name}/1/{file} /usr/share/dpe/seeds/{name}/{file}", 300)
    assert server.shell("ls -A /var/lib/dpe/work; ls -A /var/lib/dpe/seeds").split() == ["small", "small12"]


def set_up_is_done_or_not(storm: Storm) -> None:
    """A cut while the wizard is walked: what it has said is so; and it is set up wholly, or can be set up again."""
    server = storm.server
    code = setup_code(server)
    said = storm.cut_during(WIZARD, "it is set up", lambda: set_up(server, pools={"small": (0, 6)}))
    storm.comes_back()
    done = server.catalog("SELECT count(*) FROM event WHERE kind = 'setup.done'") == [[1]]
    assert done or not said
    assert server.catalog("SELECT name FROM account") == ([["grace"]] if done else [])
    assert server.catalog("SELECT role FROM permit WHERE role = 'owner'") == ([["owner"]] if done else [])
    if not done:
        assert setup_code(server) == code
        set_up(server, pools={"small": (0, 6)})
    else:
        wait_for(
            lambda: True if server.shell("ls /var/lib/dpe/setup-code 2>/dev/null || true") == "" else None, 60, "the end of the setup code"
        )
    Visitor(server).sign_in("grace")


def accounts_are_kept(storm: Storm) -> None:
    """A cut while one account after the other is made: those that the page has spoken of are there."""
    server = storm.server
    grace, told = Visitor(server), list[str]()
    grace.sign_in("grace")

    def make_accounts() -> None:
        for number in range(100):
            made = grace.send(
                grace.ask("/admin/accounts/new"), "/accounts/new", name=f"user{number}", full_name="", password=world.PASSWORD
            )
            assert f"The account user{number} is created." in made.text, made.said
            told.append(f"user{number}")

    assert not storm.cut_during(8 * ACCOUNT, "accounts are made", make_accounts)
    storm.comes_back()
    kept = {name for (name,) in server.catalog("SELECT name FROM account")}
    assert {"grace", *told} <= kept <= {"grace", *told, f"user{len(told)}"}
    Visitor(server).sign_in((told or ["grace"])[-1])


def test_power_cuts_from_the_seed_to_a_machine(storm: Callable[..., Storm], micro: Path) -> None:
    going = storm(of=micro)
    server = going.server
    server.wait_page()
    server.wait_shell()
    set_up(server, pools={"micro": (1, 6)})
    building = "SELECT 1 FROM snapshot WHERE state = 'building'"
    wait_for(lambda: server.catalog(building) or None, 600, "the snapshot's begin")
    going.cut(SNAPSHOT, "a snapshot is taken")
    going.comes_back()
    grace = Visitor(server)
    grace.sign_in("grace")
    invite(grace, "nina")
    for _ in range(2):
        a_claim_is_kept(going)
    wait_for(lambda: None if server.leftovers() else True, 120, "an appliance without leftovers")


def a_claim_is_kept(storm: Storm) -> None:
    """A cut between the click and the machine: whoever was told of one has it, or is told what became of it; then it can be given back."""
    server = storm.server
    wait_for(lambda: server.catalog("SELECT 1 FROM machine WHERE state = 'ready'") or None, NESTED, "a ready machine")
    nina = Visitor(server)
    page = nina.sign_in("nina")
    asked = storm.cut_during(CLAIM, "a machine is handed over", lambda: nina.send(nina.ask("/"), "/request", **{"class": "micro"}))
    storm.comes_back()
    mine = "SELECT machine.id, state, problem FROM machine JOIN account ON account.id = owner_id WHERE account.name = 'nina' AND state <> 'retired'"
    wished = "SELECT id, state FROM request WHERE state IN ('pending', 'waiting', 'granted')"
    has = server.catalog(mine)
    assert len(has) <= 1
    assert has or server.catalog(wished) or not asked
    if has or server.catalog(wished):
        wait_for(
            lambda: [row for row in server.catalog(mine) if row[1] == "in_use" or row[2]] or None,
            NESTED,
            "the machine, or why there is none",
        )
        ((id, state, problem),) = server.catalog(mine)
        assert state == "in_use", problem
        nina = Visitor(server)
        page = nina.sign_in("nina")
        assert "Open" in nina.ask("/").text, page.said
        nina.send(nina.ask("/"), f"/{id}/release")
        wait_for(lambda: None if server.catalog(mine) else True, 600, "its end")
