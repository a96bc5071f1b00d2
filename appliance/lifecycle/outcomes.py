"""What the catalog says once something has happened to a machine. Each is one transaction, and may be called again."""

from datetime import timedelta

from appliance import catalog
from appliance.catalog import Actor, Class, Level, Machine, MachineState, Request, RequestState, Run, machines, now, record, runs, sequences
from appliance.errors import DpeError
from appliance.lifecycle import forks, master
from appliance.people import quotas
from appliance.workflow import start

LONGEST_WAIT = timedelta(minutes=10)


def came_up(machine: Machine, readiness: str = "running", *, forked: bool = False) -> None:
    """The machine is as it should wait: it joins the buffer, or goes straight to whoever has waited longest."""
    moment = now()
    # What waits cold may still be forked once it is wanted.
    kept = machine.snapshot_id if forked or readiness == "cold" else None
    seconds = round((moment - machine.created_at).total_seconds(), 1)
    with catalog.write():
        master.move(
            machine.id,
            MachineState.READY,
            f"{machine.name} is ready after {seconds:.1f} s{', forked' if forked else ''}.",
            ready_at=moment,
            readiness=readiness,
            origin="fork" if forked else "boot",
            snapshot=kept,
            problem="",
            attempts=0,
            retry_at=None,
            data={"seconds": seconds, "forked": forked},
        )
        if forked:
            forks.came_up(machine.class_name)
            if readiness == "running":
                forks.answered(machine.class_name)
        Class.update(failures=0, failing_until=None, problem="").where(Class.name == machine.class_name).execute()
        serve_waiting(machine.class_name)


def serve_waiting(class_name: str) -> int:
    """Give ready machines to those who wait, oldest request first; returns how many were served."""
    served = 0
    with catalog.write():
        klass = Class.get_by_id(class_name)
        while (asked := machines.first_waiting(class_name)) is not None:
            moment = now()
            allowed = quotas.allowance(asked.account_id, class_name, quotas.size_of(klass)).lease_minutes
            minutes = min(klass.lease_minutes, allowed or klass.lease_minutes)
            claimed = machines.take(class_name, asked.account_id, moment + timedelta(minutes=minutes), asked.id)
            if claimed is None:
                break
            Request.update(state=RequestState.GRANTED, machine=claimed.id, granted_at=moment).where(Request.id == asked.id).execute()
            account = asked.account
            record(
                "machine.assigned",
                f"{account.name} got {claimed.name} after waiting {(moment - asked.created_at).total_seconds():.0f} s.",
                Actor(account.name, account.id),
                class_name=class_name,
                machine_id=claimed.id,
                hit=False,
            )
            runs.give(asked.id, claimed.id)
            served += 1
    return served


def did_not_come_up(machine: Machine, error: DpeError) -> None:
    """The machine failed before anybody held it: it will be reclaimed, and its class waits a little, doubling, before the next try."""
    with catalog.write():
        klass = Class.get_by_id(machine.class_name)
        failures = klass.failures + 1
        wait = min(timedelta(seconds=5 * 2 ** min(failures - 1, 10)), LONGEST_WAIT)
        Class.update(failures=failures, failing_until=now() + wait, problem=str(error)).where(Class.name == klass.name).execute()
        master.move(
            machine.id,
            MachineState.FAILED,
            f"{machine.name} did not come up: {error.message}",
            level=Level.ERROR,
            problem=str(error),
            reclaim_reason="failed",
            data={"hint": error.hint},
        )


def personalised(machine: Machine, *, forked: bool = False) -> None:
    """The machine carries its owner's name and keys: it is theirs to use. One that waited as a disk says now whether it became a fork."""
    with catalog.write():
        if forked and machine.readiness == "cold":
            forks.came_up(machine.class_name)
        if forked:
            forks.answered(machine.class_name)
        master.move(
            machine.id,
            MachineState.IN_USE,
            f"{machine.name} is in use by {machine.owner.name if machine.owner else 'nobody'}.",
            expect=frozenset({MachineState.ASSIGNED}),
            readiness="running",
            origin="fork" if forked else "boot",
            snapshot=machine.snapshot_id if forked else None,
            problem="",
            attempts=0,
            retry_at=None,
        )


def could_not_be_handed_over(machine: Machine, error: DpeError, run: Run) -> None:
    """An assigned machine does not take its owner: it is reclaimed, and its owner is first in line for another, by another run."""
    with catalog.write():
        asked = Request.get_or_none(Request.machine == machine.id, Request.state == RequestState.GRANTED)
        if asked is not None:
            asked.state, asked.machine, asked.granted_at, asked.hit = RequestState.WAITING, None, None, False
            asked.save()
            body = sequences.body(run.version_id)
            start.assign(asked, start.Plan(run.version_id, body, run.facts, asks_first=True), asked_by=run.asked_by, approved=True)
        machines.end_lease(machine.id, "failed")
        master.move(
            machine.id,
            MachineState.FAILED,
            f"{machine.name} could not be handed over: {error.message} Another one is on its way.",
            expect=frozenset({MachineState.ASSIGNED}),
            level=Level.ERROR,
            problem=str(error),
            owner=None,
            reclaim_reason="failed",
        )


def lost(machine: Machine, problem: str) -> None:
    """A machine that somebody holds is not where it should be. Nothing of it is destroyed until an admin says so."""
    master.move(
        machine.id,
        MachineState.QUARANTINED,
        f"{machine.name} is quarantined: {problem}",
        level=Level.ERROR,
        problem=problem,
    )


def gone(machine: Machine) -> None:
    """Nothing is left of the machine but its history."""
    with catalog.write():
        machines.end_lease(machine.id, machine.reclaim_reason or "reclaimed")
        master.move(
            machine.id,
            MachineState.RETIRED,
            f"{machine.name} is gone; nothing of it is left.",
            owner=None,
            retired_at=now(),
            attempts=0,
            retry_at=None,
        )
