"""The forecast of a class as its page shows it, and what another policy would come to."""

import random
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from appliance.catalog import Class, demand, now, policies
from appliance.catalog.demand import Miss
from appliance.errors import BadInput
from appliance.lifecycle import forecasts
from appliance.lifecycle.calendars import calendar_of
from appliance.lifecycle.forecasts import Kept
from appliance.pools import generated
from appliance.pools.forecast import WEEK, Demand, Forecaster, Needs, held_by, monday, pace_of, walked
from appliance.pools.generated import Numbers
from appliance.pools.replay import Making, Outcome, Step, replay
from appliance.pools.windows import SLOTS, Calendar, at_wall
from appliance.scenario.calendar import DAYS

MISSES, YEAR = 10, 52  # shown; weeks
QUARTERS = SLOTS // 7
RECORDED = "recorded"


@dataclass(frozen=True)
class Weekday:
    """A day of the week: the least and the most that is forecast for it, and in how many of its last weeks what is kept ready now would have run dry."""

    name: str
    least: int
    most: int
    dry: int
    weeks: int


@dataclass(frozen=True)
class Advice:
    """`kept` is None before the engine looked, and has no numbers until enough is known."""

    kept: Kept | None
    acts: bool
    level: int
    days: list[Weekday]
    misses: list[Miss]


def advice(machine_class: Class) -> Advice:
    """What is forecast for the class, and what that is worth."""
    kept = forecasts.kept(machine_class)
    days = _days(machine_class, kept) if kept else []
    acts, level = policies.value(machine_class, "forecast_acts"), policies.value(machine_class, "service_level")
    return Advice(kept, acts, level, days, demand.misses(machine_class.name, MISSES))


def _days(machine_class: Class, kept: Kept) -> list[Weekday]:
    """By weekday; nothing before enough is known."""
    if kept.numbers is None:
        return []
    moment = now()
    week, calendar = forecasts.this_week(moment), replace(calendar_of(machine_class), one_offs=())
    needs = Needs(forecasts.demand_of(machine_class, moment), pace_of(kept.times, kept.at_once))
    ready = [at_wall(calendar, monday(week) + timedelta(minutes=15 * slot)).ready for slot in range(SLOTS)]
    found = []
    for number, name in enumerate(DAYS.values()):
        slots = range(number * QUARTERS, (number + 1) * QUARTERS)
        weeks = needs.weeks(week)
        dry = sum(any(needs.of.get(past, {}).get(slot, 0) > ready[slot] for slot in slots) for past in weeks)
        found.append(Weekday(name, min(kept.numbers[slot] for slot in slots), max(kept.numbers[slot] for slot in slots), dry, len(weeks)))
    return found


@dataclass(frozen=True)
class WhatIf:
    """What today's policy and the tried one come to, over so many weeks."""

    today: Outcome
    tried: Outcome
    weeks: int


def what_if(machine_class: Class, tried: dict[str, Any], kind: str, numbers: Numbers) -> WhatIf:
    """Replay the demand that was recorded, or a year of a generated kind, with today's policy and with one that differs in what `tried` says: buffer,
    minimum, maximum and forecast_acts. Raises BadInput when nothing was recorded, or the numbers do not fit."""
    if max(tried["minimum"], tried["buffer"]) > tried["maximum"]:
        raise BadInput("The maximum leaves no room for that.", "Raise it, or lower the others.", field="maximum")
    asked, weeks = _asked(machine_class, kind, numbers)
    if not weeks:
        raise BadInput("Nobody has asked for a machine of this class for a week yet.", "Choose a generated demand.", field="demand")
    kept = forecasts.kept(machine_class)
    times, at_once = (kept.times, kept.at_once) if kept else ([120.0], 1)
    calendar = replace(calendar_of(machine_class), one_offs=(), level=0, forecasts=())
    level, forked = policies.value(machine_class, "service_level"), bool(kept and kept.key["forked"])
    forecaster = Forecaster(asked, times, at_once, level, fixed_only=forked)

    def came_to(by: Calendar, *, acts: bool) -> Outcome:
        steps: list[Step] = walked(by, forecaster, weeks) if acts else held_by(by, weeks[0] * WEEK, (weeks[-1] + 1) * WEEK, forecaster.pace)
        chance = random.Random(1)  # noqa: S311 - the same for both
        making = Making(lambda: chance.choice(times), at_once, machine_class.lease_minutes * 60.0)
        return replay(asked.arrivals, steps, making, weeks[0] * WEEK, (weeks[-1] + 1) * WEEK)

    policy = replace(calendar.policy, **{name: tried[name] for name in ("minimum", "maximum", "buffer")})
    return WhatIf(
        came_to(calendar, acts=policies.value(machine_class, "forecast_acts")),
        came_to(replace(calendar, policy=policy), acts=tried["forecast_acts"]),
        len(weeks),
    )


def _asked(machine_class: Class, kind: str, numbers: Numbers) -> tuple[Demand, range]:
    """The demand, and its whole weeks, of which the last ends with this one's Monday."""
    this = forecasts.this_week(now())
    if kind == RECORDED:
        found = forecasts.demand_of(machine_class, now(), timedelta(weeks=YEAR))
        return found, range(min(this, max(this - YEAR, found.first)), this)
    begin = (this - YEAR) * WEEK
    arrivals = generated.KINDS[kind](numbers, YEAR, random.Random(1))  # noqa: S311 - the same each time
    return Demand([begin + moment for moment in arrivals], begin), range(this - YEAR, this)
