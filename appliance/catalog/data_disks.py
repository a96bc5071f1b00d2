"""Data disks, the kept disks of machines that are gone, and the copies that were found: whose they are and which machine has them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from peewee import JOIN, fn

from appliance.catalog import listing
from appliance.catalog.event_kinds import EventKind
from appliance.catalog.events import ENGINE, Actor, record
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window
from appliance.catalog.models import Account, Backup, Class, DataDisk, DiskState, KeptDisk, KeptState, Level, Machine, MachineState, now

LEAVING = (MachineState.FAILED, MachineState.RECLAIMING)


def by_id(id: str) -> DataDisk | None:
    found: DataDisk | None = DataDisk.get_or_none(DataDisk.id == id)
    return found


def of_machine(machine_id: str) -> DataDisk | None:
    """The data disk that a machine has."""
    found: DataDisk | None = DataDisk.get_or_none(DataDisk.machine == machine_id)
    return found


def free(account_id: int, class_name: str, first: str | None = None) -> DataDisk | None:
    """The account's data disk of the class that its next machine gets: the one with the id `first`, else the one used last."""
    query = (
        DataDisk.select()
        .where(
            DataDisk.account == account_id,
            DataDisk.machine_class == class_name,
            DataDisk.machine.is_null(),
            DataDisk.state.in_([DiskState.NEW, DiskState.READY]),
        )
        .order_by((DataDisk.id == first).desc(), DataDisk.last_used_at.desc(), DataDisk.created_at, DataDisk.id)
    )
    found: DataDisk | None = query.first()
    return found


def on_its_way(account_id: int, class_name: str) -> Machine | None:
    """A machine that is being taken away and has a data disk of the account's and the class yet."""
    query = (
        Machine.select()
        .join(DataDisk, on=(DataDisk.machine == Machine.id))
        .where(DataDisk.account == account_id, DataDisk.machine_class == class_name, Machine.state.in_(LEAVING))
    )
    found: Machine | None = query.first()
    return found


def names(account_id: int) -> set[str]:
    """The names of the account's data disks."""
    return {disk.name for disk in DataDisk.select(DataDisk.name).where(DataDisk.account == account_id)}


def free_name(account_id: int, class_name: str) -> str:
    """A name that none of the account's data disks has: the class's, or that and a number."""
    taken, name, number = names(account_id), class_name, 1
    while name in taken:
        number += 1
        name = f"{class_name} {number}"
    return name


def give(disk: DataDisk, account_id: int) -> None:
    """The data disk becomes another's, under a name that none of theirs has; call it inside `write()`."""
    disk.name = free_name(account_id, disk.class_name) if disk.name in names(account_id) else disk.name
    DataDisk.update(account=account_id, name=disk.name).where(DataDisk.id == disk.id).execute()


def detach(machine_id: str) -> None:
    """The machine has its data disk no more; call it inside `write()`."""
    DataDisk.update(machine=None, last_used_at=now()).where(DataDisk.machine == machine_id).execute()


def of_account(account_id: int) -> list[DataDisk]:
    """An account's data disks, with the machine that has each as `.machine`."""
    query = (
        DataDisk.select(DataDisk, Machine)
        .join(Machine, JOIN.LEFT_OUTER, on=(DataDisk.machine == Machine.id))
        .where(DataDisk.account == account_id, DataDisk.state != DiskState.REMOVING)
        .order_by(DataDisk.machine_class, DataDisk.name)
    )
    return list(query)


SORTS: dict[str, Any] = {
    "disk": listing.text_of(DataDisk.name),
    "owner": listing.OWNER,
    "machine": fn.COALESCE(Machine.number, 0),
    "class": DataDisk.machine_class,
    "size": DataDisk.size,
    "used": fn.COALESCE(DataDisk.last_used_at, ""),
    "backup": fn.COALESCE(DataDisk.backup_at, ""),
    "created": DataDisk.created_at,
}


def list_disks(
    window: Window,
    reach: Scope = Scope(everything=True),  # noqa: B008 - immutable
    ids: Iterable[str] | None = None,
    *,
    text: str = "",
    class_name: str = "",
    use: str = "",
) -> Page[DataDisk]:
    """Data disks within reach, with owner and machine joined, and how many there are. use: attached, free, nobody or troubled."""
    uses = {
        "attached": DataDisk.machine.is_null(False),
        "free": DataDisk.machine.is_null(),
        "nobody": DataDisk.account.is_null() | (Account.disabled == True),  # noqa: E712
        "troubled": DataDisk.state == DiskState.TROUBLED,
    }
    query = listing.narrowed(
        DataDisk.select(DataDisk, Account, Machine)
        .join_from(DataDisk, Account, JOIN.LEFT_OUTER)
        .join_from(DataDisk, Machine, JOIN.LEFT_OUTER, on=(DataDisk.machine == Machine.id)),
        uses.get(use),
        DataDisk.machine_class == class_name if class_name else None,
        listing.has(text, DataDisk.name, Account.name, Account.full_name, Machine.name),
        DataDisk.id.in_(list(ids)) if ids is not None else None,
        listing.within(reach, DataDisk.machine_class, Account.org_unit),
    )
    return listing.page(query, DataDisk.id, SORTS, window, count=True)


