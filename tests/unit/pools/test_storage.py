"""Whether a data disk grows: whatever a machine says, no bound is passed, and nothing shrinks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pools.storage import GIB, Disk, Growth, Room, decide

pytestmark = pytest.mark.resources

GROWTH = Growth(most=100, above=85, step=2, cooldown=30)
ROOM = Room(None, 1000)


def full(percent: float, size: int = 10, **more: float) -> Disk:
    return Disk(size, int(percent * GIB), 100 * GIB, **more)


growths = st.builds(Growth, st.integers(0, 5000), st.integers(10, 99), st.integers(1, 4096), st.floats(0, 86400))
disks = st.builds(
    Disk,
    st.integers(1, 5000),
    st.integers(0, 1 << 50),
    st.integers(0, 1 << 50),
    st.floats(allow_nan=True, allow_infinity=True),
    st.none() | st.floats(0, 2e9),
)
rooms = st.builds(Room, st.none() | st.integers(0, 5000), st.integers(0, 5000))


@given(growths, disks, rooms, st.floats(0, 2e9))
def test_no_bound_is_passed_and_nothing_shrinks(growth: Growth, disk: Disk, room: Room, now: float) -> None:
    decision = decide(growth, disk, room, now)
    if disk.full < growth.above or not growth.most:
        assert decision is None
    if decision is None:
        return
    more = decision.after - decision.before
    assert decision.before == disk.size
    assert more >= 0
    assert more <= room.host
    assert room.quota is None or more <= room.quota
    assert decision.after <= max(disk.size, growth.most)
    assert more <= max(growth.step, disk.size, math.ceil(disk.size / 4))
    assert disk.grown is None or not 0 <= now - disk.grown < growth.cooldown
    assert decision.grows or decision.bound  # what is not done is told


@given(st.lists(st.integers(0, 100), min_size=1, max_size=200), growths.filter(lambda one: one.cooldown > 0))
def test_a_disk_that_is_said_to_be_full_again_and_again_grows_once_a_cool_down(said: list[int], growth: Growth) -> None:
    size, grown, times = 1, None, 0
    for step, percent in enumerate(said):
        decision = decide(growth, Disk(size, percent, 100, 0.0, grown), ROOM, 5.0 * step)
        if decision is not None and decision.grows:
            size, grown, times = decision.after, 5.0 * step, times + 1
    assert times <= 5.0 * len(said) / growth.cooldown + 1


@pytest.mark.parametrize(
    ("growth", "disk", "room", "after", "bound"),
    [
        (GROWTH, full(84.9), ROOM, None, ""),
        (GROWTH, full(85), ROOM, 13, ""),  # a quarter, which is more than the step
        (GROWTH, full(85, size=4), ROOM, 6, ""),
        (GROWTH, full(85, pace=0.05 * GIB), ROOM, 16, ""),  # what fills in two minutes
        (GROWTH, full(85, pace=10 * GIB), ROOM, 20, ""),  # but not more than twice as much
        (GROWTH, full(85, pace=math.nan), ROOM, 13, ""),
        (GROWTH, full(90, size=99), ROOM, 100, "class"),
        (GROWTH, full(90, size=100), ROOM, 100, "class"),
        (GROWTH, full(90, size=120), ROOM, 120, "class"),  # from before its class gave less
        (GROWTH, full(90), Room(1, 1000), 11, "quota"),
        (GROWTH, full(90), Room(0, 1000), 10, "quota"),
        (GROWTH, full(90), Room(5, 0), 10, "host"),
        (Growth(0, 85, 2, 30), full(99), ROOM, None, ""),
        (GROWTH, Disk(10, 0, 0), ROOM, None, ""),
    ],
)
def test_what_is_decided(growth: Growth, disk: Disk, room: Room, after: int | None, bound: str) -> None:
    decision = decide(growth, disk, room, 1000.0)
    assert (decision and (decision.after, decision.bound)) == (None if after is None else (after, bound))


def test_it_waits_for_its_cool_down_unless_the_clock_was_set_back() -> None:
    assert decide(GROWTH, full(99, grown=980), ROOM, 1000) is None
    assert decide(GROWTH, full(99, grown=970), ROOM, 1000) is not None
    assert decide(GROWTH, full(99, grown=5000), ROOM, 1000) is not None
