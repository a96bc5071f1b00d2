"""The calendar of a class: its windows and one-offs, what holds now and next, and holidays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from appliance import catalog
from appliance.catalog import Actor, Class, EventKind, doorbell, now, options, public_holidays, record, timezone
from appliance.errors import BadInput, NotFound
from appliance.lifecycle.calendars import calendar_of, preparing, scaled
from appliance.pools import windows as pools
from appliance.pools.windows import Bounds, Oddity, Segment
from appliance.scenario.calendar import OneOff, Window
from appliance.scenario.policy import Form
from appliance.services import classes

Kind = Literal["windows", "one_offs"]
Items = list[dict[str, Any]]
MODELS: Mapping[Kind, type[Window] | type[OneOff]] = {"windows": Window, "one_offs": OneOff}


# -- what holds -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Now:
    """What holds, what holds next (None when nothing changes for months), and what machines are being made for: when it holds, in UTC."""

    bounds: Bounds
    next: Segment | None
    prepares: datetime | None


@dataclass(frozen=True)
class ShownDay:
    """A day of the calendar: its holiday if it is one, what the clock does on it, and its pieces from midnight to midnight."""

    day: date
    holiday: str
    jumps: tuple[pools.Jump, ...]
    blocks: tuple[pools.Block, ...]


def holding(machine_class: Class) -> Now:
    """What holds for the class, now and next."""
    calendar, moment = scaled(machine_class), now()
    prepares = preparing(machine_class)
    following = pools.following(calendar, moment) if calendar else None
    return Now(pools.at(calendar, moment), following, prepares if prepares and prepares > moment else None)


def week(machine_class: Class, day: date) -> list[ShownDay]:
    """The week that the day is in, from Monday on."""
    monday = day - timedelta(days=day.weekday())
    days = [monday + timedelta(days=number) for number in range(7)]
    named = public_holidays.of({days[0].year, days[-1].year})
    zone = timezone.current()
    calendar = calendar_of(machine_class, datetime.combine(days[3], datetime.min.time(), zone))
    begin = pools.instant(datetime.combine(days[0], datetime.min.time()), zone)
    jumps = list(pools.jumps(zone, begin - timedelta(days=1), begin + timedelta(days=9)))
    return [
        ShownDay(
            one,
            named.get(one, ""),
            tuple(jump for jump in jumps if min(jump.before, jump.after).date() == one),
            tuple(pools.blocks(calendar, one, jumps)),
        )
        for one in days
    ]


def today() -> date:
    """The day that it is in the appliance's time zone."""
    return now().astimezone(timezone.current()).date()


def oddities(machine_class: Class) -> dict[str, list[Oddity]]:
    """What changes of the clock make of one-offs, and in the coming year of windows, by their keys; those that they leave alone are not in it."""
    calendar = calendar_of(machine_class)
    found = {window.key: list(pools.oddities(calendar, window, now())) for window in calendar.windows}
    found |= {one.key: [odd] for one in calendar.one_offs if (odd := pools.oddity(calendar, one))}
    return {key: odd for key, odd in found.items() if odd}


# -- changing it ------------------------------------------------------------------------------------------


def put(actor: Actor, name: str, kind: Kind, key: str, values: Mapping[str, Any]) -> None:
    """Add a window or a one-off, or change the one of that key. Raises BadInput; NotFound when there is none of that key."""
    read = classes.read_item(Window, values) if kind == "windows" else classes.read_item(OneOff, values)
    item = read.model_dump(mode="json")

    def edit(items: Items) -> Items:
        position = _position(kind, items, key) if key else len(items)
        return [*items[:position], item, *items[position + 1 :]]

    _change(actor, name, kind, edit)


def delete(actor: Actor, name: str, kind: Kind, key: str) -> None:
    """Remove a window or a one-off. Raises NotFound."""

    def edit(items: Items) -> Items:
        position = _position(kind, items, key)
        return [*items[:position], *items[position + 1 :]]

    _change(actor, name, kind, edit)


def move(actor: Actor, name: str, key: str, *, later: bool) -> None:
    """Have a window come one place later in the list, or earlier. Raises NotFound."""

    def edit(items: Items) -> Items:
        position = _position("windows", items, key)
        item = items.pop(position)
        items.insert(max(0, position + (1 if later else -1)), item)
        return items

    _change(actor, name, "windows", edit)


def _change(actor: Actor, name: str, kind: Kind, edit: Callable[[Items], Items]) -> None:
    with catalog.write():
        machine_class = classes.get_class(name)
        before: Items = getattr(machine_class, kind)
        if (after := edit([dict(item) for item in before])) != before:
            classes.change_policy(actor, name, Form.CALENDAR, {kind: after})


def _position(kind: Kind, items: Items, key: str) -> int:
    for position, item in enumerate(items):
        if MODELS[kind].model_validate(item).key == key:
            return position
    what = "window" if kind == "windows" else "one-off"
    raise NotFound(f"There is no {what} {key}.", "Somebody may have deleted or renamed it: reload the page.", field="name")


# -- holidays ---------------------------------------------------------------------------------------------


def set_holidays(actor: Actor, *, country: str, part: str, own: Mapping[date, str], without: list[date]) -> None:
    """Choose the holidays: a country's and its part's (empty: none), days of one's own, and days that are none. Raises BadInput.

    A part that the country does not have is forgotten.
    """
    if country and country not in public_holidays.countries():
        raise BadInput(f"No holidays are known of {country!r}.", "Choose a country from the list, or none.", field="country")
    values = {
        "country": country,
        "part": part if part in public_holidays.parts(country) else "",
        "own": {day.isoformat(): name for day, name in sorted(own.items())},
        "without": [day.isoformat() for day in sorted(without)],
    }
    with catalog.write():
        before = options.get("holidays")
        options.put("holidays", values)
        record(EventKind.SETTINGS_CHANGED, f"{actor.name} changed the holidays.", actor, before=before, after=values)
    doorbell.ring()


def coming_holidays() -> dict[date, str]:
    """The holidays of the coming year, with their names, in order."""
    begin = today()
    end = begin + timedelta(days=365)
    return {day: name for day, name in public_holidays.of((begin.year, end.year)).items() if begin <= day < end}
