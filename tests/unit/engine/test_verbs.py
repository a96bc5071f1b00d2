"""Stopping, starting, suspending, resuming, making anew and passing on, over a provider that is only memory."""

import json
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import (
    Account,
    Event,
    Grant,
    Lease,
    Machine,
    MachineState,
    Quota,
    Run,
    RunState,
    Seed,
    SeedState,
    Sequence,
    Session,
    Snapshot,
    SnapshotState,
    VersionState,
    machines,
    memory,
    now,
    runs,
    sequences,
)
from appliance.catalog import seeds as seed_rows
from appliance.errors import BadInput, Conflict, DpeError, NotAllowed, NotFound
from appliance.hypervisor.provider import Executed, MachineFound, Power
from appliance.lifecycle import master, rules
from appliance.lifecycle.handlers import Handlers
from appliance.services import app_access, moves
from appliance.services import machines as verbs
from tests.unit.engine.fake import FakeProvider, settle

S = MachineState
pytestmark = pytest.mark.workflow
NO_ANSWER = DpeError("It does not answer.", "Look at its console.")


@pytest.fixture
def mine(engine, alice) -> str:
    """A machine of Alice's, in use."""
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    assert state(id) is S.IN_USE
    return id


def state(id: str) -> S:
    machine = machines.by_id(id)
    assert machine is not None
    return machine.state


def run_of(id: int) -> Run:
    run = runs.by_id(id)
    assert run is not None
    return run


def soon() -> None:
    """What waits to be tried again is due."""
    Run.update(wake_at=now()).where(Run.ended_at.is_null(), Run.wake_at.is_null(False)).execute()


def settle_all(engine, times: int = 6) -> None:
    for _ in range(times):
        settle(engine, 4)
        soon()


def test_stop_and_start(engine, provider, alice, mine):
    run = moves.stop(alice, mine)
    [said] = moves.doing([machines.by_id(mine)]).values()
    assert said == "being stopped"
    settle(engine)
    assert (state(mine), provider.domains[mine].power) == (S.STOPPED, Power.OFF)
    assert run_of(run).state is RunState.DONE
    assert moves.doing([machines.by_id(mine)]) == {}
    assert machines.lease_of(mine) is not None
    settle(engine)
    assert provider.domains[mine].power is Power.OFF, "it is left alone"
    provider.told.clear()
    moves.start(alice, mine)
    settle(engine)
    assert (state(mine), provider.domains[mine].power) == (S.IN_USE, Power.RUNNING)
    assert b"alice" in provider.told[mine], "it is told again whose it is"
    assert [e.message.partition(" small")[0] for e in Event.select().where(Event.kind.endswith("_asked"))] == [
        "alice stops",
        "alice starts",
    ]


def test_suspend_and_resume(engine, provider, alice, mine):
    moves.suspend(alice, mine)
    settle(engine)
    assert (state(mine), provider.domains[mine].power) == (S.SUSPENDED, Power.SAVED)
    moves.resume(alice, mine)
    settle(engine)
    assert (state(mine), provider.domains[mine].power) == (S.IN_USE, Power.RUNNING)


def test_what_is_suspended_can_be_stopped(engine, provider, alice, mine):
    moves.suspend(alice, mine)
    settle(engine)
    moves.stop(alice, mine)
    settle(engine)
    assert (state(mine), provider.domains[mine].power) == (S.STOPPED, Power.OFF)


