"""The drawing of the master workflow: nothing is drawn over anything else, wherever the file has its states."""

import random
from collections.abc import Iterator
from itertools import combinations

import pytest

from appliance.catalog import MachineState
from appliance.workflow.master import master
from webui.diagram import BOX, UNIT, Drawing, Line, Rect, draw

pytestmark = pytest.mark.workflow


def segments(line: Line) -> Iterator[Rect]:
    for (ax, ay), (bx, by) in zip(line.corners, line.corners[1:], strict=False):
        assert ax == bx or ay == by, "a line goes along or across"
        yield Rect(min(ax, bx) - 0.5, min(ay, by) - 0.5, abs(ax - bx) + 1, abs(ay - by) + 1)


def inner(area: Rect, by: float) -> Rect:
    return Rect(area.x + by, area.y + by, area.width - 2 * by, area.height - 2 * by)


def on_edge(area: Rect, point: tuple[int, int]) -> bool:
    x, y = point
    beside = area.x <= x <= area.x + area.width and area.y <= y <= area.y + area.height
    return beside and (x in (area.x, area.x + area.width) or y in (area.y, area.y + area.height))


def check(drawing: Drawing) -> None:
    """What holds for every drawing."""
    for one, two in combinations(drawing.boxes.values(), 2):
        assert not one.meets(two)
    for line in drawing.lines:
        for segment in segments(line):
            for state, box in drawing.boxes.items():
                assert not segment.meets(inner(box, 1)), f"{line.move.name} runs through {state}"
            assert segment.x >= 0
            assert segment.y >= 0
            assert segment.x + segment.width <= drawing.width
            assert segment.y + segment.height <= drawing.height
        source = drawing.pools.get(line.source) or (drawing.boxes[MachineState(line.source)] if line.source != "start" else None)
        assert source is None or on_edge(source, line.corners[0])
        if line.head:
            assert on_edge(drawing.boxes[line.target], line.corners[-1])


def test_the_shipped_one_is_drawn_without_anything_over_anything_else() -> None:
    drawing = draw(master())
    check(drawing)
    for label in drawing.labels:
        assert label.area.inside(Rect(0, 0, drawing.width, drawing.height))
        others = [*drawing.boxes.values(), *(other.area for other in drawing.labels if other is not label)]
        assert not any(label.area.meets(other) for other in others), label.text
        assert not any(label.area.meets(segment) for line in drawing.lines for segment in segments(line)), label.text
        assert all(label.area.inside(area) or not label.area.meets(area) for area in drawing.pools.values()), label.text
    for pool, area in drawing.pools.items():
        inside = {state for state, box in drawing.boxes.items() if box.meets(area)}
        assert inside == {state.name for state in master().states if state.pool == pool}


def test_every_move_is_in_it() -> None:
    drawing = draw(master())
    named = {label.text for label in drawing.labels} | {title for title in drawing.keeping.values() if title}
    assert named == {move.title for move in master().moves}
    assert drawing.keeping[MachineState.IN_USE] == "Transfer"
    drawn = {(line.source, line.target) for line in drawing.lines}
    members = {pool: {state.name for state in master().states if state.pool == pool} for pool in drawing.pools}
    pairs = {(origin, to) for source, to in drawn for origin in members.get(source, {source})}
    assert {(str(origin), str(to)) for origin in MachineState for to in master().targets[origin]} <= {
        (str(one), str(two)) for one, two in pairs
    }


def test_a_failure_that_no_other_move_shows_has_a_line() -> None:
    lose = master().move["lose"]
    fewer = lose.model_copy(update={"from_": tuple(state for state in lose.from_ if state is not MachineState.REPROVISIONING)})
    moves = tuple(fewer if move is lose else move for move in master().moves)
    drawing = draw(master().model_copy(update={"moves": moves}))
    assert ("reprovisioning", "quarantined") in {(line.source, line.target) for line in drawing.lines}


@pytest.mark.parametrize("seed", range(3))
def test_wherever_the_states_are_no_line_runs_through_a_box(seed: int) -> None:
    places = random.Random(seed).sample([(column, row) for column in range(7) for row in range(5)], len(MachineState))
    states = tuple(state.model_copy(update={"at": at}) for state, at in zip(master().states, places, strict=True))
    drawing = draw(master().model_copy(update={"states": states}))
    check(drawing)
    assert len(drawing.lines) > 20
    assert {(box.width, box.height) for box in drawing.boxes.values()} == {(BOX[0] * UNIT, BOX[1] * UNIT)}
