"""Many people claim over HTTPS while everything behind the page is killed at random, under the supervisor that starts it again.

What is there in the end is counted by the test's own SQL and by virsh, never by the product's own code: nothing twice, nothing left.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psutil
import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Class, Seed, SeedState, options
from appliance.catalog import seeds as seed_rows
from appliance.run import run
from appliance.seeds.build import SeedFiles
from appliance.services import tokens
from appliance.settings import Settings, environment
from tests import waiting
from tests.integration.conftest import own_appliance
from tests.integration.test_foreground import Running
from tests.seeds import SMALL, place, small_scenario

CLAIMS = int(os.environ.get("DPE_TEST_CLAIMS", "14"))
PEOPLE = int(os.environ.get("DPE_TEST_PEOPLE", "7"))
SEED = int(os.environ.get("DPE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
MAXIMUM = 8
PARTS = ("engine", "web", "nginx", "libvirtd")
PATIENCE = 240.0  # seconds for the appliance to come to rest


class Outside:
    """The appliance as its own SQL, virsh and ip see it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.settings.catalog}?mode=ro", uri=True, timeout=15)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def column(self, query: str) -> set[Any]:
        return {row[0] for row in self.sql(query)}

    def domains(self) -> set[str]:
        socket = f"qemu+unix:///system?socket={self.settings.libvirt}/run/libvirt-sock"
        return set(run(["virsh", "--connect", socket, "list", "--all", "--uuid"]).split())

    def disks(self) -> set[str]:
        return {folder.name for folder in self.settings.machines.iterdir()}

    def taps(self) -> set[str]:
        links = json.loads(run(["ip", "-netns", self.settings.network, "-json", "link"]))
        return {link["ifname"] for link in links if link["ifname"].startswith(f"{self.settings.network}-m")}

    def story(self) -> str:
        """What is to be known when it does not come to rest: machines, what is done to them, and the engine's last words."""
        states = self.sql("SELECT state, count(*) FROM machine GROUP BY state")
        runs = self.sql("SELECT id, kind, machine_id, request_id, state, position, wake_at, why, problem FROM run WHERE ended_at IS NULL")
        steps = self.sql("SELECT run_id, number, name, state, starts, attempts, started_at, problem FROM step WHERE ended_at IS NULL")
        moving = self.sql(
            "SELECT id, name, state, state_since, step, problem, attempts FROM machine WHERE state NOT IN ('ready', 'retired')"
        )
        said = (self.settings.logs / "engine.log").read_text(errors="replace")[-8000:]
        return "\n".join(map(str, (states, "runs", *runs, "steps", *steps, "machines", *moving, said)))

    def nothing_twice(self) -> None:
        """What must hold at any moment."""
        live = "state NOT IN ('retired', 'failed')"
        assert self.sql("SELECT machine_id FROM lease WHERE ended_at IS NULL GROUP BY machine_id HAVING count(*) > 1") == []
        assert self.sql(f"SELECT slot FROM machine WHERE {live} GROUP BY slot HAVING count(*) > 1") == []
        held = "state IN ('assigned', 'in_use', 'stopped', 'suspended')"
        assert self.sql(f"SELECT owner_id FROM machine WHERE {held} GROUP BY owner_id HAVING count(*) > 1") == []
        joined = "SELECT machine.id FROM machine JOIN lease ON lease.machine_id = machine.id AND lease.ended_at IS NULL"
        assert self.sql(f"{joined} WHERE machine.owner_id IS NULL OR machine.owner_id <> lease.account_id") == []


class Person:
    """One who claims with a token, has one machine at most, and asks again when no answer came."""

    def __init__(self, settings: Settings, token: str) -> None:
        self.port = settings.https_port
        self.context = ssl.create_default_context(cafile=str(settings.tls / "appliance.crt"))
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """Status and answer; 0 when there was none."""
        data = None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=self.context)
        with contextlib.closing(connection):  # urllib leaves it open when whatever answers is killed
            try:
                connection.request("GET" if data is None else "POST", f"/api/v1{path}", data, self.headers)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                return 0, {}
            except ValueError:  # a page of nginx's own, say
                return answer.status, {}

    def round(self, dice: random.Random, done: threading.Event) -> bool:
        """Claim one, have it for a moment, give it back. Returns whether there was one."""
        while not done.is_set():
            self.ask("/machines", {"class": "small"})  # whatever the answer: the list says what one has
            status, mine = self.ask("/machines")
            if status == 200 and mine["machines"]:
                machine = mine["machines"][0]["id"]
                done.wait(dice.uniform(0, 0.4))
                while self.ask(f"/machines/{machine}/release", {})[0] not in (202, 403, 404, 409) and not done.is_set():
                    done.wait(0.2)
                return True
            done.wait(dice.uniform(0.1, 0.5))
        return False


