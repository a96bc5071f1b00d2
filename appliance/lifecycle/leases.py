"""Leases: warning before they end, and their end."""

from datetime import timedelta

from appliance import catalog
from appliance.catalog import Lease, Level, Machine, MachineState, machines, now, record
from appliance.lifecycle import master

WARNING = timedelta(minutes=10)


def warn() -> int:
    """Write a warning event for each lease about to end, once; returns how many."""
    moment = now()
    soon = list(
        Lease.select(Lease, Machine)
        .join(Machine)
        .where(Lease.ended_at.is_null(), Lease.warned_at.is_null(), Lease.ends_at < moment + WARNING)
    )
    for lease in soon:
        machine = lease.machine
        with catalog.write():
            if Lease.update(warned_at=moment).where(Lease.id == lease.id, Lease.warned_at.is_null()).execute():
                record(
                    "lease.warning",
                    f"The lease of {machine.name} ends at {lease.ends_at:%H:%M} UTC.",
                    level=Level.WARNING,
                    account_id=lease.account_id,
                    class_name=machine.class_name,
                    machine_id=machine.id,
                )
    return len(soon)


def expire() -> int:
    """Reclaim the machines whose lease has ended; returns how many."""
    over = list(Lease.select(Lease, Machine).join(Machine).where(Lease.ended_at.is_null(), Lease.ends_at <= now()))
    for lease in over:
        machine = lease.machine
        with catalog.write():
            # Read again under the write lock: an extension may have come in between.
            current = machines.lease_of(machine.id)
            if current is None or current.ends_at > now():
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
    return len(over)