@pytest.mark.parametrize("stopped", [False, True])
def test_reprovision_gives_a_clean_disk_from_the_promoted_seed_and_keeps_name_slot_and_id(engine, provider, alice, mine, stopped):
    before = machines.by_id(mine)
    if stopped:
        moves.stop(alice, mine)
        settle(engine)
    with catalog.write():
        seed_rows.promote(Seed.create(machine_class="small", version=2, state=SeedState.READY, stored=True))
    calls = len(provider.calls)
    run = moves.reprovision(alice, mine)
    settle(engine)
    after = machines.by_id(mine)
    assert run_of(run).state is RunState.DONE
    assert (after.state, after.name, after.slot, after.owner_id) == (S.IN_USE, before.name, before.slot, alice.account_id)
    assert provider.made_of[mine] == "small/2"
    assert after.seed.version == 2
    assert [verb for verb, id in provider.calls[calls:] if id == mine and verb in ("destroy", "clone", "start")] == [
        "destroy",
        "clone",
        "start",
    ]
    assert b"alice" in provider.told[mine]
    assert machines.lease_of(mine).account_id == alice.account_id


@pytest.mark.parametrize(("mib", "origin"), [(256, "fork"), (512, "boot")])
def test_reprovision_forks_what_the_snapshot_fits(engine, provider, alice, mine, mib, origin):
    with catalog.write():
        Machine.update(memory=mib).where(Machine.id == mine).execute()
        catalog.Class.update(fork=True).execute()
        snapshot = Snapshot.create(seed=machines.by_id(mine).seed_id, state=SnapshotState.READY, name="small/1/snapshot-1")
    moves.reprovision(alice, mine)
    settle(engine)
    machine = machines.by_id(mine)
    assert (machine.state, machine.origin, machine.snapshot_id) == (S.IN_USE, origin, snapshot.id if origin == "fork" else None)
    assert (mine in provider.forks) == (origin == "fork")
    assert b"alice" in provider.told[mine]


def test_a_reprovision_that_fails_again_and_again_quarantines_the_machine(engine, provider, alice, mine):
    provider.fails["clone"] = NO_ANSWER
    run = moves.reprovision(alice, mine)
    settle_all(engine)
    assert state(mine) is S.QUARANTINED
    assert run_of(run).state is RunState.FAILED
    [event] = Event.select().where(Event.kind == "machine.quarantined")
    assert "could not be made anew: It does not answer." in event.message
    assert machines.lease_of(mine) is not None


def test_without_a_promoted_seed_nothing_is_lost(engine, provider, alice, mine):
    Seed.update(promoted=False).execute()
    moves.reprovision(alice, mine)
    settle_all(engine)
    assert (state(mine), provider.domains[mine].power) == (S.IN_USE, Power.RUNNING)
    assert ("destroy", mine) not in provider.calls
    assert "No seed of small is promoted" in machines.by_id(mine).problem


def test_a_cancelled_reprovision_does_not_leave_a_machine_in_between(engine, provider, alice, mine):
    provider.fails["clone"] = NO_ANSWER
    run = moves.reprovision(alice, mine)
    settle(engine)
    assert state(mine) is S.REPROVISIONING
    with catalog.write():
        runs.cancel(id=run)
    settle(engine)
    assert (state(mine), run_of(run).state) == (S.QUARANTINED, RunState.CANCELLED)


def test_transfer_makes_machine_and_lease_anothers(engine, opened, provider, alice, bob, admin, mine):
    port = verbs.ways(machines.by_id(mine), opened)[0].port
    assert app_access.admit(alice, port, opened).machine_id == mine
    with pytest.raises(NotAllowed):
        app_access.admit(bob, port, opened)
    ends_at, hers = machines.lease_of(mine).ends_at, app_access.Ticket("hers", mine)
    with catalog.write():
        Session.insert(id="hers", account=alice.account_id, expires_at=now() + timedelta(hours=1)).execute()
    assert app_access.good([hers]) == {hers}
    run = moves.transfer(admin, mine, "bob")
    settle(engine)
    assert run_of(run).state is RunState.DONE
    machine, lease = machines.by_id(mine), machines.lease_of(mine)
    assert (machine.state, machine.owner_id, lease.account_id, lease.ends_at) == (S.IN_USE, bob.account_id, bob.account_id, ends_at)
    assert b"bob" in provider.told[mine]
    assert b"alice" not in provider.told[mine]
    assert [m.id for m in verbs.my_machines(alice.account_id)] == []
    with pytest.raises(NotAllowed):
        app_access.admit(alice, port, opened)
    assert app_access.admit(bob, port, opened).machine_id == mine
    assert [m.id for m in verbs.my_machines(bob.account_id)] == [mine]
    assert app_access.good([hers]) == set(), "what the former owner has open is ended, and nothing in the machine is asked to do that"
    assert ("execute", mine) not in provider.calls
    assert {e.account_id for e in Event.select().where(Event.kind == "machine.transferred")} == {alice.account_id, bob.account_id}
    assert Lease.select().where(Lease.account == alice.account_id).get().end_reason == "transferred to bob"


