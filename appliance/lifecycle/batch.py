"""Machines made to wait, a batch at a time: forked or booted here, and then given the tasks that their class's roles bring for each machine.

Such tasks are in a role's tasks/machine.yml. They are run in machines that are up, through their agents, all of a batch in one play
(playbooks/build.yml). Without any, nothing of Ansible is started.
"""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from appliance import catalog
from appliance.catalog import Machine, scenarios
from appliance.errors import DpeError, Unavailable
from appliance.hypervisor import making
from appliance.hypervisor.provider import MachineSpec, Provider
from appliance.lifecycle.specs import machine_roles, spec
from appliance.scenario.load import role_folders
from appliance.seeds import agents
from appliance.seeds.build import AS_ROOT
from appliance.seeds.follow import follow
from appliance.seeds.sandbox import Limits, Sandbox, give, hand_over, remove
from appliance.settings import REPOSITORY, Settings

log = logging.getLogger(__name__)

PLAYBOOK = REPOSITORY / "playbooks/build.yml"
TASKS_WITHIN = 1800.0  # seconds for the tasks of a batch
KEPT = 500  # characters of what Ansible said last

Report = Callable[[str, str], None]
Done = Callable[[str, "Built"], None]


@dataclass(frozen=True)
class Order:
    """A machine to be made. `roles` bring tasks for each machine; `described` is its class as the scenario has it, which they may read.

    `scenario` is the folder that has the roles; without it, the one of the settings.
    """

    spec: MachineSpec
    roles: Sequence[str] = ()
    described: Mapping[str, Any] = field(default_factory=dict)
    scenario: Path | None = None


@dataclass(frozen=True)
class Built:
    """What became of a machine: what went wrong, if anything; whether it is a fork; why it is none though it should be."""

    error: DpeError | None
    forked: bool = False
    fork_error: DpeError | None = None


def order(machine: Machine, settings: Settings) -> Order:
    """What is to be made, as the catalog has it."""
    scenario = scenarios.lay_out(settings)
    return Order(spec(machine, settings), machine_roles(machine, scenario), machine.machine_class.spec, scenario)


def build(provider: Provider, orders: Sequence[Order], settings: Settings, report: Report, done: Done) -> None:
    """Make the machines. `done` is told, once for each, what became of it, as soon as that is known; one that fails does not keep the others from theirs.

    At most settings.parallel are made at a time, but all may come up in their own time, because waiting costs the host nothing. All work is under
    derived names, so that a batch cut off by a crash is simply built again. `report` is told what is done to which machine, from several threads.
    """
    turn = threading.Semaphore(settings.parallel)

    def one(wanted: Order) -> Built:
        readiness = "running" if wanted.roles else wanted.spec.readiness
        try:
            made = making.make(provider, replace(wanted.spec, readiness=readiness), lambda text: report(wanted.spec.id, text), turn)
        except DpeError as error:
            return Built(error)
        except Exception as error:  # it must not take the others along
            log.exception("%s could not be made", wanted.spec.name)
            return Built(DpeError(f"{type(error).__name__}: {error}", "Look at the engine's log."))
        finally:
            catalog.close()
        return Built(None, made.forked, made.fork_error)

    up: list[tuple[Order, Built]] = []
    with ThreadPoolExecutor(max(1, len(orders)), "batch") as pool:
        jobs = {pool.submit(one, wanted): wanted for wanted in orders}
        for job in as_completed(jobs):
            wanted, built = jobs[job], job.result()
            if wanted.roles and built.error is None:
                up.append((wanted, built))
            else:
                done(wanted.spec.id, built)
    if not up:
        return
    errors = dict[str, DpeError]()
    for name in sorted({wanted.spec.class_name for wanted, _ in up}):  # a class reaches no other's machines
        errors |= _run_tasks(provider, [wanted for wanted, _ in up if wanted.spec.class_name == name], settings, report)
    for wanted, built in up:
        error = errors.get(wanted.spec.id)
        try:
            if error is None:
                making.settle(provider, wanted.spec)
        except DpeError as problem:
            error = problem
        done(wanted.spec.id, replace(built, error=error))