@pytest.fixture
def prepared(small_seed: SeedFiles) -> Iterator[tuple[Settings, list[str]]]:
    """An appliance that was set up, with people who have a token each; it does not run yet."""
    with own_appliance("w") as own:
        settings = replace(own, scenario=SMALL)
        catalog.open(settings.catalog)
        files = place(small_seed, settings)
        with catalog.write():
            options.put("setup_done", True)
            machine_class = Class.create(
                name="small", spec=small_scenario().classes["small"].model_dump(mode="json"), minimum=0, maximum=MAXIMUM, buffer=3,
                lease_minutes=60, extend_minutes=30, extensions=1, per_person=1,
            )  # fmt: skip
            seed_rows.promote(
                Seed.create(machine_class=machine_class.name, version=1, state=SeedState.READY, stored=True, manifest=files.manifest)
            )
            made = [Account.create(name=f"person{n}", password="!") for n in range(PEOPLE)]
        every = [tokens.create(Actor(one.name, one.id), "storm", ["read", "machines"], 1) for one in made]
        catalog.close()
        yield settings, every
        run([sys.executable, "-m", "appliance.hypervisor.libvirt.daemon", "--remove"], env=environment(settings))


@pytest.fixture
def running(prepared: tuple[Settings, list[str]]) -> Iterator[Running]:
    running = Running(prepared[0])
    try:
        running.until("The appliance runs.")
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(120)


def until(true: Callable[[], bool], what: str, outside: Outside) -> None:
    waiting.until(true, lambda: f"not within {PATIENCE:.0f} s: {what}; {outside.story()}", PATIENCE, every=0.2)


@pytest.mark.kills
@pytest.mark.lost
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings(
    "ignore:unclosed <ssl.SSLSocket:ResourceWarning"
)  # Python 3.11's own, when a door is killed during the handshake
def test_claims_over_https_while_every_part_is_killed(
    prepared: tuple[Settings, list[str]], running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, every = prepared
    everybody = [Person(settings, token) for token in every]
    outside, dice = Outside(settings), random.Random(SEED)
    until(lambda: outside.column("SELECT state FROM snapshot") == {"ready"}, "the snapshot is taken", outside)
    begun, done, moved = time.monotonic(), threading.Event(), threading.Condition()
    claims, kills = 0, dict.fromkeys(PARTS, 0)

    def claim(person: Person, own: random.Random) -> None:
        nonlocal claims
        while person.round(own, done):
            with moved:
                claims += 1
                moved.notify()

    threads = [threading.Thread(target=claim, args=(person, random.Random(SEED + n))) for n, person in enumerate(everybody)]
    for thread in threads:
        thread.start()
    try:
        while claims < CLAIMS:
            # The next one after some more claims: however slow this host is, the appliance gets somewhere between two of them.
            goal = claims + dice.randint(1, 6)
            with moved:
                assert moved.wait_for(lambda goal=goal: claims >= goal, PATIENCE), (
                    f"nobody got a machine any more: {claims} claims, {kills}"
                )
            part = dice.choice(PARTS)
            if found := running.processes().get(part):  # else it is being started again
                with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended by itself meanwhile
                    found.kill()
                    kills[part] += 1
            outside.nothing_twice()
    finally:
        done.set()
        for thread in threads:
            thread.join()

    def at_rest() -> bool:
        """Nobody waits, nothing is on its way, and the buffer is full."""
        states = dict(outside.sql("SELECT state, count(*) FROM machine WHERE state <> 'retired' GROUP BY state"))
        return set(states) <= {"ready", "in_use"} and states.get("ready", 0) == min(3, MAXIMUM - states.get("in_use", 0))

    # Those who still wait in the queue get theirs, and give it back.
    last = threading.Event()

    def give_back() -> bool:
        for person in everybody:
            for machine in person.ask("/machines")[1].get("machines", []):
                person.ask(f"/machines/{machine['id']}/release", {})
        waiting = outside.sql("SELECT count(*) FROM request WHERE state = 'waiting'")[0][0]
        held = outside.sql("SELECT count(*) FROM lease WHERE ended_at IS NULL")[0][0]
        last.wait(0.3)
        return not waiting and not held

    until(give_back, "everything was given back", outside)
    until(at_rest, "everything came to rest", outside)
    outside.nothing_twice()
    live = outside.column("SELECT id FROM machine WHERE state <> 'retired'")
    assert outside.domains() == live
    assert outside.disks() == live
    slots = outside.column("SELECT slot FROM machine WHERE state <> 'retired'")
    assert outside.taps() == {f"{settings.network}-m{slot}" for slot in slots}
    assert outside.sql("SELECT count(*) FROM lease WHERE ended_at IS NULL") == [(0,)]
    assert outside.sql("PRAGMA integrity_check") == [("ok",)]
    assert outside.sql("PRAGMA foreign_key_check") == []
    made = outside.sql("SELECT count(*) FROM machine")[0][0]
    with capsys.disabled():
        print(f"\n{claims} claims of {PEOPLE} people in {time.monotonic() - begun:.0f} s (seed {SEED}), {made} machines, killed {kills}")
    assert sum(kills.values()) > 0, "the storm was no storm"
