"""Snapshots taken, used, counted, given up and tried again, by an engine over a provider that is only memory."""

from datetime import timedelta
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Class, Event, Machine, MachineState, Seed, SeedState, Snapshot, SnapshotState, machines, now, snapshots
from appliance.catalog import seeds as seed_rows
from appliance.errors import DpeError, Unavailable
from appliance.hypervisor.provider import Power, Unfit
from appliance.lifecycle import forks
from appliance.services import machines as verbs
from tests.unit.engine.fake import settle

S = MachineState
pytestmark = pytest.mark.fork


@pytest.fixture
def forking(opened, small, tmp_path):
    """The class small forks, and waits paused."""
    disk = Path(Seed.get().files["disk"])
    disk.parent.mkdir(parents=True)
    disk.write_bytes(b"of a test")
    Class.update(fork=True, readiness="paused").execute()
    return Class


def kinds(prefix):
    return [event.kind for event in Event.select().where(Event.kind.startswith(prefix)).order_by(Event.id)]


def ready():
    return list(Machine.select().where(Machine.state == S.READY).order_by(Machine.number))


def test_a_snapshot_is_taken_first_and_the_buffer_is_forked_from_it(opened, forking, engine, provider):
    settle(engine)
    taken = snapshots.current(1)
    assert taken.state is SnapshotState.READY
    assert taken.facts["hypervisor"] == "QEMU 7.2.0"
    assert "files" not in taken.facts
    assert {(m.origin, m.readiness, m.snapshot_id) for m in ready()} == {("fork", "paused", taken.id)}
    assert {provider.domains[m.id].power for m in ready()} == {Power.PAUSED}
    assert [verb for verb, _ in provider.calls].count("clone") == 0
    machine_class = Class.get()
    assert (machine_class.forked, machine_class.fork_failed) == (2, 0)
    assert kinds("snapshot") == ["snapshot.building", "snapshot.ready"]
    assert not list((opened.state / "work").glob("snapshot-*"))


def test_who_waits_while_the_snapshot_is_taken_gets_a_booted_machine_and_the_buffer_waits(forking, engine, provider, alice):
    with catalog.write():
        snapshots.begin_snapshot(1)
    engine.schedule.table = [one for one in engine.schedule.table if one.name != "snapshots"]
    settle(engine)
    assert ready() == []
    verbs.request(alice, "small")
    settle(engine)
    [mine] = verbs.my_machines(alice.account_id)
    assert (mine.state, mine.origin) == (S.IN_USE, "boot")
    assert ready() == []


def test_a_claimed_fork_is_resumed_and_personalised_in_one_go(forking, engine, provider, alice):
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    provider.calls.clear()
    settle(engine)
    assert [verb for verb, of in provider.calls if of == id] == ["start", "wait"]
    assert b"owner" in provider.told[id]
    machine = machines.by_id(id)
    assert (machine.state, machine.readiness, machine.origin) == (S.IN_USE, "running", "fork")
    assert provider.domains[id].power is Power.RUNNING


def test_who_meets_an_empty_buffer_gets_a_fork_without_the_playbook(forking, engine, provider, alice, monkeypatch):
    Class.update(buffer=0).execute()
    settle(engine)
    monkeypatch.setattr("appliance.lifecycle.batch.follow", lambda *_: pytest.fail("not through the playbook"))
    verbs.request(alice, "small")
    settle(engine)
    [mine] = verbs.my_machines(alice.account_id)
    assert (mine.state, mine.origin) == (S.IN_USE, "fork")
    assert [verb for verb, of in provider.calls if of == mine.id] == ["fork", "start", "wait"]


