"""Machines that nobody uses: what tells so, and what becomes of them. `judge` and `follows` are pure functions."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from appliance import catalog
from appliance.catalog import EventKind, Lease, Machine, MachineState, machines, now, outgoing_mail, record, timezone, usage
from appliance.catalog.usage import Watched
from appliance.errors import Conflict, DpeError
from appliance.hypervisor.provider import GuestSigns, Provider
from appliance.lifecycle import master, rules
from appliance.workflow import start

log = logging.getLogger(__name__)

# A machine at rest stays below all of these: its clock ticks, its neighbours call, its journal is written.
CPU = 0.05  # share of its processors
NETWORK = 4096.0  # bytes a second
DISK = 65_536.0  # bytes a second
LOAD = 0.5  # processes that want to run, over a minute
PATIENCE = 5  # seconds that a guest may take to answer


@dataclass(frozen=True)
class Policy:
    """When a machine is idle, and how long its owner is warned; `after` of nothing: it never is."""

    after: timedelta
    grace: timedelta


@dataclass(frozen=True)
class Signs:
    """What tells of use: the machine runs for its owner `since`, and was busy last at a time. `guest`: what it says itself, once asked."""

    since: datetime
    busy_at: datetime | None = None
    guest: GuestSigns | None = None


@dataclass(frozen=True)
class Active:
    """Used last at a time."""

    at: datetime


@dataclass(frozen=True)
class Idle:
    """Not used since."""

    since: datetime


class Next(StrEnum):
    """What follows."""

    NOTHING = "nothing"
    WARN = "warn"
    UNWARN = "unwarn"
    ACT = "act"


def is_busy(*, cpu: float, network: float, disk: float) -> bool:
    """Whether the load of a machine tells of use; rates are bytes a second."""
    return cpu >= CPU or network >= NETWORK or disk >= DISK


def judge(policy: Policy, signs: Signs, moment: datetime) -> Active | Idle:
    """Whether the machine is in use. Somebody who is only signed in does not count; who typed or computes does."""
    used = [signs.since, *([signs.busy_at] if signs.busy_at else [])]
    if signs.guest is not None:
        if signs.guest.load >= LOAD:
            used.append(moment)
        if signs.guest.last_input_seconds is not None:
            used.append(moment - timedelta(seconds=max(0.0, signs.guest.last_input_seconds)))
    last = min(max(used), moment)  # a clock that was set back must not keep a machine in use for ever
    return Idle(last) if policy.after and moment - last >= policy.after else Active(last)


def follows(policy: Policy, found: Active | Idle, warned_at: datetime | None, ends_at: datetime, moment: datetime) -> Next:
    """What to do now. Nobody is warned of what comes after the end of their lease, which has warnings of its own."""
    if isinstance(found, Active):
        return Next.UNWARN if warned_at else Next.NOTHING
    if warned_at is None:
        return Next.WARN if ends_at > moment + policy.grace else Next.NOTHING
    return Next.ACT if moment - warned_at >= policy.grace else Next.NOTHING


# -- in the engine ------------------------------------------------------------------------------


def look_for_idle(provider: Provider, watched_since: datetime) -> None:
    """Warn of, and give up, what nobody uses. Time in which nobody looked (before `watched_since`) does not count."""
    moment = now()
    for one in usage.watched():
        policy = Policy(timedelta(minutes=one.idle_minutes), timedelta(minutes=one.grace_minutes))
        signs = Signs(max(one.since, watched_since), one.busy_at)
        found = judge(policy, signs, moment)
        if isinstance(found, Idle):
            signs = Signs(signs.since, signs.busy_at, _ask(provider, one.machine_id))
            found = judge(policy, signs, moment)
            if isinstance(found, Active):
                with catalog.write():
                    usage.note_usage([one.machine_id], found.at)
        warned_at = max(one.warned_at, watched_since) if one.warned_at else None
        try:
            _do(one, follows(policy, found, warned_at, one.ends_at, moment), found, policy)
        except Conflict as conflict:  # somebody did something with it meanwhile
            log.info("%s stays: %s", one.machine_id, conflict)


def _ask(provider: Provider, id: str) -> GuestSigns | None:
    """What the machine itself says; one that does not answer says nothing, and is judged by what is seen from outside."""
    try:
        return provider.signs(id, timeout=PATIENCE)
    except DpeError:
        return None


def _do(one: Watched, what: Next, found: Active | Idle, policy: Policy) -> None:
    if what is Next.NOTHING:
        return
    with catalog.write():
        machine, lease = machines.by_id(one.machine_id), machines.lease_of(one.machine_id)
        # Read again under the write lock: they may have come back in between.
        if (
            machine is None
            or lease is None
            or lease.id != one.lease_id
            or (lease.busy_at, lease.idle_warned_at) != (one.busy_at, one.warned_at)
        ):
            return
        match what:
            case Next.UNWARN:
                Lease.update(idle_warned_at=None).where(Lease.id == lease.id).execute()
            case Next.WARN if isinstance(found, Idle):
                _warn(machine, lease, found, policy, one.then)
            case Next.ACT if isinstance(found, Idle):
                _give_up(machine, found, one.then)


def _warn(machine: Machine, lease: Lease, found: Idle, policy: Policy, then: str) -> None:
    moment = now()
    Lease.update(idle_warned_at=moment).where(Lease.id == lease.id).execute()
    what = "suspended" if then == "suspend" else "taken back"
    said = f"{machine.name} has not been used since {timezone.clock(found.since)}: it is {what} at {timezone.clock(moment + policy.grace)}, unless it is used."
    outgoing_mail.enqueue_mail(
        [lease.account_id],
        f"idle {lease.id} {moment:%Y-%m-%dT%H:%M}",
        f"{machine.name} is {what} at {timezone.clock(moment + policy.grace)}, unless it is used",
        f"{said}\n\nOpen it, or sign in and press “I am still here”.",
        f"/#machine-{machine.number}",
    )
    record(
        EventKind.LEASE_IDLE,
        said,
        account_id=lease.account_id,
        class_name=machine.class_name,
        machine_id=machine.id,
    )


def _give_up(machine: Machine, found: Idle, then: str) -> None:
    Lease.update(idle_warned_at=None).where(Lease.machine == machine.id, Lease.ended_at.is_null()).execute()
    unused = f"nobody has used it since {timezone.clock(found.since)}"
    if then == "suspend":
        rules.demand(machine, "suspend")
        start.begin_run("suspend", machine)
        record(EventKind.MACHINE_IDLE, f"{machine.name} is suspended: {unused}.", class_name=machine.class_name, machine_id=machine.id)
        return
    _take_back(machine, f"{machine.name} is taken back: {unused}.", "idle")


def _take_back(machine: Machine, message: str, reason: str) -> None:
    master.move(
        machine.id,
        MachineState.RECLAIMING,
        message,
        expect=frozenset({MachineState.IN_USE}),
        reclaim_reason=reason,
        attempts=0,
        retry_at=None,
    )
    machines.end_lease(machine.id, reason)


def take_back_unopened() -> int:
    """Take back what its owner never opened within the time that the class gives them; returns how many."""
    taken = 0
    for id, minutes in usage.unopened(now()):
        with catalog.write():
            machine, lease = machines.by_id(id), machines.lease_of(id)
            if machine is None or lease is None or lease.opened_at is not None or machine.state is not MachineState.IN_USE:
                continue
            _take_back(machine, f"{machine.name} is taken back: it was not opened within {minutes} minutes.", "never opened")
            taken += 1
    return taken
