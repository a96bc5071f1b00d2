"""Copies of data disks: how they lie in the folder of copies, and what is found there.

A copy is `<disk>/<time>.qcow2`; `<time>.about.json` beside it is written last, and tells all that is needed to bring it back elsewhere.
Nothing of it is in the catalog but what was last found, so that a folder from another appliance is as good.
"""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from appliance import catalog, durable
from appliance.catalog import Backup, DataDisk, DiskState, EventKind, Machine, data_disks, now
from appliance.errors import DpeError, NotFound, Unavailable
from appliance.hypervisor.provider import Provider
from appliance.paths import below
from appliance.settings import Settings

FORMAT = 1
ABOUT = ".about.json"
LONGEST = 64 << 10  # bytes of a manifest
MOST = 10_000  # copies that are looked at

Text = Annotated[str, StringConstraints(max_length=200)]


class Manifest(BaseModel):
    """What is told of a copy. size: GiB; bytes and sha256 are the copy's own."""

    model_config = ConfigDict(strict=True, extra="ignore")

    format: int
    copy_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,100}\.qcow2$")]
    disk: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")]
    disk_name: Text
    machine: Text
    class_name: Text
    owner: Text
    size: int = Field(ge=1, le=65536)
    bytes: int = Field(ge=0)
    sha256: Text
    taken_at: Annotated[AwareDatetime, Field(strict=False)]


def write_manifest(disk: DataDisk, machine: Machine | None, since: datetime, keep: int, settings: Settings, provider: Provider) -> Path:
    """Copy a data disk, once for a time `since`, and let only its newest `keep` copies stay. Returns the copy's path."""
    stamp = since.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
    target = below(settings.backups, disk.id, f"{stamp}.qcow2")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The folder for copies cannot be used: {error}.", "See that it is there, and can be written to.") from error
    provider.backup_data(disk.id, target, machine.id if machine else None)
    _tell(disk, machine, target)
    scan(settings)  # whoever hears that it was copied finds it
    with catalog.write():
        DataDisk.update(backup_at=now(), backup_asked=False, backup_problem="").where(DataDisk.id == disk.id).execute()
        message = f"The data disk {disk.name} was copied to {target.parent.name}/{target.name}."
        data_disks.record_disk_event(EventKind.DATA_DISK_COPIED, message, disk, machine_id=machine.id if machine else None)
    too_many = sorted(target.parent.glob(f"*{ABOUT}"), reverse=True)[keep:]
    for old in too_many:
        old.unlink(missing_ok=True)  # first what says that it is whole
        provider.remove_backup(_copy_of(old))
    if too_many:
        scan(settings)
    return target


def _copy_of(about: Path) -> Path:
    return about.with_name(about.name.removesuffix(ABOUT) + ".qcow2")


def _tell(disk: DataDisk, machine: Machine | None, copy: Path) -> None:
    try:  # what the provider wrote of the copy itself
        sha256 = str(json.loads(copy.with_name(f"{copy.name}.json").read_text())["sha256"])
    except (OSError, ValueError, LookupError, TypeError):
        sha256 = ""
    told = Manifest(
        format=FORMAT,
        copy_name=copy.name,
        disk=disk.id,
        disk_name=disk.name,
        machine=machine.name if machine else "",
        class_name=disk.class_name,
        owner=disk.account.name if disk.account else "",
        size=disk.size,
        bytes=copy.stat().st_size if copy.exists() else 0,
        sha256=sha256,
        taken_at=now(),
    )
    about = copy.with_name(copy.name.removesuffix(".qcow2") + ABOUT)
    try:
        durable.write(about, told.model_dump_json(indent=1), mode=0o644)
    except OSError as error:
        raise Unavailable(f"What belongs to a copy could not be written: {error}.", "Make room in the folder for copies.") from error


def asked(disk: DataDisk, settings: Settings, provider: Provider) -> None:
    """Copy a data disk because somebody wants it now; what goes wrong stands with the disk."""
    machine = disk.machine if disk.machine_id else None
    try:
        if disk.state is not DiskState.READY:
            raise Unavailable("It cannot be copied as it is.")
        write_manifest(disk, machine, now(), keep=MOST, settings=settings, provider=provider)
    except DpeError as error:
        with catalog.write():
            DataDisk.update(backup_asked=False, backup_problem=str(error)).where(DataDisk.id == disk.id).execute()
            message = f"The data disk {disk.name} could not be copied: {error.message}"
            data_disks.record_disk_event(EventKind.DATA_DISK_NOT_COPIED, message, disk, hint=error.hint)


# -- what is there --------------------------------------------------------------------------------


def read_manifest(about: Path) -> Manifest:
    """A manifest. Raises DpeError for one that cannot be used."""
    try:
        if about.stat().st_size > LONGEST:
            raise DpeError("Its manifest is too long.")
        found = Manifest.model_validate_json(about.read_bytes())
    except OSError as error:
        raise NotFound(f"Its manifest cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise DpeError(f"Its manifest is damaged: {'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}.") from error
    if found.format > FORMAT:
        raise DpeError("It was made by a newer appliance.", "Upgrade this one first.")
    return found


def scan(settings: Settings) -> None:
    """Note what the folder of copies has, in the catalog."""
    found = {}
    try:
        for about in sorted(settings.backups.glob(f"*/*{ABOUT}"))[:MOST]:
            found[str(_copy_of(about))] = _look(about)
    except OSError:  # it is not there now: nothing is known
        return
    known = {row.path: row.__data__ for row in Backup.select()}
    if known == found:
        return
    with catalog.write():
        Backup.delete().where(Backup.path.not_in(list(found))).execute()
        for path, row in found.items():
            if known.get(path) != row:
                Backup.insert(row).on_conflict_replace().execute()


def _look(about: Path) -> dict[str, object]:
    copy, problem, told = _copy_of(about), "", None
    try:
        told = read_manifest(about)
        if told.copy_name != copy.name:
            problem = "Its manifest is another copy's."
        elif not copy.exists():
            problem = "The copy itself is missing."
        elif copy.stat().st_size != told.bytes:
            problem = f"The copy is damaged: it has {copy.stat().st_size} bytes instead of {told.bytes}."
    except DpeError as error:
        problem = str(error)
    except OSError as error:
        problem = f"It cannot be read: {error.strerror}."
    at = told.taken_at if told else datetime.fromtimestamp(about.stat().st_mtime, UTC)
    return {
        "path": str(copy),
        "disk": told.disk if told else about.parent.name[:100],
        "disk_name": told.disk_name if told else "",
        "machine_name": told.machine if told else "",
        "class_name": told.class_name if told else "",
        "account_name": told.owner if told else "",
        "size": told.size if told else 0,
        "bytes": told.bytes if told else 0,
        "taken_at": at,
        "problem": problem,
    }


def room(settings: Settings) -> int | None:
    """Bytes that are free where the copies are; None when that is not known."""
    try:
        return shutil.disk_usage(settings.backups).free
    except OSError:
        return None
