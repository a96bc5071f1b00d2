"""How a machine comes to be: forked where it can be, booted where it cannot. For the buffer, for whoever waits, and at hand-over."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import Conflict, DpeError
from appliance.hypervisor.provider import MachineSpec, NoData, Provider
from appliance.laps import Lap

Report = Callable[[str], None]
GivenUp = Callable[[], bool]  # whether nobody wants the machine any more

LEAST_TIME = 20  # seconds for a fork to answer before a booted clone takes its place


@dataclass(frozen=True)
class Made:
    """A machine as it was made: `spec` has no snapshot when it was not forked, and `fork_error` says why, if it should have been."""

    spec: MachineSpec
    fork_error: DpeError | None = None
    laps: tuple[Lap, ...] = ()  # of what the machine did to become itself

    @property
    def forked(self) -> bool:
        return self.spec.snapshot is not None and self.spec.readiness != "cold"


def stands_still(spec: MachineSpec) -> bool:
    """Whether the machine waits without having run: a fork as its snapshot left it, or a disk alone."""
    return spec.readiness == "cold" or (spec.readiness == "paused" and spec.snapshot is not None)


def fork(provider: Provider, spec: MachineSpec) -> Made:
    """Fork the machine if it has a snapshot and is not to wait cold; it is paused then."""
    if spec.snapshot is None or spec.readiness == "cold":
        return Made(spec)
    try:
        provider.fork(spec)
    except DpeError as error:
        provider.list()  # raises when it is the hypervisor that is away, which is no fault of the fork
        return Made(replace(spec, snapshot=None), error)
    return Made(spec)


def up(
    provider: Provider, spec: MachineSpec, report: Report | None = None, *, personalise: bytes = b"", given_up: GivenUp | None = None
) -> Made:
    """See that a machine which was started answers. A fork that does not is destroyed, and a booted clone takes its place, unless it is given up."""
    if spec.snapshot is None:
        return Made(spec, laps=tuple(provider.wait(spec, report, personalise=personalise, given_up=given_up)))
    try:
        # It has booted already, so that it does not get the time for that.
        short = replace(spec, boot_timeout=max(LEAST_TIME, spec.boot_timeout // 5))
        laps = provider.wait(short, report, personalise=personalise, given_up=given_up)
    except (NoData, Conflict):
        raise  # a booted one would get no further with it, or nobody wants one
    except DpeError as error:
        provider.list()
        plain = replace(spec, snapshot=None)
        provider.destroy(spec.id)
        provider.clone(plain)
        provider.start(plain)
        return Made(plain, error, tuple(provider.wait(plain, report, personalise=personalise, given_up=given_up)))
    return Made(spec, laps=tuple(laps))


def make(provider: Provider, spec: MachineSpec, report: Report, turn: AbstractContextManager[Any] | None = None) -> Made:
    """Make one machine, to wait as its readiness says. `turn` is held for what takes the host's processors and disks, but not while waiting."""
    with turn or nullcontext():
        report("forking" if spec.snapshot else "cloning its disk")
        made = fork(provider, spec)
        if not made.forked:
            provider.clone(made.spec)
        if not stands_still(made.spec):
            report("starting")
            provider.start(made.spec)
    if not stands_still(made.spec):
        came = up(provider, made.spec, report)
        made = Made(came.spec, made.fork_error or came.fork_error)
        settle(provider, made.spec)
    return made


def settle(provider: Provider, spec: MachineSpec) -> None:
    """Have a machine that runs wait as its readiness says."""
    if spec.readiness == "paused":
        provider.suspend(spec.id)
    elif spec.readiness == "cold":
        provider.stop(spec.id)


def hand_over(
    provider: Provider, spec: MachineSpec, personalise: bytes, given_up: GivenUp | None = None, report: Report = lambda _text: None
) -> Made:
    """Resume, or start, a ready machine and make it its owner's. May be repeated. Raises Conflict when it is given up meanwhile."""
    made = Made(spec)
    if spec.readiness == "cold":
        report("forking" if spec.snapshot else "cloning its disk")
        made = fork(provider, replace(spec, readiness="paused"))
        if not made.forked:
            provider.clone(made.spec)
    report("waking it")
    provider.start(made.spec)
    came = up(provider, made.spec, report, personalise=personalise, given_up=given_up)
    return replace(came, fork_error=made.fork_error or came.fork_error)
