"""The master workflow as a drawing: boxes where its file has the states, lines and labels where `lifecycle.yml` beside this module has them.

All is laid out on a grid of `UNIT` pixels. Nothing is worked out while a page waits: a test says what in the file does not fit the workflow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from appliance.services.workflow import MachineState, Master, Move

FILE = Path(__file__).parent / "lifecycle.yml"
UNIT = 8  # pixels
BOX = (14, 6)  # units
LETTER, LINE = 7.5, 16  # of a label, in pixels

Point = tuple[int, int]


@dataclass(frozen=True)
class Rect:
    """Left, top, width and height."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Label:
    """Words beside a line, where their baseline begins."""

    text: str
    x: float
    y: float

    @property
    def area(self) -> Rect:
        return Rect(self.x, self.y + 4 - LINE, len(self.text) * LETTER, LINE)


@dataclass(frozen=True)
class Line:
    """One change of state: its path, the head of its arrow, and what begins it: people, plan, event or engine."""

    move: Move
    source: str  # a state, a pool, or "start"
    target: MachineState
    path: str
    head: str
    by: str
    corners: tuple[Point, ...]


@dataclass(frozen=True)
class Drawing:
    """All of it, in pixels."""

    width: int
    height: int
    boxes: dict[MachineState, Rect]
    pools: dict[str, Rect]
    start: Point  # where machines come from
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]
    keeping: dict[MachineState, str]  # what can be done in a state and leaves it


@lru_cache(maxsize=2)
def draw(master: Master) -> Drawing:
    """The drawing of a master workflow. KeyError or IndexError: the file has a move that the workflow has not, or no place for a state."""
    file: dict[str, Any] = yaml.safe_load(FILE.read_text())
    columns, rows = file["columns"], file["rows"]
    width, height = _pixels(file["size"])
    return Drawing(
        width,
        height,
        {state.name: _rect((columns[state.at[0]], rows[state.at[1]], *BOX)) for state in master.states},
        {pool: _rect(area) for pool, area in file["pools"].items()},
        _pixels(file["start"]),
        tuple(_line(master.move[line["move"]], line) for line in file["lines"]),
        tuple(Label(master.move[label["move"]].title, *label["at"]) for label in file["labels"]),
        {state: ", ".join(move.title for move in master.moves if move.keeps and move.to is state) for state in MachineState},
    )


def _pixels(point: Sequence[int]) -> Point:
    return point[0] * UNIT, point[1] * UNIT


def _rect(units: Sequence[int]) -> Rect:
    left, top, width, height = (size * UNIT for size in units)
    return Rect(left, top, width, height)


def _line(move: Move, line: dict[str, Any]) -> Line:
    corners = tuple(_pixels(point) for point in line["points"])
    path, head = _path(corners, arrow=not line.get("joins", False))
    by = next(one for one in ("people", "engine", "event", "plan") if one in move.by)
    return Line(move, line["from"], MachineState(line["to"]), path, head, by, corners)


def _path(corners: tuple[Point, ...], *, arrow: bool) -> tuple[str, str]:
    """A line with round corners, and the head of its arrow."""
    *_, (bx, by), (x, y) = corners
    dx, dy = (x > bx) - (x < bx), (y > by) - (y < by)
    head = f"M{x} {y}L{x - 8 * dx - 4 * dy} {y - 8 * dy - 4 * dx}L{x - 8 * dx + 4 * dy} {y - 8 * dy + 4 * dx}Z" if arrow else ""
    found = f"M{corners[0][0]} {corners[0][1]}"
    for before, here, after in zip(corners, corners[1:], corners[2:], strict=False):
        found += "L{} {}Q{} {} {} {}".format(*_toward(here, before), *here, *_toward(here, after))
    return f"{found}L{x - 6 * dx * arrow} {y - 6 * dy * arrow}", head


def _toward(here: Point, there: Point) -> Point:
    step = min(UNIT, (abs(there[0] - here[0]) + abs(there[1] - here[1])) // 2)
    return here[0] + step * ((there[0] > here[0]) - (there[0] < here[0])), here[1] + step * ((there[1] > here[1]) - (there[1] < here[1]))