def build_one(provider: Provider, wanted: Order, settings: Settings, report: Callable[[str], None]) -> Built:
    """Make one machine, and say what became of it."""
    told: list[Built] = []
    build(provider, [wanted], settings, lambda _id, text: report(text), lambda _id, built: told.append(built))
    return told[0]


def tidy(settings: Settings) -> None:
    """Remove what an engine that was killed over its batches left."""
    remove(_work(settings))


def _work(settings: Settings) -> Path:
    return settings.state / "work" / "batch"


def _run_tasks(provider: Provider, orders: Sequence[Order], settings: Settings, report: Report) -> dict[str, DpeError]:
    """Run the roles' tasks in machines of one class that are up. Returns by machine id what went wrong; the others are well."""
    work = _work(settings) / str(uuid.uuid4())
    work.mkdir(mode=0o711, parents=True)
    runner = hand_over(work / "runner", 0o700)
    folders = sorted({(wanted.scenario or settings.scenario).resolve() for wanted in orders})
    roles = [role for folder in folders for role in role_folders(folder, [role for wanted in orders for role in wanted.roles])]
    limits = Limits(seconds=TASKS_WITHIN + 60, free=settings.disk_reserve)
    sandbox = Sandbox(work / "scratch", reads=roles, writes=[runner], environment=agents.INSIDE, limits=limits)
    file = work / "job.json"
    job = {
        "playbook": str(PLAYBOOK),
        "runner": str(runner),
        "inventory": {"all": {"hosts": {wanted.spec.id: _host(wanted) for wanted in orders}}},
        "variables": {},
        "roles": [str(folder / "roles") for folder in folders],
        "skip": [],
    }
    ids = [wanted.spec.id for wanted in orders]
    failures: dict[str, str] = {}
    failed: list[str] | None = None
    said = ""

    def take(event: dict[str, Any]) -> None:
        nonlocal failed, said
        match event["kind"]:
            case "output":
                log.debug("build.yml: %s", event["text"])
                said = f"{said}{event['text']}\n"[-KEPT:]
            case "task":
                for id in ids:
                    report(id, event["name"])
            case "failed":
                failures[event["host"]] = f"{event['task']} failed: {event['message']}"
            case "ended":
                failed = [id for id in ids if id in event["failed"]]
            case "stopped":
                said = event["reason"]

    until = time.monotonic() + TASKS_WITHIN
    try:
        give(file, json.dumps(job))
        with agents.reaching(provider, ids, sandbox.scratch, TASKS_WITHIN):
            follow(file, sandbox, take, lambda: time.monotonic() > until)
    finally:
        remove(work)
    if failed is None:
        late = time.monotonic() > until
        what = f"did not end within {TASKS_WITHIN / 60:.0f} minutes" if late else f"could not be run: {said.strip()}"
        error = (Unavailable if late else DpeError)(f"The tasks for each machine {what}.", _hint(orders))
        return {id: DpeError(failures[id], error.hint) if id in failures else error for id in ids}
    return {id: DpeError(failures.get(id) or "A task failed.", _hint(orders)) for id in failed}


def _host(wanted: Order) -> dict[str, Any]:
    return {
        "ansible_connection": "dpe_agent",
        "ansible_host": wanted.spec.id,
        "ansible_python_interpreter": "/usr/bin/python3",
        **AS_ROOT,
        "machine_name": wanted.spec.name,
        "machine_roles": list(wanted.roles),
        "spec": dict(wanted.described),
    }


def _hint(orders: Sequence[Order]) -> str:
    roles = sorted({role for wanted in orders for role in wanted.roles})
    return f"Look at tasks/machine.yml of {', '.join(roles)}, and at the engine's log."
