"""What outlives machines: data disks, and the kept disks of machines that are gone."""

import unicodedata
from pathlib import Path

from appliance import catalog
from appliance.catalog import Actor, DataDisk, DiskState, EventKind, KeptDisk, data_disks, doorbell, policies
from appliance.errors import BadInput, Conflict, NotFound
from appliance.identity import permissions
from appliance.settings import Settings

LONGEST_NAME = 60
USES = {"attached": "Used by a machine", "free": "Not in use", "nobody": "Of nobody who can sign in", "troubled": "In trouble"}


def my_disks(account_id: int) -> list[DataDisk]:
    """The data disks of an account, each with its machine as `.machine`."""
    return data_disks.of_account(account_id)


def get_disk(actor: Actor, id: str, permission: str = "machines.read") -> DataDisk:
    """A data disk that is the actor's, or that they look after. Raises NotFound for all others."""
    disk = data_disks.by_id(id)
    if (
        disk is None
        or disk.state is DiskState.REMOVING
        or not (permissions.owns(actor, disk.account_id) or permissions.may(actor, permission, "disk", id))
    ):
        raise NotFound("There is no such data disk.", "It may have been deleted.")
    return disk


def taken(disk: DataDisk, settings: Settings) -> int | None:
    """Bytes that the disk takes on the host; None when that is not known."""
    return _taken(settings.data_disk(disk.id))


def grows_to(disk: DataDisk) -> int:
    """GiB that it grows to by itself, at most; 0 when it does not, or has so much already."""
    most: int = policies.value(disk.machine_class, "data_most")
    return most if most > disk.size else 0


def _taken(file: Path) -> int | None:
    try:
        return file.stat().st_blocks * 512
    except OSError:
        return None


def rename(actor: Actor, id: str, name: str) -> None:
    """Call a data disk something else. Raises BadInput for what cannot be a name, Conflict for one that another has."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or any(unicodedata.category(letter).startswith("C") for letter in name):
        raise BadInput("That cannot be the name of a data disk.", f"Write 1 to {LONGEST_NAME} letters.", field="name")
    with catalog.write():
        disk = get_disk(actor, id, "machines.manage")
        if disk.name == name:
            return
        if disk.account_id is not None and name in data_disks.names(disk.account_id):
            raise Conflict(f"There is a data disk {name} already.", "Choose another name.", field="name")
        DataDisk.update(name=name).where(DataDisk.id == id).execute()
        before = {"name": disk.name}
        data_disks.record_disk_event(
            EventKind.DATA_DISK_RENAMED,
            f"{actor.name} renamed the data disk {disk.name} to {name}.",
            disk,
            actor,
            before=before,
            after={"name": name},
        )


def delete(actor: Actor, id: str, typed: str) -> str:
    """Delete a data disk with everything on it; `typed` is its name, once more. Returns the name.

    Raises BadInput when it is another name, Conflict while a machine has the disk.
    """
    with catalog.write():
        disk = get_disk(actor, id, "machines.manage")
        if disk.machine is not None:
            raise Conflict(f"{disk.machine.name} uses the data disk {disk.name}.", "Give the machine back first.")
        if disk.state is DiskState.RESTORING:
            raise Conflict(f"{disk.name} is being restored.", "Wait until that is done, or cancel it on the page of its run.")
        if " ".join(typed.split()) != disk.name:
            raise BadInput(
                f"That is not the name of the data disk {disk.name}; nothing is deleted.", f"To delete it, type {disk.name}.", field="typed"
            )
        DataDisk.update(state=DiskState.REMOVING, backup_asked=False).where(DataDisk.id == id).execute()
        data_disks.record_disk_event(
            EventKind.DATA_DISK_DELETED, f"{actor.name} deleted the data disk {disk.name} with everything on it.", disk, actor
        )
    doorbell.ring()
    return disk.name


def try_again(actor: Actor, id: str) -> None:
    """Let a data disk that was put aside be given to the next machine again."""
    with catalog.write():
        disk = get_disk(actor, id, "machines.manage")
        if disk.state is not DiskState.TROUBLED:
            raise Conflict(f"The data disk {disk.name} is not in trouble.", "Reload the page to see where it stands.")
        DataDisk.update(state=DiskState.READY, problem="").where(DataDisk.id == id).execute()
        data_disks.record_disk_event(
            EventKind.DATA_DISK_TRIED_AGAIN, f"{actor.name} asked to try the data disk {disk.name} again.", disk, actor
        )


def kept(account_id: int) -> list[KeptDisk]:
    """The kept disks of an account's machines."""
    return data_disks.kept_of_account(account_id)


def back_up(actor: Actor, id: str) -> None:
    """Have a data disk copied now."""
    with catalog.write():
        disk = get_disk(actor, id, "machines.manage")
        if disk.state is not DiskState.READY:
            raise Conflict(f"The data disk {disk.name} cannot be copied as it is.", disk.problem or "Wait until it is ready.")
        DataDisk.update(backup_asked=True, backup_problem="").where(DataDisk.id == id).execute()
        data_disks.record_disk_event(
            EventKind.DATA_DISK_BACKUP_ASKED, f"{actor.name} asked for a copy of the data disk {disk.name}.", disk, actor
        )
    doorbell.ring()
