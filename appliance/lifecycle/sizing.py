"""From catalog and readings to the planner's numbers: what machines take, what they may grow to, and what that leaves."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from appliance import catalog
from appliance.catalog import Class, demand, is_to_come, machines, memory, now, options, policies, recipes, seeds, snapshots
from appliance.catalog.memory import Allowed, Kind, Part
from appliance.hypervisor.provider import HostFacts
from appliance.lifecycle import calendars, forks, outcomes, pace
from appliance.pools.capacity import DISK_PER_MACHINE, most
from appliance.pools.forecast import pace_of
from appliance.pools.planner import Capacity, Demand, Family, Policy, Pools
from appliance.pools.windows import Ahead, Pace, ahead
from appliance.settings import Settings

ESTIMATE = 4  # a paused fork is taken for this part of its memory until one was measured
PACE_LASTS = timedelta(minutes=1)  # after which it is measured again

STANDING = (Kind.RUNNING, Kind.BOOTED)
READY = (*STANDING, Kind.FORK, Kind.COLD)
COMMITTED = (Kind.HELD, *STANDING)  # may use all their memory
ONLY_DISK = (Kind.COLD, Kind.OFF)
GOING = (Kind.FAILED, Kind.LEAVING)  # and take what they take until they are gone


class HostMemory(NamedTuple):
    """What all machines take of the host's memory, may grow to, and what may be allocated at most; MiB."""

    private: int
    shared: int
    allocated: int
    allocatable: int


