"""Readings of machines and host: load, memory, and what is left for the planner."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import psutil

from appliance import catalog
from appliance.catalog import machines, memory, now, usage
from appliance.hypervisor.provider import GuestMemory, HostFacts, Provider, Stats
from appliance.lifecycle import idle
from appliance.lifecycle.sizing import HostMemory, Sizing
from appliance.readings.figures import LARGEST, plausible
from appliance.settings import Settings

EVERY = 10.0  # seconds
EVERY_WHEN_SCARCE = 2.0  # the same while the host has little memory left


class Readings:
    """The latest reading; None and nought before the first. `machines` has each machine's figures (see appliance/readings), by its id."""

    def __init__(self, settings: Settings, provider: Provider, sizing: Sizing) -> None:
        self.settings, self.provider, self.sizing = settings, provider, sizing
        self.facts: HostFacts | None = None
        self.memory: HostMemory | None = None
        self.machines: dict[str, dict[str, float | None]] = {}
        self.guests: dict[str, GuestMemory] = {}  # what machines that may be given memory said of theirs last
        self.cpu = 0.0  # percent of all processors
        self._last: dict[str, tuple[float, Stats]] = {}

    def every(self) -> float:
        """Seconds between two of them."""
        scarce = self.facts is not None and self.facts.memory_available < 2 * self.settings.host_reserve
        return EVERY_WHEN_SCARCE if scarce else EVERY

    def take(self) -> None:
        """Read everything, and note it; that takes a while."""
        moment = time.monotonic()
        facts, readings = self.provider.host(), [self._with_guest(stats) for stats in self.provider.stats()]
        known = machines.live_ids()
        latest = {stats.id: (moment, stats) for stats in readings if stats.id in known}
        # The first reading of a machine knows no rates yet.
        found = {id: figures(*self._last.get(id, (moment, stats)), moment, stats) for id, (_, stats) in latest.items()}
        rates = {id: _rates(found[id], stats) for id, (_, stats) in latest.items()}
        busy = [id for id, rate in rates.items() if idle.is_busy(cpu=rate["cpu"], network=rate["net_rate"], disk=rate["disk_rate"])]
        with catalog.write():
            machines.note_readings(rates)
            if busy:
                usage.note_usage(busy, now())
            memory.forget_readings()
        self._last, self.machines, self.cpu = latest, found, psutil.cpu_percent()
        self.memory = self.sizing.measure(facts)
        self.facts = facts

    def _with_guest(self, stats: Stats) -> Stats:
        """With what its own kernel said of its memory, where that is known: what it was given later the hypervisor does not tell of."""
        known = self.guests.get(stats.id)
        return stats if known is None else replace(stats, memory=known.total, memory_used=known.total - known.available)


def figures(then: float, before: Stats, moment: float, after: Stats) -> dict[str, float | None]:
    """What two readings of a machine say, by the names of appliance.readings. None for what is not known or cannot be: what a guest says of
    its memory is its own word, counters of a machine that was restarted begin at nought again, and the first reading has no rates."""
    seconds = moment - then

    def rate(a: float, b: float, most: float = LARGEST) -> float | None:
        return plausible((b - a) / seconds, most) if seconds > 0 else None

    cpu = rate(before.cpu_ns, after.cpu_ns)
    return {
        "cpu": None if cpu is None else round(min(1.0, cpu / 1e9 / max(after.vcpus, 1)), 4),
        "memory": plausible(after.memory) or None,
        "memory_used": plausible(after.memory_used, after.memory) or None,
        "memory_private": plausible(after.memory_private) or None,
        "memory_shared": plausible(after.memory_shared) if after.memory_private else None,
        "disk_read": rate(before.disk_read, after.disk_read),
        "disk_written": rate(before.disk_written, after.disk_written),
        "net_received": rate(before.net_received, after.net_received),
        "net_sent": rate(before.net_sent, after.net_sent),
    }


def _rates(found: Mapping[str, float | None], stats: Stats) -> dict[str, Any]:
    """The last reading as the catalog keeps it, with nought for what is not known."""
    return {
        "cpu": found["cpu"] or 0.0,
        "memory_used": stats.memory_used,
        "memory_private": stats.memory_private,
        "memory_shared": stats.memory_shared,
        "disk_rate": (found["disk_read"] or 0.0) + (found["disk_written"] or 0.0),
        "net_rate": (found["net_received"] or 0.0) + (found["net_sent"] or 0.0),
    }
