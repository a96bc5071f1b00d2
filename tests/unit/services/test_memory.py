"""How much memory people may hold: the claim keeps to it, and who waits for it is told and has their turn."""

import threading
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Class,
    Event,
    Machine,
    MachineState,
    Quota,
    Reading,
    Request,
    RequestState,
    machines,
    memory,
    now,
)
from appliance.errors import Conflict
from appliance.lifecycle import outcomes
from appliance.services import machines as verbs
from tests import world

S = MachineState
EACH = 256 + memory.Allowed().overhead


def allow(mib: int) -> None:
    with catalog.write():
        memory.allow(memory.Allowed(mib, max(mib, 8000)))


@pytest.fixture
def large(small):
    """A class of 1024 MiB beside the small one."""
    machine_class = world.machine_class("notebook", world.NOTEBOOK)
    world.seed("notebook", 1, promoted=True)
    return machine_class


def ready_large(large, count=1):
    return [world.machine(large, S.READY) for _ in range(count)]


def test_without_an_engine_that_said_how_much_there_is_nobody_is_refused(ready, alice):
    ready(1)
    assert memory.room() == memory.NO_LIMIT
    assert verbs.request(alice, "small").hit


def test_what_is_held_never_exceeds_the_limit_and_who_asks_then_is_told(ready, alice, bob):
    ready(3)
    allow(2 * EACH)
    assert verbs.request(alice, "small").hit
    assert verbs.request(alice, "small").hit
    [offer] = verbs.offers(bob.account_id)
    assert (offer.ready, offer.obstacle) == (0, verbs.ALL_GIVEN_OUT)
    waiting = verbs.request(bob, "small")
    assert waiting.state is RequestState.WAITING
    assert Event.select().order_by(Event.id.desc()).get().message == "bob waits for a small: memory is all given out."
    assert outcomes.serve_waiting("small") == 0
    [mine, _] = verbs.my_machines(alice.account_id)
    verbs.release(alice, mine.id)
    assert outcomes.serve_waiting("small") == 1
    assert verbs.my_machines(bob.account_id)[0].state is S.ASSIGNED
    assert memory.room() == 0


def test_one_mebibyte_too_little_is_too_little(ready, alice):
    ready(1)
    allow(EACH - 1)
    assert not verbs.request(alice, "small").hit
    allow(EACH)
    assert outcomes.serve_waiting("small") == 1


@pytest.mark.parametrize("state", [S.ASSIGNED, S.IN_USE, S.REPROVISIONING, S.QUARANTINED])
def test_whatever_somebody_holds_counts_and_what_waits_does_not(ready, state):
    first, *_ = ready(3)
    allow(1000)
    assert memory.room() == 1000
    Machine.update(state=state).where(Machine.id == first.id).execute()
    assert memory.room() == 1000 - EACH
    [held] = [part for part in memory.parts() if part.kind is memory.Kind.HELD]
    assert (held.count, held.nominal) == (1, EACH)


@pytest.mark.parametrize("state", [S.STOPPED, S.SUSPENDED])
def test_what_somebody_holds_and_is_off_takes_none(ready, state):
    first, *_ = ready(3)
    allow(1000)
    Machine.update(state=state).where(Machine.id == first.id).execute()
    assert memory.room() == 1000
    assert not [part for part in memory.parts() if part.kind is memory.Kind.HELD]


def test_a_small_machine_does_not_slip_past_who_waits_for_a_large_one(ready, large, alice, bob, admin):
    ready(3)
    ready_large(large)
    allow(1088 + EACH)
    assert verbs.request(alice, "small").hit
    assert verbs.request(alice, "small").hit
    asked = verbs.request(bob, "notebook")
    assert not asked.hit
    assert not verbs.request(admin, "small").hit, "it would fit, but somebody waits for that memory"
    assert outcomes.serve_waiting("small") == 0
    verbs.release(alice, verbs.my_machines(alice.account_id)[0].id)
    assert outcomes.serve_waiting("small") == 0
    assert outcomes.serve_waiting("notebook") == 1
    assert Request.get_by_id(asked.id).state is RequestState.GRANTED


def test_who_waits_for_a_machine_that_is_not_made_yet_holds_up_nobody(ready, large, alice, bob):
    ready(1)
    allow(1088)
    assert not verbs.request(bob, "notebook").hit
    assert verbs.request(alice, "small").hit


def test_who_waits_because_memory_is_short_has_the_next_that_comes_free(ready, large, alice, bob):
    """None of theirs is ready, as it could not be handed out."""
    ready(2)
    allow(1088)
    asked = verbs.request(bob, "notebook")
    Class.update(short_of_memory=True).where(Class.name == "notebook").execute()
    assert not verbs.request(alice, "small").hit
    verbs.cancel_request(bob, asked.id)
    assert outcomes.serve_waiting("small") == 1


