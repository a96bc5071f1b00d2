"""How the machines of a class are made: what is said of it, and what an admin may change."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Class, Event, Machine, MachineState, Seed, SnapshotState, machines, now, snapshots
from appliance.catalog import seeds as seed_rows
from appliance.errors import BadInput, Conflict, NotFound
from appliance.scenario.policy import Form
from appliance.services import classes
from appliance.services.classes import ForkState
from tests import world

pytestmark = pytest.mark.fork


@pytest.fixture
def forking(small):
    Class.update(fork=True, readiness="paused").execute()
    return Class.get()


def state() -> ForkState:
    return classes.forking(Class.get()).state


def test_what_is_said_follows_the_snapshot_of_the_promoted_seed(forking):
    assert state() is ForkState.TAKING
    taken = world.snapshot(Seed.get(), SnapshotState.BUILDING)
    assert classes.forking(forking).snapshot == taken
    for of_snapshot, of_class in ((SnapshotState.READY, ForkState.FORKED), (SnapshotState.FAILED, ForkState.BOOTED)):
        catalog.Snapshot.update(state=of_snapshot).execute()
        assert state() is of_class
    catalog.Snapshot.update(state=SnapshotState.STALE).execute()
    assert (state(), classes.forking(forking).snapshot) == (ForkState.TAKING, None)
    with catalog.write():
        fresh = Seed.create(machine_class="small", version=2, state=catalog.SeedState.READY)
        seed_rows.promote(fresh)
    made = world.snapshot(fresh)
    assert (state(), classes.forking(forking).snapshot) == (ForkState.FORKED, made)


def test_nothing_is_promised_where_no_snapshot_will_be_taken(forking):
    Class.update(enabled=False).execute()
    assert state() is ForkState.IDLE
    Class.update(enabled=True, maximum=0).execute()
    assert (state(), catalog.snapshots.missing()) == (ForkState.IDLE, [])
    Class.update(maximum=4).execute()
    assert (state(), len(catalog.snapshots.missing())) == (ForkState.TAKING, 1)
    Class.update(fork=False).execute()
    assert state() is ForkState.OFF
    Class.update(fork=True).execute()
    Seed.update(promoted=False).execute()
    assert state() is ForkState.IDLE


def test_a_closed_class_with_a_snapshot_still_forks_once_it_is_asked_to(forking):
    world.snapshot(Seed.get())
    Class.update(enabled=False).execute()
    assert state() is ForkState.FORKED


def test_a_change_leaves_machines_alone_and_is_recorded(ready, forking, admin):
    [machine] = ready(1)
    classes.change_policy(admin, "small", Form.MAKING, {"fork": False, "readiness": "cold"})
    machine_class = Class.get()
    assert (machine_class.fork, machine_class.readiness) == (False, "cold")
    assert (machines.by_id(machine.id).state, machines.by_id(machine.id).readiness) == (MachineState.READY, machine.readiness)
    event = Event.get(Event.kind == "class.making")
    assert event.data == {"before": {"fork": True, "readiness": "paused"}, "after": {"fork": False, "readiness": "cold"}}
    assert event.actor == "admin"


@pytest.mark.badinput
@pytest.mark.parametrize("readiness", ["", "hot", "Paused", "paused; DROP TABLE class"])
def test_a_readiness_that_does_not_exist_changes_nothing(forking, admin, readiness):
    with pytest.raises(BadInput, match="Choose paused, running or cold"):
        classes.change_policy(admin, "small", Form.MAKING, {"fork": False, "readiness": readiness})
    assert (Class.get().fork, Class.get().readiness) == (True, "paused")
    assert Event.get_or_none(Event.kind == "class.making") is None


@pytest.mark.badinput
def test_a_class_that_does_not_exist(forking, admin):
    with pytest.raises(NotFound):
        classes.change_policy(admin, "nosuch", Form.MAKING, {"fork": True, "readiness": "paused"})
    with pytest.raises(NotFound):
        classes.try_fork_again(admin, "nosuch")


def test_forking_is_tried_again_at_once(forking, admin):
    failed = world.snapshot(Seed.get(), SnapshotState.FAILED)
    Class.update(fork_failures=3, fork_problem="It does not answer.").execute()
    assert snapshots.due_snapshots() == []
    classes.try_fork_again(admin, "small")
    assert [snapshot.id for snapshot in snapshots.due_snapshots()] == [failed.id]
    assert (Class.get().fork_failures, Class.get().fork_problem) == (0, "")
    assert Event.get(Event.kind == "class.fork_again").actor == "admin"


@pytest.mark.badinput
@pytest.mark.parametrize("now_is", [None, SnapshotState.BUILDING, SnapshotState.READY])
def test_what_did_not_fail_is_not_tried_again(forking, admin, now_is):
    if now_is:
        world.snapshot(Seed.get(), now_is)
    with pytest.raises(Conflict):
        classes.try_fork_again(admin, "small")


def test_waiting_is_told_by_machines_made_as_the_latest_was(ready, forking):
    booted, forks = ready(5), ready(2)
    began = now()
    for some, origin, seconds in ((booted, "boot", 40), (forks, "fork", 0.3)):
        chosen = Machine.id.in_([machine.id for machine in some])
        Machine.update(origin=origin, created_at=began, ready_at=began + timedelta(seconds=seconds)).where(chosen).execute()
    assert machines.making_times("small") == [timedelta(seconds=0.3)] * 2
