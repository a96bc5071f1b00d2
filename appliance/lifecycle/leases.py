"""Leases: their end is announced, busy machines are kept a while, and then they are taken back. `announced` is a pure function."""

from datetime import datetime, timedelta

from appliance import catalog
from appliance.catalog import EventKind, Lease, Machine, MachineState, machines, now, outgoing_mail, record, timezone, usage
from appliance.identity import quotas
from appliance.lifecycle import master

BUSY = timedelta(minutes=5)  # a machine at rest for so long is not busy any more
STEP = timedelta(minutes=1)  # by which the lease of a busy machine goes on


def announced(whole: timedelta, first: int, last: int) -> list[timedelta]:
    """How long before its end a lease of that length is announced, the longest first; `first` and `last` are minutes, 0 for not at all.

    Never more than a fraction of the lease, so that nobody hears of the end at the beginning.
    """
    wanted = {min(timedelta(minutes=first), whole / 4), min(timedelta(minutes=last), whole / 8)}
    return sorted((before for before in wanted if before > timedelta()), reverse=True)


def warn() -> int:
    """Announce each lease about to end, once for each of the moments that its class asks for; returns how many.

    What was due several times while nobody looked is said once.
    """
    moment, count = now(), 0
    for found in usage.ending(moment):
        due = [found.ends_at - before for before in announced(found.ends_at - found.began_at, found.first, found.last)]
        if any(at <= moment and (found.warned_at is None or found.warned_at < at) for at in due):
            with catalog.write():
                # Compared again under the write lock: an extension may have come in between.
                same = (Lease.id == found.id) & (Lease.ends_at == found.ends_at) & Lease.ended_at.is_null()
                if Lease.update(warned_at=moment).where(same).execute():
                    _announce(Lease.get_by_id(found.id))
                    count += 1
    return count


def _announce(lease: Lease) -> None:
    machine: Machine = lease.machine
    machine_class, ends = machine.machine_class, timezone.timestamp(lease.ends_at)
    left = machine_class.extensions - lease.extensions if machine_class.extend_minutes else 0
    record(
        EventKind.LEASE_WARNING,
        f"The lease of {machine.name} ends at {ends}.",
        account_id=lease.account_id,
        class_name=machine.class_name,
        machine_id=machine.id,
    )
    text = f"The lease of your {machine_class.spec['title']} {machine.name} ends at {ends}. Then the machine is taken back, with everything on it.\n\n"
    if left > 0:
        text += f"You can extend it {left} more time{'s' if left > 1 else ''}, by {machine_class.extend_minutes} minutes each: sign in and press Extend."
    else:
        text += "It cannot be extended any more. Save elsewhere what you want to keep."
    if machine_class.busy_grace:
        text += f"\n\nIf it is busy at that time, it is kept until it comes to rest, for {machine_class.busy_grace} minutes at most."
    _mail(lease, f"ends {ends}", f"The lease of {machine.name} ends at {ends}", text)


def _mail(lease: Lease, about: str, subject: str, text: str) -> None:
    outgoing_mail.enqueue_mail(
        [lease.account_id], f"lease {lease.id} {about} {now():%Y-%m-%dT%H:%M}", subject, text, f"/#machine-{lease.machine.number}"
    )


def expire() -> int:
    """Reclaim the machines whose lease has ended, but for those that are kept while they are busy; returns how many."""
    count = 0
    over = list(Lease.select(Lease, Machine).join(Machine).where(Lease.ended_at.is_null(), Lease.ends_at <= now()))
    for lease in over:
        machine = lease.machine
        with catalog.write():
            # Read again under the write lock: an extension may have come in between.
            current = machines.lease_of(machine.id)
            if current is None or current.ends_at > now() or _goes_on(machine, current):
                continue
            if machine.state in machines.HELD or machine.state is MachineState.QUARANTINED:
                master.move(
                    machine.id,
                    MachineState.RECLAIMING,
                    f"The lease of {machine.name} has ended.",
                    reclaim_reason="lease ended",
                    attempts=0,
                    retry_at=None,
                )
            machines.end_lease(machine.id, "lease ended")
            count += 1
    return count


def _goes_on(machine: Machine, lease: Lease) -> bool:
    """Let the lease of a busy machine go on for a step, if its class and the holder's quotas let it; say so at the first."""
    moment, machine_class = now(), machine.machine_class
    if not machine_class.busy_grace or machine.state is not MachineState.IN_USE or lease.busy_at is None or lease.busy_at < moment - BUSY:
        return False
    until: datetime = lease.kept_until or lease.ends_at + timedelta(minutes=machine_class.busy_grace)
    limit = quotas.allowance(lease.account_id, machine_class.name, quotas.size_of(machine_class)).lease_minutes
    if limit is not None:
        until = min(until, lease.began_at + timedelta(minutes=limit))
    if until <= moment:
        return False
    if lease.kept_until is None:
        said = f"The lease of {machine.name} has ended. It is busy, and kept until it comes to rest, or until {timezone.timestamp(until)} at the latest"
        record(
            EventKind.LEASE_KEPT_BUSY,
            f"{said}.",
            account_id=lease.account_id,
            class_name=machine_class.name,
            machine_id=machine.id,
        )
        _mail(lease, "kept", f"{machine.name} is kept while it is busy", f"{said}; then it is taken back, with everything on it.")
    Lease.update(ends_at=min(until, moment + STEP), kept_until=until).where(Lease.id == lease.id).execute()
    return True
