"""Desktops: from the click until the first full frame, and what one that waits takes of its memory, against the same desktop booted.

Real desktops of the scenario `desktop`, whose seed is built first (a quarter of an hour), on a libvirtd of the benchmark's own. A click is what the engine does then: a
paused fork is resumed, given its name, owner and address, and waited for. At its smallest the tests' small class takes a desktop's place, as it has a screen, too.
"""

import socket
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance import framebuffer
from appliance.hypervisor.provider import MachineSpec, Stats
from appliance.seeds.guest import personalise_input
from appliance.settings import REPOSITORY
from tests.bench.build import _spec, hypervisor, snapshot
from tests.integration.conftest import Libvirtd
from tests.seeds import SMALL

CLASS, SCENARIO = "desktop", REPOSITORY / "playbooks/scenarios/desktop"
TIMES, WAITING = 3, 5
SMALLEST: dict[str, str | int | Path] = {"CLASS": "small", "SCENARIO": SMALL, "TIMES": 1, "WAITING": 1}
OWNER = personalise_input(user="user", full_name="Ada", ssh_keys=[], owner="ada")
PATIENCE = 60.0  # seconds for a frame


def _machine(libvirtd: Libvirtd, slot: int, **changes: Any) -> MachineSpec:
    return replace(_spec(libvirtd.settings, slot, CLASS, SCENARIO), **changes)


def _until_drawn(libvirtd: Libvirtd, spec: MachineSpec, make: Callable[[MachineSpec], None]) -> float:
    """Seconds from what `make` does until all that the desktop shows has come over the network."""
    begun = time.perf_counter()
    make(spec)
    libvirtd.provider.start(spec)
    libvirtd.provider.wait(spec, personalise=OWNER)
    assert spec.screen_port
    with socket.create_connection((spec.card.address, spec.screen_port), timeout=PATIENCE) as connected:
        framebuffer.take(connected, PATIENCE)
    return time.perf_counter() - begun


def _taken(libvirtd: Libvirtd, specs: list[MachineSpec]) -> float:
    """What such machines take of their memory, on average, when all have been measured; takes them away."""
    ids = {spec.id for spec in specs}
    while True:
        found: list[Stats] = [stats for stats in libvirtd.provider.stats() if stats.id in ids and stats.memory_private]
        if len(found) == len(ids):
            break
    for id in ids:
        libvirtd.provider.destroy(id)
    return statistics.mean((stats.memory_private + stats.memory_shared) / stats.memory for stats in found)


def run() -> Iterator[dict[str, Any]]:
    with hypervisor() as libvirtd:
        provider, template = libvirtd.provider, _machine(libvirtd, 0)
        booted = _until_drawn(libvirtd, clone := _machine(libvirtd, 1), provider.clone)
        whole = _taken(libvirtd, [clone])
        taken = snapshot(libvirtd, template, SCENARIO)
        waiting = [_machine(libvirtd, slot, snapshot=taken) for slot in range(2, 2 + WAITING)]
        for spec in waiting:
            provider.fork(spec)
        density = _taken(libvirtd, waiting)
        clicks = []
        for _ in range(TIMES):
            provider.fork(fork := _machine(libvirtd, 2, snapshot=taken))
            clicks.append(_until_drawn(libvirtd, fork, lambda _spec: None))
            provider.destroy(fork.id)
    click = statistics.median(clicks)
    yield {
        "name": "desktop.click",
        "value": round(click, 2),
        "unit": "s from the click until the first full frame of a fork that waited",
        "baseline": "the same desktop booted",
        "baseline_value": round(booted, 2),
        "ratio": round(booted / click, 2),
    }
    yield {
        "name": "desktop.density",
        "value": round(density, 3),
        "unit": f"of its memory is taken by a fork that waits (PSS), one of {WAITING}",
        "baseline": "the same of one that was booted",
        "baseline_value": round(whole, 3),
        "ratio": round(whole / density, 2),
    }
