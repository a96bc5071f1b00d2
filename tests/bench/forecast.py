"""The forecast, week by week and knowing nothing of the weeks to come, against the best fixed number known in hindsight.

Half a year of each kind of demand, of which the first four weeks are only looked at. Machines take a time of their own each, which the forecast knows
of a few that were made before. The seeds are neither those of the notes' scripts (1 to 3) nor those by which its constants were chosen (101 to 108).
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

from appliance.pools import generated
from appliance.pools.forecast import WEEK, Demand, Forecaster, steps
from appliance.pools.generated import Numbers
from appliance.pools.planner import Policy
from appliance.pools.replay import Making, Outcome, Step, replay
from appliance.scenario.calendar import MANY

SEEDS, WEEKS, SEEN = (11, 12, 13, 14), 26, 4
SMALLEST = {"SEEDS": (11,), "WEEKS": 7}
GOAL = 99
DEMANDS = {"school": Numbers(12, 25), "office": Numbers(12), "growing": Numbers(6, growth=5), "flat": Numbers(2)}
PATTERNS = ("school", "office", "growing")
BOOTS = {"20-40 s": (20.0, 40.0), "90-180 s": (90.0, 180.0)}  # two at a time
FORKS = (0.2, 1.0)  # four at a time


class Pair(NamedTuple):
    """What the forecast came to, and what the best fixed number did."""

    forecast: Outcome
    fixed: Outcome


def compare(kind: str, seed: int, lead: tuple[float, float], at_once: int, *, forks: bool = False) -> tuple[Pair, set[bool]]:
    """Both, and whether what was proposed each week was a fixed number."""
    arrivals = generated.KINDS[kind](DEMANDS[kind], WEEKS, random.Random(f"{kind} {seed}"))
    before = random.Random(f"before {seed}")
    forecaster = Forecaster(Demand(arrivals, 0.0), [before.uniform(*lead) for _ in range(20)], at_once, GOAL, fixed_only=forks)

    def came_to(holds: list[Step]) -> Outcome:
        chance = random.Random(f"making {seed}")
        return replay(arrivals, holds, Making(lambda: chance.uniform(*lead), at_once), SEEN * WEEK, WEEKS * WEEK)

    said: list[Step] = []
    fixed = set()
    for week in range(SEEN, WEEKS):
        choice = forecaster.choose(week)
        assert choice is not None
        fixed.add(choice.is_fixed)
        said += steps(choice.forecast.numbers, forecaster.pace, week * WEEK)
    hindsight = (came_to([(SEEN * WEEK, Policy(0, MANY, number))]) for number in count())
    return Pair(came_to(said), next(outcome for outcome in hindsight if outcome.level >= GOAL / 100)), fixed


def saved(pairs: list[Pair]) -> float:
    return 1 - sum(pair.forecast.idle for pair in pairs) / sum(pair.fixed.idle for pair in pairs)


def result(
    name: str, value: float, unit: str, pairs: list[Pair], baseline: str = "idle machine-hours of the best fixed number in hindsight"
) -> dict[str, Any]:
    """The ratio is that of idle machine-hours."""
    idle, fixed = (sum(getattr(pair, side).hours for pair in pairs) for side in ("forecast", "fixed"))
    return {
        "name": name,
        "value": round(value, 4),
        "unit": unit,
        "baseline": baseline,
        "baseline_value": round(fixed),
        "ratio": round(fixed / idle, 3),
    }


def run() -> Iterator[dict[str, Any]]:
    found: dict[str, list[Pair]] = defaultdict(list)
    for kind in DEMANDS:
        for lead in BOOTS.values():
            found[kind] += [compare(kind, seed, lead, 2)[0] for seed in SEEDS]
    together = [pair for kind in PATTERNS for pair in found[kind]]
    over = f"{', '.join(PATTERNS)} at leads of {' and '.join(BOOTS)}"
    yield result(
        "forecast.met", min(pair.forecast.level for pair in together), f"share met at once, the worst of {len(together)}: {over}", together
    )
    yield result("forecast.idle", saved(together), f"share of idle machine-hours saved, {over}", together)
    for kind in PATTERNS:
        yield result(f"forecast.idle.{kind}", saved(found[kind]), "share of idle machine-hours saved", found[kind])
    yield result(
        "forecast.flat",
        1 - saved(found["flat"]),
        "times the idle machine-hours of the best fixed number, without any pattern",
        found["flat"],
    )
    yield result("forecast.flat.met", min(pair.forecast.level for pair in found["flat"]), "share met at once, the worst", found["flat"])
    forks = [compare(kind, seed, FORKS, 4, forks=True) for kind in DEMANDS for seed in SEEDS]
    assert {fixed for _, proposed in forks for fixed in proposed} == {True}, "a fixed number is proposed for forks"
    yield result(
        "forecast.forks",
        min(pair.forecast.level for pair, _ in forks),
        "share met at once with the fixed number that is proposed for forks, the worst",
        [pair for pair, _ in forks],
    )
