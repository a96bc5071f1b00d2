"""What holds when: the numbers of a class's policy at an instant, of windows, one-offs and holidays; where each comes from, and what has to be begun
before it holds. Pure functions, without a clock of their own.

A window belongs to the day on which it begins, is half-open, and is compared with the wall clock of the instant, in the appliance's zone; wall time
is never computed with. So a window in an hour that a clock skips does not occur, and one in an hour that it repeats lasts longer: `oddities` says so.
Where several windows hold at once, the last in the list that says a number wins; one-offs are added to that. What the
class itself keeps ready is a number, or a service level, and then the forecast has the number of each quarter of an hour (`appliance.pools.forecast`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache, reduce
from itertools import pairwise
from typing import TypeVar

from appliance.pools.planner import Policy
from appliance.scenario.calendar import DAYS, OneOff, Window

POLICY = ""  # the source of what neither window nor one-off says
FORECAST = "Forecast"  # of what it says in place of the policy's buffer
RULES = "Rules"  # of what they raise a number to
SLOT, SLOTS = 900, 7 * 96  # seconds of a quarter of an hour, and how many a week has
HORIZON = timedelta(hours=24)  # within which what is to hold may have to be begun
HOUR, DAY, LITTLE = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
NAMES = tuple(DAYS)
NUMBERS = ("minimum", "maximum", "buffer", "start")


@dataclass(frozen=True)
class Forecast:
    """The machines to keep ready in each quarter of an hour of the week, from Monday on, for so many of a hundred requests to be met at once."""

    level: int
    numbers: tuple[int, ...]

    def at(self, shown: datetime, holidays: frozenset[date] = frozenset()) -> int:
        """Its number when the clock shows that; holidays are Sundays."""
        day = 6 if shown.date() in holidays else shown.weekday()
        return self.numbers[day * 96 + shown.hour * 4 + shown.minute // 15]

    @property
    def clocks(self) -> list[time]:
        """When its number changes, on whichever day."""
        changes = {slot % 96 for slot in range(SLOTS) if self.numbers[slot] != self.numbers[slot - 1]}
        return [time(quarter // 4, quarter % 4 * 15) for quarter in changes | ({0} if changes else set())]


@dataclass(frozen=True)
class Calendar:
    """All that says what holds for a class. `holidays` has those of the years that are asked for.

    `level` is the service level in place of the policy's buffer (0: the buffer counts), and a window can have one of its own; one for which there is
    no forecast says nothing.
    """

    policy: Policy
    windows: tuple[Window, ...] = ()
    one_offs: tuple[OneOff, ...] = ()
    holidays: frozenset[date] = frozenset()
    zone: tzinfo = UTC
    level: int = 0
    forecasts: tuple[Forecast, ...] = ()
    rules: tuple[tuple[str, int], ...] = ()  # what they came to, by number; it holds until they come to another

    def __bool__(self) -> bool:
        """Whether anything ever changes."""
        return bool(self.windows or self.one_offs or self.forecast(self.level))

    def forecast(self, level: int | None) -> Forecast | None:
        return next((one for one in self.forecasts if one.level == level), None)


@dataclass(frozen=True)
class Number:
    """A number of machines, and what it is the sum of: the names of a window and of one-offs, POLICY for the class's own.

    It may be less than that sum, where the maximum leaves no room for it.
    """

    machines: int
    parts: tuple[tuple[str, int], ...] = ()

    @property
    def shown(self) -> tuple[tuple[str, int], ...]:
        """The parts that are worth telling: those that add something, or all of nothing."""
        return tuple(part for part in self.parts if part[1]) or self.parts

    @property
    def is_bounded(self) -> bool:
        return self.machines < sum(machines for _, machines in self.parts)


@dataclass(frozen=True)
class Start:
    """So many machines stand ready when something begins: by the wall clock, without a zone."""

    machines: int
    begins: datetime


@dataclass(frozen=True)
class Bounds:
    """What holds. `start` is what the starts come to before any machine of theirs was handed out."""

    minimum: Number
    maximum: Number
    buffer: Number
    start: Number = Number(0)
    starts: tuple[Start, ...] = ()

    @property
    def ready(self) -> int:
        """Machines that stand ready as long as nobody has taken any."""
        return max(self.buffer.machines, self.start.machines)

    def held(self, left: int) -> int:
        """Machines that stand ready when so many of the starts are left."""
        return min(max(self.buffer.machines, left), self.maximum.machines)

    @property
    def least(self) -> int:
        """Machines that there are, whoever has them."""
        return min(self.minimum.machines, self.maximum.machines)

    @property
    def sources(self) -> tuple[str, ...]:
        """The windows and one-offs that say any of it, and the forecast."""
        return tuple(dict.fromkeys(source for name in NUMBERS for source, _ in getattr(self, name).parts if source))

    @property
    def is_usual(self) -> bool:
        """Whether no window and no one-off says any of it."""
        return not set(self.sources) - {FORECAST, RULES}


@dataclass(frozen=True)
class Segment:
    """What holds from an instant on, until the next segment begins."""

    begins: datetime
    bounds: Bounds


# -- at an instant ------------------------------------------------------------------------------------


def wall(instant: datetime, zone: tzinfo) -> datetime:
    """What the clock on the wall shows, without a zone."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def instant(shown: datetime, zone: tzinfo) -> datetime:
    """When the clock first shows that; of what it skips, a moment shortly before."""
    return min(shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def begun(calendar: Calendar, window: Window, shown: datetime) -> date | None:
    """The day on which the window began that holds at this wall time; None when it does not hold."""
    day, clock = shown.date(), shown.time()
    if window.begin < window.end:
        if not window.begin <= clock < window.end:
            return None
    elif clock < window.end:
        day -= DAY
    elif clock < window.begin:
        return None
    if NAMES[day.weekday()] not in window.days:
        return None
    return day if window.holidays == "any" or (day in calendar.holidays) == (window.holidays == "only") else None


def at_wall(calendar: Calendar, shown: datetime) -> Bounds:
    """What holds when the clock shows that."""
    policy = calendar.policy
    found: dict[str, tuple[tuple[str, int], ...]] = {
        "minimum": ((POLICY, policy.minimum),),
        "maximum": ((POLICY, policy.maximum),),
        "buffer": ((POLICY, policy.buffer),),
        "start": (),
    }
    starts: tuple[Start, ...] = ()
    if (forecast := calendar.forecast(calendar.level)) is not None:
        found["buffer"] = ((FORECAST, forecast.at(shown, calendar.holidays)),)
    for window in calendar.windows:
        if (day := begun(calendar, window, shown)) is not None:
            found |= {name: ((window.name, machines),) for name, machines in window.amounts.items()}
            if (forecast := calendar.forecast(window.service_level)) is not None:
                found["buffer"] = ((window.name, forecast.at(shown, calendar.holidays)),)
            if window.start is not None:
                starts = (Start(window.start, datetime.combine(day, window.begin)),)
    for one in calendar.one_offs:
        if one.begins <= shown < one.ends:
            for name, machines in {**one.amounts, "maximum": one.room}.items():
                if machines:
                    found[name] = (*found[name], (one.name, machines))
            if one.start:
                starts = (*starts, Start(one.start, one.begins))
    for name, machines in calendar.rules:
        if machines > sum(said for _, said in found[name]):
            found[name] = ((RULES, machines),)
    return _bounds(found, starts)


def _bounds(parts: dict[str, tuple[tuple[str, int], ...]], starts: tuple[Start, ...]) -> Bounds:
    most = sum(machines for _, machines in parts["maximum"])

    def number(name: str) -> Number:
        return Number(min(sum(machines for _, machines in parts[name]), most), parts[name])

    in_order = tuple(sorted(starts, key=lambda start: start.begins))
    return Bounds(number("minimum"), number("maximum"), number("buffer"), number("start"), in_order)


def at(calendar: Calendar, moment: datetime) -> Bounds:
    """What holds at an instant."""
    return at_wall(calendar, wall(moment, calendar.zone))


# -- over time ----------------------------------------------------------------------------------------


def timeline(calendar: Calendar, begin: datetime, end: datetime) -> tuple[Segment, ...]:
    """What holds at `begin`, and each change after it, up to `end`; in UTC."""
    segments = [Segment(begin.astimezone(UTC), at(calendar, begin))]
    for moment in _edges(calendar, begin, end):
        if (bounds := at(calendar, moment)) != segments[-1].bounds:
            segments.append(Segment(moment, bounds))
    return tuple(segments)


def _edges(calendar: Calendar, begin: datetime, end: datetime) -> list[datetime]:
    """Each instant after `begin`, up to `end`, at which anything may change: the clock shows where something begins or ends, or it jumps."""
    zone = calendar.zone
    first, last = wall(begin, zone).date() - DAY, wall(end, zone).date() + DAY
    clocks = {clock for window in calendar.windows for clock in (window.begin, window.end)}
    clocks |= {clock for forecast in calendar.forecasts for clock in forecast.clocks}
    shown = {datetime.combine(first + number * DAY, clock) for number in range((last - first).days + 1) for clock in clocks}
    shown |= {edge for one in calendar.one_offs for edge in (one.begins, one.ends) if first <= edge.date() <= last}
    instants = {moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for moment in shown for fold in (0, 1)}
    return sorted(moment for moment in instants | {jump.at for jump in jumps(zone, begin, end)} if begin < moment <= end)


@dataclass(frozen=True)
class Jump:
    """The clock shows `before` until an instant, and goes on from `after`; both without a zone."""

    at: datetime
    before: datetime
    after: datetime

    @property
    def is_forward(self) -> bool:
        return self.after > self.before


def jumps(zone: tzinfo, begin: datetime, end: datetime) -> Iterator[Jump]:
    """When the clock is changed, after `begin`, up to `end`."""

    def offset(seconds: int) -> timedelta | None:
        return datetime.fromtimestamp(seconds, zone).utcoffset()

    low, last = int(begin.timestamp()), int(end.timestamp())
    while low < last:
        high = min(low + 86400, last)
        if offset(low) != offset(high):
            same, other = low, high
            while other - same > 1:
                middle = (same + other) // 2
                same, other = (middle, other) if offset(middle) == offset(low) else (same, middle)
            moment, high = datetime.fromtimestamp(other, UTC), other
            yield Jump(moment, wall(moment - LITTLE, zone) + LITTLE, wall(moment, zone))
        low = high


def following(calendar: Calendar, moment: datetime, days: int = 120) -> Segment | None:
    """What holds next and since when; None when nothing changes in so many days."""
    done = 0
    for upto in (8, days):  # most calendars change within a week
        found = timeline(calendar, moment + done * DAY, moment + upto * DAY)
        if len(found) > 1:
            return found[1]
        done = upto
    return None


# -- ahead of time ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pace:
    """How machines of a class are made: so many at once, which takes so many seconds."""

    seconds: float
    at_once: int = 1

    def needs(self, machines: int) -> timedelta:
        """How long before they have to be there making so many is begun: a quarter more than it takes, and what a look at all classes may."""
        return timedelta(seconds=self.lead(machines))

    def lead(self, machines: int) -> float:
        """The same in seconds."""
        rounds = -(-machines // max(1, self.at_once))
        return min(HORIZON.total_seconds(), rounds * self.seconds * 1.25 + 5)


@dataclass(frozen=True)
class Ahead:
    """What the planner goes by: what holds, and what is begun for later; `prepares` is when the last of that holds, None when nothing is."""

    now: Bounds
    later: tuple[Bounds, ...] = ()
    prepares: datetime | None = None
    zone: tzinfo = field(default=UTC, compare=False)

    @property
    def bounds(self) -> Bounds:
        """The largest of each number."""
        return reduce(_larger, self.later, self.now)

    def policy(self, handed_out: Callable[[datetime], int] = lambda since: 0) -> Policy:
        """Its numbers, when so many machines of the class were handed out since an instant (UTC)."""
        every = (self.now, *self.later)
        maximum = max(bounds.maximum.machines for bounds in every)
        ready = max(max(bounds.buffer.machines, self._left(bounds, handed_out)) for bounds in every)
        return Policy(max(bounds.minimum.machines for bounds in every), maximum, min(ready, maximum))

    def _left(self, bounds: Bounds, handed_out: Callable[[datetime], int]) -> int:
        """What is left of the starts: whatever was handed out since one began counts off those that had begun."""
        left = 0
        out = [handed_out(instant(start.begins, self.zone)) for start in bounds.starts]
        for start, since, since_next in zip(bounds.starts, out, [*out[1:], 0], strict=False):
            left = max(0, left + start.machines - (since - since_next))
        return left


def _larger(one: Bounds, other: Bounds) -> Bounds:
    def number(first: Number, second: Number) -> Number:
        return max(first, second, key=lambda number: number.machines)

    return Bounds(
        number(one.minimum, other.minimum),
        number(one.maximum, other.maximum),
        number(one.buffer, other.buffer),
        number(one.start, other.start),
    )


def ahead(calendar: Calendar, moment: datetime, pace: Callable[[], Pace], preparing: datetime | None = None) -> Ahead:
    """What the planner goes by at an instant: what holds, and whatever has to be begun now so as to be there when it holds.

    Making is begun as late as it may be: the last change first, each has to be ready when it begins, and before what comes later is begun. How long
    that takes depends on the calendar and the pace alone, never on which machines there are: nothing is begun and given up in turn. What was begun for
    the change at `preparing` goes on, should machines be made quicker by now.
    """
    if not calendar:
        return Ahead(at(calendar, moment))
    moment = moment.astimezone(UTC)
    segments = _hours(calendar, moment.replace(minute=0, second=0, microsecond=0))
    held = [segment for segment in segments if segment.begins <= moment]
    coming = [segment for segment in segments if moment < segment.begins <= moment + HORIZON]
    later: list[Segment] = []
    deadline, known = moment + 2 * HORIZON, None
    for before, after in reversed(list(pairwise([held[-1], *coming]))):
        if (count := more(before.bounds, after.bounds)) <= 0:
            continue
        known = known or pace()
        deadline = min(deadline, after.begins) - known.needs(count)
        if deadline <= moment or (preparing is not None and after.begins <= preparing):
            later.append(after)
    prepares = later[0].begins if later else None
    return Ahead(held[-1].bounds, tuple(segment.bounds for segment in later), prepares, calendar.zone)


Held = TypeVar("Held")


def course(
    segments: Sequence[tuple[float, Held]], rise: Callable[[Held, Held], int], pace: Pace
) -> Iterator[tuple[float, Held, tuple[Held, ...]]]:
    """What `ahead` says all the while: for each instant at which that changes (in seconds), what holds, and what has to be begun for later by then.

    `segments` are what holds from when on; `rise` says how many machines have to be made when the second follows the first. Making that would have to be
    begun more than HORIZON before is begun then.
    """
    deadline = math.inf
    rises: list[tuple[float, int]] = []  # when the making for a segment is begun, the last first
    for number in range(len(segments) - 1, 0, -1):
        begins, holds = segments[number]
        if (count := rise(segments[number - 1][1], holds)) > 0:
            deadline = min(deadline, begins) - pace.lead(count)
            rises.append((max(deadline, begins - HORIZON.total_seconds(), segments[0][0]), number))
    rises.reverse()
    edges = sorted({begins for begins, _ in segments} | {begins for begins, _ in rises})
    current = first = 0
    for moment in edges:
        while current + 1 < len(segments) and segments[current + 1][0] <= moment:
            current += 1
        while first < len(rises) and rises[first][1] <= current:
            first += 1
        last = first
        while last < len(rises) and rises[last][0] <= moment:
            last += 1
        yield moment, segments[current][1], tuple(segments[number][1] for _, number in rises[first:last])


def more(before: Bounds, after: Bounds) -> int:
    """The most machines that may have to be made for what holds next, whatever was handed out of a start by then: when just so much of it is left
    that the buffer does without it, or all of it, of which a maximum kept some from being made.
    """
    new = sum(start.machines for start in after.starts if start not in before.starts)
    kept = sum(start.machines for start in before.starts if start in after.starts)
    # Where the difference grows or shrinks.
    turns = (0, before.buffer.machines, before.maximum.machines, after.maximum.machines - new, kept)
    rises = [after.held(left + new) - before.held(left) for left in (min(max(turn, 0), kept) for turn in turns)]
    return max(after.least - before.least, *rises)


@lru_cache(maxsize=256)
def _hours(calendar: Calendar, hour: datetime) -> tuple[Segment, ...]:
    return timeline(calendar, hour, hour + HOUR + HORIZON)


# -- in words, and by the week ------------------------------------------------------------------------


@dataclass(frozen=True)
class Oddity:
    """What a change of the clock makes of a window or one-off: how long it lasts then, in place of its usual length."""

    day: date
    lasts: timedelta
    usual: timedelta
    jump: Jump


def oddities(calendar: Calendar, window: Window, begin: datetime, days: int = 366) -> Iterator[Oddity]:
    """The days, from an instant on, on which a change of the clock makes a window longer or shorter, or leaves it out."""
    usual = (datetime.combine(date.min, window.end) - datetime.combine(date.min, window.begin)) % DAY or DAY
    alone = replace(calendar, windows=(window,), one_offs=())
    for jump in jumps(calendar.zone, begin, begin + days * DAY):
        first = min(jump.before, jump.after).date() - DAY
        edges = [jump.at - 3 * DAY, *_edges(alone, jump.at - 3 * DAY, jump.at + 3 * DAY)]
        lasts: dict[date, timedelta] = {}
        for low, high in pairwise(edges):
            if (day := begun(calendar, window, wall(low, calendar.zone))) is not None:
                lasts[day] = lasts.get(day, timedelta()) + (high - low)
        for number in range(3):
            day = first + number * DAY
            there = lasts.get(day, timedelta())
            occurs = begun(calendar, window, datetime.combine(day, window.begin)) is not None
            if occurs and there != usual:
                yield Oddity(day, there, usual, jump)


def oddity(calendar: Calendar, one: OneOff) -> Oddity | None:
    """The same of a one-off; None when it lasts as long as it says."""
    zone = calendar.zone
    begin, end = instant(one.begins, zone) - DAY, instant(one.ends, zone) + DAY
    edges = [begin, *_edges(replace(calendar, windows=(), one_offs=(one,)), begin, end), end]
    lasts = sum((high - low for low, high in pairwise(edges) if one.begins <= wall(low, zone) < one.ends), timedelta())
    usual = one.ends - one.begins
    return None if lasts == usual else Oddity(one.day, lasts, usual, next(jumps(zone, begin, end)))


@dataclass(frozen=True)
class Block:
    """A piece of a day, in minutes of its wall clock from `begin` to `end`; `bounds` is None where nothing but the policy holds."""

    begin: int
    end: int
    bounds: Bounds | None


def blocks(calendar: Calendar, day: date, changes: Iterable[Jump] = ()) -> Iterator[Block]:
    """A day as its calendar shows it, from midnight to midnight by the wall clock; nothing holds in hours that it skips at one of these changes.

    Of what the forecast says in such a piece, the largest number is shown.
    """
    edges = {0, 24 * 60}
    midnight = datetime.combine(day, time())
    edges |= {edge.hour * 60 + edge.minute for window in calendar.windows for edge in (window.begin, window.end)}
    edges |= {edge.hour * 60 + edge.minute for one in calendar.one_offs for edge in (one.begins, one.ends) if edge.date() == day}
    skipped = [(jump.before, jump.after) for jump in changes if jump.is_forward]
    edges |= {edge.hour * 60 + edge.minute for pair in skipped for edge in pair if edge.date() == day}
    found: list[Block] = []
    for low, high in pairwise(sorted(edges)):
        clock = midnight + timedelta(minutes=low)
        quarters = range(low, high, 15) if calendar.forecasts else (low,)
        bounds = max((at_wall(calendar, midnight + timedelta(minutes=minute)) for minute in quarters), key=lambda one: one.buffer.machines)
        shown = None if bounds.is_usual or any(first <= clock < last for first, last in skipped) else bounds
        if found and found[-1].bounds == shown:
            found[-1] = replace(found[-1], end=high)
        else:
            found.append(Block(low, high, shown))
    yield from found


def words(bounds: Bounds) -> str:
    """The numbers in words, like "30 ready at the start, 2 ready, at most 40"."""
    found = [f"{bounds.start.machines} ready at the start"] if bounds.start.machines else []
    found.append(f"{bounds.buffer.machines} ready")
    if bounds.minimum.machines:
        found.append(f"at least {bounds.minimum.machines}")
    return ", ".join([*found, f"at most {bounds.maximum.machines}"])
