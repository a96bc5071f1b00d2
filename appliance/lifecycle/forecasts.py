"""The forecast of a class, from the catalog: who asked for its machines, and what the engine made of that.

It is made of the requests: these are never forgotten, so that no table of its own is written beside them.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from appliance.catalog import Class, demand, policies, public_holidays, timezone
from appliance.pools.forecast import EPOCH, WEEK, WEEKS, Demand, seconds
from appliance.pools.windows import Forecast, wall
from appliance.scenario.calendar import OneOff

LOOKED_AT = timedelta(weeks=WEEKS + 2)  # of requests


@dataclass(frozen=True)
class Kept:
    """What the class's row has. `key` is what it was made for; numbers are None when too little was known."""

    key: dict[str, Any]
    numbers: tuple[int, ...] | None
    fixed: int
    is_fixed: bool
    weeks: int  # replayed, and what both came to in them: the share that got one at once, and idle machine-hours a week
    met: float
    hours: float
    fixed_met: float
    fixed_hours: float
    times: list[float]  # seconds that making the last machines took
    at_once: int
    further: dict[int, tuple[int, ...] | None] = field(default_factory=dict)  # numbers of the service levels that windows name besides


def kept(machine_class: Class) -> Kept | None:
    """What is forecast for the class; None before the engine looked."""
    found = dict(machine_class.forecast)
    if not found:
        return None
    numbers, further = found.pop("numbers"), found.pop("further", {})
    levels = {int(level): None if one is None else tuple(one) for level, one in further.items()}
    return Kept(numbers=None if numbers is None else tuple(numbers), further=levels, **found)


def acting(machine_class: Class) -> Forecast | None:
    """The forecast that says how many are kept ready in place of the buffer; None while it only advises."""
    if not machine_class.forecast or not policies.value(machine_class, "forecast_acts"):
        return None
    found = kept(machine_class)
    return Forecast(found.key["level"], found.numbers) if found and found.numbers else None


def of_windows(machine_class: Class) -> tuple[Forecast, ...]:
    """Those of the service levels that the class's windows name; of which too little is known, none."""
    if not machine_class.forecast or not levels(machine_class):
        return ()
    found = kept(machine_class)
    known = {**found.further, found.key["level"]: found.numbers} if found else {}
    return tuple(Forecast(level, numbers) for level in levels(machine_class) if (numbers := known.get(level)))


def levels(machine_class: Class) -> list[int]:
    """The service levels that the class's windows name."""
    return sorted({one["service_level"] for one in machine_class.windows if one.get("service_level") is not None})


def this_week(moment: datetime) -> int:
    """The week that it is in the appliance's time zone, as pools.forecast counts."""
    return int(seconds(wall(moment, timezone.current())) // WEEK)


def demand_of(machine_class: Class, moment: datetime, span: timedelta = LOOKED_AT) -> Demand:
    """Who asked for machines of the class in such a time, by the wall clock. What fell into a one-off tells nothing of other weeks, nor do holidays."""
    zone = timezone.current()
    one_offs = [OneOff.model_validate(one) for one in machine_class.one_offs]
    asked = [wall(at, zone) for at in demand.arrivals(machine_class.name, moment - span)]
    usual = sorted(seconds(at) for at in asked if not any(one.begins <= at < one.ends for one in one_offs))
    year = wall(moment, zone).year
    without = {*public_holidays.of((year - 1, year)), *(one.day for one in one_offs)}
    first = demand.first_request(machine_class.name) or moment
    since = seconds(wall(max(first, moment - span), zone))
    return Demand(usual, since, frozenset((day - EPOCH.date()).days for day in without))
