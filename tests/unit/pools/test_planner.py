"""The planner: its rules one by one, and what must hold whatever the numbers are."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pools.planner import Capacity, Decision, Demand, Family, Policy, Pools, plan

PLENTY = Capacity(memory=1 << 20, disk=1 << 20, slots=1000, room=1 << 20)


def capacity(memory=1 << 20, disk=1 << 20, slots=1000, room=None, **values):
    return Capacity(memory, disk, slots, memory if room is None else room, **values)


def demand(name="a", minimum=0, maximum=10, buffer=2, memory=1024, disk=512, allowance=None, offered=True, cost=None, frees=1, **pools):
    return Demand(name, Policy(minimum, maximum, buffer), Pools(**pools), memory, disk, allowance, offered, cost, frees)


def fork(name="a", **values):
    """A class of 512 MiB (576 with what QEMU needs) whose machines wait as paused forks of 40 MiB."""
    return demand(name, **{"memory": 576, "cost": 40, "frees": 40, "maximum": 100, **values})


def one(d, host=PLENTY):
    [decision] = plan([d], host)
    return decision


def test_empty_class_gets_its_buffer():
    assert one(demand()) == Decision("a", 2, 0, "")


def test_machines_being_made_count():
    assert one(demand(creation=2)).create == 0


def test_minimum_holds_without_anybody_asking():
    assert one(demand(minimum=5, buffer=1)).create == 5


def test_maximum_binds_and_is_named():
    assert one(demand(maximum=3, production=3)) == Decision("a", 0, 0, "the class's maximum of 3 machines")


@pytest.mark.lost
def test_machines_on_their_way_out_count_against_the_maximum():
    """However many are given back at once, no more than the maximum ever stand there."""
    assert one(demand(maximum=40, buffer=10, production=20, leaving=20)) == Decision(
        "a", 0, 0, "the class's maximum of 40 machines, 20 of them still being taken away"
    )
    assert one(demand(maximum=40, buffer=10, production=20, leaving=15)).create == 5
    # While old ones are replaced, the next one goes when the one before is gone: the buffer is not emptied meanwhile.
    assert one(demand(maximum=4, buffer=4, ready=3, old=3, leaving=1)) == Decision(
        "a", 0, 0, "the class's maximum of 4 machines, 1 of them still being taken away"
    )


@pytest.mark.lost
def test_machines_on_their_way_out_may_still_use_all_their_memory():
    decision = one(demand(buffer=5, memory=1024, leaving=2), capacity(1 << 20, room=4096))
    assert decision.create == 2
    assert "may be handed out" in decision.reason


def test_everybody_who_waits_gets_a_machine_on_top_of_the_buffer():
    assert one(demand(waiting=3)).create == 5


def test_excess_ready_machines_go_and_machines_in_the_making_stay():
    assert one(demand(ready=4, creation=3)) == Decision("a", 0, 2, "")


def test_memory_binds_and_the_reason_says_how_much():
    decision = one(demand(buffer=5), capacity(2500, slots=9))
    assert decision.create == 2
    assert decision.reason == "the host's memory: 1024 MiB needed, 452 MiB left; lower a buffer, or give machines back, or add memory"


def test_disk_and_slots_bind():
    assert "disk" in one(demand(), capacity(disk=100)).reason
    assert not one(demand(), capacity(disk=100)).short_of_memory
    assert "slots" in one(demand(), capacity(slots=0)).reason


def test_a_waiting_person_comes_before_another_class_s_buffer():
    first, second = plan([demand("a", buffer=5), demand("b", buffer=0, waiting=2)], capacity(2048))
    assert (first.create, second.create) == (0, 2)
    assert "memory" in first.reason


def test_buffers_share_scarce_memory_in_turn():
    first, second = plan([demand("a", buffer=5), demand("b", buffer=5)], capacity(4096))
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


def test_paused_forks_cost_what_they_take_and_no_more_are_kept_than_could_be_claimed():
    """On a host with 4 GiB for machines: seven of 512 MiB can be held, and the seven that wait take 280 MiB."""
    assert one(fork(buffer=40), capacity(4096)) == Decision(
        "a", 7, 0, "the memory that may be handed out: 576 MiB needed for each, 4096 MiB left; "
        "give machines back, or add memory, or let more be handed out (in the settings)", 0, True,
    )  # fmt: skip
    assert one(fork(buffer=7), capacity(300, room=4096)).create == 7
    assert one(demand(buffer=7, memory=576), capacity(300, room=4096)).create == 0


def test_forty_paused_forks_fit_where_six_booted_ones_do():
    """At an overcommit of 600 %, so that forty may be held: what binds is what they take."""
    six = 6 * 576
    assert one(demand(buffer=100, maximum=100, memory=576), capacity(six)).create == 6
    assert one(fork(buffer=100), capacity(six, room=40 * 576, overcommit=600)).create == 40


def test_what_is_held_by_more_people_than_there_is_memory_is_expected_to_use_its_share():
    assert one(demand(buffer=9, memory=1000), capacity(2000, room=4000, overcommit=200)).create == 4


def test_a_cold_buffer_takes_no_memory():
    assert one(fork(cost=0, buffer=5), capacity(0, room=4096)).create == 5


def test_who_waits_is_not_made_a_machine_that_they_could_not_be_given():
    decision = one(fork(buffer=0, waiting=2, ready=0), capacity(4096, room=600))
    assert decision.create == 1
    assert "may be handed out" in decision.reason
    assert decision.short_of_memory
    # One that is there already is kept for them.
    assert one(fork(buffer=3, waiting=1, ready=2), capacity(4096, room=0)).remove == 1


def test_a_machine_in_the_making_for_somebody_who_waits_is_counted_whole():
    assert one(fork(buffer=5, creation=1, waiting=1), capacity(700, room=10_000)).create == (700 - 576) // 40
    assert one(fork(buffer=5, creation=1), capacity(700, room=10_000)).create == 4


def test_running_machines_of_a_buffer_count_like_held_ones():
    assert one(demand(buffer=5, ready=2, standing=2), capacity(4096, room=3 * 1024)).create == 1


def test_a_buffer_shrinks_to_what_can_still_be_claimed():
    assert one(fork(buffer=5, ready=5), capacity(4096, room=2 * 576 + 575)).remove == 3


def test_the_host_does_not_swap_for_a_buffer_and_the_class_that_frees_most_loses_first():
    big, small = demand("big", buffer=3, memory=2048, ready=3, standing=3, frees=900), fork("small", buffer=9, ready=9)
    first, second = plan([big, small], capacity(-400, room=20_000, shortage=700))
    assert (first.shed, second.shed) == (1, 0)
    assert first.reason.startswith("the host's memory, of which 700 MiB too little is free")
    first, second = plan([big, small], capacity(-400, room=20_000, shortage=2000))
    assert (first.shed, second.shed) == (2, 5)
    first, second = plan([big, small], capacity(-400, room=20_000, shortage=9000))
    assert (first.shed, second.shed) == (3, 9)


def test_cold_machines_and_those_being_made_are_no_help_and_stay():
    decision = one(demand(buffer=5, ready=3, cold=2, creation=2, standing=1, frees=500), capacity(-400, room=20_000, shortage=2000))
    assert (decision.shed, decision.remove, decision.create) == (1, 0, 0)


def test_running_machines_of_a_buffer_make_room_for_those_that_were_claimed():
    """Paused forks that were claimed may now grow; what ran in the buffer may no longer."""
    decision = one(demand(buffer=3, ready=3, standing=3), capacity(4096, room=3 * 1024 - 1))
    assert decision.shed + decision.remove == 1


def together(*demands: Demand, maximum: int) -> list[Demand]:
    """As a class and what was chosen of it."""
    family = Family(demands[0].name, maximum, sum(d.pools.exist for d in demands))
    return [replace(d, family=family) for d in demands]


def test_a_maximum_binds_a_class_and_all_that_is_chosen_of_it():
    first, second = plan(together(demand("a", maximum=5, buffer=9), demand("a-1", maximum=5, production=3), maximum=5), PLENTY)
    assert (first.create, second.create) == (1, 1)
    assert first.reason == second.reason == "the maximum of 5 machines of a and all that is chosen of it"


def test_who_waits_is_given_room_by_what_stands_ready_of_the_same_class():
    kin = together(demand("a", maximum=3, buffer=3, ready=3), demand("a-1", maximum=3, buffer=0, waiting=2), maximum=3)
    assert [(d.create, d.remove) for d in plan(kin, PLENTY)] == [(0, 2), (0, 0)]
    kin = together(demand("a", maximum=3, buffer=3, ready=1, leaving=2), demand("a-1", maximum=3, buffer=0, waiting=2), maximum=3)
    assert [(d.create, d.remove) for d in plan(kin, PLENTY)] == [(0, 0), (0, 0)], "two are going already"
    kin = together(demand("a", maximum=3, buffer=3, ready=1), demand("a-1", maximum=3, buffer=0, waiting=2), maximum=3)
    assert [(d.create, d.remove) for d in plan(kin, PLENTY)] == [(0, 0), (2, 0)]
    kin = together(demand("a", maximum=1, ready=1, waiting=1), demand("a-1", maximum=1, waiting=1), maximum=1)
    assert [d.remove for d in plan(kin, PLENTY)] == [0, 0], "it is somebody's already"
    kin = together(demand("a", maximum=2, ready=2), demand("a-1", maximum=2, waiting=2, allowance=1), maximum=2)
    assert [d.remove for d in plan(kin, PLENTY)] == [1, 0], "one is tried"


def test_what_is_ready_above_a_lowered_maximum_goes_and_what_is_held_stays():
    kin = together(demand("a", maximum=4, buffer=2, ready=2), demand("a-1", maximum=4, buffer=1, ready=1, production=3), maximum=4)
    assert [(d.create, d.remove) for d in plan(kin, PLENTY)] == [(0, 2), (0, 0)]


def test_a_renewed_seed_makes_no_machine_above_the_maximum():
    kin = together(demand("a", maximum=4, buffer=2, ready=2, old=2), demand("a-1", maximum=4, buffer=0, production=2), maximum=4)
    assert [(d.create, d.remove) for d in plan(kin, PLENTY)] == [(0, 1), (0, 0)]


small = st.integers(0, 12)


@st.composite
def demands(draw):
    result = []
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1)):
        maximum = draw(small)
        ready = draw(small)
        standing = draw(st.integers(0, ready))
        result.append(
            Demand(
                name,
                Policy(draw(st.integers(0, maximum)), maximum, draw(st.integers(0, maximum))),
                Pools(
                    draw(small),
                    ready,
                    draw(st.integers(0, ready)),
                    draw(small),
                    draw(small),
                    standing,
                    draw(st.integers(0, ready - standing)),
                    draw(small),
                ),
                memory=draw(st.sampled_from([256, 1024])),
                disk=512,
                allowance=draw(st.sampled_from([None, None, 0, 1])),
                offered=draw(st.booleans()),
                cost=draw(st.sampled_from([None, 0, 40, 1024])),
                frees=draw(st.sampled_from([1, 30, 700])),
            )
        )
    return result


@st.composite
def families(draw):
    """Classes of which some have one maximum together."""
    found = draw(demands())
    members = [d.name for d in found if draw(st.booleans())]
    family = Family("a", draw(small), sum(d.pools.exist for d in found if d.name in members))
    return [replace(d, family=family) if d.name in members else d for d in found]


capacities = st.builds(
    Capacity,
    memory=st.integers(-500, 20_000),
    disk=st.integers(-500, 20_000),
    slots=st.integers(0, 20),
    room=st.integers(-500, 20_000),
    shortage=st.sampled_from([0, 0, 100, 5000]),
    overcommit=st.sampled_from([100, 150, 400]),
)


def least(d: Demand, overcommit: int) -> int:
    """What one more of a class takes at least."""
    planned = -(-d.memory * 100 // overcommit)
    return planned if d.cost is None else min(d.cost, planned)


@given(families(), capacities)
def test_no_decision_ever_breaks_a_bound(classes, host):
    decisions = plan(classes, host)
    both = list(zip(classes, decisions, strict=True))
    kin = [(c, d) for c, d in both if c.family]
    made = sum(d.create for _, d in kin)
    assert not made or made <= kin[0][0].family.maximum - kin[0][0].family.exist
    # Who waits loses nothing that stands ready for them.
    assert all(c.pools.ready - d.remove >= min(c.pools.ready, c.pools.waiting) for c, d in kin if c.offered and not c.pools.old)
    assert [d.name for d in decisions] == [c.name for c in classes]
    assert sum(d.create * least(c, host.overcommit) for c, d in both) <= max(host.memory, 0)
    assert sum(d.create * c.disk for c, d in both) <= max(host.disk, 0)
    assert sum(d.create for d in decisions) <= host.slots
    assert all(d.create == 0 or c.pools.exist + d.create <= c.policy.maximum for c, d in both)
    # What would stand there with all its memory never exceeds what may be handed out.
    standing = sum(c.memory * (c.pools.standing + (d.create if c.stands else 0)) for c, d in both)
    if any(d.create and c.stands for c, d in both):
        assert standing <= host.room
    for c, d in both:
        total = c.pools.creation + c.pools.ready + c.pools.production
        assert d.create >= 0
        assert d.create == 0 or total + d.create <= c.policy.maximum
        # No more are made ready than could be claimed, one after the other.
        assert d.create == 0 or (c.pools.creation + c.pools.ready + d.create) * c.memory <= host.room
        assert 0 <= d.remove + d.shed <= c.pools.ready
        assert d.shed <= c.pools.ready - c.pools.cold
        assert not (d.create and d.remove)
        assert d.reason or not d.shed
        ready = c.pools.ready - d.remove - d.shed
        assert not c.offered or ready <= max(host.room // c.memory, c.pools.waiting) or d.create


@given(families(), capacities)
def test_shedding_is_enough_or_all_that_can_be_done(classes, host):
    decisions = plan(classes, host)
    both = list(zip(classes, decisions, strict=True))
    given_back = sum((d.shed + d.remove) * c.frees for c, d in both)
    nothing_left = all(c.pools.ready - c.pools.cold <= d.remove + d.shed for c, d in both)
    assert given_back >= host.shortage or nothing_left
    still_standing = sum(c.memory * max(0, c.pools.standing - d.shed - d.remove) for c, d in both)
    assert still_standing <= max(host.room, 0)
    if host.shortage == 0 and sum(c.memory * c.pools.standing for c in classes) <= host.room:
        assert not any(d.shed for d in decisions)


@given(families())
def test_plan_reaches_its_goal_and_then_rests(classes):
    """Applied again and again, with every machine coming up and nobody new asking, the plan ends: nothing is made for ever."""
    for _ in range(80):
        decisions = plan(classes, PLENTY)
        if not any(d.create or d.remove for d in decisions) and not any(c.pools.creation for c in classes):
            break
        classes = _counted([_apply(c, d) for c, d in zip(classes, decisions, strict=True)])
    else:
        raise AssertionError("the plan never rests")
    for c in classes:
        if c.offered and c.allowance is None:
            served = c.pools.production + c.pools.ready >= min(c.policy.maximum, c.pools.production + c.pools.waiting)
            full = c.family is not None and c.family.exist >= c.family.maximum
            assert served or (full and not any(d.pools.ready > d.pools.waiting for d in classes if d.family))
    for c in classes:
        held = sum(d.pools.production for d in classes if d.family)
        spare = any(d.pools.ready > d.pools.waiting for d in classes if d.family)
        assert c.family is None or c.family.exist <= max(c.family.maximum, held) or not spare


def _counted(classes):
    """With what there is of all that have one maximum together."""
    exist = sum(c.pools.exist for c in classes if c.family)
    return [replace(c, family=c.family and replace(c.family, exist=exist)) for c in classes]


def _apply(c: Demand, d: Decision) -> Demand:
    p = c.pools
    old = p.old - min(p.old, d.remove)
    ready = p.ready + p.creation + d.create - d.remove
    return replace(c, pools=Pools(0, ready, old, p.production, p.waiting))


@given(families(), st.integers(0, 30_000), st.integers(0, 20_000), st.sampled_from([100, 200, 400]))
def test_on_a_host_that_is_full_of_memory_the_plan_rests_too(classes, memory, used, overcommit):
    """The host's own view: what is free and what may be held follow from the machines there are. Nothing is made and shed in turn."""
    classes = [replace(c, frees=min(c.frees, cost(c)) or 1, pools=replace(c.pools, standing=0, cold=0, old=0)) for c in classes]
    for _ in range(120):
        before = classes
        held = sum(c.pools.production * c.memory for c in classes)
        waits = sum(c.pools.ready * cost(c) for c in classes)
        committed = held + sum(c.pools.ready * c.memory for c in classes if c.stands)
        host = Capacity(
            memory=memory - used - committed * 100 // overcommit - waits + sum(c.pools.ready * cost(c) for c in classes if c.stands),
            disk=1 << 20,
            slots=1000,
            room=memory * overcommit // 100 - held,
            shortage=0,
            overcommit=overcommit,
        )
        classes = _counted([replace(c, pools=_step(c, d)) for c, d in zip(classes, plan(classes, host), strict=True)])
        if classes == before:
            return
    raise AssertionError("the plan never rests")


