"""The real engine over a provider on disk, in a process that kills itself with -9 at one point of one step."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from appliance import catalog, layout
from appliance.engine import Engine
from appliance.identity import secrets
from appliance.settings import Settings
from appliance.settings import load as load_settings
from appliance.workflow.runner import Begun, Runner
from tests.disk_provider import DiskProvider

# Where a step can be cut: it is written that it begins; its work is done, and nobody knows; its result is kept.
POINTS = ("begun", "performed", "settled")


class Crashing(Runner):
    """A runner that dies at its point, once: a file says that it has."""

    point: tuple[str, str, str]  # of a run of this kind, at this step, there
    mark: Path

    def _here(self, begun: Begun, point: str) -> None:
        run, planned = begun.context.run, begun.context.planned
        if (run.kind, planned.name, point) == self.point and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def begin(self, id: int) -> Begun | None:
        begun = super().begin(id)
        if begun is not None:
            self._here(begun, "begun")
        return begun

    def settle(self, begun: Begun, outcome: Any) -> None:
        self._here(begun, "performed")
        super().settle(begun, outcome)
        self._here(begun, "settled")


def run(state: str, point: tuple[str, str, str]) -> None:
    """An engine over the state directory, until it is ended or has come to its point."""
    sys.stdout = sys.stderr = (Path(state) / "engine.log").open("a", buffering=1)
    settings: Settings = load_settings({}, state=Path(state), network="crash", slots=50)
    layout.prepare(settings)
    catalog.open(settings.catalog)
    secrets.open(settings.web_secret)
    provider = DiskProvider(settings.state / "world")
    engine = Engine(settings, provider)
    engine.runner.__class__ = Crashing
    engine.runner.point, engine.runner.mark = point, settings.state / "crashed"  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, lambda *_: engine.stop())
    engine.run()
    engine.close()


if __name__ == "__main__":
    run(sys.argv[1], tuple(json.loads(sys.argv[2])))
