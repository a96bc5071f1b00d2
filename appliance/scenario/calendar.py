"""Policy by time: windows of the week, and what happens once. The names here are those of scenario.yml, the forms, the API and the catalog.

What holds when is said by `appliance.pools.windows`.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from appliance.yamlfile import Part

MANY = 10_000  # machines of a class
WINDOWS, ONE_OFFS = 50, 300  # that a class may have
DAYS = {"mon": "Monday", "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday", "sat": "Saturday", "sun": "Sunday"}
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_MINUTES = 24 * 60


def _clock(value: Any) -> Any:
    if isinstance(value, str) and (found := _CLOCK.fullmatch(value.strip())):
        return time(int(found[1]), int(found[2]))
    if isinstance(value, str) and value.strip() == "24:00":
        return time()
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MINUTES:  # how YAML reads 10:30 without quotes
        return time(value // 60 % 24, value % 60)
    if isinstance(value, time):
        return value
    raise ValueError(f"{str(value)[:20]!r} is not a time of day", 'write hours and minutes, like "09:30"')


def _date(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value.strip())
        except ValueError:
            value = value.strip()
    if isinstance(value, date) and not isinstance(value, datetime) and 2000 <= value.year < 9000:
        return value
    raise ValueError(f"{str(value)[:20]!r} is not a day", "write year, month and day, like 2026-12-03")


Clock = Annotated[time, BeforeValidator(_clock), PlainSerializer(lambda value: value.isoformat("minutes"), return_type=str)]
Date = Annotated[date, BeforeValidator(_date), PlainSerializer(lambda value: value.isoformat(), return_type=str)]


def _machines(description: str) -> Any:
    return Field(default=None, ge=0, le=MANY, description=description)


class Amounts(Part):
    """The numbers of machines that hold for a while; those that are not said stay as they are otherwise."""

    name: str = Field(min_length=1, max_length=60, description="What it is called, on the calendar and wherever its numbers hold.")
    begin: Clock = Field(description='When it begins, by the clock of the appliance\'s time zone, like "09:00".')
    end: Clock = Field(description="When it ends; when that is not later than it begins, on the day after.")
    start: int | None = _machines(
        "Machines that stand ready at the moment it begins. Each that is handed out from then on counts off, and is not replaced."
    )
    buffer: int | None = _machines("Machines kept ready and unassigned.")
    minimum: int | None = _machines("Machines that exist at least, assigned or not.")
    maximum: int | None = _machines("Machines that exist at most. It limits what is made, never what is held.")

    @property
    def amounts(self) -> dict[str, int]:
        """Those that are said, by name."""
        found = {name: getattr(self, name) for name in ("start", "buffer", "minimum", "maximum")}
        return {name: value for name, value in found.items() if value is not None}

    @model_validator(mode="after")
    def _says_something(self) -> "Amounts":
        if not self._changes:
            raise ValueError(f"{self.name} changes nothing", "say at least one of start, buffer, minimum and maximum")
        return self

    @property
    def _changes(self) -> bool:
        return bool(self.amounts)


class Window(Amounts):
    """Some hours of some days of the week. It belongs to the day on which it begins, also when it ends after midnight."""

    days: Annotated[tuple[Day, ...], Field(strict=False, min_length=1, max_length=7)] = Field(
        default=("mon", "tue", "wed", "thu", "fri"), description="The days on which it begins, like [mon, tue]."
    )
    holidays: Literal["any", "not", "only"] = Field(
        default="any", description="`not`: not when it would begin on a holiday; `only`: only then; `any`: either."
    )
    service_level: int | None = Field(
        default=None,
        ge=50,
        le=99,
        description="In place of a buffer: of a hundred requests, how many are to get a machine at once. The forecast then has the number of each quarter of an hour, once it knows enough.",
    )

    network: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="How fast each machine's network is at most while it holds, to it and from it, in Mbit/s, in place of what the class says; 0: no limit.",
    )

    @property
    def key(self) -> str:
        """What it is told apart by, in its class."""
        return self.name

    @property
    def _changes(self) -> bool:
        return bool(self.amounts) or self.service_level is not None or self.network is not None

    @model_validator(mode="after")
    def _fits(self) -> "Window":
        if self.service_level is not None and self.buffer is not None:
            raise ValueError(f"{self.name} says a buffer and a service level", "leave one of the two out")
        if len(set(self.days)) < len(self.days):
            raise ValueError(f"{self.name} names a day twice", "name each day once")
        for name, value in self.amounts.items():
            if self.maximum is not None and value > self.maximum:
                raise ValueError(f"{name} ({value}) of {self.name} is above its maximum ({self.maximum})", f"raise maximum or lower {name}")
        return self


class OneOff(Amounts):
    """What happens once, like an exam. Its numbers are added to those that hold otherwise."""

    day: Date = Field(description="The day on which it begins, like 2026-12-03.")
    maximum: int | None = _machines(
        "How many more machines may exist. When it is not said there is room for what it starts with, or for its minimum or buffer."
    )

    @property
    def key(self) -> str:
        """What it is told apart by, in its class."""
        return f"{self.day.isoformat()} {self.begin.isoformat('minutes')} {self.name}"

    @property
    def begins(self) -> datetime:
        """By the clock, without a zone."""
        return datetime.combine(self.day, self.begin)

    @property
    def ends(self) -> datetime:
        """By the clock, without a zone."""
        return datetime.combine(self.day + timedelta(days=self.end <= self.begin), self.end)

    @property
    def room(self) -> int:
        """By how much it raises the maximum."""
        return max(self.amounts.values()) if self.maximum is None else self.maximum


class Fault(NamedTuple):
    """What does not fit in a calendar: in which window or one-off (by its key), at which field, in words, and what to do."""

    key: str
    field: str
    message: str
    hint: str


def faults(windows: tuple[Window, ...], one_offs: tuple[OneOff, ...], maximum: int) -> Iterator[Fault]:
    """What does not fit each other, or the class's own maximum."""
    for items in (windows, one_offs):
        seen: set[str] = set()
        for item in items:
            if item.key in seen:
                yield Fault(item.key, "name", f"There are two called {item.key}", "give one of them another name")
            seen.add(item.key)
    for window in windows:
        for name, value in window.amounts.items():
            if window.maximum is None and value > maximum:
                message = f"{name} ({value}) of {window.name} is above the class's maximum ({maximum})"
                yield Fault(window.key, name, message, f"give the window a maximum of its own, or lower {name}")
