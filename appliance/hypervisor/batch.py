"""One action for many machines at once: what the playbooks do, through playbooks/library/dpe_machines.py."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from appliance.errors import DpeError
from appliance.hypervisor.provider import MachineSpec, Provider


class Action(StrEnum):
    """What can be done to machines; each may be repeated, and does nothing to a machine that needs it not."""

    CLONE = "clone"
    START = "start"
    WAIT = "wait"
    DESTROY = "destroy"


@dataclass(frozen=True)
class Outcome:
    """How an action ended for one machine."""

    id: str
    ok: bool
    error: str
    hint: str
    seconds: float


def perform(provider: Provider, action: Action, specs: Sequence[MachineSpec], *, parallel: int) -> list[Outcome]:
    """Do `action` to every machine, at most `parallel` at a time. One that fails does not keep the others from theirs."""

    def one(spec: MachineSpec) -> Outcome:
        begun = time.monotonic()
        error, hint = "", ""
        try:
            _one(provider, action, spec)
        except DpeError as problem:
            error, hint = problem.message, problem.hint
        return Outcome(spec.id, not error, error, hint, round(time.monotonic() - begun, 3))

    # Waiting costs the host nothing, so that all machines may come up in their own time.
    workers = len(specs) if action is Action.WAIT else parallel
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(one, specs))


def _one(provider: Provider, action: Action, spec: MachineSpec) -> None:
    match action:
        case Action.CLONE:
            provider.clone(spec)
        case Action.START:
            provider.start(spec)
        case Action.WAIT:
            provider.wait(spec)
        case Action.DESTROY:
            provider.destroy(spec.id)
