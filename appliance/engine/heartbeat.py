"""The look at the hypervisor, and the sign of life that the catalog keeps of it and of the engine."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from appliance import catalog
from appliance.catalog import Engine as EngineRow
from appliance.catalog import EventKind, now, record
from appliance.engine.readings import Readings
from appliance.errors import Unavailable
from appliance.hypervisor.provider import MachineFound, Provider

EVERY = 10.0  # seconds between two signs of life at most


@dataclass(frozen=True)
class Seen:
    """What the hypervisor and the disks have: machines by id, ids of disks, and when the look began."""

    machines: dict[str, MachineFound]
    disks: set[str]
    at: datetime


class Heartbeat:
    """`seen` is what the last look found; None while the hypervisor is away, and then nothing is concluded from its silence. `internals` is what the
    engine counts of itself, for monitoring."""

    def __init__(self, provider: Provider, readings: Readings) -> None:
        self.provider, self.readings = provider, readings
        self.seen: Seen | None = None
        self.internals: Callable[[], Mapping[str, Any]] = dict
        self.watched_since = now()  # since when somebody looks at machines without a break
        self._problem: str | None = None
        self._told_facts: object = None
        self._told_at = float("-inf")

    def look(self) -> None:
        """Look, and say in the catalog that we did."""
        began, problem = now(), ""
        try:
            found = {machine.id: machine for machine in self.provider.list()}
            self.seen = Seen(found, set(self.provider.disks()), began)
        except Unavailable as error:
            self.seen, problem = None, str(error)
            self.watched_since = now()
        if problem != self._problem or self.readings.facts is not self._told_facts or time.monotonic() - self._told_at > EVERY:
            self._tell(problem)

    def _tell(self, problem: str) -> None:
        changed = self._problem is not None and (problem == "") != (self._problem == "")
        facts = self.readings.facts
        self._problem, self._told_facts, self._told_at = problem, facts, time.monotonic()
        host: dict[str, Any] = {} if facts is None else {**asdict(facts), "cpu_percent": self.readings.cpu}
        with catalog.write():
            EngineRow.insert(
                id=1, seen_at=now(), hypervisor_ok=not problem, hypervisor_problem=problem, host=host, internals=self.internals()
            ).on_conflict_replace().execute()
            if changed and problem:
                record(EventKind.HYPERVISOR_AWAY, f"The hypervisor is away: {problem}")
            elif changed:
                record(EventKind.HYPERVISOR_BACK, "The hypervisor is back; work goes on.")
