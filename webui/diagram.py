"""The master workflow as a drawing: boxes where the file has them, lines found around them, labels where there is room.

All is laid out on a grid of `UNIT` pixels. A line runs along the grid, avoids boxes, keeps away from other lines and would rather go straight.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from appliance.services.workflow import MachineState, Master, Move

UNIT = 8  # pixels
BOX = (14, 6)  # all of these in units
PITCH = (20, 13)
MARGIN = (3, 6)  # left and right, above
FOOT = 4
PAD = 2  # of a pool around its states
BEYOND = 4  # between a pool and the next column, besides
HEAD = 3  # of a pool above them, where its name is
TURN, CROSSING, NEAR, LEAST = 6.0, 40.0, 4.0, 0.3  # prices, where a step is 1; a step along a line of one's own bundle the least
APART = 2  # up to which lines are too near
LETTER, LINE = 7.5, 16  # of a label, in pixels

Point = tuple[int, int]
DIRECTIONS: tuple[Point, ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))


@dataclass(frozen=True)
class Rect:
    """Left, top, width and height."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: "Rect") -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def inside(self, other: "Rect") -> bool:
        return (
            other.x <= self.x
            and other.y <= self.y
            and self.x + self.width <= other.x + other.width
            and self.y + self.height <= other.y + other.height
        )


@dataclass(frozen=True)
class Label:
    """Words beside a line, where their baseline begins."""

    text: str
    x: float
    y: float
    area: Rect


@dataclass(frozen=True)
class Line:
    """One change of state: its path, the head of its arrow, and what begins it: people, plan, event or engine."""

    move: Move
    source: str
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
    start: Point | None  # where machines come from
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]
    keeping: dict[MachineState, str]  # what can be done in a state and leaves it


@dataclass(frozen=True)
class _Edge:
    """What is to be drawn from a state, a whole pool or the start to a state."""

    move: Move
    source: str
    target: MachineState
    labelled: bool

    @property
    def bundle(self) -> tuple[str, str]:
        """Lines of a bundle may run into each other."""
        return self.move.name, self.target


def _by(move: Move) -> str:
    return next(one for one in ("people", "engine", "event", "plan") if one in move.by)


def _edges(master: Master, pools: dict[str, frozenset[MachineState]]) -> list[_Edge]:
    """What is drawn: once for a whole pool when all its states lead the same way; not what the engine forestalls."""
    at_once = {pair for move in master.moves if "engine" in move.by for pair in move.pairs}
    found: list[_Edge] = []
    for move in master.moves:
        if move.keeps:
            continue
        into = move.via or move.to
        left = [state for state in move.from_ if "engine" in move.by or (state, into) not in at_once]
        if not move.from_:
            found.append(_Edge(move, "start", into, labelled=True))
        for pool, states in pools.items():
            if into not in states and states <= set(left):
                found.append(_Edge(move, pool, into, labelled=True))
                left = [state for state in left if state not in states]
        found += [_Edge(move, state, into, labelled=True) for state in left]
        if move.via and not any(edge.source == move.via and edge.target is move.to for edge in found):
            found.append(_Edge(move, move.via, move.to, labelled=False))
    drawn = {pair for move in master.moves if not move.keeps for pair in ((state, move.via or move.to) for state in move.from_)}
    for move in master.moves:
        if move.on_failure and move.via and (move.via, move.on_failure) not in drawn:
            found.append(_Edge(move, move.via, move.on_failure, labelled=True))
    return found


