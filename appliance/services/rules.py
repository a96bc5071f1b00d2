"""The rules of a class: put and deleted, what they came to, and what they would have done yesterday."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from appliance import catalog
from appliance.catalog import Actor, Class, now, policies
from appliance.errors import NotFound
from appliance.lifecycle import scaling
from appliance.pools.rules import Decision, Point, Replayed, replay
from appliance.readings import Kind, Store, Subject
from appliance.scenario.policy import Form
from appliance.scenario.rule import Number, Rule
from appliance.services import classes
from appliance.settings import Settings

Items = list[dict[str, Any]]
DAY = timedelta(days=1)
PIECE = timedelta(hours=8)  # of a day in minutes, at once
SHOWN = 60  # decisions of a preview


@dataclass(frozen=True)
class Came:
    """What the rules of a number came to, and since when."""

    number: Number
    machines: int
    changed: datetime | None


@dataclass(frozen=True)
class Preview:
    """What a rule would have done yesterday, with the others of its number: what it saw, what there was of that number's machines, and its decisions."""

    rule: Rule
    begin: datetime
    end: datetime
    seen: list[Point]
    replayed: Replayed

    @property
    def decisions(self) -> list[tuple[datetime, Decision]]:
        """Those worth telling, oldest first: what holds is told once, until there is another."""
        found: list[tuple[datetime, Decision]] = []
        for at, decision in self.replayed.told:
            last = found[-1][1] if found else None
            if decision.changes or last is None or (decision.held, decision.rule) != (last.held, last.rule):
                found.append((datetime.fromtimestamp(at, self.end.tzinfo), decision))
        return found[-SHOWN:]

    @property
    def is_known(self) -> bool:
        return any(value is not None for _, value in self.seen)


def of_class(machine_class: Class) -> list[Rule]:
    """Its rules, in order."""
    return scaling.rules_of(machine_class)


def came_to(machine_class: Class) -> list[Came]:
    """What counts of a class now, by its rules."""
    found = []
    for number in ("minimum", "buffer"):
        state = scaling.state_of(machine_class, number)
        if state.machines is not None:
            changed = None if state.changed is None else datetime.fromtimestamp(state.changed, now().tzinfo)
            found.append(Came(number, state.machines, changed))
    return found


def read(values: Mapping[str, Any]) -> Rule:
    """A rule as somebody wrote it. Raises BadInput naming the field that does not fit."""
    return classes.read_item(Rule, values)


def put(actor: Actor, name: str, key: str, values: Mapping[str, Any]) -> None:
    """Add a rule, or change the one of that name. Raises BadInput, also for one that flaps or fights another; NotFound when there is none of that name."""
    item = read(values).model_dump(mode="json")

    def edit(items: Items) -> Items:
        position = _position(items, key) if key else len(items)
        return [*items[:position], item, *items[position + 1 :]]

    _change(actor, name, edit)


def delete(actor: Actor, name: str, key: str) -> None:
    """Remove a rule. Raises NotFound."""

    def edit(items: Items) -> Items:
        position = _position(items, key)
        return [*items[:position], *items[position + 1 :]]

    _change(actor, name, edit)


def _change(actor: Actor, name: str, edit: Callable[[Items], Items]) -> None:
    with catalog.write():
        before: Items = policies.value(classes.get_class(name), "rules")
        if (after := edit([dict(item) for item in before])) != before:
            classes.change_policy(actor, name, Form.RULES, {"rules": after})


def _position(items: Items, key: str) -> int:
    for position, item in enumerate(items):
        if item["name"] == key:
            return position
    raise NotFound(f"There is no rule {key}.", "Somebody may have deleted or renamed it: reload the page.", field="name")


def preview(settings: Settings, machine_class: Class, key: str, values: Mapping[str, Any]) -> Preview:
    """What a rule would have done in the last day, in place of the one of that name, beside the others. Raises BadInput and Unavailable."""
    rule, end = read(values), now()
    of = [other for other in of_class(machine_class) if other.name not in (key, rule.name) and other.sets == rule.sets]
    begin = end - DAY
    with closing(Store(settings.readings)) as store:
        seen = {one.key: _yesterday(store, machine_class.name, one, begin) for one in (rule, *of)}
        there = _there(store, machine_class.name, begin)
    maximum = scaling.maximum_of(machine_class, end)
    return Preview(rule, begin, end, seen[rule.key], replay([rule, *of], seen, begin.timestamp(), end.timestamp(), maximum, there))


def _yesterday(store: Store, name: str, rule: Rule, begin: datetime) -> list[Point]:
    """A day, minute by minute."""
    found: list[Point] = []
    for number in range(DAY // PIECE):
        moment = begin + (number + 1) * PIECE
        found += scaling.points(store, name, rule, PIECE, moment)
    return found


def _there(store: Store, name: str, begin: datetime) -> list[Point]:
    """How many machines there were."""
    found: list[Point] = []
    for number in range(DAY // PIECE):
        moment = begin + (number + 1) * PIECE
        production, buffer = (scaling.read(store, Subject(Kind.CLASS, name), figure, PIECE, moment) for figure in ("production", "buffer"))
        found += [(at, (held or 0) + (ready or 0)) for (at, held), (_, ready) in zip(production, buffer, strict=True)]
    return found
