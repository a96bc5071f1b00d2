"""What the engine writes down at each look: of machines, their classes and the host, and of who asks for machines."""

import contextlib
import math
from dataclasses import replace
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Class, Event, Machine, Reading, Request, RequestState, now
from appliance.engine import Engine, recorder
from appliance.engine.readings import figures
from appliance.hypervisor.provider import MachineFound, Power, Stats
from appliance.lifecycle import outcomes
from appliance.readings import FIGURES, HOST, Kind, Series, Store, Subject
from tests.plans import scans, statements
from tests.unit.engine.fake import FakeProvider, settle

HOUR = timedelta(hours=1)
SMALL = Subject(Kind.CLASS, "small")
BEFORE = Stats("m", 10 * 10**9, 2, 1024, 400, 1000, 2000, 3000, 4000, memory_private=300, memory_shared=20)
AFTER = replace(BEFORE, cpu_ns=20 * 10**9, disk_read=11_000, disk_written=22_000, net_received=33_000, net_sent=44_000)


class Measured(FakeProvider):
    """Machines that say what a test wants of them."""

    def __init__(self) -> None:
        super().__init__()
        self.says: dict[str, object] = {"memory_used": 100}
        self.silent: set[str] = set()
        self.cpu_ns = 0

    def stats(self) -> list[Stats]:
        self.cpu_ns += 10**9
        return [replace(BEFORE, id=id, cpu_ns=self.cpu_ns, memory=256, **self.says) for id in self.domains if id not in self.silent]


@pytest.fixture
def provider():
    return Measured()


