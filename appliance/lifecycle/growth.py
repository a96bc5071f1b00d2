"""Data disks that grow by rule: what is decided is written down before it is done, so that whoever is killed over it goes on afterwards."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from appliance import catalog
from appliance.catalog import DataDisk, EventKind, data_disks, now, policies
from appliance.errors import DpeError
from appliance.hypervisor.provider import Fill, Provider
from appliance.identity import quotas
from appliance.lifecycle.specs import spec
from appliance.pools.storage import GIB, Bound, Disk, Growth, Room, decide
from appliance.settings import Settings

BRIEFEST, LONGEST = timedelta(seconds=1), timedelta(minutes=2)  # between two readings that tell a pace
TELLS_AGAIN = timedelta(hours=1)  # why a disk does not grow
AFTER_FAILURE = timedelta(seconds=30)  # before a machine is asked again that did not answer, or did not follow
MARGIN = 10  # percent of the host's free disk that growing leaves


def of_class(machine_class: catalog.Class) -> Growth:
    """What the class says."""
    return Growth(*(policies.value(machine_class, f"data_{name}") for name in ("most", "above", "step", "cooldown")))


def due() -> list[DataDisk]:
    """The data disks that are to be looked at."""
    tried = (now() - AFTER_FAILURE).timestamp()
    found = [disk for disk in data_disks.in_use() if disk.growing or of_class(disk.machine_class).most]
    return [disk for disk in found if disk.not_grown.get("tried", 0) <= tried]


def look(id: str, settings: Settings, provider: Provider, disk_free: int) -> None:
    """Ask how full a data disk is, decide, and do it. `disk_free` is MiB of the host's. Raises DpeError when its machine does not say, or cannot."""
    disk = next((one for one in due() if one.id == id), None)  # as it is now
    if disk is None or disk.machine is None:
        return
    try:
        if not disk.growing:
            fill = provider.fill(spec(disk.machine, settings))
            _note(disk, fill, disk_free - settings.disk_reserve)
        if disk.growing:
            _grow(disk, settings, provider)
    except DpeError:
        with catalog.write():
            told = DataDisk.get_by_id(id).not_grown
            DataDisk.update(not_grown={**told, "tried": now().timestamp()}).where(DataDisk.id == id).execute()
        raise


def _note(disk: DataDisk, fill: Fill, free: int) -> None:
    """Write down what was said, and what is decided by it, at once: so no two disks are given the same room."""
    moment = now()
    with catalog.write():
        current = data_disks.by_id(disk.id)
        if current is None or current.machine_id != disk.machine_id or current.growing:
            return
        pace = _pace(current, fill, moment)
        grown = current.grown_at.timestamp() if current.grown_at else None
        seen = Disk(current.size, fill.used, fill.size, pace, grown)
        says, room = of_class(disk.machine_class), room_of(current, free)
        decision = decide(says, seen, room, moment.timestamp())
        found: dict[str, Any] = {"filled": fill.used, "capacity": fill.size, "filled_at": moment}
        if decision is None and seen.full < says.above:
            found["not_grown"] = {}  # there is room again
        DataDisk.update(**found).where(DataDisk.id == disk.id).execute()
        if decision is None:
            return
        disk.size, disk.growing = decision.after, decision.grows
        numbers: dict[str, Any] = {
            "filled": round(seen.full, 1),
            "pace": round(pace),
            "quota": room.quota,
            "host": room.host,
            "bound": decision.bound,
        }
        if decision.grows:
            changed = {"size": decision.after, "growing": True, "grown_at": moment, "not_grown": {}}
            DataDisk.update(**changed).where(DataDisk.id == disk.id).execute()
            message = f"The data disk {disk.name} grows from {decision.before} to {decision.after} GiB: {seen.full:.0f} % of it is full."
            data_disks.record_disk_event(
                EventKind.DATA_DISK_GROWS, message, disk, machine_id=disk.machine_id,
                before={"size": decision.before}, after={"size": decision.after}, **numbers,
            )  # fmt: skip
        else:
            _tell_not(current, decision.bound, _why(disk.name, decision.bound, says, seen, room), numbers)


def room_of(disk: DataDisk, free: int) -> Room:
    """What may be added to a disk; `free` is MiB that the host has besides its reserve."""
    quota = None if disk.account_id is None else quotas.disk_room(disk.account_id, disk.class_name)
    left = free * (100 - MARGIN) // 100 * (1 << 20) - data_disks.promised()
    return Room(quota, max(0, left // GIB))


def _why(name: str, bound: Bound, says: Growth, seen: Disk, room: Room) -> str:
    """In words."""
    if bound == "class":
        return f"The data disk {name} does not grow: {seen.full:.0f} % of it is full, and its class gives {says.most} GiB at most."
    if bound == "quota":
        return f"The data disk {name} does not grow: {seen.full:.0f} % of it is full, and the quotas of its owner leave {room.quota} GiB."
    return f"The data disk {name} does not grow: {seen.full:.0f} % of it is full, and the server has room for {room.host} GiB more."


def _pace(disk: DataDisk, fill: Fill, moment: datetime) -> float:
    """Bytes a second that it filled by since it was last looked at."""
    if disk.filled is None or disk.filled_at is None or not BRIEFEST <= moment - disk.filled_at <= LONGEST:
        return 0.0
    pace: float = max(0, fill.used - disk.filled) / (moment - disk.filled_at).total_seconds()
    return pace


def _tell_not(disk: DataDisk, key: str, why: str, numbers: Mapping[str, Any] | None = None) -> None:
    """Say why a disk does not grow: once, and again after an hour; call it inside `write()`."""
    told, moment = disk.not_grown, now().timestamp()
    if told.get("key") == key and moment - told.get("at", 0) < TELLS_AGAIN.total_seconds():
        return
    DataDisk.update(not_grown={"key": key, "at": moment, "why": why}).where(DataDisk.id == disk.id).execute()
    size = {"size": disk.size}
    data_disks.record_disk_event(
        EventKind.DATA_DISK_NOT_GROWN, why, disk, machine_id=disk.machine_id, before=size, after=size, **(numbers or {})
    )


def _grow(disk: DataDisk, settings: Settings, provider: Provider) -> None:
    """Have the disk and the file system on it be as large as was decided. Whatever was done of it before is found as it is."""
    assert disk.machine is not None
    wanted = spec(disk.machine, settings)
    if wanted.data != disk.id:
        return
    try:
        provider.grow_data(wanted)
    except DpeError as error:
        with catalog.write():
            _tell_not(disk, "problem", f"The data disk {disk.name} does not grow: {error.message}")
        raise
    with catalog.write():
        DataDisk.update(growing=False, not_grown={}).where(DataDisk.id == disk.id).execute()
