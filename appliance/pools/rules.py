"""What rules say of how many machines there should be: `decide()`, a pure function of readings and time. Times are seconds on any axis.

Of the rules of a class that say the same number, more wins over less, and less needs all of them to agree. A metric that is not known, or cannot
be, holds: nothing is made of a value that nobody saw.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from appliance.scenario.rule import Number, Rule

FRESH = 120.0  # seconds that the last value may be old, or half of the time that a rule looks at, if that is more
TOLD = 3600.0  # seconds before what holds a decision is told again
LARGEST = 1e15  # no value is larger

Point = tuple[float, float | None]  # when, and what was read
Readings = Mapping[str, Sequence[Point]]  # oldest first, by the name of the rule


class Held(StrEnum):
    """Why a decision is not carried out."""

    MISSING = "missing"
    IMPLAUSIBLE = "implausible"
    COOLDOWN = "cooldown"
    MOST = "most"
    MAXIMUM = "maximum"
    FLAPS = "flaps"


BOUNDS = (None, Held.MOST, Held.MAXIMUM)  # with which a decision is carried out as far as they go


@dataclass(frozen=True)
class State:
    """What is remembered between decisions about a number: the machines it came to (None: none yet), when that changed last, and when what was told."""

    machines: int | None = None
    changed: float | None = None
    told: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """How many machines a number comes to, from how many, by which rule and value, and why in words.

    `wanted` is what the rule asked for; where that is not carried out, `held` says why. `is_told` is off for what was told within the last hour.
    """

    machines: int
    before: int
    wanted: int
    rule: str
    value: float | None
    why: str
    held: Held | None
    is_told: bool
    state: State

    @property
    def changes(self) -> bool:
        return self.machines != self.before


@dataclass(frozen=True)
class _Wish:
    """What one rule asks for."""

    rule: Rule
    wanted: int
    value: float | None
    why: str
    held: Held | None = None


def decide(rules: Sequence[Rule], readings: Readings, state: State, now: float, maximum: int) -> Decision:
    """What rules of one number (`sets`) say now; at least one rule. `maximum` is the class's. The caller keeps `state` of what comes back.

    Before the first decision the number is the least that the rules may say. Bounds that changed hold at once, whatever else is waited for.
    """
    most = min(maximum, *(rule.most for rule in rules))
    least = min(most, max(rule.least for rule in rules))
    had = least if state.machines is None else state.machines
    before = min(max(had, least), most)
    wish = _chosen([_wish(rule, readings.get(rule.key, ()), before, now) for rule in rules], before)
    wish = _bounded(_cooled(wish, before, state, now), most, is_maximum=most == maximum)
    machines = min(max(wish.wanted, least), most) if wish.held in BOUNDS else before
    changed = machines != had
    told = {name: at for name, at in state.told.items() if 0 <= now - at < TOLD}
    about = f"{wish.held}:{wish.rule.name}"
    is_told = changed or (wish.held is not None and about not in told)
    if is_told and wish.held is not None:
        told[about] = now
    after = State(machines, now if changed else state.changed, told)
    return Decision(machines, had, wish.wanted, wish.rule.name, wish.value, wish.why, wish.held, is_told, after)


def _wish(rule: Rule, points: Sequence[Point], machines: int, now: float) -> _Wish:
    """What a rule asks for, when there are so many machines."""
    value, problem, held = _value(rule, points, now)
    if value is None:
        return _Wish(rule, machines, None, problem, held)
    said = f"{_metric(rule)} is {value:.4g}"
    if rule.each is not None:
        return _Wish(rule, math.ceil(value / rule.each - 1e-9), value, f"{said}, one machine for each {rule.each:g}")
    if rule.above is not None and value >= rule.above:
        return _Wish(rule, machines + rule.step_up(machines), value, f"{said}, at or above {rule.above:g}")
    if rule.below is not None and value <= rule.below:
        return _Wish(rule, max(machines - rule.step_down(machines), rule.least), value, f"{said}, at or below {rule.below:g}")
    return _Wish(rule, machines, value, f"{said}, between its thresholds")


def _metric(rule: Rule) -> str:
    if rule.statistic == "last":
        return f"{rule.metric} (last)"
    return f"{rule.metric} ({rule.statistic} of {rule.minutes} min)"


def _value(rule: Rule, points: Sequence[Point], now: float) -> tuple[float | None, str, Held | None]:
    """The metric, or why it is not known."""
    seconds = rule.minutes * 60.0
    known = [(at, value) for at, value in points if value is not None and at <= now]
    if not known:
        return None, f"no value of {rule.metric} was seen lately", Held.MISSING
    at, last = known[-1]
    if now - at > max(FRESH, seconds / 2):
        return None, f"no value of {rule.metric} since {(now - at) / 60:.0f} min", Held.MISSING
    if not is_plausible(last):
        return None, f"{rule.metric} is {last:g}, which cannot be", Held.IMPLAUSIBLE
    values = [value for at, value in known if now - at <= seconds and is_plausible(value)] or [last]
    match rule.statistic:
        case "mean":
            return sum(values) / len(values), "", None
        case "most":
            return max(values), "", None
        case "least":
            return min(values), "", None
    return last, "", None


def is_plausible(value: float) -> bool:
    """Whether a rule may go by it: a number, not negative, and none that no reading has."""
    return 0 <= value <= LARGEST  # what is no number is not between any


def _chosen(wishes: Sequence[_Wish], before: int) -> _Wish:
    """The largest that asks for more; else whoever holds; else, if every one that ever removes asks for less, the largest of these."""
    if more := [wish for wish in wishes if wish.held is None and wish.wanted > before]:
        return max(more, key=lambda wish: wish.wanted)
    if holding := [wish for wish in wishes if wish.held is not None]:
        return holding[0]
    removing = [wish for wish in wishes if wish.rule.removes]
    chosen = max(removing or wishes, key=lambda wish: wish.wanted)
    for rule, value in ((wish.rule, wish.value) for wish in wishes if chosen.wanted < before):
        if rule.above is not None and value is not None and (then := rule.projected(value, before, before - chosen.wanted)) >= rule.above:
            why = f"{chosen.why}, but with {chosen.wanted} {rule.metric} would be {then:.4g}, at or above the {rule.above:g} of {rule.name}"
            return replace(chosen, held=Held.FLAPS, why=why)
    return chosen


def _cooled(wish: _Wish, before: int, state: State, now: float) -> _Wish:
    """The wish, held while it is too soon after the last change. A change that is still to come is from a clock that was ahead: it counts for nothing."""
    seconds = wish.rule.cooldown_up if wish.wanted > before else wish.rule.cooldown_down
    if wish.held or wish.wanted == before or state.changed is None or not 0 <= now - state.changed < seconds:
        return wish
    left = seconds - (now - state.changed)
    return replace(wish, held=Held.COOLDOWN, why=f"{wish.why}; {wish.wanted} wanted, in {left:.0f} s at the earliest")


def _bounded(wish: _Wish, most: int, *, is_maximum: bool) -> _Wish:
    """The wish, and what it was cut at."""
    if wish.held or wish.wanted <= most:
        return wish
    if is_maximum:
        return replace(wish, held=Held.MAXIMUM, why=f"{wish.why}; {wish.wanted} wanted, and the class's maximum is {most}")
    return replace(wish, held=Held.MOST, why=f"{wish.why}; {wish.wanted} wanted, and its rules say {most} at most")


@dataclass(frozen=True)
class Replayed:
    """What rules would have decided: for each look when it was, and the machines it came to; and the decisions worth telling, with their times."""

    times: list[float]
    machines: list[int]
    told: list[tuple[float, Decision]]


def replay(
    rules: Sequence[Rule], readings: Readings, begin: float, end: float, maximum: int, had: Sequence[Point] = (), every: float = 60.0
) -> Replayed:
    """What the rules of one number would have done, looked at every so many seconds.

    `had` is how many machines there were: metrics that are means of machines are what they would have been with as many as the rules came to.
    """
    state, times, machines, told = State(), [], [], list[tuple[float, Decision]]()
    of = {rule.key: _Window(rule, readings.get(rule.key, ()), had) for rule in rules}
    for moment in _looks(begin, end, every):
        seen = {key: window.at(moment, state.machines) for key, window in of.items()}
        decision = decide(rules, seen, state, moment, maximum)
        state = decision.state
        times.append(moment)
        machines.append(decision.machines)
        if decision.is_told:
            told.append((moment, decision))
    return Replayed(times, machines, told)


def _looks(begin: float, end: float, every: float) -> Iterator[float]:
    moment = begin
    while moment <= end:
        yield moment
        moment += every


class _Window:
    """What a rule sees as time goes on: what was read within its time, so that a day costs no more than a walk through it."""

    def __init__(self, rule: Rule, points: Iterable[Point], had: Sequence[Point]) -> None:
        self.rule, self.had, self.points = rule, had if rule.is_per_machine else (), list(points)
        self.first = self.last = self.now_had = 0

    def at(self, moment: float, machines: int | None) -> list[Point]:
        oldest = moment - max(self.rule.minutes * 60.0, FRESH)
        while self.last < len(self.points) and self.points[self.last][0] <= moment:
            self.last += 1
        while self.first < self.last - 1 and self.points[self.first][0] < oldest:
            self.first += 1
        seen = self.points[self.first : self.last]
        if not self.had or not machines:
            return seen
        while self.now_had + 1 < len(self.had) and self.had[self.now_had + 1][0] <= moment:
            self.now_had += 1
        there = self.had[self.now_had][1]
        return seen if not there else [(at, None if value is None else value * there / machines) for at, value in seen]


def numbers(rules: Iterable[Rule]) -> dict[Number, list[Rule]]:
    """The rules by the number that they say."""
    found: dict[Number, list[Rule]] = {}
    for rule in rules:
        found.setdefault(rule.sets, []).append(rule)
    return found
