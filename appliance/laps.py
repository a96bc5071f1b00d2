"""Where the time of a piece of work goes: taken lap by lap, and as it is drawn."""

import time
from dataclasses import dataclass
from typing import NamedTuple

NAMING = "giving it its name and address"  # the lap of a hand-over that the machine's own are in


class Lap(NamedTuple):
    """A step of a piece of work, and the seconds that it took; `inside` is of one that the machine itself did, and counted."""

    name: str
    seconds: float
    inside: bool = False


class Stopwatch:
    """Takes the time from each report to the next."""

    def __init__(self) -> None:
        self._marks: list[tuple[str, float]] = []

    def begin(self, what: str) -> None:
        """Something begins, and what was before has ended."""
        self._marks.append((what, time.monotonic()))

    def laps(self) -> list[Lap]:
        """All that was begun; the last has just ended."""
        ends = [*(moment for _, moment in self._marks[1:]), time.monotonic()] if self._marks else []
        return [Lap(what, round(end - begun, 4)) for (what, begun), end in zip(self._marks, ends, strict=True)]


class Bar(NamedTuple):
    """A lap as it is drawn: where it begins, and how long it is, in per cent of the whole."""

    lap: Lap
    begin: float
    length: float


@dataclass(frozen=True)
class Waterfall:
    """What came one after the other, from the request on, and what the machine itself did meanwhile, to become its owner's."""

    laps: list[Lap]

    @property
    def seconds(self) -> float:
        """From the request to the end."""
        return sum(lap.seconds for lap in self.laps if not lap.inside)

    @property
    def bars(self) -> list[Bar]:
        """The host's laps, and after them the machine's, which begin where it is given its name."""
        whole = self.seconds or 1.0
        found: list[Bar] = []
        moment = named_at = 0.0
        for lap in self.laps:
            if lap.name == NAMING:
                named_at = moment
            if lap.inside and not (found and found[-1].lap.inside):
                moment = named_at
            found.append(Bar(lap, 100 * moment / whole, 100 * lap.seconds / whole))
            moment += lap.seconds
        return found
