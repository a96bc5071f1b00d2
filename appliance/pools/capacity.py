"""How many machines a host can hold, asked of the planner itself for a host on which there are none yet."""

from dataclasses import asdict, dataclass

from appliance.pools.planner import Capacity, Demand, Policy, Pools, plan

DISK_PER_MACHINE = 512  # MiB that a new machine's overlay is expected to grow to
UPTO = 5000  # machines; nobody asks for more
PLENTY = 2**50


@dataclass(frozen=True)
class Holds:
    """How many machines of a class could be held, if there were no others, by each of what bounds them."""

    memory: int
    disk: int
    slots: int

    @property
    def count(self) -> int:
        return min(self.memory, self.disk, self.slots)

    @property
    def binds(self) -> str:
        """What runs out first: memory, disk or slots."""
        return min(asdict(self).items(), key=lambda found: found[1])[0]


def most(memory: int, reserve: int, overcommit: int) -> int:
    """How much memory, in MiB, may ever be handed out on a host that has so much."""
    return (memory - reserve) * overcommit // 100


def holds(each: int, capacity: Capacity) -> Holds:
    """For machines that may grow to `each` MiB; `capacity` is that of the host without any."""

    def fits(memory: int = PLENTY, disk: int = PLENTY, slots: int = PLENTY, room: int = PLENTY) -> int:
        wanted = Demand("", Policy(0, UPTO, 0), Pools(waiting=UPTO), each, DISK_PER_MACHINE)
        (decision,) = plan([wanted], Capacity(memory, disk, slots, room, overcommit=capacity.overcommit))
        return decision.create

    return Holds(fits(memory=capacity.memory, room=capacity.room), fits(disk=capacity.disk), fits(slots=capacity.slots))
