"""Machines for the buffer, a batch at a time, through playbooks/build.yml."""

import json
import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

from appliance.errors import DpeError
from appliance.hypervisor.provider import MachineSpec
from appliance.seeds.follow import follow
from appliance.settings import REPOSITORY, Settings, environment

log = logging.getLogger(__name__)

PLAYBOOKS = REPOSITORY / "playbooks"


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
    variables = {"machines": [spec.to_json() for spec in specs], "state": str(settings.state)}
    job = {
        "playbook": str(PLAYBOOKS / "build.yml"),
        "runner": str(work / "runner"),
        "inventory": {"all": {"hosts": {"localhost": localhost}}},
        "variables": variables,
        "roles": [],
        "skip": [],
    }
    file.write_text(json.dumps(job))
    outcome: dict[str, DpeError | None] = {
        spec.id: DpeError("The playbook ended before it came to this machine.", f"Look at {work}.") for spec in specs
    }

    def take(event: dict[str, Any]) -> None:
        match event["kind"]:
            case "output":
                log.debug("build.yml: %s", event["text"])
            case "task":
                report(event["name"])
            case "failed":
                log.warning("build.yml: %s: %s", event["task"], event["message"])
                error = DpeError(f"{event['task'] or 'build.yml'} failed: {event['message']}", "Look at the engine's log.")
                outcome.update(dict.fromkeys(outcome, error))
            case "result":
                outcome.update({id: None if done["ok"] else DpeError(done["error"], done["hint"]) for id, done in event["result"].items()})

    follow(file, environment(settings), take, lambda: False)
    return outcome
