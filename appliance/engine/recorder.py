"""What was read of host, classes and machines, and who waits for machines: kept over time."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from appliance import catalog
from appliance.catalog import Class, EventKind, MachineState, demand, job_queue, machines, now, policies, record
from appliance.engine.balancer import Balancer
from appliance.engine.readings import Readings
from appliance.hypervisor.provider import HostFacts
from appliance.readings import HOST, Damaged, Kind, Store, Subject, plausible

log = logging.getLogger("dpe.engine")

S = MachineState
Figures = dict[str, float | None]

POOLS = {
    "creation": (S.PLANNED, S.CREATING),
    "buffer": (S.READY,),
    "production": (S.ASSIGNED, S.IN_USE, S.STOPPED, S.SUSPENDED, S.REPROVISIONING, S.QUARANTINED),
}
SUMS = ("memory_used", "memory_private", "memory_shared", "disk_read", "disk_written", "net_received", "net_sent")  # of a class's machines
TOTALS = ("disk_read", "disk_written", "net_received", "net_sent", *POOLS, "queue", "hits", "misses")  # of all classes, for the host
HOUR = 3600.0


@dataclass(frozen=True)
class Mark:
    """Up to where requests were counted: the number of the last, and when."""

    request: int
    at: datetime


class Recorder:
    """Writes down what `readings` found last. What was not read anew is not written again, and so is missing."""

    def __init__(self, store: Store, readings: Readings, balancer: Balancer) -> None:
        self.store, self.readings, self.balancer = store, readings, balancer
        self._written: HostFacts | None = None
        self._mark: Mark | None = None

    def record(self) -> None:
        """Keep one look, and thin what is there. A file that is damaged is set aside, and another one begun."""
        facts, moment = self.readings.facts, now()
        if facts is None or facts is self._written:
            return
        found = self._look(facts, moment)
        try:
            self.store.record(moment, found)
            self.store.thin(moment)
        except Damaged as damaged:
            aside = self.store.set_aside()
            message = f"The readings of the past are lost, and others are begun: {damaged}"
            with catalog.write():
                record(EventKind.READINGS_LOST, message, hint=f"The file is kept as {aside}. See how the disks are at Server > Storage.")
            self.store.record(moment, found)
        self._written = facts

    def close(self) -> None:
        """Let go of the file."""
        self.store.close()

    def _look(self, facts: HostFacts, moment: datetime) -> dict[Subject, Figures]:
        of_machines, classes = self.readings.machines, demand.classes_of_machines()
        members: dict[str, list[Figures]] = {name: [] for name in demand.class_names()}
        for id, figures in of_machines.items():
            if id in classes:
                members.setdefault(classes[id], []).append(figures)
        pools = self._demand(list(members), moment)
        services, of_replicas = self.balancer.figures(moment)
        of_classes = {name: {**_together(found), **pools[name], **services.get(name, {})} for name, found in members.items()}
        return {
            HOST: {**self._of_host(facts), **_total(of_classes.values())},
            **{Subject(Kind.CLASS, name): figures for name, figures in of_classes.items()},
            **{Subject(Kind.MACHINE, id): {**figures, **of_replicas.get(id, {})} for id, figures in of_machines.items()},
        }

    def _demand(self, classes: Iterable[str], moment: datetime) -> dict[str, Figures]:
        """What there is of each class, who waits, and how many requests an hour were met at once or not since the last look."""
        jobs = job_queue.lengths()
        counts, waiting, last = machines.counts(), demand.waiting(), demand.last_request()
        before, self._mark = self._mark, Mark(last, moment)
        seconds = 0.0 if before is None else (moment - before.at).total_seconds()
        asked = demand.asked_between(before.request, last) if before is not None and seconds > 0 else None
        found: dict[str, Figures] = {}
        workers = jobs.keys() | {one.name for one in Class.select() if policies.value(one, "jobs")}
        for name in classes:
            there, queue = counts.get(name, {}), waiting.get(name)
            hits, misses = (None, None) if asked is None else (HOUR / seconds * count for count in asked.get(name, demand.Asked()))
            found[name] = {
                **{pool: float(sum(there.get(state, 0) for state in states)) for pool, states in POOLS.items()},
                "queue": queue.machines if queue else 0,
                "wait": plausible((moment - queue.since).total_seconds()) if queue else 0,
                "jobs": float(jobs.get(name, 0)) if name in workers else None,
                "hits": hits,
                "misses": misses,
            }
        return found

    def _of_host(self, facts: HostFacts) -> Figures:
        taken = self.readings.memory
        private = taken.private if taken else 0
        return {
            "cpu": self.readings.cpu / 100,
            "memory": facts.memory,
            "memory_private": private,
            "memory_shared": taken and taken.shared,
            # Memory that machines share is that of a file: the kernel counts it as available, as it could be read again.
            "memory_other": max(0, facts.memory - facts.memory_available - private),
            "memory_allocated": taken and taken.allocated,
            "memory_allocatable": taken and taken.allocatable,
            "disk_usage": plausible(1 - facts.disk_free / facts.disk, 1) if facts.disk else None,
        }


def _together(found: list[Figures]) -> Figures:
    """Machines of a class: sums of what is known, and the mean load of their processors. None where nothing is known."""
    load = [figures["cpu"] for figures in found if figures["cpu"] is not None]
    return {**_sums(found, SUMS), "cpu": sum(load) / len(load) if load else None}


def _total(classes: Iterable[Mapping[str, float | None]]) -> Figures:
    """The same of all classes, for the host; and the longest that anybody waits."""
    found = list(classes)
    waits = [wait for figures in found if (wait := figures["wait"]) is not None]
    return {**_sums(found, TOTALS), "wait": max(waits, default=0)}


def _sums(found: Sequence[Mapping[str, float | None]], names: Iterable[str]) -> Figures:
    known = {name: [value for figures in found if (value := figures[name]) is not None] for name in names}
    return {name: sum(values) if values or not found else None for name, values in known.items()}
