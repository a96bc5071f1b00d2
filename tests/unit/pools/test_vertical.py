"""Memory by need, as numbers: never below what is used and a margin, never above bounds, no flapping, and nothing made of what nobody said."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pools.vertical import AFTER_LESS, AFTER_MORE, CALM, GAP, STUCK, Held, Past, Seen, decide, little
from appliance.scenario.policy import MEMORY_STEP

pytestmark = pytest.mark.resources
steps = st.integers(0, 16).map(lambda count: count * MEMORY_STEP)
KERNEL = 40  # MiB of a machine's memory that its kernel never tells of


def seen(used: int, more: int, room: int, start: int = 256) -> Seen:
    """A machine in which programs use so much, that has what it was asked to have."""
    total = start + more - KERNEL
    return Seen(start, room, more, more, total, max(0, total - used))


def settle(machine: Seen, used: int, looks: int = 200, every: float = 30.0) -> tuple[Seen, list[bool]]:
    """Look again and again while the same is used; the machine does at once as it is asked. Returns of each change whether it was to more."""
    past, told = Past(), list[bool]()
    for number in range(looks):
        decision = decide(machine, past, number * every)
        assert abs(decision.more - machine.counts) <= MEMORY_STEP, "one step at a time"
        assert 0 <= decision.more <= max(machine.room, machine.counts)
        if decision.more < machine.counts:
            assert machine.available is not None
            assert machine.available - MEMORY_STEP >= GAP, "what it gives back is measurably free, and a margin besides"
        if decision.more != machine.counts:
            told.append(decision.more > machine.counts)
        past, machine = decision.past, seen(used, decision.more, machine.room, machine.start)
    return machine, told


@given(used=st.integers(10, 3000), more=steps, room=steps, start=st.integers(256, 4096))
def test_it_comes_to_rest_with_enough_or_with_all_that_it_may_have(used: int, more: int, room: int, start: int) -> None:
    machine, told = settle(seen(used, min(more, room), room, start), used)
    assert machine.total is not None
    assert machine.available is not None
    assert machine.available >= little(machine.total) or machine.has + MEMORY_STEP > room
    assert machine.has == 0 or machine.available - MEMORY_STEP < little(machine.total) + GAP, "nothing is kept that it could give back"
    assert len(set(told)) <= 1, "never up and down for the same"


@given(st.lists(st.integers(10, 900), min_size=60, max_size=60))
def test_a_load_that_swings_changes_no_more_than_the_cooldown_lets_it(load: list[int]) -> None:
    machine, past, shrinks = seen(load[0], 0, 1024), Past(), list[float]()
    for number, used in enumerate(load):
        now = number * 4.0
        decision = decide(seen(used, machine.has, 1024), past, now)
        if decision.more < machine.has:
            shrinks.append(now)
            assert past.changed is None or now - past.changed >= (AFTER_MORE if past.grew else AFTER_LESS)
        machine, past = seen(used, decision.more, 1024), decision.past
    assert len(shrinks) <= len(load) * 4.0 / AFTER_LESS


def test_it_grows_at_once_and_gives_back_only_after_a_calm_while() -> None:
    first = decide(seen(200, 0, 512), Past(), 0.0)
    assert (first.more, first.held, first.is_told) == (MEMORY_STEP, None, True)
    assert first.why == "16 of 216 MiB are available, less than 48"
    machine, past, looks = seen(20, MEMORY_STEP, 512), first.past, 0
    while (decision := decide(machine, past, 4.0 * looks)).more == MEMORY_STEP:
        past, looks = decision.past, looks + 1
    assert 4.0 * looks >= AFTER_MORE
    assert decision.more == 0
    fresh = Past()
    for _ in range(CALM - 1):
        fresh = decide(machine, fresh, 0.0).past
        assert fresh.changed is None
    busy = decide(seen(250, MEMORY_STEP, 512), fresh, 0.0).past
    assert busy.calm == 0, "one reading is no calm while"


@pytest.mark.parametrize(
    ("lie", "held"),
    [
        ({"total": None, "available": None}, Held.SILENT),
        ({"total": 4000}, Held.IMPLAUSIBLE),
        ({"available": 10**9}, Held.IMPLAUSIBLE),
        ({"available": -1}, Held.IMPLAUSIBLE),
        ({"total": 0, "available": 0}, Held.IMPLAUSIBLE),
    ],
)
def test_who_is_silent_or_lies_keeps_what_it_has(lie: dict[str, int | None], held: Held) -> None:
    decision = decide(replace(seen(20, MEMORY_STEP, 512), **lie), Past(calm=10, silent=9), 1000.0)  # type: ignore[arg-type]
    assert (decision.more, decision.held, decision.is_told) == (MEMORY_STEP, held, True)
    again = decide(replace(seen(20, MEMORY_STEP, 512), **lie), decision.past, 1004.0)  # type: ignore[arg-type]
    assert (again.more, again.is_told, again.past.calm) == (MEMORY_STEP, False, 0)


def test_a_machine_may_be_silent_for_a_moment() -> None:
    past, told = Past(), list[bool]()
    for number in range(CALM + 1):
        decision = decide(replace(seen(20, MEMORY_STEP, 512), total=None), past, number * 3.0)
        past = decision.past
        told.append(decision.is_told)
    assert told == [False, False, True, False]
    assert decide(seen(20, MEMORY_STEP, 512), past, 60.0).past.silent == 0


def test_what_bounds_it_is_said() -> None:
    full = decide(seen(450, 256, 256), Past(), 0.0)
    assert (full.more, full.held) == (256, Held.MOST)
    assert full.why.endswith("and 512 MiB are the most it may have")
    refused = decide(seen(210, 0, 256), Past(), 0.0, (Held.QUOTA, "its owner has no more"))
    assert (refused.more, refused.held, refused.why[-27:]) == (0, Held.QUOTA, ", and its owner has no more")


def test_what_it_does_not_take_or_give_back_is_no_longer_asked_for() -> None:
    waits = Seen(256, 512, 256, 128, 344, 10)
    assert decide(waits, Past(0.0, grew=True), 4.0).more == 256, "it is not given more meanwhile"
    stuck = decide(waits, Past(0.0, grew=True), STUCK)
    assert (stuck.more, stuck.held) == (128, Held.STUCK)
    gives = Seen(256, 512, 128, 200, 416, 200)
    assert decide(gives, Past(0.0), 4.0).more == 128
    stuck = decide(gives, Past(0.0), STUCK)
    assert (stuck.more, stuck.held) == (256, Held.STUCK)
    assert gives.counts == 256, "what it has still counts"


def test_a_step_down_is_taken_back_when_the_machine_needs_it_after_all() -> None:
    decision = decide(Seen(256, 512, 128, 256, 472, 20), Past(0.0), 1.0)
    assert (decision.more, decision.held, decision.is_told) == (256, None, True)
