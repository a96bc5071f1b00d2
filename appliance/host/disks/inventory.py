"""The disks of this server: what is on them, how they are, what takes the room, and how a second one is given to data."""

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.catalog import EventKind
from appliance.errors import BadInput, Conflict, NotFound, Unavailable
from appliance.host.disks import ballast, block_devices, mirror, second_disk
from appliance.host.disks.block_devices import Device
from appliance.host.interface import disks as interface
from appliance.host.interface.disks import Disk, Storage
from appliance.host.rpc.periodic import every
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import events, image
from appliance.run import run
from appliance.settings import Settings

OURS = {
    "dpe-esp": "start-up files",
    "dpe-a": "system A",
    "dpe-b": "system B",
    "dpe-data": "this appliance's data",
    "dpe-store": "an appliance's data",
}
LABEL = "dpe-store"
EDGE = 1 << 20  # bytes at the begin and the end of a disk that say whether it is empty
SPARE = 4 << 30  # bytes that a disk must have beyond what is moved to it
DAY = 86400.0

# What uses the room, in words; each a folder of the state.
PARTS = {
    "seeds": "Seeds and their snapshots",
    "machines": "Machines",
    "libvirt": "Memory of suspended machines",
    "data": "Data disks",
    "kept": "Retained disks of machines that are gone",
    "backups": "Copies of data disks",
    "catalog": "Catalog",
    "cache": "Downloads for building seeds",
    "work": "Seeds being made",
    "logs": "Logs",
}


# -- looking -------------------------------------------------------------------------------------


def disks(settings: Settings, listing: str | None = None) -> list[Disk]:
    """The disks of this server; `listing` is what lsblk says. Raises Unavailable when it says nothing of use."""
    known = known_health(settings)
    listed = [
        _disk(one)
        for one in block_devices.devices(listing=listing)
        if one.type == "disk" and one.size and not one.path.startswith(("/dev/zram", "/dev/ram"))
    ]
    return [replace(one, **known.get(_key(one), {})) for one in listed]


def _disk(found: Device) -> Disk:
    holds = [said for one in (found, *found.below()) if (said := _content(one))]
    use, refusal = _use(found, holds)
    if found.ro:
        refusal = refusal or "It cannot be written to."
    kind = {"usb": "USB disk", "nvme": "SSD (NVMe)"}.get(found.tran, "disk" if found.rota else "SSD")
    return Disk(found.path, found.model or kind, found.serial, found.size, use, holds, refusal)


def _use(found: Device, holds: list[str]) -> tuple[str, str]:
    """What a disk is used for, and why it cannot be given to data."""
    parts, mounted = list(found.below()), found.mounted
    labels = {part.partlabel for part in parts} & OURS.keys()
    if labels - {LABEL} or "/" in mounted:
        return "system", "The appliance itself is on it." if mounted else "The system of an appliance is on it."
    if LABEL in labels and mounted:
        return "data", "It is given to data already."
    if mounted:
        return "other", f"It is in use: {', '.join(sorted(mounted))}."
    if any(part.type not in ("disk", "part") for part in parts):
        return "other", "It is part of a group of disks (RAID, LVM or encryption) that is in use."
    return "foreign" if holds else "empty", ""


WORDS = {
    "ntfs": "Windows data (NTFS)",
    "vfat": "FAT",
    "exfat": "exFAT",
    "crypto_LUKS": "encrypted data",
    "LVM2_member": "part of a volume group (LVM)",
    "linux_raid_member": "part of a RAID",
    "BitLocker": "encrypted Windows data (BitLocker)",
    "zfs_member": "part of a ZFS pool",
    "swap": "swap space",
    "iso9660": "an installation image",
}


def _content(part: Device) -> str:
    """What is on a disk or partition, in words; empty for nothing."""
    size = f"{part.size / 1e9:.1f} GB"
    if part.partlabel in OURS:
        return f"{OURS[part.partlabel]}, {size}"
    if part.fstype:
        label = f" “{part.label}”" if part.label else ""
        return f"{WORDS.get(part.fstype, part.fstype)}{label}, {size}"
    if part.type == "part":
        return f"a partition, {size}"
    return "a partition table" if part.pttype and not part.children else ""


def is_blank(path: Path) -> bool:
    """Whether begin and end of a disk hold nothing but zeros: what knows no partitions and file systems of ours may still be data."""
    with path.open("rb") as reading:
        end = reading.seek(0, os.SEEK_END)
        for at in (0, max(0, end - EDGE)):
            reading.seek(at)
            piece = reading.read(EDGE)
            if piece.count(0) != len(piece):
                return False
    return True


