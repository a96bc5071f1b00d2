"""Whether a data disk grows: numbers in, a decision out. What a machine says of its disk may be a lie, so that only bounds count that it cannot move."""

import math
from dataclasses import dataclass
from typing import Literal

GIB = 1 << 30
AHEAD = 120  # seconds: what fills in these at its pace is added at least, up to as much as there is
PART = 4  # and this part of its size

Bound = Literal["", "class", "quota", "host"]


@dataclass(frozen=True)
class Growth:
    """What the class says: up to `most` GiB, when `above` percent are full, by `step` GiB, `cooldown` seconds after the last time."""

    most: int
    above: int
    step: int
    cooldown: float


@dataclass(frozen=True)
class Disk:
    """size is GiB; of `capacity` bytes `used` are, and `pace` more a second; it last grew at `grown`, in seconds as `now`."""

    size: int
    used: int
    capacity: int
    pace: float = 0.0
    grown: float | None = None

    @property
    def full(self) -> float:
        """Percent."""
        return 100 * self.used / self.capacity if self.capacity else 0.0


@dataclass(frozen=True)
class Room:
    """GiB that may be added: by the owner's quotas (None: none says) and on the host."""

    quota: int | None
    host: int


@dataclass(frozen=True)
class Decision:
    """The size that the disk is to have, and what bounds it, if anything does. It may be the size that it has."""

    before: int
    after: int
    bound: Bound = ""

    @property
    def grows(self) -> bool:
        return self.after > self.before


def decide(growth: Growth, disk: Disk, room: Room, now: float) -> Decision | None:
    """What becomes of the disk; None when there is nothing to decide. It never shrinks."""
    if growth.most <= 0 or disk.full < growth.above:
        return None
    if disk.grown is not None and 0 <= now - disk.grown < growth.cooldown:
        return None
    pace = disk.pace if 0 <= disk.pace < math.inf else 0.0
    wanted = max(growth.step, math.ceil(disk.size / PART), math.ceil(min(pace * AHEAD / GIB, disk.size)))
    bounds: list[tuple[int, Bound]] = [(growth.most - disk.size, "class"), (room.host, "host")]
    if room.quota is not None:
        bounds.append((room.quota, "quota"))
    left, bound = min(bounds)
    if left >= wanted:
        return Decision(disk.size, disk.size + wanted)
    return Decision(disk.size, disk.size + max(0, left), bound)
