"""How many machines to make and to remove: `plan()`, a pure function of numbers.

Order of precedence, learnt from what users of comparable products complain about:
people who wait come first, then the refill of buffers (one machine a class in turn), then the
replacement of machines on an old seed. A machine still being made is never scaled away, and a new
seed never empties a buffer.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """How large the pools of a class should be, in machines."""

    minimum: int
    maximum: int
    buffer: int


@dataclass(frozen=True)
class Pools:
    """A class now. Machines being made, ready, ready but from an old seed (a part of ready), held; people waiting."""

    creation: int = 0
    ready: int = 0
    old: int = 0
    production: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class Demand:
    """All that the planner needs to know of a class. memory is MiB a machine; `allowance` bounds how many may be
    made now (0 while the class's machines fail to come up, 1 to try again); `offered` is off for a class withdrawn."""

    name: str
    policy: Policy
    pools: Pools
    memory: int
    disk: int
    allowance: int | None = None
    offered: bool = True


@dataclass(frozen=True)
class Capacity:
    """What the host has left for new machines: memory and disk in MiB, and slots."""

    memory: int
    disk: int
    slots: int


@dataclass(frozen=True)
class Decision:
    """How many machines of a class to make, how many ready ones to remove (old seeds first), and what binds, in words."""

    name: str
    create: int
    remove: int
    reason: str


class _Budget:
    """Hands out the host's capacity, machine by machine, and knows what ran out."""

    def __init__(self, capacity: Capacity) -> None:
        self.memory, self.disk, self.slots = capacity.memory, capacity.disk, capacity.slots

    def lacks(self, demand: Demand) -> str:
        if demand.memory > self.memory:
            return f"the host's memory: {demand.memory} MiB needed, {max(self.memory, 0)} MiB left; lower a buffer, or give machines back, or add memory"
        if demand.disk > self.disk:
            return f"the host's disk: {demand.disk} MiB needed, {max(self.disk, 0)} MiB left; give machines back, or add disk space"
        if self.slots < 1:
            return "the number of slots (addresses and ports); give machines back, or raise the setting slots"
        return ""

    def take(self, demand: Demand) -> None:
        self.memory -= demand.memory
        self.disk -= demand.disk
        self.slots -= 1


def _wanted(demand: Demand) -> int:
    """Machines there should be in all, before the maximum and the host bind."""
    pools, policy = demand.pools, demand.policy
    if not demand.offered:
        return pools.production
    return max(policy.minimum, pools.production + pools.waiting + policy.buffer)


def plan(demands: Sequence[Demand], capacity: Capacity) -> list[Decision]:
    """Decide for all classes at once, since they share the host; one decision a class, in the same order."""
    budget = _Budget(capacity)
    create = dict.fromkeys((demand.name for demand in demands), 0)
    reasons: dict[str, str] = {}

    def make(demand: Demand, upto: int) -> bool:
        """Grant one machine more if the class, unbound, wants `upto` new ones; say what binds if not."""
        made, pools = create[demand.name], demand.pools
        if made >= upto:
            return False
        if demand.allowance is not None and made >= demand.allowance:
            return False
        if pools.creation + pools.ready + pools.production + made >= demand.policy.maximum:
            reasons.setdefault(demand.name, f"the class's maximum of {demand.policy.maximum} machines")
            return False
        if lack := budget.lacks(demand):
            reasons.setdefault(demand.name, lack)
            return False
        budget.take(demand)
        create[demand.name] += 1
        return True

    def in_turn(upto: dict[str, int]) -> None:
        while sum(make(demand, upto[demand.name]) for demand in demands):
            pass

    in_turn({d.name: max(0, d.pools.waiting - d.pools.creation - d.pools.ready) if d.offered else 0 for d in demands})
    in_turn({d.name: max(0, _wanted(d) - d.pools.creation - d.pools.ready - d.pools.production) for d in demands})
    return [
        Decision(demand.name, create[demand.name] + surge, remove, reasons.get(demand.name, ""))
        for demand in demands
        for surge, remove in [_renew(demand, create[demand.name], budget)]
    ]


def _renew(demand: Demand, created: int, budget: _Budget) -> tuple[int, int]:
    """Excess ready machines to remove, and at most one extra machine to make while old seeds are replaced."""
    pools, policy = demand.pools, demand.policy
    wanted = min(_wanted(demand), policy.maximum) if demand.offered else pools.production
    excess = min(pools.ready, max(0, pools.ready + pools.production - max(wanted, pools.production + pools.waiting)))
    if excess or not pools.old or not demand.offered or created or pools.creation or demand.allowance is not None:
        return 0, excess
    if pools.ready + pools.production < policy.maximum and not budget.lacks(demand):
        budget.take(demand)
        return 1, 0
    # No room for one more: an old one has to go first, but never the only one while somebody could ask for it,
    # unless it is the only one there may be.
    if pools.ready > 1 or policy.maximum - pools.production <= 1:
        return 0, 1
    return 0, 0
