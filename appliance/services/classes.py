"""Classes, their policy, and how their machines are made."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import ValidationError

from appliance import catalog
from appliance.catalog import (
    Actor,
    Class,
    EventKind,
    Seed,
    Sequence,
    Snapshot,
    SnapshotState,
    doorbell,
    handovers,
    policies,
    recipes,
    record,
    seeds,
    sequences,
    snapshots,
)
from appliance.errors import BadInput, Conflict, NotFound
from appliance.identity import permissions
from appliance.scenario import policy
from appliance.scenario.calendar import ONE_OFFS, WINDOWS, OneOff, Window, faults
from appliance.scenario.policy import Form, PolicyField
from appliance.scenario.rule import RULES, Rule, rule_faults
from appliance.yamlfile import Part

Item = TypeVar("Item", bound=Part)


@dataclass(frozen=True)
class Setting:
    """A field of a class's policy: what counts, what the scenario has, and whether an admin changed it."""

    field: PolicyField
    value: Any
    scenario: Any
    changed: bool

    @property
    def is_number(self) -> bool:
        return self.field.widget == "number"


def everything() -> list[Class]:
    """All classes, by name; what people chose of them are theirs, and no further ones."""
    chosen = recipes.names()
    return [one for one in Class.select().order_by(Class.name) if one.name not in chosen]


def visible(actor: Actor, permission: str = "classes.read") -> list[Class]:
    """The classes within the actor's reach, by name."""
    reach = permissions.scope_of(actor, permission)
    return [machine_class for machine_class in everything() if reach.everything or machine_class.name in reach.classes]


def get_class(name: str) -> Class:
    """The class. Raises NotFound."""
    machine_class: Class | None = Class.get_or_none(Class.name == name)
    if machine_class is None:
        raise NotFound(f"There is no class {name}.")
    return machine_class


def policy_of(machine_class: Class) -> list[Setting]:
    """The policy of a class, field by field, in the order of the page."""
    counts, scenario = policies.values(machine_class), policies.scenarios(machine_class.spec)
    return [Setting(field, counts[name], scenario[name], counts[name] != scenario[name]) for name, field in policy.fields().items()]


def change_policy(actor: Actor, name: str, form: Form, values: Mapping[str, Any]) -> None:
    """Change any of the fields of that form. Raises BadInput naming what does not fit; nothing is changed then."""
    fields = policy.fields()
    for key, value in values.items():
        check_value(fields[key], value)
    with catalog.write():
        machine_class = get_class(name)
        counts = policies.values(machine_class)
        check_fit(machine_class, counts, values)
        policies.change(machine_class, values)
        record(
            RECORDED[form],
            told(actor, name, form),
            actor,
            class_name=name,
            before={key: counts[key] for key in values},
            after=dict(values),
        )
    doorbell.ring()


def reset_policy(actor: Actor, name: str, key: str) -> None:
    """Let the scenario say a field again. Raises NotFound for one that there is not."""
    if (field := policy.fields().get(key)) is None:
        raise NotFound(f"A policy has no {key}.")
    with catalog.write():
        machine_class = get_class(name)
        before = policies.values(machine_class)
        policies.reset(machine_class, [key])
        after = policies.values(machine_class)
        changed = [one for one in after if after[one] != before[one]]  # what was bounded by it is free again, too
        record(
            RECORDED[field.editable.form],
            f"{actor.name} took {field.editable.label.lower()} of {name} back to the scenario's.",
            actor,
            class_name=name,
            before={one: before[one] for one in changed},
            after={one: after[one] for one in changed},
        )
    doorbell.ring()


RECORDED = {
    Form.POLICY: EventKind.CLASS_POLICY,
    Form.LIFE: EventKind.CLASS_LIFE,
    Form.MAKING: EventKind.CLASS_MAKING,
    Form.CALENDAR: EventKind.CLASS_CALENDAR,
    Form.RULES: EventKind.CLASS_RULES,
}


