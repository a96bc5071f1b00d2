"""How much of the host's memory paused forks take, against clones of the same seed that were booted: as their processes are counted, and planned.

Real machines of 512 MiB from the tests' small seed, on a libvirtd of the benchmark's own.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from appliance.hypervisor.provider import MachineSpec, Stats
from appliance.pools.planner import Capacity, Demand, Policy, Pools, plan
from tests.bench.build import _spec, hypervisor, snapshot
from tests.integration.conftest import Libvirtd

MEMORY = 512  # MiB
FORKS, CLONES = 40, 6
SMALLEST = {"FORKS": 2, "CLONES": 1}


def _specs(libvirtd: Libvirtd, first: int, count: int, **changes: Any) -> list[MachineSpec]:
    return [replace(_spec(libvirtd.settings, slot), memory=MEMORY, **changes) for slot in range(first, first + count)]


def _taken(libvirtd: Libvirtd, specs: list[MachineSpec]) -> int:
    """MiB that these machines take together, when all of them have been measured; takes them away."""
    ids = {spec.id for spec in specs}
    while True:
        found: list[Stats] = [stats for stats in libvirtd.provider.stats() if stats.id in ids and stats.memory_private]
        if len(found) == len(ids):
            break
    for id in ids:
        libvirtd.provider.destroy(id)
    return sum(stats.memory_private + stats.memory_shared for stats in found)


def booted(libvirtd: Libvirtd) -> int:
    """MiB that clones take when they have booted and their applications answer."""
    specs = _specs(libvirtd, 1, CLONES)

    def make(spec: MachineSpec) -> None:
        libvirtd.provider.clone(spec)
        libvirtd.provider.start(spec)
        libvirtd.provider.wait(spec)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, specs))
    return _taken(libvirtd, specs)


def paused(libvirtd: Libvirtd, taken: str) -> int:
    """MiB that paused forks of the same seed take, from the snapshot of that name."""
    specs = _specs(libvirtd, 1, FORKS, snapshot=taken, readiness="paused")
    for spec in specs:
        libvirtd.provider.fork(spec)
    return _taken(libvirtd, specs)


def planned(nominal: int, cost: int | None, overcommit: int) -> int:
    """How many ready machines the planner has made, of those it is asked for, where there is memory for six that were booted."""
    host = Capacity(memory=CLONES * nominal, disk=1 << 20, slots=100, room=CLONES * nominal * overcommit // 100, overcommit=overcommit)
    [decision] = plan([Demand("small", Policy(0, FORKS, FORKS), Pools(), nominal, 512, cost=cost)], host)
    return decision.create


def run() -> Iterator[dict[str, Any]]:
    with hypervisor() as libvirtd:
        clones = booted(libvirtd)
        [template] = _specs(libvirtd, 0, 1)
        nominal = MEMORY + libvirtd.provider.host().overhead
        forks = paused(libvirtd, snapshot(libvirtd, template))
    fork, clone = forks / FORKS / MEMORY, clones / CLONES / MEMORY
    yield {
        "name": "density.paused",
        "value": round(fork, 3),
        "unit": f"of its {MEMORY} MiB are taken by a paused fork (PSS), one of {FORKS}",
        "baseline": "the same of a clone that was booted",
        "baseline_value": round(clone, 3),
        "ratio": round(clone / fork, 2),
    }
    yield {
        "name": "density.forty",
        "value": forks,
        "unit": f"MiB are taken by {FORKS} paused forks (PSS)",
        "baseline": f"{CLONES} clones that were booted (PSS)",
        "baseline_value": clones,
        "ratio": round(clones / forks, 2),
    }
    cost = -(-forks // FORKS)
    many, few = planned(nominal, cost, 100 * -(-FORKS // CLONES)), planned(nominal, None, 100)
    yield {
        "name": "density.planned",
        "value": many,
        "unit": f"machines stand ready where there is memory for {CLONES}, planned with paused forks of {cost} MiB and an overcommit that lets all be claimed",
        "baseline": "machines that are booted, as planned",
        "baseline_value": few,
        "ratio": round(many / few, 2),
    }
