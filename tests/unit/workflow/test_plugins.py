"""Kinds of activity that other packages bring, installed as pip would: a module and its dist-info on the path."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Event, Run, RunState, Step, VersionState, runs, sequences
from appliance.catalog import Sequence as Row
from appliance.engine import adopt_sequences
from appliance.services import sequences as service
from appliance.settings import Settings
from appliance.workflow import kinds, load, sequence
from appliance.workflow.activities import ACTIVITIES
from appliance.workflow.runner import Handler, Runner

pytestmark = pytest.mark.workflow

MODULE = """
from pydantic import Field
from appliance.workflow.kinds import Kind, Options
from appliance.workflow.runner import Done, Handler

class Ring(Options):
    bell: str = Field(min_length=1, description="Which bell.")

class Plugin:
    kind = Kind("ring", "Ring a bell", "Rings the bell of the house.", Ring)
    handler = Handler(lambda step, options: Done({"rang": options.bell}))
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install a package that brings the kind `ring`: `install("bells", its module)`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(kinds, "_KNOWN", dict(kinds._KNOWN))

    def do(name: str, module: str) -> None:
        (tmp_path / f"{name}.py").write_text(module)
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[dpe.activities]\n{name} = {name}:Plugin\n")
        kinds._from_entry_points.cache_clear()

    yield do
    kinds._from_entry_points.cache_clear()
    sequence.planned_steps.cache_clear()
    sys.modules.pop("bells", None)


def begin(body: str) -> int:
    with catalog.write():
        Row.insert(name="house", title="House").execute()
        version = sequences.add("house", body, VersionState.PROMOTED)
        return runs.begin_run("stop", version_id=version.id)


def test_a_kind_from_another_package_is_offered_checked_and_done(opened: Settings, install: Callable[[str, str], None]) -> None:
    install("bells", MODULE)
    assert "ring" in [kind.name for kind in service.kinds_of("stop", "before")]
    wrong = {"stop": {"before": [{"name": "bell", "kind": "ring", "with": {"bell": ""}}]}}
    assert [problem.field for problem in load.check_sequence(wrong)] == ["with.bell"]
    id = begin('{"stop":{"before":[{"name":"bell","kind":"ring","with":{"bell":"door"}}]}}')
    done = {name: Handler(lambda step, options: pytest.fail("only the bell")) for name in ("stop",)}
    others = {plugin.kind.name: plugin.handler for plugin in kinds.plugins()}
    runner = Runner({**ACTIVITIES, **done, **others})
    begun = runner.begin(id)
    assert begun is not None
    runner.settle(begun, runner.perform(begun))
    assert Step.get().output == {"rang": "door"}


@pytest.mark.parametrize("module", ["import nothing_of_that_name", "class Plugin: pass", "raise SystemError('broken')"])
def test_one_that_cannot_be_imported_stops_nothing_and_is_told_of(
    opened: Settings, install: Callable[[str, str], None], module: str
) -> None:
    install("bells", module)
    adopt_sequences(opened)
    assert "The kind of activity bells is missing" in Event.get(Event.kind == "activities.missing").message
    assert list(service.missing()) == ["bells"]
    assert "approval" in kinds.known()


def test_a_run_with_a_kind_that_is_gone_fails_and_says_so(opened: Settings) -> None:
    id = begin('{"stop":{"before":[{"name":"bell","kind":"ring","with":{"bell":"door"}}]}}')
    runner = Runner(ACTIVITIES)
    assert runner.next(id) is None
    runner.advance(id)
    run = Run.get_by_id(id)
    assert run.state is RunState.FAILED
    assert run.problem == "There is no kind of activity ring any more."
    assert sequence.moves(sequences.body(run.version_id))["stop"].before[0].kind == "ring"
