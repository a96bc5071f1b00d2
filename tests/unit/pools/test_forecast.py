"""The forecast and the replay that it is chosen by."""

import random
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.pools import generated, replay, windows
from appliance.pools.forecast import WEEK, Demand, Forecaster, Needs, held_by, quantile, steps, walked
from appliance.pools.generated import Numbers
from appliance.pools.planner import Policy
from appliance.pools.replay import Making, Outcome
from appliance.pools.windows import SLOTS, Calendar, Forecast, Pace
from appliance.scenario.calendar import MANY, Window

pytestmark = pytest.mark.policy

BOOTS = [20.0, 25.0, 30.0, 35.0, 40.0]
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


def lessons(weeks: int, size: int = 12) -> list[float]:
    """Everybody asks within a minute, on Monday at nine."""
    return [week * WEEK + 9 * 3600 + person * 5 for week in range(weeks) for person in range(size)]


def forecaster(arrivals: Sequence[float], level: int = 99, **more: bool) -> Forecaster:
    return Forecaster(Demand(arrivals, 0.0), BOOTS, 2, level, **more)


@settings(max_examples=8)
@given(
    st.lists(st.floats(0, 4 * WEEK, exclude_max=True), max_size=40),
    st.lists(st.floats(3 * WEEK, 5 * WEEK), max_size=20),
    st.lists(st.floats(3 * WEEK, 5 * WEEK), max_size=20),
)
def test_what_is_asked_later_never_changes_a_target(before: list[float], one: list[float], other: list[float]) -> None:
    known = sorted(moment for moment in before if moment < 3 * WEEK)
    first, second = (forecaster([*known, *sorted(after)]).choose(3) for after in (one, other))
    assert first == second
    assert first is not None


def test_a_class_that_asks_at_once_has_its_machines_at_that_hour_alone() -> None:
    choice = forecaster(lessons(8)).choose(8)
    assert choice is not None
    assert not choice.is_fixed
    assert choice.forecast.numbers[36] == 12
    assert choice.forecast.numbers[37] <= 12
    assert max(choice.forecast.numbers[48:600]) <= 1
    assert choice.outcome.level == choice.fixed_outcome.level == 1
    assert choice.outcome.idle < choice.fixed_outcome.idle / 10
    assert steps(choice.forecast.numbers, Pace(40, 2), 0.0)[1][0] == 9 * 3600 - 305, "six rounds of two are begun before it holds"


def test_a_fixed_number_is_proposed_for_what_is_forked_and_where_nothing_does_better() -> None:
    forked = forecaster(lessons(8), fixed_only=True).choose(8)
    assert forked is not None
    assert forked.is_fixed
    assert set(forked.forecast.numbers) == {forked.fixed}
    assert forked.outcome.level >= 0.99
    nobody = forecaster([]).choose(8)
    assert nobody is not None
    assert nobody.is_fixed
    assert nobody.fixed == 0


def test_there_is_no_forecast_before_two_weeks_are_known() -> None:
    assert forecaster(lessons(3)).choose(1) is None
    assert forecaster(lessons(3)).choose(2) is not None
    assert Forecaster(Demand(lessons(3), 2 * 86400.0), BOOTS, 2, 99).choose(2) is None, "of the first week two days are missing"


def test_days_unlike_others_are_left_out() -> None:
    arrivals = [moment for moment in lessons(8) if not 7 * WEEK <= moment < 8 * WEEK]
    with_holiday = Needs(Demand(arrivals, 0.0, frozenset({49})), Pace(30)).before(8)
    assert quantile(with_holiday[36], 0.51) == 12
    assert sum(weight for _, weight in with_holiday[36]) == pytest.approx(0.5), "the quarters beside it needed none"


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0.01, 1)), max_size=20), st.floats(0, 1))
def test_a_quantile_is_the_least_number_that_covers_its_share(drawn: list[tuple[int, float]], share: float) -> None:
    whole = sum(weight for _, weight in drawn) * 1.25 or 1.0
    needs = sorted((need, weight / whole) for need, weight in drawn)
    found = quantile(needs, share)

    def covered(upto: int) -> float:
        return 1 - sum(weight for need, weight in needs if need > upto)

    assert covered(found) >= share - 1e-6
    assert found == 0 or covered(found - 1) < share + 1e-6