def told(actor: Actor, name: str, form: Form) -> str:
    """What the record says of a change."""
    what = {
        Form.POLICY: f"the policy of {name}",
        Form.LIFE: f"the life of machines of {name}",
        Form.MAKING: f"how machines of {name} are made",
        Form.CALENDAR: f"the calendar of {name}",
        Form.RULES: f"the rules of {name}",
    }
    return f"{actor.name} changed {what[form]}."


def check_value(field: PolicyField, value: Any) -> None:
    """Whether a value is one of those that a field can have, whatever else is so."""
    label = field.name.replace("_", " ").capitalize()
    if field.editable.choices:
        if not isinstance(value, str) or value not in field.editable.choices:
            *most, last = field.editable.choices
            raise BadInput(f"{field.editable.label} cannot be {value!r}.", f"Choose {', '.join(most)} or {last}.", field=field.name)
    elif type(value) is not type(field.default):
        raise BadInput(f"{label} cannot be {value!r}.", f"It is a {type(field.default).__name__}.", field=field.name)
    elif (field.low is not None and value < field.low) or (field.high is not None and value > field.high):
        raise BadInput(f"{label} cannot be {value}.", f"It is between {field.low} and {field.high}.", field=field.name)


def check_fit(machine_class: Class, counts: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Whether values fit each other, and what there is."""
    found = {**counts, **values}
    for key in ("minimum", "buffer"):
        if found[key] > found["maximum"]:
            raise BadInput(
                f"{key.capitalize()} ({found[key]}) is above the maximum ({found['maximum']}).", "Raise the maximum or lower it.", field=key
            )
    if values.keys() & {"windows", "one_offs"}:
        _fit_calendar(counts, found)
    if "rules" in values:
        _fit_rules(counts["rules"], found["rules"])
    sequence = values.get("sequence")
    if sequence and sequence != machine_class.sequence and sequence not in [one.name for one in choices()]:
        raise BadInput(f"There is no sequence {sequence} to follow.", "Choose another, or promote a version of it first.", field="sequence")
    if 0 < values.get("memory_most", 0) < (starts := machine_class.spec["size"]["memory"]):
        raise BadInput(
            f"Memory at most ({values['memory_most']}) is below what machines start with ({starts}).",
            "Write more than that, or 0 for machines that keep it.",
            field="memory_most",
        )
    if values.get("burst", 1) > max(1, min(found["per_person"], found["maximum"])):
        per_person, maximum = found["per_person"], found["maximum"]
        what, most = ("machines per person", per_person) if per_person < maximum else ("the maximum", maximum)
        raise BadInput(
            f"Burst ({values['burst']}) is above {what} ({most}).", "Raise that in the policy first, or lower this.", field="burst"
        )


def read_item(model: type[Item], values: Mapping[str, Any]) -> Item:
    """A window, a one-off or a rule. Raises BadInput naming the field that does not fit."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        cause = first.get("ctx", {}).get("error")
        message, hint = cause.args if isinstance(cause, ValueError) else (first["msg"], "")
        raise BadInput(_sentence(message), _sentence(hint), field=str(first["loc"][0]) if first["loc"] else "") from None


def _fit_calendar(counts: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Whether windows and one-offs are as they can be, and fit each other and the class; what did not fit before may stay so."""
    if len(found["windows"]) > WINDOWS or len(found["one_offs"]) > ONE_OFFS:
        raise BadInput(f"A class has at most {WINDOWS} windows and {ONE_OFFS} one-offs.", "Delete some first.", field="name")
    known, wanted = (
        list(
            faults(
                tuple(read_item(Window, one) for one in values["windows"]),
                tuple(read_item(OneOff, one) for one in values["one_offs"]),
                values["maximum"],
            )
        )
        for values in (counts, found)
    )
    for fault in wanted:
        if fault not in known:
            raise BadInput(_sentence(fault.message), _sentence(fault.hint), field=fault.field)


def _fit_rules(counts: list[Mapping[str, Any]], found: list[Mapping[str, Any]]) -> None:
    """Whether rules are as they can be, and do not fight; what did not fit before may stay so."""
    if len(found) > RULES:
        raise BadInput(f"A class has at most {RULES} rules.", "Delete some first.", field="name")
    known, wanted = (list(rule_faults([read_item(Rule, one) for one in rules])) for rules in (counts, found))
    for fault in wanted:
        if fault not in known:
            raise BadInput(_sentence(fault.message), _sentence(fault.hint), field=fault.field)


def _sentence(hint: str) -> str:
    return f"{hint[:1].upper()}{hint[1:]}." if hint else ""


def set_enabled(actor: Actor, name: str, *, enabled: bool) -> None:
    """Offer the class or withdraw it; machines that are held stay, the buffer goes."""
    with catalog.write():
        machine_class = get_class(name)
        machine_class.enabled = enabled
        machine_class.save()
        recipes.follow(name)
        record(
            EventKind.CLASS_ENABLED if enabled else EventKind.CLASS_DISABLED,
            f"{actor.name} {'opened' if enabled else 'closed'} {name}.",
            actor,
            class_name=name,
        )
    doorbell.ring()


def retry(actor: Actor, name: str) -> None:
    """Try again at once to refill a class whose machines failed to come up, and to hand them over to whom they failed."""
    with catalog.write():
        handovers.try_again(name)
        Class.update(failures=0, failing_until=None, problem="").where(Class.name == get_class(name).name).execute()
        record(EventKind.CLASS_RETRY, f"{actor.name} asked to try {name} again.", actor, class_name=name)
    doorbell.ring()


class ForkState(StrEnum):
    """How the next machine of a class comes to be: `off` and `booted` by booting, the one for good and the other for now."""

    OFF = "off"
    IDLE = "idle"  # no promoted seed yet, or the class is closed or may have no machines: there is nothing to take a snapshot of, or for
    TAKING = "taking"
    FORKED = "forked"
    BOOTED = "booted"


@dataclass(frozen=True)
class Forking:
    """Where a class stands: `snapshot` is the one being taken, forked from, or failed (with problem, hint and next try)."""

    state: ForkState
    seed: Seed | None
    snapshot: Snapshot | None


STANDS = {SnapshotState.BUILDING: ForkState.TAKING, SnapshotState.READY: ForkState.FORKED, SnapshotState.FAILED: ForkState.BOOTED}


def forking(machine_class: Class) -> Forking:
    """How machines of the class are made, now."""
    seed = seeds.promoted(machine_class.name)
    snapshot = snapshots.current(seed.id) if seed else None
    if not machine_class.fork:
        state = ForkState.OFF
    elif seed is None or (
        not (machine_class.enabled and policies.most(machine_class)) and (snapshot is None or snapshot.state is not SnapshotState.READY)
    ):
        state = ForkState.IDLE
    else:
        state = ForkState.TAKING if snapshot is None else STANDS[snapshot.state]
    return Forking(state, seed, snapshot)


def choices() -> list[Sequence]:
    """The sequences that a class can follow: those that have a version for new runs."""
    return [sequence for sequence in sequences.all() if sequences.promoted(sequence.name)]


def try_fork_again(actor: Actor, name: str) -> None:
    """Take another snapshot at once for a class whose machines are booted for now. Raises Conflict when they are not."""
    with catalog.write():
        machine_class = get_class(name)
        if forking(machine_class).state is not ForkState.BOOTED:
            raise Conflict(f"Machines of {name} are not booted for want of a snapshot.", "Reload the page to see how they are made.")
        snapshots.retry_now(name)
        Class.update(fork_failures=0, fork_problem="").where(Class.name == name).execute()
        record(EventKind.CLASS_FORK_AGAIN, f"{actor.name} asked to try forking {name} again.", actor, class_name=name)
    doorbell.ring()
