"""What the catalog says once something has happened to a machine. Each is one transaction, and may be called again."""

from datetime import datetime, timedelta

from appliance import catalog
from appliance.backoff import doubled
from appliance.catalog import (
    Account,
    Actor,
    Class,
    EventKind,
    Lease,
    Level,
    Machine,
    MachineState,
    Request,
    RequestState,
    data_disks,
    handovers,
    machines,
    now,
    outgoing_mail,
    recipes,
    record,
    runs,
    sequences,
)
from appliance.errors import DpeError
from appliance.identity import quotas
from appliance.lifecycle import forks, master, ssh
from appliance.workflow import start

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=10)


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
        if machine.owner_id is not None:
            _comes_back(machine, moment)
        serve_waiting(machine.class_name)


def _comes_back(machine: Machine, moment: datetime) -> None:
    """It was made for somebody, and is nobody else's."""
    machine_class, owner = machine.machine_class, machine.owner
    assert owner is not None
    minutes = quotas.allowance(owner.id, machine_class.name, quotas.size_of(machine_class)).lease(machine_class.lease_minutes)
    Lease.create(machine=machine.id, account=owner, began_at=moment, ends_at=moment + timedelta(minutes=minutes))
    master.move(machine.id, MachineState.ASSIGNED, f"{machine.name} was made for {owner.name}.")


def serve_waiting(class_name: str) -> int:
    """Give ready machines to those who wait, oldest request first; returns how many machines were given.

    Who waits for several at once gets all of them together, and nobody gets one before them.
    """
    served = 0
    with catalog.write():
        machine_class = Class.get_by_id(class_name)
        while (first := machines.first_waiting(class_name)) is not None:
            moment, party = now(), machines.together(first)
            left = quotas.allowance(first.account_id, class_name, quotas.size_of(machine_class))
            minutes = left.lease(first.lease_minutes or machine_class.lease_minutes)
            ends_at = moment + timedelta(minutes=minutes)
            claimed = machines.take_machines(class_name, first.account_id, ends_at, len(party), first.id)
            if not claimed:
                break
            for asked, machine in zip(party, claimed, strict=True):
                _grant(asked, machine, moment)
            served += len(claimed)
    return served


def _grant(asked: Request, claimed: machines.Claimed, moment: datetime) -> None:
    Request.update(state=RequestState.GRANTED, machine=claimed.id, granted_at=moment).where(Request.id == asked.id).execute()
    account = asked.account
    assert account is not None  # whose requests are cancelled before they are deleted
    record(
        EventKind.MACHINE_ASSIGNED,
        f"{account.name} got {claimed.name} after waiting {(moment - asked.created_at).total_seconds():.0f} s.",
        Actor(account.name, account.id),
        class_name=asked.class_name,
        machine_id=claimed.id,
        hit=False,
    )
    _tell_that_it_is_made(asked, account)
    if not runs.give(asked.id, claimed.id):  # one of several, for all of which the first one's run has waited
        assert asked.batch_id is not None
        first = runs.of_request(asked.batch_id)
        assert first is not None
        followed = start.StartPlan(first.version_id, sequences.body(first.version_id), first.facts)
        start.assign(Request.get_by_id(asked.id), followed, asked_by=first.asked_by, approved=True)


def _tell_that_it_is_made(asked: Request, account: Account) -> None:
    """Who chose something that had to be built first may have gone away meanwhile."""
    if recipes.of_class(asked.class_name) is not None:
        title = asked.machine_class.spec["title"]
        outgoing_mail.enqueue_mail(
            [account.id], f"recipe-{asked.id}", f"{title} is ready", f"{title}, which you asked for, is yours now.", "/"
        )


def did_not_come_up(machine: Machine, error: DpeError) -> None:
    """The machine failed before anybody held it: it will be reclaimed, and its class waits a little, doubling, before the next try."""
    with catalog.write():
        machine_class = Class.get_by_id(machine.class_name)
        failures = machine_class.failures + 1
        current = machines.by_id(machine.id)
        is_planned = current is not None and current.state is MachineState.PLANNED  # nothing of it exists, so that nothing has failed
        wait = doubled(FIRST_WAIT, failures - 1, LONGEST_WAIT)
        Class.update(failures=failures, failing_until=now() + wait, problem=str(error)).where(Class.name == machine_class.name).execute()
        master.move(
            machine.id,
            MachineState.RECLAIMING if is_planned else MachineState.FAILED,
            f"{machine.name} did not come up: {error.message}",
            level=Level.ERROR,
            problem=str(error),
            reclaim_reason="failed",
            owner=None,
            data={"hint": error.hint},
        )


def personalised(machine: Machine, *, forked: bool = False) -> None:
    """The machine carries its owner's name and keys: it is theirs to use. One that waited as a disk says now whether it became a fork."""
    with catalog.write():
        if forked and machine.readiness == "cold":
            forks.came_up(machine.class_name)
        if forked:
            forks.answered(machine.class_name)
        if machine.owner_id is not None:
            handovers.worked(machine.class_name, machine.owner_id)
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
            **ssh.news(machine),
        )


def could_not_be_handed_over(machine: Machine, error: DpeError) -> None:
    """An assigned machine does not take its owner: it is reclaimed, and whoever asked for it waits again, unless they have had their tries.

    Call it inside `write()`.
    """
    machine_class, owner = machine.machine_class, machine.owner
    assert owner is not None
    failing = handovers.failing(machine_class.name)
    over = handovers.failed(machine_class.name, owner.id, error.message, error.hint)
    asked = Request.get_or_none(Request.machine == machine.id, Request.state == RequestState.GRANTED)
    if asked is not None:
        # Who has had their tries is refused as soon as what was done for them is undone, and served no more until then.
        waits = RequestState.PENDING if over else RequestState.WAITING
        Request.update(state=waits, machine=None, granted_at=None, hit=False).where(Request.id == asked.id).execute()
        runs.take_back(asked.id)
    machines.end_lease(machine.id, "failed")
    what_now = "Another one is on its way." if asked is not None and not over else f"{owner.name} gets no other one for now."
    master.move(
        machine.id,
        MachineState.FAILED,
        f"{machine.name} could not be handed over to {owner.name}: {error.message} {what_now}",
        expect=frozenset({MachineState.ASSIGNED}),
        problem=str(error),
        owner=None,
        reclaim_reason="failed",
    )
    found = handovers.failing(machine_class.name)
    if found is not None and found.until is not None and (failing is None or failing.until is None):
        record(
            EventKind.CLASS_NOT_HANDED_OVER,
            f"Machines of {machine_class.name} are handed over one at a time for now: none of the last {found.machines}, of {found.people} people, took its owner.",
            class_name=machine_class.name,
            hint="Its page says why. What is fast to try: build its seed anew, or promote the one before.",
        )


def lost(machine: Machine, problem: str) -> None:
    """A machine that somebody holds is not where it should be. Nothing of it is destroyed until an admin says so."""
    master.move(
        machine.id,
        MachineState.QUARANTINED,
        f"{machine.name} is quarantined: {problem}",
        problem=problem,
    )


def gone(machine: Machine) -> None:
    """Nothing is left of the machine but its history."""
    with catalog.write():
        machines.end_lease(machine.id, machine.reclaim_reason or "reclaimed")
        data_disks.detach(machine.id)
        master.move(
            machine.id,
            MachineState.RETIRED,
            f"{machine.name} is gone; nothing of it is left.",
            owner=None,
            retired_at=now(),
            attempts=0,
            retry_at=None,
        )