def test_a_transfer_that_cannot_be_made_tells_the_machine_of_its_owner_again(engine, provider, alice, bob, admin, mine, monkeypatch):
    moves.transfer(admin, mine, "bob")
    told = []
    waited = provider.wait

    def wait(spec, report=None, *, personalise=b""):
        laps = waited(spec, report, personalise=personalise)
        told.append(b"bob" in personalise)
        if len(told) == 1:  # bob's leave comes in between
            Account.update(disabled=True).where(Account.name == "bob").execute()
        return laps

    monkeypatch.setattr(provider, "wait", wait)
    settle(engine)
    assert told == [True, False]
    assert machines.by_id(mine).owner_id == alice.account_id
    assert machines.lease_of(mine).account_id == alice.account_id
    assert "disabled" in machines.by_id(mine).problem


@pytest.mark.parametrize("kind", ["stop", "suspend"])
def test_performing_twice_is_performing_once(engine, opened, provider, alice, mine, kind):
    """As after a kill between the work and the transaction that keeps it."""
    run = moves.plain(alice, mine, kind)
    begun = engine.runner.begin(run)
    engine.runner.perform(begun)
    with catalog.write():
        runs.requeue()
    settle(engine)
    assert run_of(run).state is RunState.DONE
    assert state(mine) in rules.OFF
    again = {"stop": "start", "suspend": "resume"}[kind]
    run = moves.plain(alice, mine, again)
    engine.runner.perform(engine.runner.begin(run))
    with catalog.write():
        runs.requeue()
    settle(engine)
    assert (state(mine), run_of(run).state) == (S.IN_USE, RunState.DONE)


def test_a_reprovision_cut_off_begins_with_a_clean_disk(engine, provider, alice, mine):
    run = moves.reprovision(alice, mine)
    engine.runner.perform(engine.runner.begin(run))
    assert state(mine) is S.REPROVISIONING
    with catalog.write():
        runs.requeue()
    calls = len(provider.calls)
    settle(engine)
    assert (state(mine), run_of(run).state) == (S.IN_USE, RunState.DONE)
    verbs_called = [verb for verb, id in provider.calls[calls:] if id == mine]
    assert verbs_called.index("destroy") < verbs_called.index("clone")


def test_the_hypervisor_being_away_is_waited_for(engine, provider, alice, mine):
    run = moves.stop(alice, mine)
    provider.away = True
    settle_all(engine, 5)
    assert run_of(run).state is RunState.WAITING
    assert "hypervisor is away" in moves.doing([machines.by_id(mine)])[mine]
    provider.away = False
    settle_all(engine, 2)
    assert state(mine) is S.STOPPED


def test_a_start_that_fails_leaves_it_stopped_and_says_why(engine, provider, alice, mine):
    moves.stop(alice, mine)
    settle(engine)
    provider.fails["wait"] = NO_ANSWER
    run = moves.start(alice, mine)
    settle_all(engine)
    assert (state(mine), run_of(run).state) == (S.STOPPED, RunState.FAILED)
    assert provider.domains[mine].power is Power.OFF, "it takes no memory that is not counted"
    assert machines.by_id(mine).problem == "Could not start: It does not answer."
    provider.fails.clear()
    moves.start(alice, mine)
    settle(engine)
    assert (state(mine), machines.by_id(mine).problem) == (S.IN_USE, "")