@pytest.mark.parametrize("readiness", ["running", "paused", "cold"])
@pytest.mark.parametrize("forks_allowed", [True, False])
def test_the_buffer_waits_as_the_class_says(forking, engine, provider, alice, readiness, forks_allowed):
    Class.update(fork=forks_allowed, readiness=readiness).execute()
    settle(engine)
    assert {m.readiness for m in ready()} == {readiness}
    powers = {provider.domains[m.id].power if m.id in provider.domains else Power.OFF for m in ready()}
    assert powers == {{"running": Power.RUNNING, "paused": Power.PAUSED, "cold": Power.OFF}[readiness]}
    assert {m.origin for m in ready()} == {"fork" if forks_allowed and readiness != "cold" else "boot"}
    verbs.request(alice, "small")
    settle(engine)
    [mine] = verbs.my_machines(alice.account_id)
    assert (mine.state, mine.origin) == (S.IN_USE, "fork" if forks_allowed else "boot")
    assert len(ready()) == 2
    assert snapshots.current(1) is None or forks_allowed


def test_a_fork_that_does_not_answer_is_destroyed_counted_and_booted(forking, engine, provider, alice):
    settle(engine)
    provider.fails["answer"] = Unavailable("Its agent does not answer.")
    id = verbs.request(alice, "small").machine_id
    provider.calls.clear()
    settle(engine)
    assert [verb for verb, of in provider.calls if of == id] == ["start", "wait", "destroy", "clone", "start", "wait"]
    machine = machines.by_id(id)
    assert (machine.state, machine.owner_id, machine.origin, machine.snapshot_id) == (S.IN_USE, alice.account_id, "boot", None)
    machine_class = Class.get()
    assert (machine_class.fork_failed, machine_class.fork_failures) == (1, 1)
    assert "does not answer" in machine_class.fork_problem
    assert machine_class.failures == 0
    assert kinds("machine.not_forked") == ["machine.not_forked"]


@pytest.mark.badinput
def test_a_damaged_snapshot_is_replaced_by_itself(forking, engine, provider, alice):
    settle(engine)
    first = snapshots.current(1)
    provider.fails["fork"] = Unfit("memory is damaged.")
    Class.update(buffer=3).execute()
    settle(engine, 2)
    assert {m.origin for m in ready()} == {"fork", "boot"}
    del provider.fails["fork"]
    settle(engine)
    second = snapshots.current(1)
    assert snapshots.by_id(first.id).state is SnapshotState.STALE
    assert (second.state, second.id != first.id) == (SnapshotState.READY, True)
    assert "snapshot.stale" in kinds("snapshot")
    Class.update(buffer=5).execute()
    settle(engine)
    assert sum(m.snapshot_id == second.id for m in ready()) == 2
    assert Class.get().failures == 0


@pytest.mark.badinput
def test_a_snapshot_that_no_longer_fits_is_found_at_the_start_before_anybody_forks(opened, forking, engine, provider):
    settle(engine)
    first = snapshots.current(1)
    engine.controllers.snapshots.checked = False
    provider.fails["check"] = Unfit("hypervisor was QEMU 7.2.0, and is QEMU 7.2.1")
    settle(engine, 1)
    assert snapshots.by_id(first.id).state is SnapshotState.STALE
    assert "QEMU 7.2.1" in snapshots.by_id(first.id).problem
    settle(engine)
    assert snapshots.current(1).state is SnapshotState.READY


def test_forks_that_keep_failing_are_given_up_for_a_while_and_tried_again(forking, engine, provider):
    settle(engine)
    provider.fails["fork"] = DpeError("QEMU does not want to.")
    Class.update(buffer=2 + forks.TRIES).execute()
    settle(engine)
    given_up = snapshots.current(1)
    assert given_up.state is SnapshotState.FAILED
    assert "3 forks in a row failed" in given_up.problem
    assert timedelta(minutes=9) < given_up.retry_at - now() < timedelta(minutes=21)
    assert kinds("class.booted") == ["class.booted"]
    assert len(ready()) == 2 + forks.TRIES
    assert Class.get().failures == 0
    calls = len([verb for verb, _ in provider.calls if verb == "fork"])
    Class.update(buffer=4 + forks.TRIES).execute()
    settle(engine)
    assert len([verb for verb, _ in provider.calls if verb == "fork"]) == calls, "it goes on trying to fork"
    del provider.fails["fork"]
    Snapshot.update(retry_at=now()).where(Snapshot.id == given_up.id).execute()
    settle(engine)
    assert snapshots.current(1).state is SnapshotState.READY
    assert Class.get().fork_failures == 0
    assert snapshots.current(1).created_at > given_up.created_at, "how long it takes is counted from this try"
    assert Class.get().fork_problem == ""


