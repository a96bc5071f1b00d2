"""Rates of machines that are not those that are to be: a policy was changed, an admin said otherwise, or somebody took them away."""

import logging
from dataclasses import asdict

from appliance import catalog
from appliance.catalog import Class, EventKind, Machine, machines, record
from appliance.errors import DpeError
from appliance.hypervisor.provider import Provider
from appliance.lifecycle import rates
from appliance.lifecycle.specs import spec
from appliance.scenario.rates import UNLIMITED, Rates
from appliance.settings import Settings

log = logging.getLogger("dpe.engine")

EVERY = 5.0  # seconds


class Limits:
    """Compares what is in force with what is to be, and notes it. That a machine is made, resumed or booted with its rates is `start`'s work."""

    def __init__(self, settings: Settings, provider: Provider) -> None:
        self.settings, self.provider = settings, provider
        self._any = True  # whether there were any when it last looked
        self._failed: dict[str, DpeError] = {}

    def is_due(self) -> bool:
        """Whether any machine is limited, or is to be."""
        return self._any or machines.have_rates() or any(rates.of_class(one) != UNLIMITED for one in Class.select())

    def keep(self) -> None:
        """Look, and mend. Raises Unavailable when nothing can be read."""
        in_force = self.provider.rates()
        failed: dict[str, DpeError] = {}
        says: dict[str, Rates] = {}  # by class, of which each has many machines
        for machine in machines.with_ids(in_force):
            if machine.class_name not in says:
                says[machine.class_name] = rates.of_class(machine.machine_class)
            self._keep(machine, in_force[machine.id], rates.wanted(machine, says[machine.class_name]), failed)
        self._failed = failed
        self._any = any(found != UNLIMITED for found in in_force.values())

    def _keep(self, machine: Machine, there: Rates, wanted: Rates, failed: dict[str, DpeError]) -> None:
        if there != wanted:
            try:
                self.provider.limit(spec(machine, self.settings))
            except DpeError as error:
                failed[machine.id] = error
                if machine.id in self._failed:  # the first time it may have been going just then
                    _note_problem(machine, error)
                return
        if there != wanted or machine.rates_in_force != rates.plain(wanted):
            _note(machine, there, wanted)


def _note(machine: Machine, there: Rates, wanted: Rates) -> None:
    known = {name: value for name, value in machine.rates_in_force.items() if name in rates.NAMES}
    before = there if there != wanted else Rates(**known)
    with catalog.write():
        Machine.update(rates_in_force=rates.plain(wanted)).where(Machine.id == machine.id).execute()
        record(
            EventKind.MACHINE_LIMITED,
            f"{machine.name} is limited: {rates.words(wanted)}." if wanted != UNLIMITED else f"{machine.name} is limited no more.",
            class_name=machine.class_name,
            machine_id=machine.id,
            before=asdict(before),
            after=asdict(wanted),
        )


def _note_problem(machine: Machine, error: DpeError) -> None:
    """Once, until it is another one."""
    found = {"problem": error.message}
    if machine.rates_in_force == found:
        return
    with catalog.write():
        Machine.update(rates_in_force=found).where(Machine.id == machine.id).execute()
        message = f"{machine.name} is not limited as it is to be: {error.message}"
        record(EventKind.MACHINE_NOT_LIMITED, message, class_name=machine.class_name, machine_id=machine.id, hint=error.hint)
