"""How many machines to make and to remove: `plan()`, a pure function of numbers.

Order of precedence, learnt from what users of comparable products complain about:
people who wait come first, then the refill of buffers (one machine a class in turn, classes of a higher
priority before others), then the replacement of machines on an old seed. A machine still being made is never scaled away, and a new
seed never empties a buffer.

Memory is counted twice. What people hold, and what runs in buffers, may use all its memory one day:
the *limit* bounds that. What waits paused or cold takes only what it takes *now*, and for that there must
be room on the host beside all that held machines are still expected to grow by.
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
    """A class now. Machines being made, ready, ready but from an old seed (a part of ready), held; people waiting.

    Also a part of ready: those `standing` there with all their memory (running, or booted and paused), and the `cold` ones.
    `leaving` are those on their way out, which exist until they are gone.
    """

    creation: int = 0
    ready: int = 0
    old: int = 0
    production: int = 0
    waiting: int = 0
    standing: int = 0
    cold: int = 0
    leaving: int = 0

    @property
    def exist(self) -> int:
        """All there are, in whatever state: what the maximum bounds."""
        return self.creation + self.ready + self.production + self.leaving


@dataclass(frozen=True)
class Family:
    """Classes that one maximum bounds together: a class, whose name it has, and what people chose of it. `exist`: machines of all of them, in whatever state."""

    name: str
    maximum: int
    exist: int


@dataclass(frozen=True)
class Demand:
    """All that the planner needs to know of a class. Sizes are MiB a machine.

    memory: what one may grow to; cost: what one more takes while it waits in the buffer (None: all its memory); frees: what removing
    a ready one gives back to the host. `allowance` bounds how many may be made now (0 while the class's machines fail to come up, 1 to
    try again); `offered` is off for a class withdrawn. While the host is full, a higher `priority` gets machines first.
    """

    name: str
    policy: Policy
    pools: Pools
    memory: int
    disk: int
    allowance: int | None = None
    offered: bool = True
    cost: int | None = None
    frees: int = 1
    priority: int = 0
    family: Family | None = None

    @property
    def stands(self) -> bool:
        """Whether one more in the buffer may use all its memory."""
        return self.cost is None or self.cost >= self.memory


@dataclass(frozen=True)
class Capacity:
    """What the host has left. Memory and disk are MiB.

    memory and disk: free for new machines, not yet less what those being made will take; room: the limit less what is held;
    shortage: what has to become free now, or the host would swap soon; overcommit: percent, how much may be held for each 100 there are.
    """

    memory: int
    disk: int
    slots: int
    room: int
    shortage: int = 0
    overcommit: int = 100


@dataclass(frozen=True)
class Decision:
    """How many machines of a class to make, how many ready ones to remove (old seeds first), and what binds, in words.

    `shed` are further ready ones to remove, those that take most memory first, because memory is short; `short_of_memory` says whether
    it is memory that binds.
    """

    name: str
    create: int
    remove: int
    reason: str
    shed: int = 0
    short_of_memory: bool = False


class _Budget:
    """Hands out the host's capacity, machine by machine, and knows what ran out."""

    def __init__(self, demands: Sequence[Demand], capacity: Capacity) -> None:
        self.memory, self.disk, self.slots, self.room = capacity.memory, capacity.disk, capacity.slots, capacity.room
        self.claimable, self.overcommit = capacity.room, capacity.overcommit
        for demand in demands:
            pools = demand.pools
            self.room -= (pools.standing + pools.leaving) * demand.memory  # one that is being taken away may use all of it until it is gone
            for_people = min(pools.creation, pools.waiting)
            for number in range(pools.creation):
                self._reserve(demand, held=number < for_people)

    def needs(self, demand: Demand, *, held: bool) -> int:
        """Memory that has to be free for one more: what it is expected to use, or all that it takes while it waits."""
        if held or demand.cost is None or demand.stands:
            return -(-demand.memory * 100 // self.overcommit)
        return demand.cost

    def lacks(self, demand: Demand, buffered: int, *, held: bool) -> str:
        """What is missing for one more of the class, `buffered` of which could be claimed then."""
        return self.lacks_memory(demand, buffered, held=held) or self._lacks_other(demand)

    def lacks_memory(self, demand: Demand, buffered: int, *, held: bool) -> str:
        """The same of memory alone."""
        if (needs := self.needs(demand, held=held)) > self.memory:
            return f"the host's memory: {needs} MiB needed, {max(self.memory, 0)} MiB left; lower a buffer, or give machines back, or add memory"
        if buffered > self.can_claim(demand) or ((held or demand.stands) and demand.memory > self.room):
            return (
                f"the memory that may be handed out: {demand.memory} MiB needed for each, {max(self.room, 0)} MiB left; "
                "give machines back, or add memory, or let more be handed out (in the settings)"
            )
        return ""

    def _lacks_other(self, demand: Demand) -> str:
        if demand.disk > self.disk:
            return f"the host's disk: {demand.disk} MiB needed, {max(self.disk, 0)} MiB left; give machines back, or add disk space"
        if self.slots < 1:
            return "the number of slots (addresses and ports); give machines back, or raise the setting slots"
        return ""

    def can_claim(self, demand: Demand) -> int:
        """How many of the class could be handed out, if nobody asked for another class."""
        return max(0, self.claimable // demand.memory)

    def take(self, demand: Demand, *, held: bool) -> None:
        self._reserve(demand, held=held)
        self.slots -= 1

    def _reserve(self, demand: Demand, *, held: bool) -> None:
        self.memory -= self.needs(demand, held=held)
        self.room -= demand.memory if held or demand.stands else 0
        self.disk -= demand.disk


def _wanted(demand: Demand) -> int:
    """Machines there should be in all, before the maximum and the host bind."""
    pools, policy = demand.pools, demand.policy
    if not demand.offered:
        return pools.production
    return max(policy.minimum, pools.production + pools.waiting + policy.buffer)


class _Families:
    """Counts what the maximum of each family leaves, and who was not given a machine because of it."""

    def __init__(self, demands: Sequence[Demand]) -> None:
        self.demands = demands
        self.left = {family.name: family.maximum - family.exist for family in (demand.family for demand in demands) if family}
        self.unmet = dict.fromkeys((demand.name for demand in demands), 0)  # people who wait, by class

    def lacks(self, demand: Demand, waiting: int = 0) -> str:
        """What is missing for one more of the class, for which so many people wait."""
        family = demand.family
        if family is None or self.left[family.name] > 0:
            return ""
        self.unmet[demand.name] = max(self.unmet[demand.name], waiting if demand.allowance is None else min(waiting, demand.allowance))
        return f"the maximum of {family.maximum} machines of {family.name} and all that is chosen of it"

    def take(self, demand: Demand) -> None:
        if demand.family:
            self.left[demand.family.name] -= 1

    def give_way(self, changes: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        """What is made and removed, with further ready machines to remove that are above a family's maximum, or in the way of its people who wait: the
        lowest priority gives first, then the class that has most."""
        changes = dict(changes)
        for name, left in self.left.items():
            members = [demand for demand in self.demands if demand.family and demand.family.name == name]
            going = sum(demand.pools.leaving + changes[demand.name][1] for demand in members)
            need = max(sum(self.unmet[demand.name] for demand in members), -left) - going
            spare = {d.name: d.pools.ready - d.pools.waiting - changes[d.name][1] for d in members if not changes[d.name][0]}
            for _ in range(need):
                giving = [demand for demand in members if spare.get(demand.name, 0) > 0]
                if not giving:
                    break
                gives = max(giving, key=lambda demand: (-demand.priority, spare[demand.name]))
                spare[gives.name] -= 1
                changes[gives.name] = 0, changes[gives.name][1] + 1
        return changes


def plan(demands: Sequence[Demand], capacity: Capacity) -> list[Decision]:
    """Decide for all classes at once, since they share the host; one decision a class, in the same order."""
    budget, families = _Budget(demands, capacity), _Families(demands)
    create = dict.fromkeys((demand.name for demand in demands), 0)
    short: set[str] = set()
    full: set[str] = set()  # classes that wanted more than the host has left
    reasons: dict[str, str] = {}

    def make(demand: Demand, upto: int, *, held: bool) -> bool:
        """Grant one machine more if the class, unbound, wants `upto` new ones; say what binds if not."""
        made, pools = create[demand.name], demand.pools
        if made >= upto:
            return False
        if demand.allowance is not None and made >= demand.allowance:
            return False
        buffered = pools.creation + pools.ready + made
        if pools.exist + made >= demand.policy.maximum:
            still = f", {pools.leaving} of them still being taken away" if pools.leaving else ""
            reasons.setdefault(demand.name, f"the class's maximum of {demand.policy.maximum} machines{still}")
            return False
        if lack := families.lacks(demand, upto - made if held else 0):
            reasons.setdefault(demand.name, lack)
            return False
        if lack := budget.lacks(demand, buffered + 1, held=held):
            reasons.setdefault(demand.name, lack)
            full.add(demand.name)
            if budget.lacks_memory(demand, buffered + 1, held=held):
                short.add(demand.name)
            return False
        budget.take(demand, held=held)
        families.take(demand)
        create[demand.name] += 1
        return True

    def in_turn(upto: dict[str, int], *, held: bool) -> None:
        for priority in sorted({demand.priority for demand in demands}, reverse=True):
            alike = [demand for demand in demands if demand.priority == priority]
            while sum(make(demand, upto[demand.name], held=held) for demand in alike):
                pass

    in_turn({d.name: max(0, d.pools.waiting - d.pools.creation - d.pools.ready) if d.offered else 0 for d in demands}, held=True)
    in_turn({d.name: max(0, _wanted(d) - d.pools.creation - d.pools.ready - d.pools.production) for d in demands}, held=False)
    changes = families.give_way({demand.name: _renew(demand, create[demand.name], budget, families) for demand in demands})
    shed = _shed(demands, capacity, {name: remove for name, (_, remove) in changes.items()})
    for demand in demands:
        if shed[demand.name]:
            reasons[demand.name] = _why_shed(capacity)
    full |= {name for name in reasons if shed[name]}
    reasons |= {d.name: f"{reasons[d.name]}; {loses}" for d in demands if d.name in full and (loses := _loses(d, demands))}
    return [
        Decision(demand.name, create[demand.name] + surge, remove, reasons.get(demand.name, ""), shed[demand.name], demand.name in short)
        for demand in demands
        for surge, remove in [changes[demand.name]]
    ]


def _renew(demand: Demand, created: int, budget: _Budget, families: _Families) -> tuple[int, int]:
    """Excess ready machines to remove, and at most one extra machine to make while old seeds are replaced."""
    pools, policy = demand.pools, demand.policy
    wanted = min(_wanted(demand), policy.maximum, pools.production + budget.can_claim(demand)) if demand.offered else pools.production
    excess = min(pools.ready, max(0, pools.ready + pools.production - max(wanted, pools.production + pools.waiting)))
    if created:
        return 0, 0  # one less to make is one less to remove
    if excess or not pools.old or not demand.offered or pools.creation or demand.allowance is not None:
        return 0, excess
    if pools.exist < policy.maximum and not families.lacks(demand) and not budget.lacks(demand, pools.ready + 1, held=False):
        budget.take(demand, held=False)
        families.take(demand)
        return 1, 0
    if pools.leaving:
        return 0, 0  # the one before is not gone yet
    # No room for one more: an old one has to go first, but never the only one while somebody could ask for it,
    # unless it is the only one there may be.
    if pools.ready > 1 or policy.maximum - pools.production <= 1:
        return 0, 1
    return 0, 0


def _shed(demands: Sequence[Demand], capacity: Capacity, removed: dict[str, int]) -> dict[str, int]:
    """Ready machines that must go because memory is short, by class.

    The lowest priority loses first; of those alike the class whose machine gives back most, so that few are lost, and a class's last goes only after
    all others' last but one.
    """
    shed = dict.fromkeys(removed, 0)
    left = {d.name: max(0, d.pools.ready - d.pools.cold - removed[d.name]) for d in demands}
    standing = {d.name: min(d.pools.standing, left[d.name]) for d in demands}
    shortage = capacity.shortage - sum(d.frees * min(removed[d.name], d.pools.ready - d.pools.cold) for d in demands)
    over = sum(d.memory * standing[d.name] for d in demands) - max(0, capacity.room)
    while True:
        short = [d for d in demands if left[d.name] and (shortage > 0 or (over > 0 and standing[d.name]))]
        if not short:
            return shed
        loser = max(short, key=lambda d: (-d.priority, left[d.name] > 1, d.frees, left[d.name]))
        shed[loser.name] += 1
        left[loser.name] -= 1
        shortage -= loser.frees
        if standing[loser.name]:
            standing[loser.name] -= 1
            over -= loser.memory


def _loses(demand: Demand, demands: Sequence[Demand]) -> str:
    """To whom a class loses when the host is full: those of a higher priority that have or want machines."""
    winners = [d for d in demands if d.priority > demand.priority and (d.pools.exist or _wanted(d))]
    names = ", ".join(d.name for d in sorted(winners, key=lambda d: (-d.priority, d.name)))
    return f"{names} {'goes' if len(winners) == 1 else 'go'} first, by priority" if winners else ""


def _why_shed(capacity: Capacity) -> str:
    if capacity.shortage > 0:
        return (
            f"the host's memory, of which {capacity.shortage} MiB too little is free: ready machines go before the host would swap; "
            "lower a buffer, or give machines back, or add memory"
        )
    return (
        "the memory that may be handed out: running ready machines make room for those that people hold; "
        "let them wait paused, or let more be handed out (in the settings)"
    )
