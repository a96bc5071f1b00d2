"""One step for many machines at once: what the playbooks do, through playbooks/library/dpe_machines.py."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from appliance.errors import DpeError
from appliance.hypervisor import making
from appliance.hypervisor.provider import MachineSpec, Provider, Unfit


class Step(StrEnum):
    """What can be done to machines; each may be repeated, and does nothing to a machine that needs it not."""

    FORK = "fork"
    CLONE = "clone"
    START = "start"
    WAIT = "wait"
    SUSPEND = "suspend"
    DESTROY = "destroy"


@dataclass(frozen=True)
class Outcome:
    """How a step ended for one machine. After a fork that failed, `fork_error` says why and `spec` is to be booted.

    `settled`: no further step will change it.
    """

    id: str
    ok: bool
    error: str
    hint: str
    seconds: float
    spec: MachineSpec
    settled: bool
    fork_error: str = ""
    unfit: bool = False


def perform(provider: Provider, step: Step, specs: Sequence[MachineSpec], *, parallel: int) -> list[Outcome]:
    """Do `step` to every machine, at most `parallel` at a time. One that fails does not keep the others from theirs."""

    def one(spec: MachineSpec) -> Outcome:
        begun = time.monotonic()
        error, hint, made = "", "", making.Made(spec)
        try:
            made = _one(provider, step, spec)
        except DpeError as problem:
            error, hint = problem.message, problem.hint
        seconds = round(time.monotonic() - begun, 3)
        failed, settled = made.fork_error, bool(error) or _settled(step, made)
        return Outcome(spec.id, not error, error, hint, seconds, made.spec, settled, str(failed or ""), isinstance(failed, Unfit))

    # Waiting costs the host nothing, so that all machines of a batch may come up in their own time.
    workers = len(specs) if step is Step.WAIT else parallel
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(one, specs))


def _settled(step: Step, made: making.Made) -> bool:
    spec = made.spec
    match step:
        case Step.FORK:
            return made.forked and making.stands_still(spec)
        case Step.CLONE:
            return spec.readiness == "cold"
        case Step.WAIT:
            return made.forked or spec.readiness == "running"
        case _:
            return step in (Step.SUSPEND, Step.DESTROY)


def _one(provider: Provider, step: Step, spec: MachineSpec) -> making.Made:
    made = making.Made(spec)
    match step:
        case Step.FORK:
            return making.fork(provider, spec)
        case Step.CLONE:
            if not made.forked:
                provider.clone(spec)
        case Step.START:
            if not making.stands_still(spec):
                provider.start(spec)
        case Step.WAIT:
            if not making.stands_still(spec):
                return making.up(provider, spec)
        case Step.SUSPEND:
            if spec.readiness == "paused" and not made.forked:
                provider.suspend(spec.id)
        case Step.DESTROY:
            provider.destroy(spec.id)
    return made
