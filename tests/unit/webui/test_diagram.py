"""The drawing of the master workflow fits the workflow: all of it is there, once, and nothing is drawn over anything else."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations, pairwise

import pytest

from appliance.catalog import MachineState
from appliance.workflow.master import Master, Move, master
from webui.diagram import BOX, UNIT, Drawing, Line, Rect, draw

pytestmark = pytest.mark.workflow


def segments(line: Line) -> Iterator[Rect]:
    for (ax, ay), (bx, by) in pairwise(line.corners):
        assert ax == bx or ay == by, "a line goes along or across"
        yield Rect(min(ax, bx) - 0.5, min(ay, by) - 0.5, abs(ax - bx) + 1, abs(ay - by) + 1)


def meet(one: Rect, two: Rect) -> bool:
    return one.x < two.x + two.width and two.x < one.x + one.width and one.y < two.y + two.height and two.y < one.y + one.height


def is_inside(one: Rect, two: Rect) -> bool:
    right, bottom = one.x + one.width <= two.x + two.width, one.y + one.height <= two.y + two.height
    return two.x <= one.x and two.y <= one.y and right and bottom


def inner(area: Rect, by: float) -> Rect:
    return Rect(area.x + by, area.y + by, area.width - 2 * by, area.height - 2 * by)


def on_edge(area: Rect, point: tuple[int, int]) -> bool:
    x, y = point
    beside = area.x <= x <= area.x + area.width and area.y <= y <= area.y + area.height
    return beside and (x in (area.x, area.x + area.width) or y in (area.y, area.y + area.height))


def missing(drawing: Drawing, workflow: Master) -> set[tuple[str, str]]:
    """The changes of state that no line shows; a line from a pool shows those from each of its states."""
    members = {pool: {state.name for state in workflow.states if state.pool == pool} for pool in drawing.pools}
    shown = {(str(origin), str(line.target)) for line in drawing.lines for origin in members.get(line.source, {line.source})}
    changes = {(str(origin), str(to)) for origin in MachineState for to in workflow.targets[origin]}
    failures = {(str(move.via), str(move.on_failure)) for move in workflow.moves if move.on_failure and move.via}
    return (changes | failures) - shown


def needless(drawing: Drawing, workflow: Master) -> list[str]:
    """Lines of a move that does not lead that way."""
    members = {pool: {state.name for state in workflow.states if state.pool == pool} for pool in drawing.pools}
    wrong = []
    for line in drawing.lines:
        move, origins = line.move, members.get(line.source, {line.source})
        into = move.via or move.to
        leads = line.source == "start" and not move.from_ and line.target is into
        leads = leads or (line.target is into and origins <= {str(state) for state in move.from_})
        leads = leads or (line.source == move.via and line.target in (move.to, move.on_failure))
        if not leads:
            wrong.append(f"{move.name}: {line.source} to {line.target}")
    return wrong


def test_nothing_is_drawn_over_anything_else() -> None:
    drawing = draw(master())
    whole = Rect(0, 0, drawing.width, drawing.height)
    assert {(box.width, box.height) for box in drawing.boxes.values()} == {(BOX[0] * UNIT, BOX[1] * UNIT)}
    for one, two in combinations(drawing.boxes.values(), 2):
        assert not meet(one, two)
    for line in drawing.lines:
        for segment in segments(line):
            assert is_inside(segment, whole)
            for state, box in drawing.boxes.items():
                assert not meet(segment, inner(box, 1)), f"{line.move.name} runs through {state}"
        source = drawing.pools.get(line.source) or (drawing.boxes[MachineState(line.source)] if line.source != "start" else None)
        assert source is None or on_edge(source, line.corners[0])
        if line.head:
            assert on_edge(drawing.boxes[line.target], line.corners[-1])
    for label in drawing.labels:
        assert is_inside(label.area, whole)
        others = [*drawing.boxes.values(), *(other.area for other in drawing.labels if other is not label)]
        assert not any(meet(label.area, other) for other in others), label.text
        assert not any(meet(label.area, segment) for line in drawing.lines for segment in segments(line)), label.text
        assert all(is_inside(label.area, area) or not meet(label.area, area) for area in drawing.pools.values()), label.text
    for pool, area in drawing.pools.items():
        inside = {state for state, box in drawing.boxes.items() if meet(box, area)}
        assert inside == {state.name for state in master().states if state.pool == pool}


def test_lines_run_into_each_other_only_where_one_joins() -> None:
    drawing = draw(master())
    for one, two in combinations(drawing.lines, 2):
        if (one.move.name, one.target) != (two.move.name, two.target):
            along = [(a, b) for a in segments(one) for b in segments(two) if meet(a, b) and (a.width > a.height) == (b.width > b.height)]
            assert along == [], (one.move.name, two.move.name)
    for line in drawing.lines:
        if not line.head:
            others = [other for other in drawing.lines if other is not line and (other.move, other.target) == (line.move, line.target)]
            end = Rect(line.corners[-1][0] - 0.5, line.corners[-1][1] - 0.5, 1, 1)
            assert any(meet(end, segment) for other in others for segment in segments(other)), line.move.name


def test_every_move_is_in_it_and_nothing_else() -> None:
    drawing = draw(master())
    named = {label.text for label in drawing.labels} | {title for title in drawing.keeping.values() if title}
    assert named == {move.title for move in master().moves}
    assert drawing.keeping[MachineState.IN_USE] == "Transfer"
    assert missing(drawing, master()) == set()
    assert needless(drawing, master()) == []


def with_moves(moves: Iterable[Move]) -> Master:
    return Master.model_construct(states=master().states, moves=tuple(moves))


def test_what_a_workflow_has_more_or_less_is_found() -> None:
    """Whoever changes master.yml is told which lines to add and to take out."""
    stop = master().move["stop"].model_copy(update={"to": MachineState.FAILED})
    changed = with_moves(stop if move.name == "stop" else move for move in master().moves)
    assert missing(draw(master()), changed) == {("in_use", "failed"), ("suspended", "failed")}
    assert needless(draw(changed), changed) == ["stop: in_use to stopped", "stop: suspended to stopped"]
    with pytest.raises(KeyError, match="suspend"):
        draw(with_moves(move for move in master().moves if move.name != "suspend"))


def test_a_failure_that_no_other_move_shows_needs_a_line() -> None:
    lose = master().move["lose"]
    fewer = lose.model_copy(update={"from_": tuple(state for state in lose.from_ if state is not MachineState.REPROVISIONING)})
    changed = with_moves(fewer if move is lose else move for move in master().moves)
    drawing = draw(changed)
    assert needless(drawing, changed) == ["lose: production to quarantined"]
    without = replace(drawing, lines=tuple(line for line in drawing.lines if line.move is not fewer))
    assert ("reprovisioning", "quarantined") in missing(without, changed)
