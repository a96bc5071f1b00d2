"""Forecasts of how many machines to keep ready: made of a class's requests once a week, and kept in its row."""

from typing import Any

from appliance import catalog
from appliance.catalog import Class, EventKind, now, policies, record, seeds
from appliance.lifecycle import forks, pace
from appliance.lifecycle.forecasts import demand_of, levels, this_week
from appliance.pools.forecast import Choice, Forecaster
from appliance.settings import Settings


def due() -> list[tuple[Class, dict[str, Any]]]:
    """The classes for which another is to be made, each with what it is to be made for: a week began, or how machines are made or a level is another."""
    week, found = this_week(now()), []
    for machine_class in list(Class.select().where(Class.enabled)):
        seed = seeds.promoted(machine_class.name)
        if seed is None:
            continue
        level = policies.value(machine_class, "service_level")
        key = {
            "week": week,
            "level": level,
            "further": [one for one in levels(machine_class) if one != level],
            "forked": forks.usable(machine_class, seed) is not None,
        }
        if machine_class.forecast.get("key") != key:
            found.append((machine_class, key))
    return found


def make(settings: Settings) -> None:
    """Make those that are due; that takes a second a class at most."""
    for machine_class, key in due():
        forked = key["forked"]
        times = [max(one.total_seconds(), 0.01) for one in pace.times(machine_class.name, forked=forked)]
        at_once = pace.at_once(settings, forked=forked)
        asked = demand_of(machine_class, now())
        forecaster = Forecaster(asked, times, at_once, key["level"], fixed_only=forked)
        choice = forecaster.choose(key["week"])
        further = {level: Forecaster(asked, times, at_once, level, fixed_only=forked).choose(key["week"]) for level in key["further"]}
        numbers = {str(level): list(one.forecast.numbers) if one else None for level, one in further.items()}
        row = {"key": key, **_plain(choice), "further": numbers, "times": times, "at_once": at_once}
        with catalog.write():
            Class.update(forecast=row).where(Class.name == machine_class.name).execute()
            if choice is not None:
                told = {name: value for name, value in row.items() if name not in ("numbers", "further", "times")}
                record(EventKind.CLASS_FORECAST, _told(machine_class.name, choice), class_name=machine_class.name, after=told)


def _plain(choice: Choice | None) -> dict[str, Any]:
    if choice is None:
        return {"numbers": None, "fixed": 0, "is_fixed": True, "weeks": 0, "met": 0.0, "hours": 0.0, "fixed_met": 0.0, "fixed_hours": 0.0}
    weeks = choice.replayed
    return {
        "numbers": list(choice.forecast.numbers),
        "fixed": choice.fixed,
        "is_fixed": choice.is_fixed,
        "weeks": weeks,
        "met": round(choice.outcome.level, 4),
        "hours": round(choice.outcome.hours / weeks, 1),
        "fixed_met": round(choice.fixed_outcome.level, 4),
        "fixed_hours": round(choice.fixed_outcome.hours / weeks, 1),
    }


def _told(name: str, choice: Choice) -> str:
    if choice.is_fixed:
        return f"{name}: {choice.fixed} ready at all times are as good as any forecast for this week."
    return f"{name}: from {min(choice.forecast.numbers)} to {max(choice.forecast.numbers)} ready are forecast for this week."
