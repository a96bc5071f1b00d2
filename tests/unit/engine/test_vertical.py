"""Memory by need: what machines are given is counted, bounded, told, and after a kill at any step what is really there."""

from collections.abc import Callable

import pytest

from appliance import catalog
from appliance.catalog import (
    Actor,
    Class,
    Event,
    EventKind,
    Machine,
    MachineState,
    Quota,
    Snapshot,
    SnapshotState,
    memory,
    quotas,
    snapshots,
)
from appliance.engine import Engine
from appliance.engine.vertical import Vertical
from appliance.errors import BadInput, NotFound, Unavailable
from appliance.hypervisor.provider import GuestMemory, HostFacts, MemoryGiven
from appliance.lifecycle.specs import spec
from appliance.scenario.policy import Form
from appliance.services import classes
from appliance.services import machines as verbs
from appliance.settings import Settings
from tests.unit.engine.fake import FakeProvider, settle

pytestmark = pytest.mark.resources
ROOM, START = 512, 256


class Killed(BaseException):
    """The engine, with -9."""


class Growing(FakeProvider):
    """Machines that take and give back at once; programs in them use `used` MiB."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, MemoryGiven] = {}
        self.used: int | None = 100
        self.others = 0
        self.dies = ""

    def host(self) -> HostFacts:
        return HostFacts("emulation", "it is a test", "fake", 2, self.memory, self.memory - self.others, 100_000)

    def memory_given(self, id: str) -> MemoryGiven | None:
        if id not in self.domains:
            raise NotFound("The hypervisor has no such machine.")
        return self.given.get(id, MemoryGiven(0, 0))

    def give_memory(self, id: str, more: int) -> None:
        if self.dies == "before":
            raise Killed
        self.given[id] = MemoryGiven(more, more)
        if self.dies == "after":
            raise Killed

    def guest_memory(self, id: str, *, timeout: float = 5) -> GuestMemory:
        if self.used is None:
            raise Unavailable("The guest agent is not there.")
        total = START + self.given.get(id, MemoryGiven(0, 0)).has
        return GuestMemory(total, max(0, total - self.used))


@pytest.fixture
def provider() -> Growing:
    return Growing()


@pytest.fixture
def held(engine: Engine, admin: Actor, small: Class) -> Machine:
    """Somebody's machine, of a class whose machines may have three times what they start with."""
    classes.change_policy(admin, "small", Form.MAKING, {"memory_most": START + ROOM + 100})
    classes.change_policy(admin, "small", Form.POLICY, {"buffer": 0})
    verbs.request(admin, "small")
    settle(engine, 12)
    found: Machine = Machine.get(Machine.state == MachineState.IN_USE)
    return found


Look = Callable[..., Machine]


@pytest.fixture
def look(engine: Engine, provider: Growing) -> Look:
    """Some looks, half a minute apart; the machine as the catalog has it then."""
    now = 0.0

    def looking(times: int = 1, vertical: Vertical = engine.controllers.vertical) -> Machine:
        nonlocal now
        for _ in range(times):
            now += 30
            vertical.readings.facts = provider.host()
            for machine in memory.growing():
                vertical.look(machine, now)
        found: Machine = Machine.get(Machine.state == MachineState.IN_USE)
        return found

    return looking


def told() -> list[str]:
    kinds = (EventKind.MACHINE_MEMORY, EventKind.MACHINE_MEMORY_HELD)
    return [event.message.partition(": ")[2] for event in Event.select().where(Event.kind.in_(kinds)).order_by(Event.id)]


def test_what_is_granted_counts_and_is_undone(held: Machine, look: Look, provider: Growing, admin: Actor, opened: Settings) -> None:
    assert (held.memory, held.memory_room, spec(held, opened).memory_room) == (START, ROOM, ROOM), "whole steps"
    before, used = memory.room(), quotas.used("account", admin.account_id or 0, None)[2]
    provider.used = 500
    assert look(9).memory == START + 384
    assert (memory.room(), quotas.used("account", admin.account_id or 0, None)[2]) == (before - 384, used + 384)
    assert spec(Machine.get(), opened).memory == START, "what it starts with stays"
    event = Event.select().where(Event.kind == "machine.memory").order_by(Event.id).get()
    assert event.message == f"{held.name}: memory from 256 to 384 MiB: 0 of 256 MiB are available, less than 48."
    assert event.data == {
        "before": {"memory": 256},
        "after": {"memory": 384, "available": 0, "total": 256, "asked": 0, "has": 0, "held": None},
    }
    provider.used = 160
    assert look(30).memory == START + 128, "what it would have little without, it keeps"
    provider.used = 40
    assert look(30).memory == START
    assert (memory.room(), provider.given[held.id]) == (before, MemoryGiven(0, 0))


