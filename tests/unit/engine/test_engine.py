"""The reconciler over a provider that is only memory: what it concludes, tick by tick."""

import json
import socket
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from appliance import catalog, syslog
from appliance.catalog import (
    Class,
    Event,
    Lease,
    Machine,
    MachineState,
    Request,
    RequestState,
    Run,
    RunState,
    Seed,
    SeedState,
    machines,
    now,
    options,
    runs,
)
from appliance.catalog import Engine as Row
from appliance.catalog import seeds as seed_rows
from appliance.engine import Engine, clock, lock
from appliance.engine.dispatcher import LIMITS
from appliance.errors import Conflict, DpeError
from appliance.host.disks import ballast
from appliance.hypervisor.provider import MachineFound, Power
from appliance.lifecycle import batch, smoke_test
from appliance.lifecycle.handlers import ended
from appliance.seeds.build import seed_folder
from appliance.seeds.build import test_machine_id as boot_id  # pytest takes it for a test
from appliance.seeds.snapshot import template_id
from appliance.services import machines as verbs
from appliance.services import seeds as seed_verbs
from tests.unit.engine.fake import settle
from tests.unit.test_syslog import Receiver

S = MachineState


def states() -> dict[S, int]:
    return machines.counts().get("small", {})


def test_the_buffer_fills_and_rests(engine, provider):
    settle(engine)
    assert states() == {S.READY: 2}
    assert len(provider.domains) == 2
    before = Event.select().count()
    settle(engine)
    assert Event.select().count() == before


def test_claim_hand_over_release_and_a_clean_one_in_place(engine, provider, alice):
    settle(engine)
    asked = verbs.request(alice, "small")
    settle(engine)
    assert machines.by_id(asked.machine_id).state is S.IN_USE
    assert states() == {S.READY: 2, S.IN_USE: 1}
    verbs.release(alice, asked.machine_id)
    settle(engine)
    assert machines.by_id(asked.machine_id).state is S.RETIRED
    assert asked.machine_id not in provider.domains
    assert asked.machine_id not in provider.files
    assert states() == {S.READY: 2}


def test_who_meets_an_empty_buffer_is_served_without_the_playbook(engine, provider, alice, monkeypatch):
    with catalog.write():
        Class.update(buffer=0).execute()

    def never(*_):
        raise AssertionError("the playbook was used")

    monkeypatch.setattr(batch, "follow", never)
    verbs.request(alice, "small")
    settle(engine)
    [mine] = verbs.my_machines(alice.account_id)
    assert mine.state is S.IN_USE


def test_an_ended_lease_is_reclaimed_and_replaced(engine, provider, alice):
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    Lease.update(ends_at=now() - timedelta(seconds=1)).execute()
    settle(engine)
    assert machines.by_id(id).state is S.RETIRED
    assert states() == {S.READY: 2}


def test_a_machine_that_does_not_come_up_is_thrown_away_and_the_class_held_back(engine, provider):
    provider.fails["wait"] = DpeError("The agent did not answer within 300 s.", "Look at its console.")
    settle(engine)
    machine_class = Class.get()
    assert machine_class.failures >= 1
    assert machine_class.failing_until > now()
    assert "agent did not answer" in machine_class.problem
    assert provider.domains == {}
    assert provider.files == set()
    provider.fails.clear()
    Class.update(failing_until=now()).execute()
    settle(engine)
    assert states() == {S.READY: 2}
    assert Class.get().failures == 0


