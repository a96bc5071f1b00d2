"""The engine killed with -9, again and again, during a storm of requests and releases on real machines.

What must hold: no machine ever has two owners, nobody loses a machine they hold, and once the storm is
over nothing is left that the catalog does not know: no domain, disk, network entry, process or lease.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Class,
    Lease,
    Machine,
    MachineState,
    Request,
    RequestState,
    Seed,
    SeedState,
    SnapshotState,
    database,
    machines,
    options,
    snapshots,
)
from appliance.catalog import seeds as seed_rows
from appliance.errors import DpeError, NotFound
from appliance.hypervisor.provider import Power
from appliance.seeds.build import SeedFiles
from appliance.services import machines as verbs
from appliance.settings import Settings, environment
from tests import waiting
from tests.integration.conftest import empty
from tests.seeds import SMALL, place, small_scenario

KILLS = int(os.environ.get("DPE_TEST_KILLS", "4"))
SEED = int(os.environ.get("DPE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
MANY = 40  # from which on what is usual can be told from chance
PEOPLE = 4
MAXIMUM = 4
S = MachineState


class EngineProcess:
    """The real engine, in a process of its own that can be killed."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.settings, self.log = settings, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "appliance.engine"], env={**os.environ, **environment(self.settings)}, stdout=out, stderr=out
            )

    def kill(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, f"the engine ended by itself: {self.log.read_text()[-3000:]}"
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)


@pytest.fixture
def people(appliance_settings, libvirtd, small_seed) -> Iterator[list[Actor]]:
    """A catalog that was set up, with the small class, its seed and some people."""
    empty(appliance_settings)
    yield populate(appliance_settings, small_seed)
    catalog.close()


def populate(settings: Settings, small_seed: SeedFiles) -> list[Actor]:
    """Open a catalog anew, and put into it what `people` is."""
    catalog.open(settings.catalog)
    described = small_scenario().classes["small"]
    files = place(small_seed, settings)
    with catalog.write():
        options.put("setup_done", True)
        machine_class = Class.create(
            name="small",
            spec=described.model_dump(mode="json"),
            minimum=0,
            maximum=MAXIMUM,
            buffer=1,
            lease_minutes=60,
            extend_minutes=30,
            extensions=1000,
            per_person=2,
        )
        seed_rows.promote(
            Seed.create(machine_class=machine_class.name, version=1, state=SeedState.READY, stored=True, manifest=files.manifest)
        )
        made = [Account.create(name=f"person{n}", password="!") for n in range(PEOPLE)]
    return [Actor(account.name, account.id) for account in made]


@pytest.fixture
def engine(appliance_settings, tmp_path) -> Iterator[EngineProcess]:
    engine = EngineProcess(replace(appliance_settings, scenario=SMALL), tmp_path / "engine.log")
    yield engine
    engine.end()


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    waiting.until(true, lambda: f"not within {seconds} s: {what}; {machines.counts()}, waiting {machines.waiting()}", seconds, every=0.1)


def at_rest() -> bool:
    """The buffer is as full as it can be, the snapshot is taken, and nothing is on its way."""
    counts = machines.counts().get("small", {})
    room = counts.get(S.IN_USE, 0) < MAXIMUM
    return snapshot_is_ready() and set(counts) <= {S.READY, S.IN_USE} and counts.get(S.READY, 0) == room and not machines.waiting()


def snapshot_is_ready() -> bool:
    return [snapshot.state for snapshot in snapshots.of_seed(1)][:1] == [SnapshotState.READY]


def cancel_all(person: Actor) -> None:
    for asked in list(Request.select().where(Request.account == person.account_id, Request.state == RequestState.WAITING)):
        with contextlib.suppress(NotFound):  # granted in between
            verbs.cancel_request(person, asked.id)


class Storm:
    """People who ask, extend and give back at random, and remember what is theirs."""

    def __init__(self, people: list[Actor], dice: random.Random) -> None:
        self.people, self.dice = people, dice
        self.held: dict[str, int] = {}  # machine id -> account, from the moment it was seen in use until given back
        self.released = 0

    def blow(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.one(self.dice.choice(self.people))
            self.look()
            time.sleep(self.dice.uniform(0, 0.15))

    def one(self, person: Actor) -> None:
        mine = verbs.my_machines(person.account_id)
        try:
            match self.dice.choices(["request", "release", "extend", "cancel"], [5, 2, 1, 0.5])[0]:
                case "request":
                    verbs.request(person, "small")
                case "release" if mine:
                    chosen = self.dice.choice(mine)
                    self.held.pop(chosen.id, None)
                    verbs.release(person, chosen.id)
                    self.released += 1
                case "extend" if mine:
                    verbs.extend(person, self.dice.choice(mine).id)
                case "cancel":
                    cancel_all(person)
        except DpeError:
            pass  # a refusal is an answer

    def give_back(self) -> None:
        """All that anybody has."""
        for person in self.people:
            for machine in verbs.my_machines(person.account_id):
                with contextlib.suppress(DpeError):  # one that is just being handed over stays
                    verbs.release(person, machine.id)
                    self.held.pop(machine.id, None)

    def look(self) -> None:
        for person in self.people:
            for machine in verbs.my_machines(person.account_id):
                if machine.state is S.IN_USE:
                    self.held.setdefault(machine.id, person.account_id)
        for id, account_id in self.held.items():
            machine = machines.by_id(id)
            assert machine.state in machines.HELD, f"{machine.name} was taken from its owner: {machine.state}, {machine.problem}"
            assert machine.owner_id == account_id
            lease = machines.lease_of(id)
            assert lease is not None
            assert lease.account_id == account_id


def nothing_is_left(provider, settings) -> None:
    """Whatever exists outside the catalog belongs to a live machine in it."""
    live = {machine.id: machine for machine in machines.live()}
    assert {found.id for found in provider.list()} == set(live)
    for found in provider.list():
        waits = live[found.id].state is S.READY and live[found.id].readiness == "paused"
        assert found.power is (Power.PAUSED if waits else Power.RUNNING)
    assert list((settings.run / "fork").iterdir()) == []
    assert not list((settings.state / "work").glob("snapshot-*"))
    kept = {str(folder.relative_to(settings.seeds)) for folder in settings.seeds.glob("small/1/snapshot-*")}
    assert kept == {snapshot.name for snapshot in snapshots.of_seed(1) if snapshot.name}
    assert set(provider.disks()) == set(live)
    assert set(provider.network.admitted()) == set(live)
    running = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] and str(settings.machines) in " ".join(p.info["cmdline"])]
    assert len([p for p in running if "qemu-system" in p.info["cmdline"][0]]) == len(live)
    assert not [p for p in running if "ansible" in " ".join(p.info["cmdline"])]


