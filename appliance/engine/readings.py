"""Readings of machines and host: load, memory, and what is left for the planner."""

import time
from typing import Any

import psutil

from appliance import catalog
from appliance.catalog import machines, now, usage
from appliance.hypervisor.provider import HostFacts, Provider, Stats
from appliance.lifecycle import idle
from appliance.lifecycle.sizing import Sizing
from appliance.settings import Settings

EVERY = 10.0  # seconds
EVERY_WHEN_SCARCE = 2.0  # the same while the host has little memory left


class Readings:
    """The latest reading; None and nought before the first."""

    def __init__(self, settings: Settings, provider: Provider, sizing: Sizing) -> None:
        self.settings, self.provider, self.sizing = settings, provider, sizing
        self.facts: HostFacts | None = None
        self.cpu = 0.0  # percent of all processors
        self._last: dict[str, tuple[float, Stats]] = {}

    def every(self) -> float:
        """Seconds between two of them."""
        scarce = self.facts is not None and self.facts.memory_available < 2 * self.settings.host_reserve
        return EVERY_WHEN_SCARCE if scarce else EVERY

    def take(self) -> None:
        """Read everything, and note it; that takes a while."""
        moment = time.monotonic()
        facts, readings = self.provider.host(), self.provider.stats()
        known = machines.live_ids()
        latest = {stats.id: (moment, stats) for stats in readings if stats.id in known}
        # The first reading of a machine knows no rates yet.
        rates = {id: _rates(*self._last.get(id, (moment, stats)), moment, stats) for id, (_, stats) in latest.items()}
        busy = [id for id, rate in rates.items() if idle.is_busy(cpu=rate["cpu"], network=rate["net_rate"], disk=rate["disk_rate"])]
        with catalog.write():
            machines.note_readings(rates)
            if busy:
                usage.note_usage(busy, now())
        self._last, self.cpu = latest, psutil.cpu_percent()
        self.sizing.note(facts, self.cpu / 100)
        self.facts = facts


def _rates(then: float, before: Stats, moment: float, after: Stats) -> dict[str, Any]:
    seconds = max(moment - then, 0.001)

    def rate(a: int, b: int) -> float:
        return max(0, b - a) / seconds  # a restarted machine counts from nought again

    return {
        "cpu": min(1.0, rate(before.cpu_ns, after.cpu_ns) / 1e9 / max(after.vcpus, 1)),
        "memory_used": after.memory_used,
        "memory_private": after.memory_private,
        "memory_shared": after.memory_shared,
        "disk_rate": rate(before.disk_read + before.disk_written, after.disk_read + after.disk_written),
        "net_rate": rate(before.net_received + before.net_sent, after.net_received + after.net_sent),
    }
