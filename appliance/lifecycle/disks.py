"""Data disks, which outlive machines: which machine has which, and what becomes of those that nobody wants any more.

The catalog's row comes before the file and goes after it, so that no file is ever there that nobody knows of.
"""

import logging
import uuid
from datetime import datetime

from appliance import catalog
from appliance.catalog import DataDisk, DiskState, EventKind, KeptDisk, Machine, data_disks, machines, now, record
from appliance.errors import DpeError
from appliance.hypervisor.provider import MachineSpec, Provider
from appliance.lifecycle import disk_copies
from appliance.settings import Settings

log = logging.getLogger(__name__)

D = DiskState


# -- a machine's data disk ------------------------------------------------------------------------


def attach(machine: Machine, settings: Settings, provider: Provider, *, first: str | None = None) -> str:
    """See that a machine has a data disk of its owner's, if its class gives one: `first`, one that is free, or a new one.

    Returns what has to be waited for before it can have one, in words; empty when all is well.
    """
    if data_disks.of_machine(machine.id) is None:
        if machine.owner_id is None or not machine.machine_class.data_disk:
            return ""
        if (leaving := _give(machine, first)) is not None:
            return f"your data disk is with {leaving.name} still, which is being taken away"
    disk = data_disks.of_machine(machine.id)
    assert disk is not None
    if disk.state is D.NEW:
        try:
            provider.make_data(disk.id, disk.size)
        except DpeError as error:
            _set(disk, problem=error.message)
            return f"its data disk cannot be made: {error.message}"
        _set(disk, state=D.READY, problem="")
    return ""


def _give(machine: Machine, first: str | None) -> Machine | None:
    """Choose the data disk in one transaction, so that no other machine gets the same; or say which one is about to leave it."""
    owner, class_name = machine.owner, machine.class_name
    assert owner is not None
    with catalog.write():
        current = machines.by_id(machine.id)
        if current is None or current.owner_id != owner.id or data_disks.of_machine(machine.id) is not None:
            return None
        disk = data_disks.free(owner.id, class_name, first)
        if disk is None and (leaving := data_disks.on_its_way(owner.id, class_name)) is not None:
            return leaving
        if disk is None:
            name = data_disks.free_name(owner.id, class_name)
            disk = DataDisk.create(
                id=str(uuid.uuid4()), account=owner, machine_class=class_name, name=name, size=machine.machine_class.data_disk
            )
            data_disks.record_disk_event(
                EventKind.DATA_DISK_MADE, f"The data disk {name} of {owner.name} is made, with {disk.size} GiB.", disk
            )
        _set(disk, machine=machine.id)
        data_disks.record_disk_event(
            EventKind.DATA_DISK_ATTACHED, f"{machine.name} has the data disk {disk.name} of {owner.name}.", disk, machine_id=machine.id
        )
    return None


def grow(machine: Machine, spec: MachineSpec, provider: Provider, personalise: bytes) -> None:
    """Let the data disk of a machine that runs have as much room as its class gives by now."""
    disk, wanted = data_disks.of_machine(machine.id), machine.machine_class.data_disk
    if disk is None or spec.data is None or disk.size >= wanted:
        return
    try:
        provider.make_data(spec.data, wanted)
        provider.wait(spec, personalise=personalise)  # which has the file system grow
    except DpeError as error:  # it can be used as it is
        _set(disk, problem=f"It could not grow to {wanted} GiB: {error.message}")
        return
    _set(disk, size=wanted, problem="")


def put_aside(machine: Machine, error: DpeError, since: datetime) -> bool:
    """The machine's data disk cannot be used. It is kept as it is, and the machine gets another.

    False for one that was made only `since` the machine wants one: a next one would fare no better.
    """
    with catalog.write():
        disk = data_disks.of_machine(machine.id)
        if disk is not None and disk.created_at >= since:
            return False
        if disk is not None:
            _set(disk, machine=None, state=D.TROUBLED, problem=error.message)
            message = f"The data disk {disk.name} cannot be used, and is put aside: {error.message}"
            data_disks.record_disk_event(EventKind.DATA_DISK_TROUBLED, message, disk, machine_id=machine.id, hint=error.hint)
    return True


def follow(machine_id: str, account_id: int) -> None:
    """The machine's data disk becomes another's with it; call it inside `write()`."""
    disk = data_disks.of_machine(machine_id)
    if disk is not None and disk.account_id != account_id:
        data_disks.give(disk, account_id)


def _set(disk: DataDisk, **values: object) -> None:
    with catalog.write():
        for name, value in values.items():
            setattr(disk, name, value)
        DataDisk.update(values).where(DataDisk.id == disk.id).execute()


# -- what nobody wants any more -------------------------------------------------------------------


def is_sweep_due() -> bool:
    """Whether there is something for `sweep`."""
    return bool(data_disks.due_disks() or data_disks.kept_over(now()))


def sweep(settings: Settings, provider: Provider) -> None:
    """Remove the data disks that were deleted, and kept disks whose days are over."""
    for disk in data_disks.due_disks():
        if disk.state is D.REMOVING:
            _remove(disk, settings, provider)
        else:
            disk_copies.asked(disk, settings, provider)
    for kept in data_disks.kept_over(now()):
        try:
            provider.forget_kept(kept.id)
        except DpeError as error:
            log.warning("the kept disk of %s cannot be removed: %s", kept.machine_name, error)
            continue
        with catalog.write():
            KeptDisk.delete().where(KeptDisk.id == kept.id).execute()
            why = "its days are over" if kept.state is catalog.KeptState.KEPT else "it is not needed any more"
            message = f"The kept disk of {kept.machine_name} is removed: {why}."
            record(EventKind.KEPT_DISK_REMOVED, message, class_name=kept.class_name, machine_id=kept.id, account_id=kept.account_id)


def _remove(disk: DataDisk, settings: Settings, provider: Provider) -> None:
    try:
        provider.remove_data(disk.id)
    except DpeError as error:
        _set(disk, state=D.TROUBLED, problem=f"It could not be removed: {error.message}")
        log.warning("data disk %s: %s", disk.id, error)
        return
    with catalog.write():
        DataDisk.delete().where(DataDisk.id == disk.id).execute()
        data_disks.record_disk_event(EventKind.DATA_DISK_REMOVED, f"The data disk {disk.name} is removed.", disk)