class _Board:
    """What is on the grid already."""

    def __init__(self, master: Master) -> None:
        last = {
            max(state.at[0] for state in master.states if state.pool == pool) for pool in {state.pool for state in master.states} - {"none"}
        }
        self.boxes = {
            state.name: Rect(
                MARGIN[0] + state.at[0] * PITCH[0] + BEYOND * sum(column < state.at[0] for column in last),
                MARGIN[1] + state.at[1] * PITCH[1],
                *BOX,
            )
            for state in master.states
        }
        self.members: dict[str, frozenset[MachineState]] = {}
        self.pools: dict[str, Rect] = {}
        for pool in ("creation", "buffer", "production"):
            names = frozenset(state.name for state in master.states if state.pool == pool)
            around = _around([self.boxes[name] for name in names]) if names else None
            others = [*self.pools.values(), *(box for name, box in self.boxes.items() if name not in names)]
            if around and not any(around.meets(other) for other in others):
                self.members[pool], self.pools[pool] = names, around
        self.start: Point | None = None
        begin = next(state for state in master.states if state.start)
        if any(not move.from_ for move in master.moves):
            box = self.boxes[begin.name]
            self.start = (int(box.x + BOX[0] // 2), int(box.y + BOX[1] + 5))
        self.width = MARGIN[0] + int(max(box.x for box in self.boxes.values())) + BOX[0]
        self.height = max(FOOT + int(max(box.y for box in self.boxes.values())) + BOX[1], self.start[1] + 2 if self.start else 0)
        self.blocked = {point for box in self.boxes.values() for point in _points(box)}
        self.hugged = {point for box in self.boxes.values() for point in _points(_grown(box, 1))}
        for area in self.pools.values():
            self.hugged |= {*_points(_grown(area, 1))} - {*_points(area)}
        for pool, area in self.pools.items():
            self.blocked |= {(int(area.x) + dx, int(area.y) + dy) for dx in range(1, 2 + len(pool) * 8 // UNIT) for dy in (1, 2)}
        self.inside = {pool: {*_points(_grown(area, -1))} for pool, area in self.pools.items()}
        self.borders = {pool: {*_points(area)} - self.inside[pool] for pool, area in self.pools.items()}
        self.border = {point: pool for pool, points in self.borders.items() for point in points}
        if self.start:
            self.blocked |= {(self.start[0] + dx, self.start[1] + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)}
        # Which bundles run through a point, and whether along (0), across (1) or both.
        self.lines: dict[Point, dict[tuple[str, str], set[int]]] = defaultdict(dict)
        self.crowded: tuple[dict[Point, float], dict[Point, float]] = (
            defaultdict(float),
            defaultdict(float),
        )  # beside a line that goes along, across

    def ports(self, name: str, wanted: int, bundle: tuple[str, str]) -> Iterator[tuple[Point, int, float]]:
        """Where a line may touch a box, a pool or the start: the point, the side as a direction outward, and what it costs."""
        if name == "start":
            assert self.start
            yield from (((self.start[0] + dx, self.start[1] + dy), side, 0.0) for side, (dx, dy) in enumerate(DIRECTIONS))
            return
        pool = name in self.pools
        area = self.pools[name] if pool else self.boxes[MachineState(name)]
        x, y, width, height = int(area.x), int(area.y), int(area.width), int(area.height)
        for side, (dx, dy) in enumerate(DIRECTIONS):
            length = height if dx else width
            centre = length // 2
            for offset in range(1 if not pool else 3, length if not pool else length - 2):
                point = (x + (width if dx > 0 else 0), y + offset) if dx else (x + offset, y + (height if dy > 0 else 0))
                along = ((point[0], point[1] + step) if dx else (point[0] + step, point[1]) for step in (-1, 0, 1))
                if any(other != bundle for near in along for other in self.lines.get(near, ())):
                    continue
                yield point, side, abs(offset - centre - wanted) * (0.2 if pool else 1.5)

    def route(self, edge: _Edge, wanted: int) -> list[Point]:
        """The cheapest way of an edge, point by point; none where boxes leave no room."""
        ends = {edge.source, edge.target}
        barred = set[Point]()
        for pool, states in self.members.items():
            if edge.source == pool or not (ends & states):
                barred |= self.inside[pool] | (self.borders[pool] if edge.source != pool else set())
        goals = {(point, (side + 2) % 4): cost for point, side, cost in self.ports(edge.target, wanted, edge.bundle)}
        middle = _centre(self.boxes[edge.target])
        least = LEAST if any(edge.bundle in found for found in self.lines.values()) else 1.0  # what a step costs at least
        queue: list[tuple[float, float, Point, int, bool]] = []
        came: dict[tuple[Point, int], tuple[Point, int] | None] = {}
        best: dict[tuple[Point, int], float] = {}

        def offer(cost: float, point: Point, heading: int, before: tuple[Point, int] | None, *, final: bool = False) -> None:
            state = (point, heading)
            if cost < best.get(state, float("inf")):
                best[state], came[state] = cost, before
                guess = 0.0 if final else max(0.0, abs(point[0] - middle[0]) + abs(point[1] - middle[1]) - BOX[0]) * least
                heapq.heappush(queue, (cost + guess, cost, point, heading, final))

        for point, side, cost in self.ports(edge.source, wanted, edge.bundle):
            offer(cost, point, side, None)
        while queue:
            _, cost, point, heading, final = heapq.heappop(queue)
            if final:
                path: list[Point] = []
                here: tuple[Point, int] | None = (point, heading)
                while here:
                    path.append(here[0])
                    here = came[here]
                return path[::-1]
            if cost > best[point, heading]:
                continue
            foreign = [axes for other, axes in self.lines.get(point, {}).items() if other != edge.bundle]
            for turned in (heading,) if foreign or came[point, heading] is None else (heading, (heading + 1) % 4, (heading + 3) % 4):
                dx, dy = DIRECTIONS[turned]
                to = (point[0] + dx, point[1] + dy)
                step = cost + (TURN if turned != heading else 0)
                if (to, turned) in goals:
                    offer(step + 1 + goals[to, turned], to, turned, (point, heading), final=True)
                    continue
                if to in self.blocked or to in barred or not (0 < to[0] < self.width and 0 < to[1] < self.height):
                    continue
                if point in self.border and self.border.get(to) == self.border[point]:
                    continue
                price = self._price(to, turned, edge.bundle)
                if price is not None:
                    offer(step + price, to, turned, (point, heading))
        return []

    def _price(self, to: Point, heading: int, bundle: tuple[str, str]) -> float | None:
        """What a step costs; None when another line is in the way."""
        axis = heading % 2
        price = 1.0 + self.crowded[axis].get(to, 0.0) + (NEAR if to in self.hugged else 0.0)
        for other, axes in self.lines.get(to, {}).items():
            if axis in axes:
                return LEAST if other == bundle else None
            if other != bundle:
                price += CROSSING
        return price

    def take(self, edge: _Edge, path: list[Point]) -> list[Point]:
        """Put a line on the board; where it runs into another of its bundle it ends."""
        shared = len(path)
        while shared > 1 and edge.bundle in self.lines.get(path[shared - 1], {}) and edge.bundle in self.lines.get(path[shared - 2], {}):
            shared -= 1
        own = path[: shared + 1]  # a little along the other, whose corner is round
        for one, two in pairwise(path):
            axis = 0 if one[1] == two[1] else 1
            for x, y in (one, two):
                self.lines[x, y].setdefault(edge.bundle, set()).add(axis)
                for step in range(1, APART + 1):
                    for sign in (-step, step):
                        beside = (x + sign, y) if axis else (x, y + sign)
                        self.crowded[axis][beside] = max(self.crowded[axis][beside], NEAR / step)
        return own


def _around(boxes: Iterable[Rect]) -> Rect:
    found = list(boxes)
    left, top = min(box.x for box in found) - PAD, min(box.y for box in found) - HEAD
    right, bottom = max(box.x + box.width for box in found) + PAD, max(box.y + box.height for box in found) + PAD
    return Rect(left, top, right - left, bottom - top)


def _grown(area: Rect, by: int) -> Rect:
    return Rect(area.x - by, area.y - by, area.width + 2 * by, area.height + 2 * by)


def _points(area: Rect) -> Iterator[Point]:
    for x in range(int(area.x), int(area.x + area.width) + 1):
        for y in range(int(area.y), int(area.y + area.height) + 1):
            yield x, y


def _centre(area: Rect) -> Point:
    return int(area.x + area.width / 2), int(area.y + area.height / 2)


def _corners(path: list[Point]) -> tuple[Point, ...]:
    """Only the points where a path turns, and its ends; in pixels."""
    kept = [
        point
        for number, point in enumerate(path)
        if number in (0, len(path) - 1) or (path[number - 1][0] != path[number + 1][0] and path[number - 1][1] != path[number + 1][1])
    ]
    return tuple((x * UNIT, y * UNIT) for x, y in kept)


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


def _segments(corners: tuple[Point, ...]) -> Iterator[Rect]:
    for (ax, ay), (bx, by) in pairwise(corners):
        yield Rect(min(ax, bx) - 1.5, min(ay, by) - 1.5, abs(ax - bx) + 3, abs(ay - by) + 3)


def _pixels(area: Rect) -> Rect:
    return Rect(area.x * UNIT, area.y * UNIT, area.width * UNIT, area.height * UNIT)


def _frame(area: Rect) -> Iterator[Rect]:
    yield Rect(area.x - 1, area.y - 1, area.width + 2, 2)
    yield Rect(area.x - 1, area.y + area.height - 1, area.width + 2, 2)
    yield Rect(area.x - 1, area.y - 1, 2, area.height + 2)
    yield Rect(area.x + area.width - 1, area.y - 1, 2, area.height + 2)


def _candidates(corners: tuple[Point, ...], text: str) -> Iterator[tuple[float, Label]]:
    """Where a label could be, and how far from the best place beside its line that is."""
    width = len(text) * LETTER
    length = sum(abs(ax - bx) + abs(ay - by) for (ax, ay), (bx, by) in pairwise(corners))
    run = 0
    for (ax, ay), (bx, by) in pairwise(corners):
        size = abs(ax - bx) + abs(ay - by)
        for part in range(0, size + 1, UNIT // 2):
            x, y = ax + (bx - ax) * part / (size or 1), ay + (by - ay) * part / (size or 1)
            away = abs(run + part - length / 2)
            if ay == by:
                for top in (y - 5 - LINE, y + 4):
                    yield away + (size < width) * 40, _label(text, x - width / 2, top, width)
            else:
                for left in (x + 6, x - 6 - width):
                    yield away + 8, _label(text, left, y - LINE / 2, width)
        run += size


def _label(text: str, x: float, top: float, width: float) -> Label:
    return Label(text, round(x, 1), round(top + LINE - 4, 1), Rect(x, top, width, LINE))


@lru_cache(maxsize=2)
def draw(master: Master) -> Drawing:
    """The drawing of a master workflow; it is worked out once."""
    board = _Board(master)
    edges = _edges(master, board.members)
    boxes = {name: _pixels(box) for name, box in board.boxes.items()}
    centres: dict[str, Point] = {name: _centre(area) for name, area in [*board.boxes.items(), *board.pools.items()]}
    if board.start:
        centres["start"] = board.start
    beside: dict[frozenset[str], list[_Edge]] = defaultdict(list)
    for edge in edges:
        beside[frozenset((edge.source, edge.target))].append(edge)

    def distance(edge: _Edge) -> int:
        (ax, ay), (bx, by) = centres[edge.source], centres[edge.target]
        return abs(ax - bx) + abs(ay - by)

    lines: list[Line] = []
    wanted_labels: list[tuple[_Edge, tuple[Point, ...]]] = []
    for edge in sorted(edges, key=distance):
        pair = beside[frozenset((edge.source, edge.target))]
        path = board.route(edge, round((pair.index(edge) - (len(pair) - 1) / 2) * 4))
        own = board.take(edge, path)
        if len(own) < 2:
            continue  # the tables beside the drawing have it
        corners = _corners(own)
        shape, head = _path(corners, arrow=len(own) == len(path))
        lines.append(Line(edge.move, edge.source, edge.target, shape, head, _by(edge.move), corners))
        if edge.labelled and len(own) == len(path):
            wanted_labels.append((edge, corners))
    taken = [*boxes.values(), *(segment for line in lines for segment in _segments(line.corners))]
    for pool, area in board.pools.items():
        outline = _pixels(area)
        taken += [*_frame(outline), Rect(outline.x, outline.y, 14 + len(pool) * 8, 20)]
    if board.start:
        taken.append(_grown(Rect(board.start[0] * UNIT, board.start[1] * UNIT, 0, 0), 6))
    labels: list[Label] = []
    whole = Rect(0, 0, board.width * UNIT, board.height * UNIT)
    for edge, corners in wanted_labels:
        places = [*_candidates(corners, edge.move.title)]
        for line in lines:  # another part of the move will do as well
            if line.move is edge.move and (line.source == edge.move.via or not line.head):
                places += [(away + 60, label) for away, label in _candidates(line.corners, edge.move.title)]
        label = min(
            places, key=lambda one: (sum(one[1].area.meets(other) for other in taken) + 9 * (not one[1].area.inside(whole)), one[0])
        )[1]
        labels.append(label)
        taken.append(_grown(label.area, 2))
    return Drawing(
        board.width * UNIT,
        board.height * UNIT,
        boxes,
        {pool: _pixels(area) for pool, area in board.pools.items()},
        (board.start[0] * UNIT, board.start[1] * UNIT) if board.start else None,
        tuple(lines),
        tuple(labels),
        {state: ", ".join(move.title for move in master.moves if move.keeps and move.to is state) for state in MachineState},
    )
