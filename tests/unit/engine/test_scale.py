"""A tick asks as much of ten machines as of a hundred, and finds it by indexes."""

import threading

from appliance.catalog import Class, MachineState, Reading, machines
from appliance.hypervisor.provider import MachineFound, Power
from appliance.services import machines as verbs
from tests.plans import scans, statements
from tests.unit.engine.fake import settle

S = MachineState


def test_as_many_statements_for_a_hundred_machines_as_for_ten(engine, provider, small, ready, monkeypatch):
    provider.memory, counts = 1 << 20, []
    for more in (10, 90):
        for machine in ready(more):
            provider.domains[machine.id] = MachineFound(machine.id, machine.name, Power.RUNNING)
            provider.files.add(machine.id)
        Class.update(buffer=len(provider.domains), maximum=len(provider.domains)).execute()
        settle(engine, 3)
        with statements(monkeypatch) as tick:
            engine.tick()
        assert not engine.jobs.under_way()
        engine.schedule.hurry("readings")
        with statements(monkeypatch) as reading:
            settle(engine, 1)
        assert Reading.select().count() == len(provider.domains)
        counts.append((len(tick), len(reading)))
    assert counts[0] == counts[1]
    assert scans(tick) + scans(reading) == []


def test_a_rush_is_found_by_indexes(engine, provider, alice, bob, monkeypatch):
    Class.update(buffer=1).execute()
    settle(engine)
    with statements(monkeypatch) as seen:
        verbs.request(alice, "small")
        verbs.request(bob, "small")
        settle(engine, 6)
    assert machines.counts() == {"small": {S.IN_USE: 2, S.READY: 1}}
    assert any("UPDATE machine" in sql for sql, _ in seen)
    assert scans(seen) == []


def test_no_tick_waits_for_a_reading(engine, provider, monkeypatch):
    settle(engine)
    done = threading.Event()
    read = provider.stats

    def slow():
        done.wait(10)
        return read()

    monkeypatch.setattr(provider, "stats", slow)
    engine.schedule.hurry("readings")
    engine.tick()
    assert len(engine.jobs.under_way()) == 1
    engine.tick()  # and no second one beside it
    assert len(engine.jobs.under_way()) == 1
    done.set()