@pytest.mark.badinput
def test_a_seed_that_cannot_be_kept_says_why_and_its_machines_boot(forking, engine, provider):
    provider.fails["snapshot"] = DpeError("It never gets idle.", "Look at what it does.")
    settle(engine)
    failed = snapshots.current(1)
    assert (failed.state, failed.attempts, failed.problem, failed.hint) == (
        SnapshotState.FAILED,
        1,
        "It never gets idle.",
        "Look at what it does.",
    )
    assert {(m.origin, m.readiness) for m in ready()} == {("boot", "paused")}
    assert {provider.domains[m.id].power for m in ready()} == {Power.PAUSED}
    assert len(provider.domains) == 2


def test_a_hypervisor_that_goes_away_while_a_snapshot_is_taken_is_not_held_against_it(forking, engine, provider):
    provider.fails["snapshot"] = Unavailable("libvirtd is away.")
    take = provider.take_snapshot

    def gone(spec, folder):
        provider.away = True
        take(spec, folder)

    provider.take_snapshot = gone
    settle(engine, 4)
    provider.away = False
    provider.take_snapshot = take
    provider.fails.clear()
    settle(engine)
    assert snapshots.current(1).state is SnapshotState.READY
    assert snapshots.current(1).attempts == 0


def test_a_paused_fork_that_is_gone_is_forked_again(forking, engine, provider):
    settle(engine)
    id = ready()[0].id
    del provider.domains[id]
    settle(engine)
    assert provider.domains[id].power is Power.PAUSED
    assert (machines.by_id(id).state, machines.by_id(id).origin) == (S.READY, "fork")
    assert Class.get().failures == 0


def test_a_held_fork_that_is_off_is_started_from_its_own_disk(forking, engine, provider, alice):
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    del provider.domains[id]
    provider.calls.clear()
    settle(engine)
    assert [verb for verb, of in provider.calls if of == id] == ["start", "wait"]
    assert provider.domains[id].power is Power.RUNNING


def test_a_snapshot_goes_when_nothing_lives_on_it_and_not_before(opened, forking, engine, provider, alice):
    settle(engine)
    first = snapshots.current(1)
    verbs.request(alice, "small")
    settle(engine)
    with catalog.write():
        fresh = Seed.create(machine_class="small", version=2, state=SeedState.READY, files=Seed.get().files)
        seed_rows.promote(fresh)
    opened.seeds.joinpath("small/2").mkdir()
    settle(engine, 30)
    assert {m.seed_id for m in ready()} == {fresh.id}
    folder = opened.seeds / "small/1" / f"snapshot-{first.id}"
    assert folder.exists()
    [mine] = verbs.my_machines(alice.account_id)
    verbs.release(alice, mine.id)
    settle(engine)
    assert not folder.exists()
    assert snapshots.by_id(first.id).folder == ""
    assert snapshots.current(fresh.id).state is SnapshotState.READY


def test_no_fork_is_made_when_the_admin_says_so(forking, engine, provider):
    Class.update(fork=False).execute()
    settle(engine)
    assert Snapshot.select().count() == 0
    assert {m.origin for m in ready()} == {"boot"}


def test_the_refill_gives_way_to_a_machine_that_is_being_handed_over_but_not_for_long(forking, engine, provider, alice, monkeypatch):
    settle(engine)
    verbs.request(alice, "small")
    monkeypatch.setattr(engine.controllers.dispatcher, "_advance", lambda *_: None)  # it takes its time
    settle(engine, 3)
    [planned] = Machine.select().where(Machine.state == S.PLANNED)
    Machine.update(created_at=now() - timedelta(seconds=4)).where(Machine.id == planned.id).execute()
    settle(engine, 3)
    assert machines.by_id(planned.id).state is S.READY