@pytest.mark.kills
@pytest.mark.timeout(2400)
def test_kills_leak_nothing_and_rob_nobody(appliance_settings, libvirtd, provider, people, engine, capsys):
    dice = random.Random(SEED)
    storm = Storm(people, dice)
    begun = time.monotonic()
    for number in range(KILLS):
        engine.start()
        if number == KILLS // 4:  # until here it was killed while it took the snapshot, from now on while it forks
            until(snapshot_is_ready, 600, "the snapshot is taken")
            storm.give_back()  # who waited got machines that booted; those that follow are forks
        # From before the engine has even opened the catalog to well into a snapshot or a batch.
        storm.blow(dice.choice([dice.uniform(0.05, 1.5), dice.uniform(1, 6)]))
        engine.kill()
        storm.look()
    engine.start()
    for person in people:
        cancel_all(person)
    storm.look()
    until(at_rest, 600, "everything came to rest")
    storm.look()
    assert catalog.check() == []
    assert database.rows("SELECT machine_id, count(*) FROM lease GROUP BY machine_id HAVING count(*) > 1") == []
    assert Lease.select().where(Lease.ended_at.is_null()).count() == Machine.select().where(Machine.state == S.IN_USE).count()
    assert Machine.select().where(Machine.state == S.QUARANTINED).count() == 0
    nothing_is_left(provider, appliance_settings)
    # And when all is given back, all of it goes.
    with catalog.write():
        Class.update(buffer=0).execute()
    storm.give_back()
    until(lambda: machines.counts() == {}, 120, "everything was taken away")
    nothing_is_left(provider, appliance_settings)
    forked = Class.get().forked
    made, granted = Machine.select().count(), Request.select().where(Request.state == RequestState.GRANTED).count()
    with capsys.disabled():
        print(
            f"\n{KILLS} kills in {time.monotonic() - begun:.0f} s (seed {SEED}): {made} machines made, {forked} of them forks, {granted} handed out, {storm.released} given back"
        )
    assert granted > KILLS // 20, "the storm was no storm"
    assert forked > (made // 4 if KILLS >= MANY else 0), "it should have been a storm of forks"


def test_libvirtd_away_for_a_while(appliance_settings, libvirtd, provider, people, engine):
    """Killed and gone: the catalog says so, nothing is destroyed, and work goes on when it is back."""
    engine.start()
    until(lambda: machines.counts().get("small", {}).get(S.READY) == 1, 120, "the buffer is full")
    asked = verbs.request(people[0], "small")
    until(lambda: machines.by_id(asked.machine_id).state is S.IN_USE, 60, "it is handed over")
    libvirtd.stop(signal.SIGKILL)
    until(lambda: not catalog.Engine.get().hypervisor_ok, 20, "the engine says that the hypervisor is away")
    assert "libvirtd" in catalog.Engine.get().hypervisor_problem
    verbs.release(people[0], asked.machine_id)
    other = verbs.request(people[1], "small")
    before = {machine.id: machine.state for machine in machines.live()}
    time.sleep(3)  # three ticks in which nothing may be concluded from the silence
    assert {machine.id: machine.state for machine in machines.live()} == before
    libvirtd.start()
    until(lambda: catalog.Engine.get().hypervisor_ok, 30, "the engine says that the hypervisor is back")
    until(lambda: machines.by_id(asked.machine_id).state is S.RETIRED, 60, "what was given back is reclaimed")
    until(lambda: Request.get_by_id(other.id).machine_id is not None, 120, "who waited is served")
    until(at_rest, 120, "everything came to rest")
    nothing_is_left(provider, appliance_settings)


@pytest.mark.badinput
def test_a_second_engine_refuses_and_harms_nothing(appliance_settings, libvirtd, people, engine):
    engine.start()
    until(lambda: catalog.Engine.get_or_none() is not None, 30, "the engine is there")
    second = subprocess.run(
        [sys.executable, "-m", "appliance.engine"],
        env={**os.environ, **environment(appliance_settings)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert f"Another engine (process {engine.process.pid}) works on" in second.stderr
    assert "Stop it first" in second.stderr
    assert engine.process.poll() is None
