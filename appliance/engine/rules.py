"""What rules decide by what was read last becomes what the planner goes by; each decision is an event with its numbers."""

import logging

from appliance import catalog
from appliance.catalog import Class, EventKind, doorbell, now, record
from appliance.lifecycle import scaling
from appliance.pools.rules import Decision, decide, numbers
from appliance.readings import Store
from appliance.scenario.rule import Rule

log = logging.getLogger("dpe.engine")

EVERY = 10.0  # seconds


class Rules:
    """Decides for all classes that have rules."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def decide(self) -> None:
        """Look at the readings, and keep what is another number than before. Raises Unavailable when they cannot be read: nothing changes then."""
        for machine_class in list(Class.select()):
            rules = scaling.rules_of(machine_class)
            if rules or machine_class.scaling:
                self._decide(machine_class, rules)

    def _decide(self, machine_class: Class, rules: list[Rule]) -> None:
        moment, name = now(), machine_class.name
        readings = scaling.readings_of(self.store, name, rules, moment)
        maximum = scaling.maximum_of(machine_class, moment)
        found = {
            number: decide(of, readings, scaling.state_of(machine_class, number), moment.timestamp(), maximum)
            for number, of in numbers(rules).items()
        }
        kept = {number: scaling.plain(decision.state) for number, decision in found.items()}
        if kept == machine_class.scaling:
            return
        with catalog.write():
            Class.update(scaling=kept).where(Class.name == name).execute()
            for number, decision in found.items():
                if decision.is_told:
                    _tell(name, number, decision)
        if any(decision.changes for decision in found.values()):
            doorbell.ring()


def _tell(name: str, number: str, decision: Decision) -> None:
    numbers = {"wanted": decision.wanted, "value": decision.value, "rule": decision.rule, "held": decision.held}
    record(
        EventKind.CLASS_SCALED if decision.changes else EventKind.CLASS_NOT_SCALED,
        told(name, number, decision),
        class_name=name,
        before={number: decision.before},
        after={number: decision.machines, **numbers},
    )


def told(name: str, number: str, decision: Decision) -> str:
    """A decision in words."""
    if decision.changes:
        return f"{name}: {number} from {decision.before} to {decision.machines}, by the rule {decision.rule}: {decision.why}."
    return f"{name}: {number} stays {decision.machines}, by the rule {decision.rule}: {decision.why}."