@pytest.mark.parametrize(
    ("part", "state_then", "problem"), [("before", S.IN_USE, "Could not stop: false ended with status 1."), ("after", S.STOPPED, "")]
)
def test_what_a_sequence_puts_around_it_fails(engine, provider, alice, mine, monkeypatch, part, state_then, problem):
    """Before it, the move is not made; after it, the machine is where it is."""
    kind = {"name": "check", "kind": "guest", "with": {"run": ["false"]}, "retry": {"tries": 1}}
    if part == "after":
        kind = {"name": "check", "kind": "playbook", "with": {"playbook": "write-motd.yml"}, "retry": {"tries": 1}}
    with catalog.write():
        Sequence.create(name="around", title="Around")
        sequences.add("around", json.dumps({"stop": {part: [kind]}}), VersionState.PROMOTED)
        catalog.Class.update(sequence="around").execute()
    monkeypatch.setattr(provider, "execute", lambda *_, **__: Executed(1, "", ""))
    run = moves.stop(alice, mine)
    settle_all(engine, 3)
    assert (state(mine), run_of(run).state, machines.by_id(mine).problem) == (state_then, RunState.FAILED, problem)
    if part == "after":
        moves.start(alice, mine)


def test_one_at_a_time(engine, provider, alice, mine):
    provider.fails["clone"] = NO_ANSWER
    moves.reprovision(alice, mine)
    with pytest.raises(Conflict, match="is being made anew"):
        moves.stop(alice, mine)
    with pytest.raises(Conflict, match="is being made anew"):
        moves.reprovision(alice, mine)
    settle(engine)
    with pytest.raises(Conflict, match="reprovisioning"):
        moves.stop(alice, mine)
    verbs.release(alice, mine)
    settle_all(engine, 4)
    assert state(mine) is S.RETIRED


@pytest.mark.parametrize("kind", ["stop", "suspend"])
def test_what_is_off_is_released_and_expires_as_everything_else(engine, provider, alice, bob, mine, kind):
    moves.plain(alice, mine, kind)
    settle(engine)
    verbs.release(alice, mine)
    settle(engine)
    assert state(mine) is S.RETIRED
    assert mine not in provider.domains
    other = verbs.request(bob, "small").machine_id
    settle(engine)
    moves.plain(bob, other, kind)
    settle(engine)
    Lease.update(ends_at=now() - timedelta(seconds=1)).where(Lease.machine == other).execute()
    settle(engine)
    assert state(other) is S.RETIRED


def test_a_release_while_it_is_being_stopped_wins(engine, provider, alice, mine):
    run = moves.stop(alice, mine)
    begun = engine.runner.begin(run)
    outcome = engine.runner.perform(begun)
    verbs.release(alice, mine)
    engine.runner.settle(begun, outcome)
    settle(engine)
    assert (state(mine), run_of(run).state) == (S.RETIRED, RunState.CANCELLED)


def test_a_guest_that_shuts_itself_down_runs_again_unless_it_is_being_stopped(engine, provider, alice, mine):
    provider.stop(mine)
    settle(engine)
    assert provider.domains[mine].power is Power.RUNNING
    run = moves.stop(alice, mine)
    engine.runner.perform(engine.runner.begin(run))  # off, and the transaction that says so is to come
    settle(engine)
    assert provider.domains[mine].power is Power.OFF
    assert state(mine) is S.IN_USE


def test_what_is_off_and_runs_all_the_same_is_switched_off(engine, provider, alice, mine):
    moves.stop(alice, mine)
    settle(engine)
    provider.domains[mine] = MachineFound(mine, "small", Power.RUNNING)
    settle(engine)
    assert (state(mine), provider.domains[mine].power) == (S.STOPPED, Power.OFF)
    provider.domains.pop(mine)
    provider.files.discard(mine)
    settle(engine)
    assert state(mine) is S.QUARANTINED


