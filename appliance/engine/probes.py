"""Metrics of rules that a command prints, run in a machine of the buffer by its agent; what is no number is no value, and the rule holds."""

import logging
from collections.abc import Iterator

from appliance.catalog import Class, Machine, machines, now
from appliance.errors import DpeError
from appliance.hypervisor.provider import Provider
from appliance.lifecycle import scaling
from appliance.readings import Kind, Store, Subject, plausible
from appliance.scenario.rule import Rule

log = logging.getLogger("dpe.engine")

SECONDS = 15  # that a command may take


class Probes:
    """Reads them, class by class."""

    def __init__(self, provider: Provider, store: Store) -> None:
        self.provider, self.store = provider, store

    def is_due(self) -> bool:
        """Whether any rule has a command."""
        return next(self._rules(), None) is not None

    def read(self) -> None:
        """Run the command of each rule that has one. Raises Unavailable when what was read cannot be kept."""
        for machine_class, rule in self._rules():
            machine = machines.running_spare(machine_class.name)
            if machine is not None and (value := self._value(machine, rule)) is not None:
                self.store.record(now(), {Subject(Kind.CLASS, machine_class.name, rule.metric): {"value": value}})

    def _rules(self) -> Iterator[tuple[Class, Rule]]:
        for machine_class in list(Class.select()):
            for rule in scaling.rules_of(machine_class):
                if rule.of == "command":
                    yield machine_class, rule

    def _value(self, machine: Machine, rule: Rule) -> float | None:
        user = machine.machine_class.spec.get("user", "root")
        as_user = [] if user == "root" else ["runuser", "-u", user, "--"]
        command = ["/usr/bin/env", "timeout", "-k", "5", str(SECONDS), *as_user, *rule.command]
        try:
            done = self.provider.execute(machine.id, command, timeout=SECONDS + 10)
            return plausible(float(done.output.strip())) if done.status == 0 else None
        except (DpeError, ValueError) as error:
            log.info("%s of %s cannot be read in %s: %s", rule.metric, machine.class_name, machine.name, error)
            return None