numbers = st.lists(st.integers(0, 30), min_size=14, max_size=14).map(lambda of: tuple(number for number in of for _ in range(SLOTS // 14)))


@settings(max_examples=12)
@given(numbers, st.integers(0, 20), st.floats(0.2, 200), st.integers(1, 4), st.lists(st.integers(0, 7 * 86399), min_size=5, max_size=10))
def test_what_is_replayed_is_what_the_planner_goes_by(
    of: tuple[int, ...], buffer: int, each: float, at_once: int, moments: list[int]
) -> None:
    window = Window(name="Noon", begin="12:00", end="14:00", buffer=buffer, days=("tue", "fri"))  # type: ignore[arg-type]
    calendar = Calendar(Policy(0, 40, 1), (window,), level=99, forecasts=(Forecast(99, of),))
    pace = Pace(each, at_once)
    begin = MONDAY - timedelta(days=1)
    segments = [(one.begins.timestamp(), one.bounds) for one in windows.timeline(calendar, begin, MONDAY + timedelta(days=9))]
    course = list(windows.course(segments, windows.more, pace))
    for second in moments:
        moment = MONDAY + timedelta(seconds=second)
        _, holds, later = [one for one in course if one[0] <= moment.timestamp()][-1]
        assert windows.Ahead(holds, later).policy() == windows.ahead(calendar, moment, lambda: pace).policy()


def test_the_forecast_is_a_source_beside_windows_and_one_that_says_a_number_wins() -> None:
    of = Forecast(95, tuple(range(SLOTS)))
    window = Window(name="Lessons", begin="09:00", end="10:00", buffer=5, days=("mon",))  # type: ignore[arg-type]
    calendar = Calendar(Policy(0, 1000, 3), (window,), level=95, forecasts=(of,), holidays=frozenset({date(2026, 11, 4)}))
    at = windows.at(calendar, MONDAY + timedelta(hours=8, minutes=20))
    assert (at.buffer.machines, at.sources, at.is_usual) == (33, (windows.FORECAST,), True)
    assert windows.at(calendar, MONDAY + timedelta(hours=9)).buffer.parts == (("Lessons", 5),)
    assert windows.at(calendar, MONDAY + timedelta(days=2)).buffer.machines == 6 * 96, "a holiday is a Sunday"
    assert windows.at(Calendar(Policy(0, 1000, 3), level=99, forecasts=(of,)), MONDAY).buffer.machines == 3, "for that level there is none"


def replayed(arrivals: Sequence[float], policy: Policy, seconds: float = 30, at_once: int = 2, held: float = 0) -> Outcome:
    return replay.replay(arrivals, [(0.0, policy)], Making(lambda: seconds, at_once, held), 0.0, 3600.0)


def test_a_replay_counts_who_waited_and_what_was_idle() -> None:
    found = replayed([600.0, 601.0, 602.0], Policy(0, 9, 2))
    assert (found.asked, found.met) == (3, 2)
    assert found.waits == [30 - 2], "two are made at once, and the first that is ready is for who waits"
    assert found.idle == 600 * 2 + 1 + (3600 - 631) + (3600 - 660)
    assert found.wait(0.5) == 0
    assert found.wait(1.0) == 28
    bounded = replayed([600.0, 601.0], Policy(0, 1, 1), held=1000)
    assert bounded.waits == [600 + 1000 + 30 - 601], "the maximum holds in a replay, too"


@settings(max_examples=40)
@given(st.lists(st.floats(0, 3599), max_size=30).map(sorted), st.integers(0, 5), st.integers(0, 3))
def test_nobody_is_lost_in_a_replay_and_more_machines_never_meet_fewer(arrivals: list[float], buffer: int, more: int) -> None:
    few, many = replayed(arrivals, Policy(0, MANY, buffer)), replayed(arrivals, Policy(0, MANY, buffer + more))
    assert few.met + len(few.waits) == few.asked == len(arrivals)
    assert many.met >= few.met


def test_a_year_is_replayed_within_a_second() -> None:
    arrivals = generated.school(Numbers(12, 25), 52, random.Random(5))
    assert len(arrivals) > 10_000
    begun = time.process_time()
    replay.replay(arrivals, [(0.0, Policy(0, MANY, 12))], Making(lambda: 30.0, 2, 8 * 3600), 0.0, 52.0 * WEEK)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("kind", generated.KINDS)
def test_generated_demand_is_in_order_and_the_same_for_the_same_chance(kind: str) -> None:
    one, other = (generated.KINDS[kind](Numbers(6, 10), 3, random.Random(1)) for _ in range(2))
    assert one == other == sorted(one)
    assert one
    assert one[0] >= 0
    assert one[-1] < 3 * WEEK


def test_a_start_counts_off_in_a_replay_as_it_does_for_the_planner() -> None:
    window = Window(name="Lessons", begin="09:00", end="12:00", start=5, days=("mon",))  # type: ignore[arg-type]
    calendar = Calendar(Policy(0, 40, 0), (window,))
    nine = 9 * 3600.0
    holds = held_by(calendar, 0.0, 86400.0, Pace(30, 2))
    found = replay.replay([nine + 60, nine + 61], holds, Making(lambda: 30.0, 2), 0.0, 86400.0)
    assert found.met == 2
    begun_by = 300.0
    assert found.idle <= 3 * 3 * 3600 + 2 * 61 + 5 * begun_by, "two of five are gone, and not replaced"
    assert found.idle >= 3 * 3 * 3600


def test_where_the_forecast_acts_each_week_goes_by_what_was_known_before_it() -> None:
    arrivals = lessons(6)
    by = forecaster(arrivals)
    steps_of = walked(Calendar(Policy(0, 40, 1)), by, range(6))
    monday = [max(policy.buffer for at, policy in steps_of if isinstance(policy, Policy) and at // WEEK == week) for week in range(6)]
    assert monday[:2] == [1, 1], "at first the buffer counts"
    assert min(monday[3:]) >= 8


def test_how_long_people_waited_is_spread_over_bounds() -> None:
    came = Outcome(10, 6, 0.0, [30.0, 30.1, 61.0, 4000.0])
    assert came.spread([30, 60, 3600]) == [0.6, 0.1, 0.1, 0.1, 0.1]
    assert sum(came.spread([1])) == pytest.approx(1)
    assert Outcome().spread([30]) == [0, 0, 0]