class Looks:
    """Looks of an engine at moments that a test sets, and what was kept of them."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self.at = engine, now()
        monkeypatch.setattr(recorder, "now", lambda: self.at)
        settle(engine)

    def take(self, seconds: int = 10) -> None:
        self.at += timedelta(seconds=seconds)
        self.engine.schedule.hurry("readings", "recorder")
        settle(self.engine, 2)

    def series(self, subject: Subject) -> Series:
        with contextlib.closing(Store(self.engine.settings.readings)) as store:
            return store.series(subject, FIGURES, HOUR, self.at)

    def last(self, subject: Subject) -> dict[str, float]:
        """The last value of each figure that has one then."""
        found = self.series(subject).mean
        return {name: values[-1] for name, values in found.items() if values and values[-1] is not None}


@pytest.fixture
def looks(engine, monkeypatch):
    return Looks(engine, monkeypatch)


def test_two_readings_are_rates() -> None:
    assert figures(100.0, BEFORE, 110.0, AFTER) == {
        "cpu": 0.5, "memory": 1024, "memory_used": 400, "memory_private": 300, "memory_shared": 20,
        "disk_read": 1000.0, "disk_written": 2000.0, "net_received": 3000.0, "net_sent": 4000.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lie", "missing"),
    [
        ({"memory_used": 1025}, {"memory_used"}),
        ({"memory_used": -5}, {"memory_used"}),
        ({"memory_used": math.nan}, {"memory_used"}),
        ({"memory_used": 0}, {"memory_used"}),
        ({"memory_private": 0, "memory_shared": 0}, {"memory_private", "memory_shared"}),
        ({"cpu_ns": 5}, {"cpu"}),
        ({"disk_read": 0, "net_sent": math.inf}, {"disk_read", "net_sent"}),
    ],
    ids=lambda found: "-".join(sorted(found)),
)
def test_what_cannot_be_is_missing_and_the_rest_is_kept(lie: dict[str, float], missing: set[str]) -> None:
    found = figures(100.0, BEFORE, 110.0, replace(AFTER, **lie))  # type: ignore[arg-type]
    assert {name for name, value in found.items() if value is None} == missing


def test_the_first_reading_has_no_rates() -> None:
    found = figures(100.0, BEFORE, 100.0, BEFORE)
    assert {name for name, value in found.items() if value is None} == {"cpu", "disk_read", "disk_written", "net_received", "net_sent"}


def subjects() -> list[Subject]:
    return [Subject(Kind.MACHINE, machine.id) for machine in Machine.select()]


def test_a_look_is_kept_of_machines_class_and_host(looks, provider):
    looks.take()
    looks.take()
    first, second = subjects()
    assert looks.last(first)["memory_private"] == 300
    assert 0 < looks.last(second)["cpu"] <= 1
    of_class, of_host = looks.last(SMALL), looks.last(HOST)
    assert (of_class["memory_private"], of_class["memory_used"], of_class["buffer"], of_class["production"]) == (600, 200, 2, 0)
    assert (of_host["memory"], of_host["memory_private"], of_host["buffer"]) == (provider.memory, 600, 2)
    assert 0 <= of_host["cpu"] <= 1
    assert of_host["memory_other"] == 0, "machines take more than the fake host says is taken"


def test_a_guest_that_lies_or_is_silent_is_missing(looks, provider):
    looks.take()
    liar, silent = subjects()
    provider.says, provider.silent = {"memory_used": 10**6}, {silent.name}
    looks.take(60)
    assert "memory_used" not in looks.last(liar)
    assert looks.last(liar)["memory_private"] == 300
    assert looks.series(liar).mean["memory_used"] == [100, None, None]
    assert len(looks.series(silent).times) == 1, "of the look before"


def test_what_was_not_read_anew_is_not_written_again(looks, engine):
    looks.take()
    before = looks.series(HOST)
    looks.at += HOUR / 4
    engine.controllers.recorder.record()
    assert looks.series(HOST) == before


def test_requests_are_counted_once_and_who_waits_is_told(looks, alice, monkeypatch):
    monkeypatch.setattr(outcomes, "serve_waiting", lambda _name: None)
    looks.take()
    with catalog.write():
        for hit in (True, True, False):
            state = RequestState.GRANTED if hit else RequestState.WAITING
            Request.create(account=alice.account_id, machine_class="small", state=state, hit=hit, created_at=looks.at)
    looks.take(20)
    found = looks.last(SMALL)
    assert (found["hits"], found["misses"], found["queue"], found["wait"]) == (360, 180, 1, 20)
    assert looks.last(HOST)["misses"] == 180
    looks.take(20)
    found = looks.last(SMALL)
    assert (found["hits"], found["misses"], found["queue"], found["wait"]) == (0, 0, 1, 40)


def test_a_class_without_machines_takes_nothing_rather_than_something_unknown(engine, monkeypatch):
    Class.update(buffer=0, minimum=0).execute()
    looks = Looks(engine, monkeypatch)
    looks.take()
    assert looks.last(SMALL)["memory_private"] == 0
    assert "cpu" not in looks.last(SMALL)


def test_a_look_asks_as_much_of_many_machines_as_of_few(looks, engine, provider, ready, monkeypatch):
    counts = []
    for more in (5, 40):
        for machine in ready(more):
            provider.domains[machine.id] = MachineFound(machine.id, machine.name, Power.RUNNING)
            provider.files.add(machine.id)
        Class.update(buffer=len(provider.domains), maximum=len(provider.domains)).execute()
        looks.take()
        engine.controllers.recorder._written = None
        with statements(monkeypatch) as seen:
            engine.controllers.recorder.record()
        counts.append(len(seen))
    assert counts[0] == counts[1]
    assert scans(seen) == []


@pytest.mark.lost
def test_a_damaged_file_is_set_aside_and_the_engine_goes_on(looks, engine, provider):
    looks.take()
    engine.controllers.recorder.close()
    engine.settings.readings.write_bytes(b"rubbish " * 4096)
    looks.take()
    assert looks.last(HOST)["memory"] == provider.memory
    [told] = Event.select().where(Event.kind == "readings.lost")
    assert "readings-damaged.db" in told.data["hint"]
    looks.take()
    assert Event.select().where(Event.kind == "readings.lost").count() == 1


@pytest.mark.lost
def test_a_file_that_cannot_be_written_costs_the_readings_alone(looks, engine):
    engine.controllers.recorder.store.close()
    engine.controllers.recorder.store.path = engine.settings.state / "nowhere" / "readings.db"
    Reading.delete().execute()
    looks.take()
    assert Reading.select().count() == 2
