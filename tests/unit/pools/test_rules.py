"""What rules decide: one by one, and what must hold whatever is read."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from appliance.pools.rules import Held, State, decide, replay
from appliance.scenario.rule import Rule, rule_faults

pytestmark = pytest.mark.policy

NOW = 1_000_000.0


def rule(**values):
    return Rule(**{"name": "load", "metric": "queue", "above": 10.0, "below": 2.0, "minutes": 1, "most": 8, **values})


def follow(**values):
    return rule(**{"above": None, "below": None, "each": 5.0, **values})


def one(value, of=None, machines=3, at=NOW, state=None, maximum=100):
    of = of or rule()
    return decide([of], {of.key: [(at, value)]}, state or State(machines), NOW, maximum)


def test_thresholds_add_and_remove_a_step():
    up, down, content = one(10.0), one(2.0), one(5.0)
    assert (up.machines, down.machines, content.machines) == (4, 2, 3)
    assert (up.before, up.value, up.is_told, content.is_told) == (3, 10.0, True, False)
    assert up.why == "queue (mean of 1 min) is 10, at or above 10"
    assert one(10.0, rule(up=50, unit="percent")).machines == 5  # of 3, half, rounded up
    assert one(2.0, rule(down=50, unit="percent")).machines == 2  # and down


def test_a_queue_is_followed_by_one_machine_for_each_so_many():
    assert [one(value, follow()).machines for value in (0.0, 5.0, 5.1, 50.0)] == [0, 1, 2, 8]
    assert one(50.0, follow()).held is Held.MOST
    assert "10 wanted, and its rules say 8 at most" in one(50.0, follow()).why
    assert one(50.0, follow(), maximum=4).why.endswith("and the class's maximum is 4")


def test_a_change_waits_for_its_cooldown_up_and_down_apart():
    state = State(3, NOW - 100)
    of = rule(cooldown_up=60, cooldown_down=300)
    assert one(10.0, of, state=state).machines == 4
    down = one(2.0, of, state=state)
    assert (down.machines, down.held, down.wanted) == (3, Held.COOLDOWN, 2)
    assert "in 200 s at the earliest" in down.why
    assert one(2.0, of, state=State(3, NOW + 1e6)).machines == 2, "a clock that was ahead holds nothing up"


def test_more_wins_over_less_and_less_needs_all_that_ever_remove():
    busy, idle = rule(name="busy", metric="cpu", above=0.8, below=0.1), follow(name="queue")
    both = lambda cpu, queue: decide([busy, idle], {"busy": [(NOW, cpu)], "queue": [(NOW, queue)]}, State(4), NOW, 100)  # noqa: E731
    assert (both(0.9, 0.0).machines, both(0.9, 0.0).rule) == (5, "busy")
    assert both(0.5, 0.0).machines == 4
    assert both(0.05, 0.0).machines == 3
    only_up = rule(name="up", below=None)
    assert decide([only_up, idle], {"up": [(NOW, 5.0)], "queue": [(NOW, 0.0)]}, State(4), NOW, 100).machines == 0
    assert decide([only_up, idle], {"queue": [(NOW, 0.0)]}, State(4), NOW, 100).held is Held.MISSING


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "queue is nan, which cannot be"),
        (1e300, "1e+300, which cannot be"),
        (-1.0, "-1, which cannot be"),
        (math.inf, "inf, which"),
    ],
)
def test_a_value_that_cannot_be_holds_and_says_so(value, said):
    found = one(value)
    assert (found.machines, found.held, found.is_told) == (3, Held.IMPLAUSIBLE, True)
    assert said in found.why


def test_a_metric_that_stopped_arriving_holds_and_says_since_when_once_an_hour():
    found = one(0.0, at=NOW - 600)
    assert (found.machines, found.held) == (3, Held.MISSING)
    assert found.why == "no value of queue since 10 min"
    again = decide([rule()], {"load": [(NOW - 600, 0.0)]}, found.state, NOW + 10, 100)
    assert not again.is_told
    assert decide([rule()], {}, again.state, NOW + 3601, 100).is_told
    assert "seen lately" in decide([rule()], {}, State(3), NOW, 100).why


def test_less_by_one_rule_that_would_be_more_by_another_is_held():
    busy, idle = rule(name="busy", metric="cpu", above=0.5, below=None), follow(name="idle")
    held = decide([busy, idle], {"busy": [(NOW, 0.3)], "idle": [(NOW, 5.0)]}, State(2), NOW, 100)
    assert (held.machines, held.wanted, held.held) == (2, 1, Held.FLAPS)
    assert "but with 1 cpu would be 0.6, at or above the 0.5 of busy" in held.why
    assert decide([busy, idle], {"busy": [(NOW, 0.2)], "idle": [(NOW, 5.0)]}, State(2), NOW, 100).machines == 1


def replace_rule(of, **values):
    return Rule.model_validate({**of.model_dump(), **values})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"below": 10.0}, "fights itself"),
        ({"metric": "cpu", "above": 0.5, "below": 0.3, "least": 1}, "would flap: 2 machines at 0.3 become 1 at 0.6"),
        ({"metric": "cpu", "above": 0.5, "below": 0.3, "least": 1, "down": 50, "unit": "percent"}, "would flap"),
        ({"each": 5.0}, "both thresholds and one machine for each"),
        ({"above": None, "below": None}, "never decides anything"),
        ({"least": 9}, "above most"),
        ({"above": None, "below": None, "each": 1.0, "metric": "cpu"}, "a mean of machines"),
    ],
)
def test_a_rule_that_fights_itself_or_flaps_is_refused_with_the_reason(values, said):
    with pytest.raises(ValidationError, match=said):
        rule(**values)


def test_rules_that_fight_are_refused_with_the_reason():
    up, down = rule(name="up", below=None), rule(name="down", above=None, below=12.0)
    [fault] = rule_faults([up, down])
    assert fault.message == "up and down fight: from 10 to 12 one adds and the other removes"
    assert not list(rule_faults([up, replace_rule(down, below=9.0)]))
    assert not list(rule_faults([up, replace_rule(down, metric="wait")]))
    assert not list(rule_faults([up, replace_rule(down, sets="buffer")]))
    cpu_up, cpu_down = rule(name="up", metric="cpu", above=0.5, below=None), rule(name="down", metric="cpu", above=None, below=0.4)
    assert "2 machines at 0.4 become 1 at 0.8" in next(rule_faults([cpu_up, cpu_down])).message
    assert "both go by queue" in next(rule_faults([follow(), rule(name="x")])).message
    assert "two rules called load" in next(rule_faults([rule(), rule(metric="wait")])).message
    assert "no number between" in next(rule_faults([rule(most=2), rule(name="b", metric="wait", least=3)])).message


# -- whatever is read -----------------------------------------------------------------------------------

VALUES = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 100))


@st.composite
def rules_of(draw):
    above, below = sorted(draw(st.lists(st.integers(0, 50), min_size=2, max_size=2, unique=True)), reverse=True)
    least = draw(st.integers(0, 5))
    found = {"least": least, "most": least + draw(st.integers(0, 20)), "up": draw(st.integers(1, 5)), "down": draw(st.integers(1, 5))}
    found |= {"cooldown_up": draw(st.integers(0, 600)), "cooldown_down": draw(st.integers(0, 600)), "minutes": draw(st.integers(1, 10))}
    return follow(**found) if draw(st.booleans()) else rule(above=float(above), below=float(below), **found)


@given(rules_of(), st.lists(VALUES, max_size=30), st.integers(0, 30))
def test_never_outside_the_bounds_and_never_by_a_value_that_cannot_be(of, values, maximum):
    points = [(60.0 * number, value) for number, value in enumerate(values)]
    state = State()
    for number in range(len(values) + 5):
        found = decide([of], {of.key: points[: number + 1]}, state, 60.0 * number, maximum)
        assert min(of.least, maximum) <= found.machines <= min(of.most, maximum)
        last = next((value for _, value in reversed(points[: number + 1]) if value is not None), None)
        if last is None or not 0 <= last <= 1e15:
            assert state.machines in (None, found.machines)
            assert found.held in (Held.MISSING, Held.IMPLAUSIBLE)
        state = found.state


@given(rules_of(), st.lists(st.floats(0, 100), min_size=2, max_size=40), st.booleans())
def test_a_metric_that_only_rises_or_only_falls_never_flaps(of, values, rises):
    points = [(60.0 * number, value) for number, value in enumerate(sorted(values, reverse=not rises))]
    machines = replay([of], {of.key: points}, 0.0, 60.0 * len(points), 100).machines
    steps = [after - before for before, after in itertools.pairwise(machines) if after != before]
    assert sum((one > 0) != (other > 0) for one, other in itertools.pairwise(steps)) <= 1


@given(rules_of(), st.integers(1, 20))
def test_a_load_that_swings_for_an_hour_changes_no_more_often_than_the_cooldown(of, period):
    points = [(60.0 * number, 100.0 if number // period % 2 else 0.0) for number in range(60)]
    machines = replay([of], {of.key: points}, 0.0, 3600.0, 100).machines
    changes = sum(one != other for one, other in itertools.pairwise(machines))
    pause = min(of.cooldown_up, of.cooldown_down)
    assert pause == 0 or changes <= 3600 / pause + 1


def test_yesterday_is_replayed_as_if_there_had_been_as_many_as_the_rules_came_to():
    """Two machines at 0.9 are four at 0.45: the rule stops there, although 0.9 was recorded all the while."""
    of = rule(metric="cpu", above=0.8, below=0.2, least=2, most=10, cooldown_up=0)
    day = [(float(at), 0.9) for at in range(0, 86400, 60)]
    found = replay([of], {of.key: day}, 0.0, 86340.0, 100, had=[(float(at), 2.0) for at in range(0, 86400, 60)])
    assert max(found.machines) == 3
    assert [decision.machines for _, decision in found.told] == [3]
    assert replace(found.told[0][1].state).machines == 3
