"""What holds for a class when, from the catalog: its policy, windows and one-offs, the holidays, the appliance's time zone."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from appliance import catalog
from appliance.catalog import Class, EventKind, now, public_holidays, record, timezone
from appliance.catalog.models import stamp
from appliance.lifecycle import forecasts
from appliance.pools.planner import Policy
from appliance.pools.windows import FORECAST, NUMBERS, RULES, Ahead, Bounds, Calendar, at, words
from appliance.scenario.calendar import OneOff, Window


def calendar_of(machine_class: Class, moment: datetime | None = None) -> Calendar:
    """The calendar of a class; it knows the holidays of the year of `moment` (now, if not given), of the one before and the one after."""
    windows = tuple(Window.model_validate(one) for one in machine_class.windows)
    one_offs = tuple(OneOff.model_validate(one) for one in machine_class.one_offs)
    policy = Policy(machine_class.minimum, machine_class.maximum, machine_class.buffer)
    acting = forecasts.acting(machine_class)
    if not (windows or one_offs or acting):
        return Calendar(policy)
    known = {one.level: one for one in (*forecasts.of_windows(machine_class), *((acting,) if acting else ()))}
    year = (moment or now()).year
    days = public_holidays.of(range(year - 1, year + 2)) if known or any(window.holidays != "any" for window in windows) else {}
    level = acting.level if acting else 0
    return Calendar(policy, windows, one_offs, frozenset(days), timezone.current(), level, tuple(known.values()))


def scaled(machine_class: Class, moment: datetime | None = None) -> Calendar:
    """The same with what the rules of the class came to just now."""
    rules = tuple((name, state["machines"]) for name, state in sorted(machine_class.scaling.items()))
    return replace(calendar_of(machine_class, moment), rules=rules)


def holding(machine_class: Class) -> Bounds:
    """What holds for the class now."""
    return at(scaled(machine_class), now())


def preparing(machine_class: Class) -> datetime | None:
    """When what machines are being made for holds, as the planner last went by it; None when it is what holds already."""
    begun = machine_class.holds.get("prepares")
    return datetime.fromisoformat(begun) if begun else None


def note(machine_class: Class, holds: Ahead) -> None:
    """Keep what the planner goes by, and record it when it is not what it went by before; nothing is kept of a class without a calendar."""
    changes = bool(machine_class.windows or machine_class.one_offs or {FORECAST, RULES} & set(holds.bounds.sources))
    after = _plain(holds) if changes else {}
    before = machine_class.holds
    if after == before:
        return
    with catalog.write():
        Class.update(holds=after).where(Class.name == machine_class.name).execute()
        foreseen = {FORECAST, *(one["name"] for one in machine_class.windows if one.get("service_level") is not None)}
        if _unforeseen(before, foreseen) != _unforeseen(after, foreseen) and (before or holds.prepares or holds.bounds.sources):
            record(EventKind.CLASS_HOLDS, _told(machine_class.name, holds), class_name=machine_class.name, before=before, after=after)


def _unforeseen(holds: Mapping[str, Any], foreseen: set[str]) -> dict[str, Any]:
    """What holds, without the numbers of the forecast: these are told once a week, and not each quarter of an hour; and without those of rules, each of
    which has an event of its own. `foreseen` are the sources that the forecast is behind."""
    found = dict(holds)
    for name in NUMBERS:
        sources = {source for source, _ in holds.get(name, {}).get("parts", ())}
        if told := sources & {*foreseen, RULES}:
            found |= {name: sorted(told)}
            if foreseen & told:
                found["prepares"] = None
    return found


def _plain(holds: Ahead) -> dict[str, Any]:
    """The numbers with what each is the sum of, and when what is being prepared holds."""
    numbers = {name: getattr(holds.bounds, name) for name in NUMBERS}
    return {
        "prepares": stamp(holds.prepares) if holds.prepares else None,
        **{name: {"machines": found.machines, "parts": [list(part) for part in found.parts]} for name, found in numbers.items()},
    }


def _told(name: str, holds: Ahead) -> str:
    by = " and ".join(holds.bounds.sources) or "the policy alone"
    if holds.prepares:
        return f"{name} is prepared for {timezone.clock(holds.prepares)}: {words(holds.bounds)}, by {by}."
    return f"{name} has from now on: {words(holds.bounds)}, by {by}."