def in_use() -> list[DataDisk]:
    """The data disks that a machine in use has, with machine and class joined."""
    query = (
        DataDisk.select(DataDisk, Machine, Class)
        .join(Machine, on=(DataDisk.machine == Machine.id))
        .switch(DataDisk)
        .join(Class, on=(DataDisk.machine_class == Class.name))
        .where(DataDisk.state == DiskState.READY, Machine.state == MachineState.IN_USE)
    )
    return list(query.order_by(DataDisk.id))


def promised() -> int:
    """Bytes that machines may yet write to data disks that grew by rule."""
    yet = fn.SUM(DataDisk.size * (1 << 30) - fn.COALESCE(DataDisk.filled, 0))
    return int(DataDisk.select(yet).where(DataDisk.grown_at.is_null(False), DataDisk.machine.is_null(False)).scalar() or 0)


def due_disks() -> list[DataDisk]:
    """The data disks to be copied, or to be removed: those that no machine has any more."""
    removable = (DataDisk.state == DiskState.REMOVING) & DataDisk.machine.is_null()
    return list(DataDisk.select().where(removable | (DataDisk.backup_asked == True)).order_by(DataDisk.id))  # noqa: E712


def record_disk_event(
    kind: EventKind,
    message: str,
    disk: DataDisk,
    actor: Actor = ENGINE,
    *,
    level: Level | None = None,
    machine_id: str | None = None,
    **more: Any,
) -> None:
    """Write an event of a data disk, inside `write()`."""
    record(
        kind, message, actor, level=level, account_id=None if actor.account_id else disk.account_id,
        class_name=disk.class_name, machine_id=machine_id, object=f"data_disk:{disk.id}", **more,
    )  # fmt: skip


# -- kept disks ---------------------------------------------------------------------------------


def kept_by_id(id: str) -> KeptDisk | None:
    found: KeptDisk | None = KeptDisk.get_or_none(KeptDisk.id == id)
    return found


def coming_back_as(machine_id: str) -> KeptDisk | None:
    """The kept disk of which a machine is made."""
    found: KeptDisk | None = KeptDisk.get_or_none(KeptDisk.machine == machine_id)
    return found


def kept_of_account(account_id: int) -> list[KeptDisk]:
    """The kept disks of an account's machines, the newest first."""
    query = KeptDisk.select().where(KeptDisk.account == account_id, KeptDisk.state != KeptState.REMOVING)
    return list(query.order_by(KeptDisk.created_at.desc()))


RETAINED_SORTS: dict[str, Any] = {
    "until": KeptDisk.until,
    "machine": listing.text_of(KeptDisk.machine_name),
    "owner": listing.OWNER,
    "class": KeptDisk.machine_class,
    "size": KeptDisk.bytes,
}


def list_retained(
    window: Window,
    reach: Scope = Scope(everything=True),  # noqa: B008 - immutable
    ids: Iterable[str] | None = None,
    *,
    text: str = "",
    class_name: str = "",
) -> Page[KeptDisk]:
    """The kept disks within reach, with owner joined, and how many there are."""
    query = listing.narrowed(
        KeptDisk.select(KeptDisk, Account).join(Account, JOIN.LEFT_OUTER),
        KeptDisk.state != KeptState.REMOVING,
        KeptDisk.machine_class == class_name if class_name else None,
        listing.has(text, KeptDisk.machine_name, Account.name, Account.full_name),
        KeptDisk.id.in_(list(ids)) if ids is not None else None,
        listing.within(reach, KeptDisk.machine_class, Account.org_unit),
    )
    return listing.page(query, KeptDisk.id, RETAINED_SORTS, window, count=True)


def kept_over(moment: datetime) -> list[KeptDisk]:
    """The kept disks to be removed."""
    over = (KeptDisk.state == KeptState.REMOVING) | ((KeptDisk.state == KeptState.KEPT) & (KeptDisk.until <= moment))
    return list(KeptDisk.select().where(over))


# -- copies -------------------------------------------------------------------------------------


def backups() -> list[Backup]:
    """The copies that were found, the newest first."""
    return list(Backup.select().order_by(Backup.taken_at.desc(), Backup.path))


def classes() -> dict[str, Class]:
    """Every class by its name."""
    return {machine_class.name: machine_class for machine_class in Class.select()}
