"""The registry of kinds of event: documentation, syslog, and what the product records are what it says."""

import ast
import inspect
from functools import cache

import pytest

from appliance import catalog, syslog
from appliance.catalog import Event, EventKind, Level, MachineState, SeedState, WorkItemState, document, record
from appliance.catalog.event_kinds import AREAS, Area
from appliance.host.updates import installation
from appliance.identity import directory_sync
from appliance.lifecycle import rules
from appliance.settings import REPOSITORY, Settings

GIVEN = set(inspect.signature(record).parameters)  # what every event may be given, whatever its kind


@cache
def nodes() -> tuple[tuple[str, ast.AST], ...]:
    """Every call and every attribute in the product, and where it stands."""
    return tuple(
        (f"{file.relative_to(REPOSITORY)}:{node.lineno}", node)
        for folder in ("appliance", "webui")
        for file in sorted((REPOSITORY / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call | ast.Attribute)
    )


def calls() -> list[tuple[str, ast.Call]]:
    """Every call in the product, and where it stands."""
    return [(where, node) for where, node in nodes() if isinstance(node, ast.Call)]


def kinds_in(node: ast.AST) -> set[EventKind]:
    """The kinds that are named in a piece of code."""
    return {
        EventKind[part.attr]
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "EventKind"
    } | {
        EventKind(part.value)
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value in set(EventKind)
    }


def test_the_documentation_is_what_the_registry_makes() -> None:
    assert document.FILE.read_text() == document.document(), "make it anew: python -m appliance.catalog.document"


def test_every_kind_says_what_happened() -> None:
    for kind in EventKind:
        assert kind.text.endswith("."), kind
        assert kind.name == kind.value.replace(".", "_").upper(), kind
        assert f"| `{kind}` | {kind.level} |" in document.document()


def test_every_word_is_of_one_area() -> None:
    assert len(AREAS) == sum(len(area.words) for area in Area)


def test_syslog_sends_the_kind_whole() -> None:
    for kind in EventKind:
        line = syslog.line(Event(id=1, at=catalog.now(), kind=kind.value, message="", actor="", hash=""), "host")
        assert line.split(b" ")[5] == kind.encode()


def test_every_field_is_declared() -> None:
    """What a call that records an event of a kind gives besides what all of them may be given."""
    seen = 0
    for where, call in calls():
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name not in ("record", "tell", "_tell", "_note"):
            continue
        for kind in {kind for argument in call.args[:3] for kind in kinds_in(argument)}:
            given = {keyword.arg for keyword in call.keywords if keyword.arg} - GIVEN
            assert given <= set(kind.fields), f"{where}: {kind} has no {given - set(kind.fields)}"
            seen += 1
    assert seen > 100


FAMILIES = {  # kinds that are made of a state or a move where they are recorded
    *(f"machine.{state}" for state in MachineState),
    *(f"machine.{verb}_{what}" for verb in rules.VERBS for what in ("asked", "failed")),
    *(f"seed.{state}" for state in (SeedState.FAILED, SeedState.CANCELLED)),
    *(f"todo.{state}" for state in (WorkItemState.DONE, WorkItemState.REFUSED)),
    *(f"{kind}.changed" for kind in directory_sync.NOUNS),
    *(f"update.{outcome.replace(' ', '_')}" for outcome in (installation.UPDATED, installation.WENT_BACK, installation.ROLLED_BACK)),
}


def test_every_kind_is_recorded_by_the_product() -> None:
    assert set(EventKind) >= FAMILIES
    named = {kind for _, call in calls() for argument in call.args for kind in kinds_in(argument)}
    named |= {kind for _, node in nodes() if isinstance(node, ast.Attribute) for kind in kinds_in(node)}
    assert set(EventKind) - named - FAMILIES == set()


def test_an_event_has_the_level_of_its_kind_unless_it_is_said(opened: Settings) -> None:
    with catalog.write():
        record("machine.failed", "It failed.")
        record("machine.failed", "It failed, as it should.", level=Level.INFO)
        record("machine.ready", "It is ready.")
    assert [event.level for event in Event.select().order_by(Event.id)] == [Level.ERROR, Level.INFO, Level.INFO]


def test_a_kind_that_nobody_declared_is_refused(opened: Settings) -> None:
    with pytest.raises(ValueError, match=r"machine\.sings"), catalog.write():
        record("machine.sings", "It sings.")


def test_no_event_is_recorded_by_a_literal() -> None:
    for where, call in calls():
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in ("record", "tell", "_tell", "_note", "_record", "_say"):
            for argument in call.args[:3]:
                literals = {one.value for one in ast.walk(argument) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
                assert not literals & set(EventKind), f"{where}: write EventKind.{next(iter(literals)).replace('.', '_').upper()}"