def sizes(settings: Settings) -> dict[str, int]:
    """Bytes that each part of PARTS takes; what is on a folder of backups elsewhere is not in it."""
    return {name: mirror.size(settings.state / name) for name in PARTS}


def seed_sizes(settings: Settings) -> dict[str, int]:
    """Bytes of each seed with its snapshots, by class/version."""
    found = settings.seeds.glob("*/*")
    return {f"{folder.parent.name}/{folder.name}": mirror.size(folder) for folder in found if folder.is_dir()}


def problems(settings: Settings) -> list[str]:
    """What is wrong with the disks, a sentence each, for who cannot see the page."""
    said = [lost] if (lost := second_disk.missing(settings)) else []
    if crowd := image.crowd():
        said.append(f"{crowd} {image.REMEDY}")
    now = ballast.room(settings)
    if now.full:
        said.append("The disk is full. Delete something on the page Server > Storage.")
    said += [f"{one['name']}: {one['health']}" for one in known_health(settings).values() if one.get("healthy") is False]
    return said


@implements(interface.STORAGE)
def list_disks(args: Nothing, host: Host) -> Storage:
    settings = host.settings
    now = ballast.room(settings)
    return Storage(
        image=image.boot_image() is not None,
        total=now.total,
        free=now.free,
        full=now.full,
        kept_back=mirror.size(settings.state, frozenset(PARTS) | {"host", "run", "tls"}),
        sizes=sizes(settings),
        seeds=seed_sizes(settings),
        disks=disks(settings),
        missing=second_disk.missing(settings),
    )


@implements(interface.DISKS)
def _disks(args: Nothing, host: Host) -> list[Disk]:
    return disks(host.settings)


@implements(interface.PROBLEMS)
def _problems(args: Nothing, host: Host) -> list[str]:
    return problems(host.settings)


@implements(interface.CLEAN)
def clean(args: Nothing, host: Host) -> int:
    """Delete the downloads for building seeds; returns the bytes that are free now."""
    freed = mirror.size(host.settings.cache)
    mirror.empty(host.settings.cache)
    return freed


# -- health ----------------------------------------------------------------------------------------


def _key(disk: Disk) -> str:
    return disk.serial or disk.path


def known_health(settings: Settings) -> dict[str, dict[str, Any]]:
    """How the disks were when they were last asked, by serial number; anybody may read it."""
    try:
        return {**json.loads((settings.host / "health.json").read_text())}
    except (OSError, ValueError, TypeError):
        return {}


def judge(said: dict[str, Any]) -> tuple[bool | None, str]:
    """Whether a disk is well, and in words, from smartctl's JSON; None when it does not tell."""
    worn = said.get("nvme_smart_health_information_log", {})
    rows = {row.get("id"): row.get("raw", {}).get("value", 0) for row in said.get("ata_smart_attributes", {}).get("table", [])}
    facts = []
    if hours := said.get("power_on_time", {}).get("hours"):
        facts.append(f"{hours} hours in use")
    if degrees := said.get("temperature", {}).get("current"):
        facts.append(f"{degrees} °C")
    if used := worn.get("percentage_used"):
        facts.append(f"{used} % worn")
    bad = [f"{rows[5]} sectors were replaced"] if rows.get(5) else []
    bad += [f"{rows[197]} sectors cannot be read"] if rows.get(197) else []
    bad += [f"{worn['media_errors']} errors in its memory"] if worn.get("media_errors") else []
    bad += ["its spare room is used up"] if worn.get("critical_warning", 0) & 1 else []
    passed = said.get("smart_status", {}).get("passed")
    if passed is None:
        return None, "It does not tell how it is."
    if not passed:
        return False, f"It says that it is failing{_list(bad)}. Replace it soon, and see that there is a backup."
    if bad:
        return False, f"It works, but shows its age{_list(bad)}. Have another one ready, and see that there is a backup."
    return True, f"It says that it is well{_list(facts)}."


def _list(facts: list[str]) -> str:
    return f": {', '.join(facts)}" if facts else ""


def _ask(path: str) -> dict[str, Any]:
    # Its status is a set of bits, of which most are no error.
    said = run(["sh", "-c", 'smartctl --json --health --attributes -- "$1" || true', "sh", path])
    try:
        return {**json.loads(said)}
    except (ValueError, TypeError):
        return {}