class Sizing:
    """What the planner has to know; remembers what forks cost while there are none to measure. `holds` is what it was last told to go by, by class."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.holds: dict[str, Ahead] = {}
        self._costs: dict[str, int] = {}
        self._paces: dict[str, tuple[datetime, Pace]] = {}
        self._relieved: HostFacts | None = None  # the facts for which ready machines were last removed

    def measure(self, facts: HostFacts) -> HostMemory:
        """What a reading of the host means; those of the machines have been kept."""
        parts = memory.parts()
        living = [part for part in parts if part.kind not in ONLY_DISK]
        return HostMemory(
            sum(part.private for part in living),
            sum(part.shared for part in living),
            sum(part.nominal for part in living),
            self._limit(facts, parts, options.get("overcommit")),
        )

    def look(self, facts: HostFacts) -> tuple[list[Demand], Capacity]:
        """Classes and host as they are now. Tells the catalog how much memory people may hold."""
        parts = memory.parts()
        overcommit: int = options.get("overcommit")
        found = Allowed(self._limit(facts, parts, overcommit), self._most(facts, overcommit), facts.overhead)
        if found != memory.allowed():
            with catalog.write():
                memory.allow(found)
        demands = self._demands(parts, facts.overhead)
        return demands, self._capacity(facts, parts, demands, overcommit)

    def _limit(self, facts: HostFacts, parts: Iterable[Part], overcommit: int) -> int:
        """How much people may hold: of what machines can have on this host, when all buffers have made room and others use what they use.

        Most of the reserve is there for what the host itself uses; that which must stay free is a part of it.
        """
        # Memory that machines share is that of a file, which counts as available already.
        taken = sum(part.private for part in parts if part.kind not in ONLY_DISK)
        can_have = facts.memory_available + taken - self.settings.host_reserve // 4
        return max(0, min(can_have * overcommit // 100, self._most(facts, overcommit)))

    def _most(self, facts: HostFacts, overcommit: int) -> int:
        return most(facts.memory, self.settings.host_reserve, overcommit)

    def _capacity(self, facts: HostFacts, parts: list[Part], demands: list[Demand], overcommit: int) -> Capacity:
        reserve = self.settings.host_reserve
        committed = [part for part in parts if part.kind in COMMITTED]
        growth = sum(part.nominal for part in committed) * 100 // overcommit - sum(part.private for part in committed)
        costs = {demand.name: demand.cost if demand.cost is not None else demand.memory for demand in demands}
        unmeasured = sum((part.count - part.measured) * costs.get(part.class_name, 0) for part in parts if part.kind is Kind.FORK)
        return Capacity(
            memory=facts.memory_available - reserve - max(0, growth) - unmeasured,
            disk=facts.disk_free - self.settings.disk_reserve,
            slots=self.settings.slots - sum(part.count for part in parts),
            room=self._most(facts, overcommit) - sum(part.nominal for part in parts if part.kind is Kind.HELD),
            shortage=self._shortage(facts, parts),
            overcommit=overcommit,
        )

    def _shortage(self, facts: HostFacts, parts: Iterable[Part]) -> int:
        """What has to become free; told once for a reading, as the next shows what it brought.

        Machines are made as long as the whole reserve stays free, and removed when a quarter of it is gone: so none is made and
        removed in turn.
        """
        reserve = self.settings.host_reserve
        if facts is self._relieved or facts.memory_available >= reserve - reserve // 4:
            return 0
        self._relieved = facts
        return max(0, reserve - facts.memory_available - sum(part.private for part in parts if part.kind in GOING))

    def _demands(self, parts: list[Part], overhead: int) -> list[Demand]:
        waiting, old, moment, taking = machines.waiting(), machines.on_old_seed(), now(), snapshots.being_taken()
        found = []
        self.holds = {}
        known = {one.name: one for one in Class.select().order_by(Class.name)}
        families = self._families(parts, known, moment)
        for machine_class in known.values():
            seed = seeds.promoted(machine_class.name)
            if seed is None:
                continue
            of = {part.kind: part for part in parts if part.class_name == machine_class.name}

            def count(*kinds: Kind, of: dict[Kind, Part] = of) -> int:
                return sum(of[kind].count for kind in kinds if kind in of)

            nominal = machine_class.spec["size"]["memory"] + overhead
            is_forked = forks.usable(machine_class, seed) is not None
            cost = self._cost(machine_class, nominal, of.get(Kind.FORK), is_forked=is_forked)
            holds = self._holds(machine_class, moment, is_forked=is_forked)
            found.append(
                Demand(
                    machine_class.name,
                    _policy(machine_class, holds),
                    Pools(
                        creation=count(Kind.MAKING),
                        ready=count(*READY),
                        old=old.get(machine_class.name, 0),
                        production=count(Kind.HELD, Kind.OFF),
                        waiting=waiting.get(machine_class.name, 0),
                        standing=count(*STANDING),
                        cold=count(Kind.COLD),
                        leaving=count(*GOING),
                    ),
                    memory=nominal,
                    disk=DISK_PER_MACHINE,
                    allowance=_allowance(
                        machine_class,
                        moment,
                        max(0, waiting.get(machine_class.name, 0) - count(Kind.MAKING)) if machine_class.name in taking else None,
                    ),
                    offered=machine_class.enabled,
                    cost=cost,
                    priority=policies.value(machine_class, "priority"),
                    frees=_frees([of[kind] for kind in (*STANDING, Kind.FORK) if kind in of]) or cost or nominal,
                    family=families.get(machine_class.name),
                )
            )
        return found

    def _families(self, parts: Iterable[Part], known: dict[str, Class], moment: datetime) -> dict[str, Family]:
        """Of each class of which something was chosen, and of all that was, what bounds them together: a class's maximum is for everything of it."""
        found = dict[str, Family]()
        for base, chosen in recipes.families().items():
            maximum = _policy(known[base], self._holds(known[base], moment, is_forked=False)).maximum
            members = {base, *chosen}
            family = Family(base, maximum, sum(part.count for part in parts if part.class_name in members))
            found |= dict.fromkeys(members, family)
        return found

    def _holds(self, machine_class: Class, moment: datetime, *, is_forked: bool) -> Ahead:
        """What holds for the class, and what has to be begun for later."""
        name = machine_class.name

        def measured() -> Pace:
            known = self._paces.get(name)
            if known is None or abs(moment - known[0]) > PACE_LASTS:
                known = self._paces[name] = moment, self._pace(name, is_forked=is_forked)
            return known[1]

        preparing = calendars.preparing(machine_class)
        holds = self.holds[name] = ahead(calendars.scaled(machine_class, moment), moment, measured, preparing)
        return holds

    def _pace(self, name: str, *, is_forked: bool) -> Pace:
        """How fast machines are made: as long as nine of ten of the last took."""
        times = [one.total_seconds() for one in pace.times(name, forked=is_forked)]
        return pace_of(times, pace.at_once(self.settings, forked=is_forked))

    def _cost(self, machine_class: Class, nominal: int, measured: Part | None, *, is_forked: bool) -> int | None:
        """What one more of the class takes while it waits; None: all its memory."""
        if measured is not None and measured.measured:
            self._costs[machine_class.name] = round(measured.mean)
        if machine_class.waits == "cold":
            return 0
        if machine_class.waits == "paused" and is_forked:
            return min(self._costs.get(machine_class.name, nominal // ESTIMATE), nominal)
        return None


def _policy(machine_class: Class, holds: Ahead) -> Policy:
    """How large its pools are to be. The replicas of a service are its minimum, and nobody takes any."""
    policy = holds.policy(partial(demand.handed_out, machine_class.name))
    return replace(policy, buffer=0) if machine_class.spec.get("service") else policy


def _allowance(machine_class: Class, moment: datetime, only: int | None) -> int | None:
    """How many machines may be made now. While their snapshot is being taken, `only` those that somebody waits for: the others will be forks."""
    if not machine_class.failures:
        return only
    after_failures = 0 if is_to_come(machine_class.failing_until, outcomes.LONGEST_WAIT, moment) else 1
    return after_failures if only is None else min(after_failures, only)


def _frees(ready: list[Part]) -> int:
    """What removing one of them gives back, as measured; 0 when nothing was."""
    measured = sum(part.measured for part in ready)
    return -(-sum(part.private for part in ready) // measured) if measured else 0
