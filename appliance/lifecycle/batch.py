"""Machines for the buffer, a batch at a time, through playbooks/build.yml."""

import json
import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import DpeError
from appliance.hypervisor.provider import MachineSpec, Unfit
from appliance.seeds.follow import follow
from appliance.settings import REPOSITORY, Settings, environment

log = logging.getLogger(__name__)

PLAYBOOKS = REPOSITORY / "playbooks"


@dataclass(frozen=True)
class Built:
    """What became of a machine: what went wrong, if anything; whether it is a fork; why it is none though it should be."""

    error: DpeError | None
    forked: bool = False
    fork_error: DpeError | None = None


def build(specs: Sequence[MachineSpec], settings: Settings, report: Callable[[str], None], done: Callable[[str, Built], None]) -> None:
    """Make the machines; `done` is told, once for each, what became of it, as soon as that is known.

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
    left = {spec.id for spec in specs}
    fork_errors: dict[str, DpeError] = {}
    error = DpeError("The playbook ended before it came to this machine.", f"Look at {work}.")

    def take(event: dict[str, Any]) -> None:
        nonlocal error
        match event["kind"]:
            case "output":
                log.debug("build.yml: %s", event["text"])
            case "task":
                report(event["name"].lower())
            case "failed":
                log.warning("build.yml: %s: %s", event["task"], event["message"])
                error = DpeError(f"{event['task'] or 'build.yml'} failed: {event['message']}", "Look at the engine's log.")
            case "result":
                for id, known in event["result"].items():
                    if known["fork_error"]:
                        fork_errors[id] = (Unfit if known["unfit"] else DpeError)(known["fork_error"])
                    if known["settled"]:
                        left.discard(id)
                        failed = None if known["ok"] else DpeError(known["error"], known["hint"])
                        done(id, Built(failed, known["forked"], fork_errors.get(id)))

    follow(file, environment(settings), take, lambda: False)
    for id in left:
        done(id, Built(error, fork_error=fork_errors.get(id)))
