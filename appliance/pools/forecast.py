"""How many machines to keep ready in each quarter of an hour of the week, so that so many of a hundred who ask get one at once. Pure functions.

Times are seconds of a wall clock since EPOCH, a Monday; a week is known by its number from there. What is forecast is the *need* of a quarter: the
most that was asked for, from any moment in it, within as long as it takes to make more. A mean would be wrong: a class of 25 in two minutes is 25 an
hour. The number of a quarter is a quantile of its needs in the last weeks; which quantile, or whether one fixed number does as well, is chosen each
Monday by replaying the last weeks, each with what was known when it began. Nothing after a Monday changes that week's numbers.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from appliance.pools.planner import Policy
from appliance.pools.replay import Counts, Making, Outcome, Step, replay
from appliance.pools.windows import SLOT, SLOTS, Ahead, Calendar, Forecast, Pace, course, more, timeline
from appliance.scenario.calendar import MANY

EPOCH = datetime(2000, 1, 3)  # noqa: DTZ001 - of a wall clock
DAY, WEEK = 86400, 7 * 86400
WEEKS = 8  # that are looked at
NEEDED = 2  # weeks without which there is no forecast
DECAY = 0.85  # what a week counts of the one after it; the quarters beside one count half of it
BRIDGED = 3.0  # times as long as making a machine takes: until machines are made as fast as people ask for them
MARGIN = 0.001  # by which a replay has to be above the service level, since weeks differ
SAMPLES = 50  # of how long making took

Aim = tuple[float, float]  # a quantile, and what it is multiplied with
AIMS: tuple[Aim, ...] = (*tuple((q, 1.0) for q in (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)), (1.0, 1.1), (1.0, 1.25), (1.0, 1.5))
FLOORS = (0, 1)  # machines that are always ready


def seconds(shown: datetime) -> float:
    """The time that a wall clock shows, on the axis of this module."""
    return (shown - EPOCH).total_seconds()


def monday(week: int) -> datetime:
    """When a week begins, by the wall clock."""
    return EPOCH + timedelta(weeks=week)


@dataclass(frozen=True)
class Demand:
    """Who asked when, in order; known since when; `without` are days (numbers from EPOCH) that tell nothing of others, like holidays."""

    arrivals: Sequence[float]
    since: float
    without: frozenset[int] = frozenset()

    @property
    def first(self) -> int:
        """The first week that is known; one of which no more than a day is missing is."""
        return math.ceil((self.since - DAY) / WEEK)


class Needs:
    """What each quarter of an hour needed, by week; those that needed none are not in it."""

    def __init__(self, demand: Demand, pace: Pace) -> None:
        self.demand = demand
        window = BRIDGED * pace.seconds
        self.of: dict[int, dict[int, int]] = {}
        arrivals = demand.arrivals
        for number, since in enumerate(arrivals):
            week, second = divmod(since, WEEK)
            # Never beyond the week: what a week needed is known when it is over.
            need = bisect_right(arrivals, min(since + window, (week + 1) * WEEK - 1e-6)) - number
            slots, slot = self.of.setdefault(int(week), {}), int(second // SLOT)
            slots[slot] = max(slots.get(slot, 0), need)

    def weeks(self, week: int) -> range:
        """Those that a forecast of a week looks at."""
        return range(max(self.demand.first, week - WEEKS), week)

    def counts(self, week: int, slot: int) -> bool:
        """Whether the day of a quarter of an hour tells of others."""
        return week * 7 + slot // (SLOTS // 7) not in self.demand.without

    def before(self, week: int) -> list[list[tuple[int, float]]]:
        """For each quarter of the week the needs, in order, in earlier weeks, each with the share it counts; the rest was none."""
        found: list[list[tuple[int, float]]] = [[] for _ in range(SLOTS)]
        whole = [0.0] * SLOTS
        for past in self.weeks(week):
            weight = DECAY ** (week - past - 1)
            for slot in range(SLOTS):
                whole[slot] += 2 * weight if self.counts(past, slot) else 0.0
            for slot, need in self.of.get(past, {}).items():
                if self.counts(past, slot):
                    found[slot].append((need, weight))
                    found[slot - 1].append((need, weight / 2))
                    found[(slot + 1) % SLOTS].append((need, weight / 2))
        return [sorted((need, weight / all) for need, weight in needs) if all else [] for needs, all in zip(found, whole, strict=True)]


def quantile(needs: Sequence[tuple[int, float]], share: float) -> int:
    """The least number that such a share of needs is no larger than. `needs` are in order, each with the share it counts; the rest was none."""
    upto, found = 1.0 - sum(weight for _, weight in needs), 0
    for need, weight in needs:
        if upto >= share - 1e-9:
            break
        upto, found = upto + weight, need
    return found


@dataclass(frozen=True)
class Choice:
    """What is to be kept ready in a week, and what both that and the best fixed number came to in the replay of the weeks before.

    aim: what the numbers are made by; None: all are the same, since no forecast does better.
    """

    week: int
    forecast: Forecast
    aim: Aim | None
    replayed: int  # weeks
    outcome: Outcome
    fixed: int
    fixed_outcome: Outcome

    @property
    def is_fixed(self) -> bool:
        return self.aim is None


class Forecaster:
    """Forecasts week by week, each from what was known when it began. What a week would have come to is replayed once for each way of choosing numbers.

    times: seconds that making the last machines took. `fixed_only`: only one number is looked for, because machines are made so fast that keeping fewer
    for a while saves nothing.
    """

    def __init__(self, demand: Demand, times: Sequence[float], at_once: int, level: int, *, fixed_only: bool = False) -> None:
        self.demand, self.times, self.at_once, self.level, self.fixed_only = demand, sorted(times), at_once, level, fixed_only
        self.pace = pace_of(times, at_once)
        self._needs = Needs(demand, self.pace)
        self._before = cache(self._needs.before)
        self._wanted = cache(self._aimed)
        self._outcome = cache(self._replayed)
        self.choose = cache(self._choose)

    def numbers(self, week: int, aim: Aim, least: int) -> tuple[int, ...]:
        """The machines to keep ready in each quarter of the week."""
        return tuple(max(least, number) for number in self._wanted(week, aim))

    def _aimed(self, week: int, aim: Aim) -> list[int]:
        share, factor = aim
        return [math.ceil(factor * quantile(needs, share) - 1e-9) if needs else 0 for needs in self._before(week)]

    def _choose(self, week: int) -> Choice | None:
        """The cheapest numbers for a week that would have met the service level in the weeks before; None when too few are known."""
        weeks = self._needs.weeks(week)
        if len(weeks) < NEEDED:
            return None
        weeks = range(max(weeks[0], self.demand.first + 1), week)  # of which the first had nothing to go by
        fixed = self._least(range(MANY), lambda number: self._over(weeks, (number, None)))
        best: tuple[int, Aim | None] = fixed, None
        for least in () if self.fixed_only else FLOORS:
            place = self._least(range(len(AIMS)), lambda place, least=least: self._over(weeks, (least, AIMS[place])))  # type: ignore[misc]
            found = least, AIMS[place]
            if self._meets(self._over(weeks, found)) and self._over(weeks, found).idle < self._over(weeks, best).idle:
                best = found
        least, aim = best
        numbers = (least,) * SLOTS if aim is None else self.numbers(week, aim, least)
        return Choice(
            week, Forecast(self.level, numbers), aim, len(weeks), self._over(weeks, best), fixed, self._over(weeks, (fixed, None))
        )

    def _meets(self, outcome: Outcome) -> bool:
        return outcome.level >= min(1.0, self.level / 100 + MARGIN)

    def _least(self, places: range, outcome: Callable[[int], Outcome]) -> int:
        """The first that meets the service level, or the last; each does better than the one before."""
        low, step = 0, 1
        while low + step < len(places) and not self._meets(outcome(low + step)):
            low, step = low + step, step * 2
        high = min(low + step, places[-1])
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._meets(outcome(middle)) else (middle + 1, high)
        return low

    def _over(self, weeks: range, way: tuple[int, Aim | None]) -> Outcome:
        return sum((self._outcome(week, way) for week in weeks), Outcome())

    def _replayed(self, week: int, way: tuple[int, Aim | None]) -> Outcome:
        """What a week would have come to with such numbers."""
        least, aim = way
        numbers = (least,) * SLOTS if aim is None else self.numbers(week, aim, least)
        chance = random.Random(week)  # noqa: S311 - the same for each way
        making = Making(lambda: chance.choice(self.times), self.at_once)
        begin = float(week * WEEK)
        return replay(self.demand.arrivals, steps(numbers, self.pace, begin), making, begin, begin + WEEK)


def pace_of(times: Sequence[float], at_once: int) -> Pace:
    """How fast machines are made: as long as nine of ten of the last took."""
    return Pace(sorted(times)[(len(times) - 1) * 9 // 10], at_once)


def steps(numbers: Sequence[int], pace: Pace, begin: float) -> list[Step]:
    """The numbers of a week that begins at `begin`, each begun as long before as making takes."""
    segments = [(begin + slot * SLOT, number) for slot, number in enumerate(numbers) if not slot or number != numbers[slot - 1]]
    going = course(segments, lambda before, after: after - before, pace)
    return [(moment, Policy(0, MANY, max(now, *later, 0))) for moment, now, later in going]


def held_by(calendar: Calendar, begin: float, end: float, pace: Pace) -> list[Step]:
    """What the planner goes by from `begin` to `end`, by a calendar whose clock is this module's."""
    here = replace(calendar, zone=UTC)
    segments = [
        (seconds(one.begins.replace(tzinfo=None)), one.bounds)
        for one in timeline(
            here, (EPOCH + timedelta(seconds=begin)).replace(tzinfo=UTC), (EPOCH + timedelta(seconds=end)).replace(tzinfo=UTC)
        )
    ]
    return [(moment, _policy(Ahead(now, later))) for moment, now, later in course(segments, more, pace)]


def _policy(holds: Ahead) -> Policy | Counts:
    if not any(bounds.starts for bounds in (holds.now, *holds.later)):
        return holds.policy()
    return lambda handed_out: holds.policy(lambda since: handed_out(seconds(since.replace(tzinfo=None))))


def walked(calendar: Calendar, forecaster: Forecaster, weeks: range) -> list[Step]:
    """The same of weeks in each of which the forecast acts, by what was known when it began."""
    found: list[Step] = []
    for week in weeks:
        choice = forecaster.choose(week)
        acting = replace(calendar, level=forecaster.level, forecasts=(choice.forecast,)) if choice else calendar
        found += held_by(acting, week * WEEK, (week + 1) * WEEK - 1, forecaster.pace)
    return found