def test_a_machine_whose_tasks_fail_is_thrown_away_and_the_class_held_back(engine, provider, monkeypatch, tmp_path):
    (tmp_path / "house/roles/web/tasks").mkdir(parents=True)
    (tmp_path / "house/roles/web/tasks/machine.yml").touch()
    refill = engine.controllers.dispatcher.refill
    refill.settings = replace(refill.settings, scenario=tmp_path / "house")
    with catalog.write():
        Class.update(spec={**Class.get().spec, "roles": ["web"]}).execute()
    failing = True

    def follow(file, environment, take, cancelled):
        names = list(json.loads(file.read_text())["inventory"]["all"]["hosts"])
        for name in names:
            take({"kind": "failed", "task": "Write its name", "message": "The disk is full.", "host": name, "role": "web"})
        take({"kind": "ended", "failed": names if failing else []})

    monkeypatch.setattr(batch, "follow", follow)
    settle(engine)
    machine_class = Class.get()
    assert machine_class.failing_until > now()
    assert "Write its name failed: The disk is full." in machine_class.problem
    assert provider.files == set()
    failing = False
    Class.update(failing_until=now()).execute()
    settle(engine)
    assert states() == {S.READY: 2}
    assert Class.get().failures == 0


def test_nothing_is_concluded_while_the_hypervisor_is_away(engine, provider, alice):
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    before = dict(provider.domains)
    provider.away = True
    settle(engine)
    row = catalog.Engine.get()
    assert not row.hypervisor_ok
    assert "libvirtd does not answer" in row.hypervisor_problem
    assert machines.by_id(id).state is S.IN_USE
    assert states() == {S.READY: 2, S.IN_USE: 1}
    verbs.release(alice, id)
    settle(engine)
    assert machines.by_id(id).state is S.RECLAIMING
    assert provider.domains == before
    provider.away = False
    Run.update(wake_at=now()).where(Run.ended_at.is_null()).execute()  # what waited for it asks again every other second
    settle(engine)
    assert catalog.Engine.get().hypervisor_ok
    assert machines.by_id(id).state is S.RETIRED
    assert [e.kind for e in Event.select().where(Event.kind.startswith("hypervisor"))] == ["hypervisor.away", "hypervisor.back"]


def test_leftovers_of_a_killed_run_are_swept_and_nothing_else(engine, provider, alice):
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    verbs.release(alice, id)
    settle(engine)
    assert machines.by_id(id).state is S.RETIRED
    mine, others = set(provider.domains), {smoke_test.ID, boot_id(1), template_id(1)}
    for left in {id, *others}:
        provider.domains[left] = MachineFound(left, left, Power.RUNNING)
        provider.files.add(left)
    settle(engine)
    assert set(provider.domains) == mine
    assert provider.files == mine


@pytest.mark.parametrize("power", [Power.OFF, Power.SAVED, Power.PAUSED, Power.CRASHED])
def test_a_machine_in_use_that_stands_still_is_started_again(engine, provider, alice, power):
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    provider.domains[id] = MachineFound(id, "x", power)
    settle(engine)
    assert provider.domains[id].power is Power.RUNNING
    assert machines.by_id(id).state is S.IN_USE
    assert ("wait", id) in provider.calls[-6:]


def test_a_machine_in_use_that_vanished_is_quarantined_not_replaced_in_silence(engine, provider, alice):
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    provider.domains.pop(id)
    provider.files.discard(id)
    settle(engine)
    machine = machines.by_id(id)
    assert machine.state is S.QUARANTINED
    assert machine.owner_id == alice.account_id
    assert "disk is gone" in machine.problem


def test_a_ready_machine_that_vanished_is_made_again(engine, provider):
    settle(engine)
    id = next(iter(provider.domains))
    provider.domains.pop(id)
    provider.files.discard(id)
    settle(engine)
    assert machines.by_id(id).state is S.READY
    assert provider.domains[id].power is Power.RUNNING
    assert Class.get().failures == 0


def test_a_ready_machine_that_vanishes_again_and_again_is_given_up(engine, provider):
    settle(engine)
    id = next(iter(provider.domains))
    for _ in range(6):
        provider.domains.pop(id, None)
        settle(engine, 3)
    assert machines.by_id(id).state is S.RETIRED
    assert "again and again" in Class.get().problem
    Class.update(failing_until=now()).execute()
    settle(engine)
    assert states() == {S.READY: 2}


