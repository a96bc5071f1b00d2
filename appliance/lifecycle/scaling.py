"""The rules of a class, what they came to so far, and the readings that they go by."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from appliance.catalog import Class, demand, policies
from appliance.lifecycle.calendars import calendar_of
from appliance.pools.rules import Point, State
from appliance.pools.windows import at
from appliance.readings import Kind, Store, Subject
from appliance.scenario.rule import Rule

SEEN = timedelta(minutes=15)  # that are looked back at least, to tell since when a metric is missing


def rules_of(machine_class: Class) -> list[Rule]:
    """The rules that count."""
    return [Rule.model_validate(one) for one in policies.value(machine_class, "rules")]


def state_of(machine_class: Class, number: str) -> State:
    """What the rules of a number came to."""
    return State(**machine_class.scaling.get(number, {}))


def plain(state: State) -> dict[str, object]:
    """The same as the class's row has it."""
    return {"machines": state.machines, "changed": state.changed, "told": dict(state.told)}


def maximum_of(machine_class: Class, moment: datetime) -> int:
    """The most machines of a class that its policy and calendar allow at a moment."""
    return at(calendar_of(machine_class, moment), moment).maximum.machines


def readings_of(
    store: Store, class_name: str, rules: Iterable[Rule], moment: datetime, longest: timedelta = SEEN
) -> dict[str, list[Point]]:
    """What was read of the metrics of rules, by the rule's name. Raises Unavailable."""
    return {rule.key: points(store, class_name, rule, max(longest, timedelta(minutes=2 * rule.minutes)), moment) for rule in rules}


def points(store: Store, class_name: str, rule: Rule, span: timedelta, moment: datetime) -> list[Point]:
    """What was read of a rule's metric. Raises Unavailable."""
    match rule.of:
        case "class":
            return read(store, Subject(Kind.CLASS, class_name), rule.metric, span, moment)
        case "sent" | "command":
            return read(store, Subject(Kind.CLASS, class_name, rule.metric), "value", span, moment)
    members = [id for id, name in demand.classes_of_machines().items() if name == class_name]
    return _mean([read(store, Subject(Kind.MACHINE, id, rule.metric), "value", span, moment) for id in members])


def read(store: Store, subject: Subject, figure: str, span: timedelta, moment: datetime) -> list[Point]:
    """A figure of the last time, oldest first."""
    series = store.series(subject, [figure], span, moment)
    return list(zip(series.times, series.mean.get(figure, []), strict=False))


def _mean(series: Iterable[list[Point]]) -> list[Point]:
    """The mean of several at each moment, of those that are known."""
    found: dict[float, list[float]] = {}
    for points in series:
        for at_, value in points:
            if value is not None:
                found.setdefault(at_, []).append(value)
    return [(at_, sum(values) / len(values)) for at_, values in sorted(found.items())]
