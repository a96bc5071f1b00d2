"""How fast one machine is at most, whatever its class says; and how full data disks are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from appliance import catalog
from appliance.catalog import Actor, EventKind, Machine, doorbell, machines, record
from appliance.errors import BadInput, NotFound
from appliance.identity import permissions
from appliance.lifecycle import rates
from appliance.scenario import policy
from appliance.scenario.policy import PolicyField
from appliance.services import classes


@dataclass(frozen=True)
class Standing:
    """Of one machine: what an admin said of it (None: its class counts), what that has, what counts, what was last seen in force, and why it is not, if so."""

    own: Mapping[str, int | None]
    of_class: Mapping[str, int]
    counts: Mapping[str, int]
    in_force: Mapping[str, int]
    problem: str
    words: str


def fields() -> list[PolicyField]:
    """Those of a policy that one machine may have otherwise."""
    return [policy.fields()[name] for name in rates.NAMES]


def of_machine(machine: Machine) -> Standing:
    """Its rates."""
    found = rates.wanted(machine)
    return Standing(
        {name: machine.rates.get(name) for name in rates.NAMES},
        asdict(rates.of_class(machine.machine_class)),
        asdict(found),
        {name: machine.rates_in_force.get(name, 0) for name in rates.NAMES},
        machine.rates_in_force.get("problem", ""),
        rates.words(found) if rates.plain(found) else "",
    )


def change(actor: Actor, id: str, values: Mapping[str, int | None]) -> bool:
    """Have these be the rates of a machine; None is its class's. Whether anything changed. Raises BadInput, and NotFound for who may not."""
    for field in fields():
        if (value := values.get(field.name)) is not None:
            classes.check_value(field, value)
    if unknown := values.keys() - set(rates.NAMES):
        raise BadInput(f"A machine has no rate {min(unknown)[:60]}.", f"It has {', '.join(rates.NAMES)}.")
    wanted = {name: value for name in rates.NAMES if (value := values.get(name)) is not None}
    with catalog.write():
        machine = machines.by_id(id)
        if machine is None or machine.retired_at is not None or not permissions.may(actor, "machines.manage", "machine", id):
            raise NotFound("There is no such machine.", "It may have been given back.")  # not its owner's to say
        before = {name: machine.rates.get(name) for name in rates.NAMES}
        if machine.rates == wanted:
            return False
        Machine.update(rates=wanted).where(Machine.id == id).execute()
        machine.rates = wanted
        record(
            EventKind.MACHINE_RATES,
            f"{actor.name} said how fast {machine.name} is at most: {rates.words(rates.wanted(machine))}.",
            actor,
            class_name=machine.class_name,
            machine_id=id,
            before=before,
            after={name: wanted.get(name) for name in rates.NAMES},
        )
    doorbell.ring()
    return True