def test_a_machine_that_takes_no_owner_gives_way_to_another(engine, provider, alice, monkeypatch):
    settle(engine)
    bad = verbs.request(alice, "small").machine_id
    wait = provider.wait

    def broken(spec, *args, **kwargs):
        if spec.id == bad:
            raise DpeError("The agent went away.")
        return wait(spec, *args, **kwargs)

    monkeypatch.setattr(provider, "wait", broken)
    for _ in range(6):
        Run.update(wake_at=now()).where(Run.ended_at.is_null()).execute()
        settle(engine, 2)
    settle(engine)
    [mine] = verbs.my_machines(alice.account_id)
    assert mine.id != bad
    assert mine.state is S.IN_USE
    assert machines.by_id(bad).state is S.RETIRED
    assert Request.select().where(Request.state == RequestState.WAITING).count() == 0


@pytest.mark.badinput
def test_a_buffer_that_would_exhaust_the_memory_is_bounded_and_the_reason_is_said(opened, engine, provider):
    provider.memory = 1024 + 2 * (256 + 64) + 10
    Class.update(buffer=5).execute()
    settle(engine)
    assert states() == {S.READY: 2}
    assert "the host's memory: 320 MiB needed, 10 MiB left; lower a buffer" in Class.get().limit_reason
    assert Class.get().failures == 0


def test_a_new_seed_replaces_the_buffer_without_emptying_it(engine, provider):
    settle(engine)
    with catalog.write():
        fresh = Seed.create(machine_class="small", version=2, state=SeedState.READY, stored=True)
        seed_rows.promote(fresh)
    lowest = 2
    for _ in range(25):
        settle(engine, 1)
        lowest = min(lowest, states().get(S.READY, 0))
    assert lowest == 2
    assert {m.seed_id for m in machines.live()} == {fresh.id}


def test_a_class_withdrawn_loses_its_buffer(engine, provider, alice):
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    Class.update(enabled=False).execute()
    settle(engine)
    assert list(provider.domains) == [id]


def test_the_engine_starts_over_from_what_the_catalog_says(opened, engine, provider, alice):
    """As after kill -9: a second engine over the same catalog and the same half-made machines."""
    settle(engine)
    [first, second] = machines.live()
    Machine.update(state=S.CREATING).where(Machine.id == first.id).execute()
    provider.domains.pop(first.id)
    verbs.request(alice, "small")
    engine.stop()
    engine.close()
    again = Engine(opened, provider)
    settle(again)
    assert machines.by_id(first.id).state is S.READY
    assert machines.by_id(second.id).state is S.IN_USE
    assert states() == {S.READY: 2, S.IN_USE: 1}
    assert len(provider.domains) == 3
    again.close()


@pytest.mark.badinput
def test_a_second_engine_refuses(opened):
    held = lock(opened)
    with pytest.raises(Conflict, match=r"Another engine \(process \d+\).*Stop it first"):
        lock(opened)
    held.close()
    lock(opened).close()


def test_load_is_recorded(engine, provider):
    settle(engine)
    for _ in range(2):
        engine.schedule.hurry("readings")
        settle(engine, 1)
    assert catalog.Reading.select().count() == 2
    assert catalog.Engine.get().host["acceleration"] == "emulation"


def test_the_used_setup_code_is_taken_away(opened, engine):
    file = opened.state / "setup-code"
    file.write_text("ABCD\n")
    engine.tick()
    assert not file.exists()


def test_events_are_sent_on_while_machines_are_made(engine):
    receiver = Receiver()
    with catalog.write():
        options.put("syslog", {"host": "127.0.0.1", "port": receiver.port, "transport": "tcp"})
    settle(engine)
    assert receiver.ids == list(range(1, Event.select().count() + 1))
    assert any(b"machine.ready" in line for line in receiver.lines)
    receiver.close()