def cost(c: Demand) -> int:
    return c.memory if c.cost is None else min(c.cost, c.memory)


def _step(c: Demand, d: Decision) -> Pools:
    p = c.pools
    ready = p.ready + p.creation + d.create - d.remove - d.shed
    return replace(p, creation=0, ready=ready, standing=ready if c.stands else 0)


def test_a_full_host_gives_to_a_higher_priority_first_and_says_who_loses_to_whom():
    low, high = demand("notebook", buffer=3), replace(demand("website", buffer=3), priority=10)
    notebook, website = plan([low, high], capacity(4 * 1024))
    assert (notebook.create, website.create) == (1, 3)
    assert notebook.reason.startswith("the host's memory: 1024 MiB needed, 0 MiB left")
    assert notebook.reason.endswith("; website goes first, by priority")
    assert website.reason == ""
    assert plan([low, high], capacity(slots=3))[0].reason.endswith("raise the setting slots; website goes first, by priority")
    even = plan([low, replace(high, priority=0)], capacity(4 * 1024))
    assert [one.create for one in even] == [2, 2]


def test_a_lower_priority_loses_its_ready_machines_first():
    low, high = demand("notebook", ready=2, buffer=2, frees=10), replace(demand("website", ready=2, buffer=2, frees=900), priority=10)
    notebook, website = plan([low, high], capacity(shortage=20))
    assert (notebook.shed, website.shed) == (2, 0)
    assert notebook.reason.endswith("; website goes first, by priority")
