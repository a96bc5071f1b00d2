"""The host in numbers: what machines of each class really take. Sizes are MiB."""

from dataclasses import dataclass

from appliance.catalog import Class, memory
from appliance.catalog.grants import Scope
from appliance.catalog.memory import Kind
from appliance.identity.permissions import EVERYTHING

# How machines that take memory are called, in the order of their life.
KINDS = {
    Kind.MAKING: "being made",
    Kind.FORK: "ready, paused (forked)",
    Kind.BOOTED: "ready, paused (booted)",
    Kind.RUNNING: "ready, running",
    Kind.COLD: "ready, cold",
    Kind.HELD: "in somebody's hands",
    Kind.OFF: "stopped or suspended",
    Kind.FAILED: "failed",
    Kind.LEAVING: "reclaiming",
}


@dataclass(frozen=True)
class Share:
    """What machines of a class take that are of one kind; each on average, and None where none was measured."""

    words: str
    count: int
    private: float | None
    shared: float | None
    total: int
    nominal: int


@dataclass(frozen=True)
class ClassMemory:
    """A class: what one machine may grow to, and its machines by kind."""

    machine_class: Class
    each: int
    shares: list[Share]


def by_class(reach: Scope = EVERYTHING) -> list[ClassMemory]:
    """Every class within reach with what its machines take, as last measured."""
    parts = {(part.class_name, part.kind): part for part in memory.parts()}
    return [
        ClassMemory(
            machine_class,
            nominal(machine_class.spec["size"]["memory"]),
            [_share(parts[machine_class.name, kind]) for kind in KINDS if (machine_class.name, kind) in parts],
        )
        for machine_class in Class.select().order_by(Class.name)
        if reach.everything or machine_class.name in reach.classes
    ]


def _share(part: memory.Part) -> Share:
    known = part.measured > 0
    # Those that were not measured are taken to be like the others.
    total = 0 if part.kind is Kind.OFF else round(part.mean * part.count)
    private, shared = (part.private / part.measured, part.shared / part.measured) if known else (None, None)
    cold = part.kind in (Kind.COLD, Kind.OFF)
    return Share(KINDS[part.kind], part.count, 0 if cold else private, 0 if cold else shared, total, part.nominal)


def nominal(size: int) -> int:
    """What a machine of this size may grow to, with what the hypervisor needs for it."""
    return size + memory.allowed().overhead
