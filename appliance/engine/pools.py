"""Pools are kept as large as their policies and the host say."""

import logging
import uuid

from appliance import catalog
from appliance.catalog import Class, EventKind, Machine, MachineState, doorbell, machines, record, replicas, seeds
from appliance.engine.balancer import Balancer
from appliance.engine.readings import Readings
from appliance.errors import Conflict
from appliance.lifecycle import calendars, forks, master
from appliance.lifecycle.sizing import Sizing
from appliance.pools.planner import Decision, Demand, plan
from appliance.settings import Settings
from appliance.workflow import start

log = logging.getLogger("dpe.engine")

S = MachineState
# Why a machine goes, as it is told.
SHORT = "memory is short"
FEWER = "fewer are wanted"
TOO_MANY = "the buffer is larger than its policy, or than what could be handed out, or is in the way of somebody who waits"
OLD = "its seed is no longer the promoted one"


class Pools:
    """From the planner's decisions to machines that are planned or removed."""

    def __init__(self, settings: Settings, readings: Readings, sizing: Sizing, balancer: Balancer) -> None:
        self.settings, self.readings, self.sizing, self.balancer = settings, readings, sizing, balancer

    def plan(self) -> None:
        """Compare what is with what is wanted; nothing before the first reading."""
        if self.readings.facts is None:
            return
        demands, capacity = self.sizing.look(self.readings.facts)
        known = {machine_class.name: machine_class for machine_class in list(Class.select())}
        of = {demand.name: demand for demand in demands}
        for decision in plan(demands, capacity):
            machine_class = known[decision.name]
            calendars.note(machine_class, self.sizing.holds[decision.name])
            if (decision.reason, decision.short_of_memory) != (machine_class.limit_reason, machine_class.short_of_memory):
                with catalog.write():
                    Class.update(limit_reason=decision.reason, short_of_memory=decision.short_of_memory).where(
                        Class.name == decision.name
                    ).execute()
            if decision.create:
                self._create(decision)
            if machine_class.spec.get("service"):
                self._drain(machine_class, decision, of[decision.name])
                continue
            for machine in machines.dispensable(decision.name, decision.remove):
                self._remove_ready(machine, TOO_MANY)
            for machine in machines.largest(decision.name, decision.shed):
                self._remove_ready(machine, SHORT)

    def _drain(self, machine_class: Class, decision: Decision, demand: Demand) -> None:
        """Replicas go when they have answered what they have; when memory is short, without waiting for others to be there."""
        gone = decision.remove + decision.shed
        leaving = replicas.leaving(decision.name, gone, demand.pools.ready - gone)
        reason = SHORT if decision.shed else FEWER
        self.balancer.wanted[decision.name] = demand.policy.minimum if demand.offered else 0
        self.balancer.wish(machine_class, leaving, reason, at_once=decision.shed > 0)

    def _create(self, decision: Decision) -> None:
        with catalog.write():
            machine_class, seed = Class.get_by_id(decision.name), seeds.promoted(decision.name)
            assert seed is not None
            snapshot = forks.usable(machine_class, seed)
            for slot in machines.next_slots(decision.create, self.settings.slots):
                machine = machines.create(machine_class, seed, str(uuid.uuid4()), slot, snapshot)
                record(
                    EventKind.MACHINE_PLANNED,
                    f"{machine.name} is planned.",
                    class_name=machine_class.name,
                    machine_id=machine.id,
                    seed_id=seed.id,
                )
                start.begin_run("make", machine)
        doorbell.ring()

    def _remove_ready(self, machine: Machine, reason: str) -> None:
        why = reason if machine.seed.promoted else OLD
        try:
            master.move(machine.id, S.RECLAIMING, f"{machine.name} is removed: {why}.", expect=frozenset({S.READY}), reclaim_reason=why)
        except Conflict:
            log.info("%s was taken just before it would have been removed", machine.name)
