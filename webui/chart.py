"""The host's memory over time as paths of an SVG, drawn here so that the page needs no script for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance.catalog import HostReading

WIDTH, HEIGHT = 1000, 320
POINTS = 240  # at most, across
ROWS = 4  # of the grid


@dataclass(frozen=True)
class Moment:
    """One reading, taken apart. MiB; `free` is what is left of the host when all the others are taken from it."""

    at: datetime
    private: int
    shared: int
    other: int
    free: int
    memory: int
    nominal: int
    limit: int


@dataclass(frozen=True)
class Chart:
    """`areas` and `lines` are paths by name; `ticks` MiB from top to bottom; `times` from left to right; `bands` x, width and moment."""

    top: int
    ticks: list[int]
    times: list[datetime]
    areas: dict[str, str]
    lines: dict[str, str]
    bands: list[tuple[float, float, Moment]]
    last: Moment


def moment(reading: HostReading) -> Moment:
    """What a reading says of the host's memory."""
    # Memory that machines share is that of a file: the kernel counts it as available, as it could be read again.
    other = max(0, reading.memory - reading.memory_available - reading.machines_private)
    free = max(0, reading.memory - other - reading.machines_private - reading.machines_shared)
    return Moment(
        reading.at, reading.machines_private, reading.machines_shared, other, free, reading.memory, reading.machines_nominal, reading.machines_limit
    )  # fmt: skip


def thin(moments: Sequence[Moment], step: timedelta) -> list[Moment]:
    """At most one moment a step, the last of each."""
    found = {int(one.at.timestamp() // step.total_seconds()): one for one in moments}
    return list(found.values())


def draw(readings: Sequence[HostReading], span: timedelta, end: datetime) -> Chart | None:
    """The chart of readings over `span` up to `end`; None while there are fewer than two."""
    if len(readings) < 2:
        return None
    step = max(span / POINTS, timedelta(minutes=1))
    moments = thin([moment(reading) for reading in readings], step)
    begin = end - span
    top = _top(moments)

    def x(at: datetime) -> float:
        return round(max(0.0, (at - begin) / span) * WIDTH, 1)

    def y(mib: float) -> float:
        return round(HEIGHT * (1 - min(mib / top, 1.02)), 1)  # beyond the edge: not seen, rather than drawn along it

    runs = _runs(moments, 2.5 * step)
    sums: dict[str, Callable[[Moment], int]] = {
        "private": lambda one: one.private,
        "shared": lambda one: one.private + one.shared,
        "other": lambda one: one.private + one.shared + one.other,
    }
    floors: dict[str, Callable[[Moment], int]] = {"private": lambda _: 0, "shared": sums["private"], "other": sums["shared"]}
    levels: dict[str, Callable[[Moment], int]] = {
        "memory": lambda one: one.memory, "nominal": lambda one: one.nominal, "limit": lambda one: one.limit
    }  # fmt: skip

    def line(run: Sequence[Moment], value: Callable[[Moment], int]) -> str:
        return " ".join(f"{x(one.at)},{y(value(one))}" for one in run)

    return Chart(
        top,
        [top * row // ROWS for row in range(ROWS, -1, -1)],
        [begin + span * part / 4 for part in range(5)],
        {name: " ".join(f"M{line(run, value)} {line(run[::-1], floors[name])}Z" for run in runs) for name, value in sums.items()},
        {name: " ".join(f"M{line(run, value)}" for run in runs) for name, value in levels.items()},
        [(x(one.at - step), round(x(one.at) - x(one.at - step), 1), one) for one in thin(moments, span / 60)],
        moments[-1],
    )


def _top(moments: Sequence[Moment]) -> int:
    """The chart's height in MiB: the host's memory and what machines may grow to; the limit as well, unless all else would be flat."""
    needed = max(max(one.memory, one.nominal) for one in moments)
    limit = max(one.limit for one in moments)
    needed = max(needed, limit) if limit <= 1.6 * needed else needed
    step = 128
    while step * ROWS < needed:
        step *= 2
    return ROWS * next(fine for fine in (step * 5 // 8, step * 3 // 4, step) if fine * ROWS >= needed)


def _runs(moments: Sequence[Moment], gap: timedelta) -> list[list[Moment]]:
    """The moments, cut wherever nothing was read for a while."""
    runs: list[list[Moment]] = []
    for one in moments:
        if not runs or one.at - runs[-1][-1].at > gap:
            runs.append([])
        runs[-1].append(one)
    return runs
