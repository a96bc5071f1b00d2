"""What the engine does by itself, again and again: declared in one table, each with what must hold for it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag

from appliance.engine.jobs import Jobs

EVERY_TICK = 0.0
ONCE = float("inf")


class Needs(Flag):
    """What must hold before a piece of work is looked at."""

    NOTHING = 0
    DECISION = 1  # this is the catalog that was here before, or an admin has decided what becomes of what it does not know
    HYPERVISOR = 2  # it answered in this tick
    SETUP = 4  # the appliance is set up
    MACHINES = DECISION | HYPERVISOR
    USERS = MACHINES | SETUP


@dataclass
class Periodic:
    """One line of the table: its name, the seconds from one beginning to the next, and what is done.

    In the tick itself, or with a `queue` as a job of that name, one at a time; then `due` says whether one is wanted.
    """

    name: str
    every: float | Callable[[], float]
    work: Callable[[], None]
    needs: Needs
    queue: str = ""
    due: Callable[[], bool] = lambda: True
    begun_at: float = field(default=float("-inf"), init=False)

    def may_begin(self, moment: float) -> bool:
        """Whether it is its time, by the clock of `time.monotonic`."""
        every = self.every() if callable(self.every) else self.every
        return moment - self.begun_at >= every


class Schedule:
    """The table, looked at from top to bottom at every tick."""

    def __init__(self, table: Sequence[Periodic], conditions: Mapping[Needs, Callable[[], bool]], jobs: Jobs) -> None:
        """`conditions` says of each single need whether it holds now."""
        self.table, self._conditions, self._jobs = list(table), conditions, jobs

    def tick(self) -> None:
        """Do, or hand out, whatever it is time for. Raises what the work raises; the rest of the table then waits for the next tick."""
        for one in self.table:
            moment = time.monotonic()
            if not one.may_begin(moment) or not all(self._conditions[need]() for need in one.needs):
                continue
            if not one.queue:
                one.begun_at = moment
                one.work()
            elif one.name not in self._jobs and one.due():
                one.begun_at = moment
                self._jobs.submit(one.queue, one.name, one.work)

    def hurry(self, *names: str) -> None:
        """Do these at the next tick, whenever they were done last."""
        for one in self.table:
            if one.name in names:
                one.begun_at = float("-inf")
