"""The planner: its rules one by one, and what must hold whatever the numbers are."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.pools.planner import Capacity, Decision, Demand, Policy, Pools, plan

PLENTY = Capacity(memory=1 << 20, disk=1 << 20, slots=1000)


def demand(name="a", minimum=0, maximum=10, buffer=2, memory=1024, disk=512, allowance=None, offered=True, **pools):
    return Demand(name, Policy(minimum, maximum, buffer), Pools(**pools), memory, disk, allowance, offered)


def one(d, capacity=PLENTY):
    [decision] = plan([d], capacity)
    return decision


def test_empty_class_gets_its_buffer():
    assert one(demand()) == Decision("a", 2, 0, "")


def test_machines_being_made_count():
    assert one(demand(creation=2)).create == 0


def test_minimum_holds_without_anybody_asking():
    assert one(demand(minimum=5, buffer=1)).create == 5


def test_maximum_binds_and_is_named():
    assert one(demand(maximum=3, production=3)) == Decision("a", 0, 0, "the class's maximum of 3 machines")


def test_everybody_who_waits_gets_a_machine_on_top_of_the_buffer():
    assert one(demand(waiting=3)).create == 5


def test_excess_ready_machines_go_and_machines_in_the_making_stay():
    assert one(demand(ready=4, creation=3)) == Decision("a", 0, 2, "")


def test_memory_binds_and_the_reason_says_how_much():
    decision = one(demand(buffer=5), Capacity(memory=2500, disk=1 << 20, slots=9))
    assert decision.create == 2
    assert decision.reason == "the host's memory: 1024 MiB needed, 452 MiB left; lower a buffer, or give machines back, or add memory"


def test_disk_and_slots_bind():
    assert "disk" in one(demand(), Capacity(1 << 20, 100, 9)).reason
    assert "slots" in one(demand(), Capacity(1 << 20, 1 << 20, 0)).reason


def test_a_waiting_person_comes_before_another_class_s_buffer():
    first, second = plan([demand("a", buffer=5), demand("b", buffer=0, waiting=2)], Capacity(2048, 1 << 20, 9))
    assert (first.create, second.create) == (0, 2)
    assert "memory" in first.reason


def test_buffers_share_scarce_memory_in_turn():
    first, second = plan([demand("a", buffer=5), demand("b", buffer=5)], Capacity(4096, 1 << 20, 9))
    assert (first.create, second.create) == (2, 2)


def test_failing_class_is_held_back_then_tried_with_one():
    assert one(demand(allowance=0)).create == 0
    assert one(demand(allowance=1)).create == 1


def test_withdrawn_class_loses_its_buffer_and_keeps_what_is_held():
    assert one(demand(ready=2, production=3, minimum=5, offered=False)) == Decision("a", 0, 2, "")


def test_new_seed_replaces_the_buffer_by_one_more_then_one_less():
    assert one(demand(ready=2, old=2)) == Decision("a", 1, 0, "")
    assert one(demand(ready=2, old=2, creation=1)) == Decision("a", 0, 0, "")
    assert one(demand(ready=3, old=2)) == Decision("a", 0, 1, "")


def test_new_seed_without_room_for_one_more_gives_up_an_old_one_first():
    assert one(demand(maximum=2, ready=2, old=2)).remove == 1
    assert one(demand(maximum=1, buffer=1, ready=1, old=1)).remove == 1
    assert one(demand(maximum=2, buffer=2, ready=1, old=1, creation=1)).remove == 0


small = st.integers(0, 12)


@st.composite
def demands(draw):
    result = []
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1)):
        maximum = draw(small)
        ready = draw(small)
        result.append(
            Demand(
                name,
                Policy(draw(st.integers(0, maximum)), maximum, draw(st.integers(0, maximum))),
                Pools(draw(small), ready, draw(st.integers(0, ready)), draw(small), draw(small)),
                memory=draw(st.sampled_from([256, 1024])),
                disk=512,
                allowance=draw(st.sampled_from([None, None, 0, 1])),
                offered=draw(st.booleans()),
            )
        )
    return result


capacities = st.builds(Capacity, st.integers(-500, 20_000), st.integers(-500, 20_000), st.integers(0, 20))


@given(demands(), capacities)
def test_no_decision_ever_breaks_a_bound(classes, capacity):
    decisions = plan(classes, capacity)
    assert [d.name for d in decisions] == [c.name for c in classes]
    assert sum(d.create * c.memory for c, d in zip(classes, decisions, strict=True)) <= max(capacity.memory, 0)
    assert sum(d.create * c.disk for c, d in zip(classes, decisions, strict=True)) <= max(capacity.disk, 0)
    assert sum(d.create for d in decisions) <= capacity.slots
    for c, d in zip(classes, decisions, strict=True):
        total = c.pools.creation + c.pools.ready + c.pools.production
        assert d.create >= 0
        assert d.create == 0 or total + d.create <= c.policy.maximum
        assert 0 <= d.remove <= c.pools.ready
        assert not (d.create and d.remove)


@given(demands())
def test_plan_reaches_its_goal_and_then_rests(classes):
    """Applied again and again, with every machine coming up and nobody new asking, the plan ends: nothing is made for ever."""
    for _ in range(80):
        decisions = plan(classes, PLENTY)
        if not any(d.create or d.remove for d in decisions) and not any(c.pools.creation for c in classes):
            break
        classes = [_apply(c, d) for c, d in zip(classes, decisions, strict=True)]
    else:
        raise AssertionError("the plan never rests")
    for c in classes:
        if c.offered and c.allowance is None:
            served = c.pools.production + c.pools.ready >= min(c.policy.maximum, c.pools.production + c.pools.waiting)
            assert served


def _apply(c: Demand, d: Decision) -> Demand:
    p = c.pools
    old = p.old - min(p.old, d.remove)
    ready = p.ready + p.creation + d.create - d.remove
    return Demand(c.name, c.policy, Pools(0, ready, old, p.production, p.waiting), c.memory, c.disk, c.allowance, c.offered)
