"""Memory by need: machines that have little left are given some, and asked for what they no longer need; each decision is an event with its numbers.

What counts is what is really there: at each look the catalog is brought in line with what the hypervisor says that a machine has, so that an engine which
was killed at any step goes on from there. More is counted before it is given, and less when it has been given back: what people hold is never
counted for less than it is.
"""

import logging
from dataclasses import replace

from appliance import catalog
from appliance.catalog import EventKind, Machine, memory, now, record
from appliance.catalog.quotas import Size
from appliance.engine.jobs import Jobs
from appliance.engine.readings import Readings
from appliance.errors import DpeError
from appliance.hypervisor.provider import HostFacts, MemoryGiven, Provider
from appliance.identity import quotas
from appliance.pools.vertical import Decision, Held, Past, Seen, decide
from appliance.scenario.policy import MEMORY_STEP
from appliance.settings import Settings

log = logging.getLogger("dpe.engine")

EVERY = 3.0  # seconds
QUEUE, THREADS = "memory", 4  # guests may keep us waiting
SECONDS = 5.0  # that one may take to answer


class Vertical:
    """One job for each machine that may be given memory. Remembers only how calm they are: after a start it waits anew before it takes any back."""

    def __init__(self, settings: Settings, provider: Provider, readings: Readings, jobs: Jobs) -> None:
        self.settings, self.provider, self.readings, self.jobs = settings, provider, readings, jobs
        self._past: dict[str, Past] = {}
        self._facts: HostFacts | None = None
        self._given = 0  # MiB since the host was read

    def dispatch(self) -> None:
        """Hand out the jobs, and forget who is gone."""
        for id in memory.start_anew():
            with catalog.write():
                memory.note_given(id, 0)
        there = {machine.id: machine for machine in memory.growing()}
        for gone in self._past.keys() - there.keys():
            del self._past[gone]
        self.readings.guests = {id: known for id, known in self.readings.guests.items() if id in there}
        for id, machine in there.items():
            if (key := f"memory-{id}") not in self.jobs:
                self.jobs.submit(QUEUE, key, self.look, machine, now().timestamp())

    def look(self, machine: Machine, moment: float) -> None:
        """Look at one, and change its memory by a step at most. `moment` is seconds on any axis."""
        if (seen := self._seen(machine)) is not None:
            self._decide(machine, seen, moment)

    def _seen(self, machine: Machine) -> Seen | None:
        """What is there; None for a machine that can be given nothing, or is gone. Touches no catalog."""
        try:
            given = self.provider.memory_given(machine.id)
        except DpeError as error:
            log.info("it is not known how much memory %s has: %s", machine.name, error)
            return None
        if given is None:  # it was made when its class said otherwise, or by a provider that cannot
            given = MemoryGiven(0, 0)
            return Seen(machine.memory_start, 0, *given, total=machine.memory_start, available=machine.memory_start)
        seen = Seen(machine.memory_start, machine.memory_room, *given)
        try:
            guest = self.provider.guest_memory(machine.id, timeout=SECONDS)
        except DpeError as error:
            log.info("%s says nothing of its memory: %s", machine.name, error)
            self.readings.guests.pop(machine.id, None)
            return seen
        self.readings.guests[machine.id] = guest
        return replace(seen, total=guest.total, available=guest.available)

    def _decide(self, machine: Machine, seen: Seen, moment: float) -> None:
        past = self._past.get(machine.id, Past())
        decision = decide(seen, past, moment)
        if decision.is_told or machine.memory_more != seen.counts:
            with catalog.write():  # nobody else is given what it is given
                if decision.more > seen.counts and (refused := self._refused(machine, seen)) is not None:
                    decision = decide(seen, past, moment, refused)
                if decision.more > seen.counts:
                    self._given += MEMORY_STEP
                memory.note_given(machine.id, max(seen.counts, decision.more))
                if decision.is_told:
                    _tell(machine, seen, decision)
        self._past[machine.id] = decision.past
        if decision.more == seen.asked:
            return
        try:
            self.provider.give_memory(machine.id, decision.more)
        except DpeError as error:
            log.warning("the memory of %s could not be changed: %s", machine.name, error)

    def _refused(self, machine: Machine, seen: Seen) -> tuple[Held, str] | None:
        """Why the machine may not be given a step more, if so. Call it inside the `write()` that gives it."""
        facts = self.readings.facts
        if facts is None:
            return Held.HOST, "what the server has is not known yet"
        if facts is not self._facts:
            self._facts, self._given = facts, 0
        free = facts.memory_available - self._given - self.settings.host_reserve
        if free < MEMORY_STEP:
            return Held.HOST, f"the server has {max(0, free)} MiB left beside its reserve of {self.settings.host_reserve}"
        if (room := memory.room()) < MEMORY_STEP:
            return Held.HOST, f"of what may be handed out {max(0, room)} MiB are left"
        if machine.owner_id is None:
            return None
        left = quotas.allowance(machine.owner_id, machine.class_name, Size(0, MEMORY_STEP, 0), machines=0)
        return (Held.QUOTA, left.reason.replace("Your quota", "its owner's quota is used up", 1)) if left.left == 0 else None


def _tell(machine: Machine, seen: Seen, decision: Decision) -> None:
    before, after = seen.start + seen.counts, seen.start + decision.more
    numbers = {"available": seen.available, "total": seen.total, "asked": seen.asked, "has": seen.has, "held": decision.held}
    changed = f"from {before} to {after} MiB" if before != after else f"stays {after} MiB"
    record(
        EventKind.MACHINE_MEMORY if decision.held is None else EventKind.MACHINE_MEMORY_HELD,
        f"{machine.name}: memory {changed}: {decision.why}.",
        class_name=machine.class_name,
        machine_id=machine.id,
        before={"memory": before},
        after={"memory": after, **numbers},
    )