def test_what_is_off_takes_no_memory_and_has_to_find_room_again(engine, provider, alice, mine):
    def said() -> memory.Allowed:
        return memory.Allowed(limit=400, most=16_000, overhead=64)

    def room() -> int:
        with catalog.write():
            memory.allow(said())
        return memory.room()

    assert room() == 400 - 256 - 64
    moves.stop(alice, mine)
    assert room() == 80, "as long as it runs"
    settle(engine)
    assert room() == 400
    assert memory.Kind.OFF in {part.kind for part in memory.parts()}
    with catalog.write():
        memory.allow(memory.Allowed(limit=300, most=16_000, overhead=64))
    with pytest.raises(Conflict, match="memory is all given out"):
        moves.start(alice, mine)
    assert room() == 400
    moves.start(alice, mine)
    assert room() == 80, "from the moment it was asked for"
    assert memory.Kind.OFF not in {part.kind for part in memory.parts()}


@pytest.mark.authz
def test_whose_machine_it_is_and_who_looks_after_it(engine, alice, bob, admin, mine):
    for kind in moves.PLAIN:
        with pytest.raises(NotFound):
            moves.plain(bob, mine, kind)
    with pytest.raises(NotFound):
        moves.transfer(bob, mine, "bob")
    with pytest.raises(NotAllowed):
        moves.transfer(alice, mine, "bob")
    machine = machines.by_id(mine)
    assert [move.name for move in moves.possible(alice, machine)] == ["stop", "suspend", "reprovision"]
    assert [move.name for move in moves.possible(admin, machine)] == ["stop", "suspend", "reprovision", "transfer"]
    assert moves.possible(bob, machine) == []
    moves.stop(admin, mine)
    settle(engine)
    assert [move.name for move in moves.possible(alice, machines.by_id(mine))] == ["start", "reprovision"]


@pytest.mark.badinput
def test_wrong_states(engine, alice, mine):
    for kind in ("start", "resume"):
        with pytest.raises(Conflict, match="is in use"):
            moves.plain(alice, mine, kind)
    moves.stop(alice, mine)
    settle(engine)
    for kind in ("stop", "suspend", "resume"):
        with pytest.raises(Conflict, match="is stopped"):
            moves.plain(alice, mine, kind)
    assert Run.select().where(Run.kind.in_(rules.VERBS)).count() == 1


@pytest.mark.badinput
def test_people_who_cannot_have_it(engine, ready, alice, bob, admin, mine):
    def refused(error: type[DpeError], match: str, name: str = "bob") -> None:
        with pytest.raises(error, match=match):
            moves.transfer(admin, mine, name)
        assert machines.lease_of(mine).account_id == alice.account_id

    refused(BadInput, "Nobody is named", " ")
    refused(BadInput, "There is no account nosuch", "nosuch")
    refused(Conflict, "alice's already", "alice")
    Account.update(disabled=True).where(Account.name == "bob").execute()
    refused(Conflict, "disabled")
    Account.update(disabled=False).execute()
    quota = Quota.create(account=bob.account_id, each=True, memory=100)
    refused(Conflict, "The quota of bob: 0 of 100 MiB of memory in use")
    quota.delete_instance()
    catalog.Class.update(per_person=0).execute()
    refused(Conflict, "bob holds 0 of 0 already")
    catalog.Class.update(per_person=2).execute()
    Grant.delete().where(Grant.role == "user").execute()
    refused(Conflict, "bob may not use machines of the class small")


def test_a_quota_of_both_does_not_count_the_machine_twice(engine, alice, bob, admin, mine):
    Quota.create(org_unit=catalog.ROOT, each=False, machines=1)
    moves.transfer(admin, mine, "bob")
    settle(engine)
    assert machines.lease_of(mine).account_id == bob.account_id


def test_every_move_has_its_handler(opened):
    known = Handlers(opened, FakeProvider()).all()
    assert {step for kind in rules.VERBS for step in master.master().move[kind].core} <= set(known)
