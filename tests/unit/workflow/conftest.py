"""A runner over a catalog of one's own, with kinds of activity that do as they are told."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import Run, Sequence, VersionState, now, runs, sequences
from appliance.settings import Settings
from appliance.workflow import kinds
from appliance.workflow.activities import ACTIVITIES
from appliance.workflow.runner import Context, Done, Handler, Outcome, Runner
from tests.simulation import EFFECT


@dataclass
class Bench:
    """A runner whose clock stands until it is moved, and the kind `effect`, which does what `says` tells."""

    says: Callable[[Context], Outcome] = lambda _step: Done()
    undoes: Callable[[Context], None] = lambda _step: None
    moment: datetime = field(default_factory=now)
    done: list[str] = field(default_factory=list)
    ended: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        def effect(step: Context, _options: Any) -> Outcome:
            self.done.append(step.planned.name)
            return self.says(step)

        def undo(step: Context, _options: Any) -> None:
            self.done.append(f"undo {step.planned.name}")
            self.undoes(step)

        core = Handler(effect)
        self.runner = Runner(
            {**ACTIVITIES, "effect": Handler(effect, undo), "stop": core, "make": core, "destroy": core},
            ended=self.ended.append,
            clock=lambda: self.moment,
        )

    def later(self, **span: float) -> None:
        self.moment += timedelta(**span)

    def begin(self, *activities: dict[str, Any], after: tuple[dict[str, Any], ...] = (), kind: str = "destroy", **facts: Any) -> int:
        """A run whose move is `destroy`, with these activities before it."""
        moves = {"reclaim": {"before": list(activities), "after": list(after)}}
        with catalog.write():
            Sequence.get_or_create(name="s", defaults={"title": "S"})  # type: ignore[no-untyped-call]
            version = sequences.add("s", json.dumps(moves), VersionState.PROMOTED)
            return runs.begin_run("reclaim", version_id=version.id, facts=facts)

    def go(self, id: int) -> Run:
        self.runner.advance(id)
        run = runs.by_id(id)
        assert run is not None
        return run


def effect(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "effect", **more}


@pytest.fixture
def bench(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setitem(kinds._KNOWN, "effect", EFFECT)
    return Bench()