@every(DAY)
def watch(settings: Settings, ask: Callable[[str], dict[str, Any]] = _ask, listing: str | None = None) -> None:
    """Ask each disk how it is; an event when one begins to fail."""
    before, after = known_health(settings), {}
    for disk in disks(settings, listing):
        healthy, words = judge(ask(disk.path))
        after[_key(disk)] = {"healthy": healthy, "health": words, "name": disk.name}
        if healthy is False and before.get(_key(disk), {}).get("healthy") is not False:
            events.record_event(
                settings, EventKind.DISK_FAILING, f"The disk {disk.name} {disk.serial}: {words}", object=f"disk:{_key(disk)}"
            )
    durable.write(settings.host / "health.json", json.dumps(after, indent=1))
    (settings.host / "health.json").chmod(0o644)


# -- a second disk ------------------------------------------------------------------------------


def refuse(disk: Disk, typed: str, needed: int, *, blank: bool) -> None:
    """Raise Conflict or BadInput unless the disk may be erased and is large enough for so many bytes."""
    if disk.refusal:
        raise Conflict(f"{disk.name} ({disk.path}) cannot be given to data. {disk.refusal}", "Choose another disk.")
    if disk.size < needed + SPARE:
        raise Conflict(
            f"{disk.name} has {disk.size / 1e9:.0f} GB; at least {(needed + SPARE) / 1e9:.0f} GB are needed.", "Choose a larger disk."
        )
    if (disk.holds or not blank) and typed.strip() != (disk.serial or disk.name):
        what = "; ".join(disk.holds) or "something that the appliance does not know"
        raise BadInput(
            f"There is something on {disk.name} ({what}), which would be erased. Nothing was done.",
            f"To erase it all, type {disk.serial or disk.name}.",
            field="typed",
        )


@implements(interface.USE)
def use(args: interface.Use, host: Host) -> None:
    """Format a disk, copy the state to it while all goes on, and restart, which copies what changed meanwhile and then uses it."""
    image.required()
    settings = host.settings
    if (there := second_disk.read_second_disk(settings)) is not None:
        raise Conflict(f"The data lies on a second disk already: {there.name}.", "One second disk is what this appliance can use.")
    disk = next((one for one in disks(settings) if one.path == args.disk), None)
    if disk is None:
        raise NotFound(f"There is no disk {args.disk}.", "It may have been unplugged. Reload the page.")
    host.tell("Looking at what is to be moved", None)
    whole = mirror.size(settings.state, second_disk.LEFT)
    refuse(disk, args.typed, whole, blank=is_blank(Path(disk.path)))
    host.tell(f"Formatting {disk.name}", None)
    fs = _format(disk.path)
    copy(second_disk.Store(uuid=fs, name=f"{disk.name} {disk.serial}".strip(), state="moving"), whole, host)
    host.tell("Restarting: what changed meanwhile is moved while nothing else runs. Then the data lies on the second disk.", 100)
    run(["systemctl", "--no-block", "reboot"])


def _format(path: str) -> str:
    """One partition over the whole disk with an ext4 file system on it; returns that one's UUID."""
    run(["wipefs", "--all", "--quiet", path])
    run(["sfdisk", "--quiet", "--wipe", "always", path], input=f"label: gpt\ntype=linux, name={LABEL}\n")
    run(["udevadm", "settle"])
    listed = block_devices.devices(path)[0].children
    if len(listed) != 1:
        raise Unavailable(f"The partition on {path} does not appear.", "Restart the server and try again.")
    fs = str(uuid.uuid4())
    run(["mkfs.ext4", "-q", "-F", "-m", "0", "-L", LABEL, "-U", fs, listed[0].path], timeout=600)
    run(["udevadm", "settle"])
    return fs


def copy(chosen: second_disk.Store, whole: int, host: Host, found: Path | None = None) -> None:
    """Copy the state to the disk's file system, and note that the rest is to be moved at the next boot. `whole` is bytes."""
    if (found := found or second_disk.device(chosen.uuid)) is None:
        raise Unavailable(f"{chosen.name} does not answer.", "See that it is plugged in, and try again.")
    done = 0

    def tell(copied: int) -> None:
        nonlocal done
        if host.cancelled.is_set():
            raise Conflict("It was cancelled. The data lies where it was.", "Begin again when you like.")
        done += copied
        host.tell(f"Copying to {chosen.name}", min(99, 100 * done // max(1, whole)))

    fresh = second_disk.MOUNTS / "new"
    second_disk.mount(found, fresh)
    try:
        mirror.mirror(host.settings.state, fresh, skip=second_disk.CATALOG, tell=tell)
    except OSError as error:
        raise Unavailable(f"The data cannot be copied to {chosen.name}: {error}. It lies where it was.", "Use another disk.") from error
    finally:
        second_disk.unmount(fresh)
    second_disk.write_second_disk(host.settings, chosen)
    events.record_event(
        host.settings, EventKind.STORAGE_MOVING, f"{host.by} gives the disk {chosen.name} to data; the server restarts for that."
    )
