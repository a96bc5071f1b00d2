"""What would have become of requests: a class replayed over recorded or generated demand, by the planner itself. Pure functions; times are seconds on any axis."""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heappop, heappush

from appliance.pools.capacity import PLENTY
from appliance.pools.planner import Capacity, Demand, Policy, Pools, plan

HOUR = 3600.0
_ENDLESS = Capacity(PLENTY, PLENTY, PLENTY, PLENTY)

State = tuple[int, int, int, int]  # machines in creation, ready and in production, and people who wait
Counts = Callable[[Callable[[float], int]], Policy]  # what depends on how many were handed out since a time
Step = tuple[float, Policy | Counts]  # what holds from a time on


@dataclass(frozen=True)
class Outcome:
    """What became of it: how many asked, how many of them got one at once, the seconds that each of the others waited, and idle machine-seconds."""

    asked: int = 0
    met: int = 0
    idle: float = 0.0
    waits: list[float] = field(default_factory=list)

    @property
    def level(self) -> float:
        """The share of those who asked that got one at once."""
        return self.met / self.asked if self.asked else 1.0

    @property
    def hours(self) -> float:
        """Idle machine-hours."""
        return self.idle / HOUR

    def wait(self, share: float) -> float:
        """The seconds that such a share of all who asked waited at most."""
        place = math.ceil(share * self.asked) - (self.asked - len(self.waits)) - 1
        return sorted(self.waits)[place] if place >= 0 else 0.0

    def spread(self, bounds: Sequence[float]) -> list[float]:
        """The shares of all who asked by how long they waited: not at all, at most so many seconds for each of `bounds`, which rise, and longer."""
        counts = [self.asked - len(self.waits), *(0 for _ in bounds), 0]
        for seconds in self.waits:
            counts[1 + bisect_left(bounds, seconds)] += 1
        return [count / self.asked if self.asked else 0.0 for count in counts]

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(self.asked + other.asked, self.met + other.met, self.idle + other.idle, self.waits + other.waits)


@dataclass(frozen=True)
class Making:
    """How machines come and go: one takes so many seconds, as many are made at once, and whoever has one holds it for so long (0: it does not count)."""

    seconds: Callable[[], float]
    at_once: int = 1
    held: float = 0.0


@lru_cache(maxsize=512)
def _decisions(_policy: Policy) -> dict[State, tuple[int, int]]:
    """What the planner said of a policy so far: it is a pure function, and is asked the same again and again."""
    return {}


def decided(policy: Policy, state: State) -> tuple[int, int]:
    """How many machines the planner makes and removes, of a class that has a host without end for itself."""
    creation, ready, production, waiting = state
    (found,) = plan([Demand("", policy, Pools(creation, ready, 0, production, waiting), 1, 1)], _ENDLESS)
    return found.create, found.remove


def replay(arrivals: Sequence[float], steps: Sequence[Step], making: Making, begin: float, end: float) -> Outcome:
    """What becomes of those who ask from `begin` on and before `end`. `arrivals` are in order, and so are `steps`, the first of which holds at `begin`.

    The planner is asked whenever something changes: somebody asks, a machine is made or given back, another policy holds. What the first
    policy wants to have ready is ready.
    """
    return _Replay(arrivals, steps, making, begin, end).run()


class _Replay:
    def __init__(self, arrivals: Sequence[float], steps: Sequence[Step], making: Making, begin: float, end: float) -> None:
        self.making, self.begin, self.end = making, begin, end
        first, last = bisect_left(arrivals, begin), bisect_left(arrivals, end)
        self.arrivals, self.next = arrivals[first:last], 0
        self.steps, self.step = steps, 0
        self.creation = self.ready = self.production = 0
        self.met = 0
        self.waiting: deque[float] = deque()
        self.made: list[float] = []  # when those that are being made will be ready: a heap, at most as many as are made at once
        self.back: deque[float] = deque()  # when those that are held are given back
        self.waits: list[float] = []
        self.now = begin
        self.out: list[float] = []  # when machines were handed out
        self._hold()

    def run(self) -> Outcome:
        self.ready = decided(self.policy, (0, 0, 0, 0))[0]
        idle, last = 0.0, self.begin
        while (moment := self._following()) < self.end:
            idle += self.ready * (moment - last)
            last = self.now = moment
            self._happens()
            self._plan()
        idle += self.ready * (self.end - last)
        self.waits += [self.end - since for since in self.waiting]
        return Outcome(len(self.arrivals), self.met, idle, self.waits)

    def _following(self) -> float:
        """When something happens next."""
        found = self.made[0] if self.made else self.end
        if self.next < len(self.arrivals) and self.arrivals[self.next] < found:
            found = self.arrivals[self.next]
        if self.step + 1 < len(self.steps) and self.steps[self.step + 1][0] < found:
            found = self.steps[self.step + 1][0]
        return self.back[0] if self.back and self.back[0] < found else found

    def _happens(self) -> None:
        """One thing that happens now."""
        moment = self.now
        if self.made and self.made[0] == moment:
            heappop(self.made)
            self.creation -= 1
            if self.waiting:
                self.waits.append(moment - self.waiting.popleft())
                self._hand_out()
            else:
                self.ready += 1
        elif self.back and self.back[0] == moment:
            self.back.popleft()
            self.production -= 1
        elif self.step + 1 < len(self.steps) and self.steps[self.step + 1][0] <= moment:
            self.step += 1
            self._hold()
        else:
            self.next += 1
            if self.ready:
                self.ready -= 1
                self.met += 1
                self._hand_out()
            else:
                self.waiting.append(moment)

    def _hand_out(self) -> None:
        self.out.append(self.now)
        if self.making.held:
            self.production += 1
            self.back.append(self.now + self.making.held)

    def _hold(self) -> None:
        holds = self.steps[self.step][1]
        self.depends = not isinstance(holds, Policy)
        self.policy = holds if isinstance(holds, Policy) else holds(lambda since: len(self.out) - bisect_left(self.out, since))
        self.known = _decisions(self.policy)

    def _plan(self) -> None:
        if self.depends:
            self._hold()
        state = self.creation, self.ready, self.production, len(self.waiting)
        if (found := self.known.get(state)) is None:
            found = self.known[state] = decided(self.policy, state)
        create, remove = found
        self.ready -= remove
        self.creation += create
        while len(self.made) < self.creation and len(self.made) < self.making.at_once:
            heappush(self.made, self.now + self.making.seconds())