@pytest.mark.quota
def test_quota_and_memory_both_count(ready, small, alice):
    """Who is within their quota waits for memory, and is told so; who has used it up is refused, however much memory there is."""
    ready(3)
    Class.update(per_person=9).where(Class.name == "small").execute()
    Quota.create(account=alice.account_id, each=True, machines=2)
    assert verbs.request(alice, "small").hit
    allow(576)
    assert not verbs.request(alice, "small").hit
    assert Event.get(Event.kind == "request.waiting").message.endswith("memory is all given out.")
    allow(8000)
    with pytest.raises(Conflict, match="2 of 2 machines"):
        verbs.request(alice, "small")
    assert outcomes.serve_waiting("small") == 1


def test_who_asks_for_more_than_there_ever_is_is_refused(ready, large, alice, bob):
    ready(1)
    ready_large(large)
    with catalog.write():
        memory.allow(memory.Allowed(1000, 1000))
    [notebook, _] = verbs.offers(bob.account_id)
    assert notebook.refusal == verbs.TOO_LARGE
    with pytest.raises(Conflict, match="too little memory"):
        verbs.request(bob, "notebook")
    assert Request.select().count() == 0
    assert verbs.request(alice, "small").hit


def test_a_limit_that_is_low_for_a_while_holds_up_nobody_else(ready, large, alice, bob):
    """Something else uses the host just now: who wants a large machine waits, and small ones are given meanwhile."""
    ready(1)
    ready_large(large)
    allow(1000)
    assert not verbs.request(bob, "notebook").hit
    assert verbs.request(alice, "small").hit


def test_many_claims_at_once_keep_to_the_limit(ready, opened):
    ready(40)
    allow(10 * EACH)
    with catalog.write():
        people = [Account.create(name=f"p{number}", password="!") for number in range(20)]
    begin, hits, failures = threading.Barrier(20), [], []

    def claim(account: Account) -> None:
        begin.wait()
        try:
            hits.extend(verbs.request(Actor(account.name, account.id), "small").hit for _ in range(2))
        except Exception as error:
            failures.append(error)
        finally:
            catalog.close()

    threads = [threading.Thread(target=claim, args=(account,)) for account in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (hits.count(True), hits.count(False)) == (10, 30)
    assert Machine.select().where(Machine.state == S.ASSIGNED).count() == 10


def test_the_parts_are_told_apart_and_what_was_measured_is_summed(ready):
    made = ready(8)
    states = [
        (S.READY, "running", "fork"), (S.READY, "paused", "boot"), (S.READY, "paused", "fork"), (S.READY, "paused", "fork"),
        (S.READY, "cold", "boot"), (S.CREATING, "paused", "fork"), (S.RECLAIMING, "paused", "fork"),
        (S.FAILED, "paused", "fork"),
    ]  # fmt: skip
    for machine, (state, readiness, origin) in zip(made, states, strict=True):
        Machine.update(state=state, readiness=readiness, origin=origin).where(Machine.id == machine.id).execute()
    Reading.create(machine=made[2].id, cpu=0, memory_used=0, memory_private=30, memory_shared=12, disk_rate=0, net_rate=0)
    found = {part.kind: part for part in memory.parts()}
    assert {kind.value: part.count for kind, part in found.items()} == {
        "running": 1, "booted": 1, "fork": 2, "cold": 1, "making": 1, "leaving": 1, "failed": 1,
    }  # fmt: skip
    forks = found[memory.Kind.FORK]
    assert (forks.measured, forks.private, forks.shared, forks.mean, forks.nominal) == (1, 30, 12, 42.0, 2 * EACH)


def test_when_memory_is_short_those_that_take_most_go_first_and_cold_ones_never(ready):
    made = ready(4)
    for machine, (readiness, origin) in zip(
        made, [("cold", "boot"), ("paused", "fork"), ("paused", "boot"), ("running", "fork")], strict=True
    ):
        Machine.update(readiness=readiness, origin=origin).where(Machine.id == machine.id).execute()
    assert [m.id for m in machines.largest("small", 9)] == [made[3].id, made[2].id, made[1].id]
    assert machines.largest("small", 0) == []


def test_readings_of_machines_long_gone_are_dropped(ready):
    old, fresh = ready(2)
    for machine, age in ((old, 25), (fresh, 1)):
        Reading.create(machine=machine.id, at=now() - timedelta(hours=age), cpu=0, memory_used=0, disk_rate=0, net_rate=0)
    with catalog.write():
        memory.forget_readings()
    assert [row.machine_id for row in Reading.select()] == [fresh.id]