def test_a_receiver_that_answers_nothing_holds_no_machine_up(engine, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(syslog, "TIMEOUT", 1.0)
        with catalog.write():
            options.put("syslog", {"host": "127.0.0.1", "port": silent.getsockname()[1], "transport": "tcp"})
        settle(engine)
    assert states() == {S.READY: 2}
    assert options.get("syslog_position") == 0


def test_several_at_once_are_made_and_handed_over_together(engine, provider, alice):
    with catalog.write():
        Class.update(burst=5, per_person=5, buffer=1).execute()
    settle(engine)
    first = verbs.request(alice, "small", 5)
    assert verbs.my_machines(alice.account_id) == [], "one is ready, and stays where it is"
    settle(engine)
    assert [machine.state for machine in verbs.my_machines(alice.account_id)] == [S.IN_USE] * 5
    assert states() == {S.READY: 1, S.IN_USE: 5}
    [group] = verbs.grouped(alice.account_id)
    assert (group.batch, group.ready) == (first.id, 5)
    verbs.release_together(alice, first.id)
    settle(engine)
    assert states() == {S.READY: 1}


def test_one_of_several_that_cannot_be_handed_over_is_replaced(engine, provider, alice, monkeypatch):
    with catalog.write():
        Class.update(burst=3, per_person=3, buffer=3).execute()
    settle(engine)
    first = verbs.request(alice, "small", 3)
    broken = verbs.my_machines(alice.account_id)[1].id
    wait = provider.wait

    def waits(spec, *args, **kwargs):
        if spec.id == broken:
            raise DpeError("The agent does not answer.", "Look at its console.")
        return wait(spec, *args, **kwargs)

    monkeypatch.setattr(provider, "wait", waits)
    for _ in range(6):
        settle(engine)
        Run.update(wake_at=now()).where(Run.wake_at.is_null(False), Run.ended_at.is_null()).execute()
    [group] = verbs.grouped(alice.account_id)
    assert (group.batch, group.ready) == (first.id, 3)
    assert broken not in {machine.id for machine in group.machines}
    assert machines.by_id(broken).state is S.RETIRED
    assert Run.select().where(Run.ended_at.is_null()).count() == 0


def test_runs_of_a_kind_never_take_all_threads_and_a_person_is_served_meanwhile(engine, provider, alice, monkeypatch):
    with catalog.write():
        Class.update(buffer=8).execute()
    settle(engine)
    may_go, at_once, most = threading.Event(), [], []
    destroy = provider.destroy

    def slow(id):
        at_once.append(id)
        most.append(len(at_once))
        assert may_go.wait(20)
        at_once.remove(id)
        destroy(id)

    monkeypatch.setattr(provider, "destroy", slow)
    with catalog.write():
        Class.update(buffer=1, maximum=8).execute()
    engine.tick()
    engine.tick()
    asked = verbs.request(alice, "small")
    deadline = time.monotonic() + 20
    while machines.by_id(asked.machine_id).state is not S.IN_USE:
        assert time.monotonic() < deadline
        engine.tick()
    assert states()[S.RECLAIMING] >= 6  # nothing of them is done yet, and nothing of it was waited for
    may_go.set()
    settle(engine, 30)
    assert max(most) == LIMITS["reclaim"]
    assert S.RECLAIMING not in states()


@pytest.mark.parametrize("begun", [False, True], ids=["before it was begun", "in the middle"])
def test_a_machine_whose_making_ends_early_gives_way_to_another(engine, provider, begun):
    with catalog.write():
        Class.update(buffer=1).execute()
    settle(engine)
    engine.jobs.stopping = True  # it plans, and begins nothing
    with catalog.write():
        Class.update(buffer=2).execute()
    engine.schedule.hurry("readings")
    engine.tick()
    [run] = list(Run.select().where(Run.kind == "make", Run.ended_at.is_null()))
    engine.jobs.stopping = False
    with catalog.write():  # as after a step that was cut off again and again, or an activity before it that failed
        Machine.update(state=S.CREATING if begun else S.PLANNED).where(Machine.id == run.machine_id).execute()
        Run.update(state=RunState.FAILED, ended_at=now(), problem="The engine died.").where(Run.id == run.id).execute()
        ended(Run.get_by_id(run.id))
    settle(engine)
    assert Class.get().failures == 1
    with catalog.write():
        Class.update(failing_until=None).execute()
    settle(engine)
    assert machines.by_id(run.machine_id).state is S.RETIRED
    assert states() == {S.READY: 2}


def test_a_machine_that_found_the_disk_full_says_so_once_and_goes_on_when_there_is_room(opened, engine, provider, alice):
    verbs.request(alice, "small")
    settle(engine)
    [mine] = verbs.my_machines(alice.account_id)
    ballast.mark(opened).touch()
    provider.domains[mine.id] = MachineFound(mine.id, mine.name, Power.PAUSED, stalled=True)
    for _ in range(3):
        with catalog.write():
            Machine.update(retry_at=None).execute()
        settle(engine)
        assert provider.domains[mine.id].stalled
    assert "disk is full" in machines.by_id(mine.id).problem
    assert Event.select().where(Event.kind == "machine.stalled").count() == 1
    ballast.mark(opened).unlink()
    with catalog.write():
        Machine.update(retry_at=None).execute()
    settle(engine)
    assert provider.domains[mine.id].power is Power.RUNNING
    after = machines.by_id(mine.id)
    assert (after.problem, after.state) == ("", S.IN_USE)


def test_the_files_of_a_deleted_seed_go(opened, engine, admin):
    folder = seed_folder("small", 1, opened)
    folder.mkdir(parents=True)
    settle(engine)
    old = seed_rows.promoted("small")
    with pytest.raises(Conflict, match="made from this version"):
        seed_verbs.remove(old.id, admin)
    with catalog.write():
        new = Seed.create(machine_class="small", version=2, state=SeedState.READY, stored=True)
        seed_rows.promote(new)
    if seed_rows.machines_on(old.id):
        with pytest.raises(Conflict, match="live machines"):
            seed_verbs.remove(old.id, admin)
        assert seed_rows.unused() == []
    settle(engine)
    assert [seed.id for seed in seed_rows.unused()] == [old.id]
    seed_verbs.remove(old.id, admin)
    settle(engine)
    assert not folder.exists()
    assert (Seed.get_by_id(old.id).state, seed_rows.unused(), seed_rows.leaving()) == (SeedState.REMOVED, [], [])
    with pytest.raises(Conflict, match="no files"):
        seed_verbs.remove(old.id, admin)
    with pytest.raises(Conflict, match="built and test-booted"):
        seed_verbs.promote(old.id, admin)


@pytest.mark.cases
def test_a_clock_that_is_set_back_wakes_what_waits(engine, small, monkeypatch):
    looked = []
    monkeypatch.setattr(runs, "look_again", looked.append)
    engine.tick()
    assert looked == []
    real = time.time
    monkeypatch.setattr(clock.time, "time", lambda: real() - 3600)
    engine.tick()
    engine.tick()
    assert len(looked) == 1


@pytest.mark.cases
def test_what_an_engine_of_a_wrong_clock_left_waiting_is_looked_at_again(opened, small, provider, monkeypatch):
    looked = []
    monkeypatch.setattr(runs, "look_again", looked.append)
    for ahead, times in ((timedelta(), 0), (timedelta(days=1), 1)):
        with catalog.write():
            Row.insert(id=1, seen_at=now() + ahead, hypervisor_ok=True, hypervisor_problem="", host={}).on_conflict_replace().execute()
        started = Engine(opened, provider)
        started.close()
        assert len(looked) == times