def test_it_is_bounded_by_class_owner_and_host_and_says_so(held: Machine, look: Look, provider: Growing, opened: Settings) -> None:
    provider.used = 2000
    with catalog.write():
        quota = Quota.create(account=held.owner_id, each=False, machines=1, memory=START + 200)
    assert look(3).memory == START + 128
    assert told()[1:] == [
        "memory stays 384 MiB: 0 of 384 MiB are available, less than 48, and its owner's quota is used up: 384 of 456 MiB of memory in use."
    ]
    with catalog.write():
        quota.delete_instance()
    provider.others = provider.memory - opened.host_reserve - 100
    assert look(3).memory == START + 128
    assert told()[2:] == [
        f"memory stays 384 MiB: 0 of 384 MiB are available, less than 48, and the server has 100 MiB left beside its reserve of {opened.host_reserve}."
    ]
    provider.others = 0
    assert look(9).memory == START + ROOM
    assert told()[-1].endswith("less than 92, and 768 MiB are the most it may have.")
    assert len(told()) == 1 + 1 + 1 + 3 + 1, "what holds is told once an hour"


def test_who_waits_for_memory_has_it_set_aside(held: Machine, look: Look, provider: Growing) -> None:
    provider.used = 300
    with catalog.write():
        memory.allow(memory.Allowed(limit=START + 64 + 100, most=START + 64 + 100))
    assert look(2).memory == START
    assert told() == ["memory stays 256 MiB: 0 of 256 MiB are available, less than 48, and of what may be handed out 100 MiB are left."]


def test_a_silent_guest_keeps_what_it_has(held: Machine, look: Look, provider: Growing) -> None:
    provider.used = 300
    look(2)
    provider.used = None
    assert look(20).memory == START + 128
    assert told()[1:] == ["memory stays 384 MiB: it says nothing of its memory."]


@pytest.mark.crash
@pytest.mark.parametrize("dies", ["before", "after"])
@pytest.mark.parametrize("used", [400, 40])
def test_an_engine_killed_at_any_step_goes_on_from_what_is_there(
    engine: Engine, opened: Settings, held: Machine, look: Look, provider: Growing, dies: str, used: int
) -> None:
    """More is counted before it is given, less after it was given back: what is held is never counted for less than it is."""
    provider.used = 300
    assert look(2).memory == START + 128
    provider.used, provider.dies = used, dies
    with pytest.raises(Killed):
        look(20)
    there = provider.given[held.id].has
    assert Machine.get(Machine.id == held.id).memory_more >= there
    provider.dies = ""
    again = Vertical(opened, provider, engine.controllers.readings, engine.jobs)
    provider.used = None
    assert look(1, again).memory == START + there
    provider.used = used
    assert look(20, again).memory == START + provider.given[held.id].has == START + (256 if used == 400 else 0)


def test_who_starts_anew_starts_with_what_it_starts_with(engine: Engine, held: Machine, look: Look, provider: Growing) -> None:
    provider.used = 300
    look(2)
    with catalog.write():
        Machine.update(state=MachineState.STOPPED).where(Machine.id == held.id).execute()
    engine.controllers.vertical.dispatch()
    found = Machine.get(Machine.id == held.id)
    assert (found.memory, found.memory_more) == (START, 0)


def test_a_suspended_machine_counts_with_what_it_was_given(engine: Engine, held: Machine, look: Look, provider: Growing) -> None:
    provider.used = 300
    look(2)
    with catalog.write():
        Machine.update(state=MachineState.SUSPENDED).where(Machine.id == held.id).execute()
    engine.controllers.vertical.dispatch()
    assert Machine.get(Machine.id == held.id).memory == START + 128


def test_the_engine_looks_by_itself(engine: Engine, held: Machine, provider: Growing) -> None:
    engine.controllers.readings.take()
    provider.used = 300
    for _ in range(3):
        engine.schedule.hurry("memory")
        settle(engine, 2)
    assert Machine.get(Machine.id == held.id).memory == START + 128


def test_readings_have_what_the_guest_says(engine: Engine, held: Machine, look: Look, provider: Growing) -> None:
    provider.used = 300
    look(3)
    engine.controllers.readings.take()
    found = engine.controllers.readings.machines[held.id]
    assert (found["memory"], found["memory_used"]) == (384, 300)


def test_nothing_is_done_where_no_class_says_so(engine: Engine, ready: Callable[[int], list[Machine]]) -> None:
    ready(1)
    assert (Machine.get().memory_room, memory.growing()) == (0, [])


def test_the_bound_lies_in_the_snapshot_and_another_one_is_taken_when_it_changes(
    engine: Engine, admin: Actor, small: Class, provider: Growing
) -> None:
    classes.change_policy(admin, "small", Form.MAKING, {"fork": True})
    settle(engine, 6)
    first = Snapshot.get(Snapshot.state == SnapshotState.READY)
    classes.change_policy(admin, "small", Form.MAKING, {"memory_most": START + ROOM})
    settle(engine, 6)
    second = Snapshot.get(Snapshot.state == SnapshotState.READY)
    assert (first.facts.get("memory_room"), second.facts["memory_room"]) == (None, ROOM)
    assert snapshots.by_id(first.id).state is SnapshotState.STALE  # type: ignore[union-attr]
    with pytest.raises(BadInput, match="below what machines start with"):
        classes.change_policy(admin, "small", Form.MAKING, {"memory_most": 100})
