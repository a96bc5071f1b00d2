"""Machines for the buffer, a batch at a time, through playbooks/build.yml."""

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance import run
from appliance.errors import DpeError
from appliance.hypervisor.provider import MachineSpec
from appliance.seeds.play import PLAYBOOKS
from appliance.settings import Settings

log = logging.getLogger(__name__)


def build(specs: Sequence[MachineSpec], settings: Settings, report: Callable[[str], None]) -> dict[str, DpeError | None]:
    """Make the machines; returns, by id, what went wrong with each, or None.

    The playbook works under the same derived names as everything else, so that a batch cut off by a
    crash is simply run again. `report` is told the playbook's tasks as they start.
    """
    work = settings.state / "work" / "batch"
    shutil.rmtree(work, ignore_errors=True)
    (work / "runner").mkdir(mode=0o700, parents=True)
    file = work / "job.json"
    localhost = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    job = {
        "playbook": str(PLAYBOOKS / "build.yml"),
        "runner": str(work / "runner"),
        "inventory": {"all": {"hosts": {"localhost": localhost}}},
        "variables": {"machines": [spec.to_json() for spec in specs], "state": str(settings.state)},
    }
    file.write_text(json.dumps(job))
    outcome: dict[str, DpeError | None] = {
        spec.id: DpeError("The playbook ended before it came to this machine.", f"Look at {work}.") for spec in specs
    }
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    for line in run.lines(run.confined([sys.executable, "-m", "appliance.seeds.play", file]), env={"PATH": path}):
        try:
            event = json.loads(line)
            kind = event["kind"]
        except (ValueError, TypeError, KeyError):
            log.warning("build.yml: %s", line)
            continue
        if kind == "task":
            report(event["name"])
        elif kind == "failed":
            log.warning("build.yml: %s: %s", event["task"], event["message"])
            error = DpeError(f"{event['task'] or 'build.yml'} failed: {event['message']}", "Look at the engine's log.")
            outcome = {id: error for id in outcome}
        elif kind == "result":
            for id, result in event["result"].items():
                outcome[id] = None if result["ok"] else DpeError(result["error"], result["hint"])
    return outcome
