"""Disks that outlive machines, as files: data disks, copies of them, and disks kept of machines that are gone.

A file is made under another name and renamed when it is whole and safely on disk, so that a name means a whole file.
Where a verb may be cut off and called again, the name that is made last says that all of it is there.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import durable, qcow2
from appliance.errors import BadInput, CommandFailed, Conflict, DpeError, Unavailable
from appliance.hypervisor.libvirt.layout import Boot
from appliance.hypervisor.provider import NoData
from appliance.run import Argument, confined, run

LONGEST = 6 * 3600  # seconds for copying a disk
KERNEL, INITRD, BOOT = ".kernel", ".initrd", ".boot.json"  # beside a disk that boots from its own
LOCKED = "Is another process using the image"  # QEMU's words, in every version; it has no status for this
FILE_SYSTEM = (
    *("-q", "-t", "ext4", "-L", "data", "-m", "0"),
    # A new file is all noughts: nothing has to be written here, nor by the machine's kernel in the background.
    *("-E", "lazy_itable_init=0,lazy_journal_init=0,assume_storage_prezeroed=1"),
)


def serial(id: str) -> str:
    """What a machine knows a data disk by; 20 characters are all that virtio has room for."""
    return hashlib.sha256(id.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Owner:
    """Who a file belongs to, and what they may do."""

    user: str | int
    mode: int


ROOT = Owner(0, 0o600)


# -- files --------------------------------------------------------------------------------------


def _convert(*arguments: Argument) -> None:
    """qemu-img, which ends with us: one that went on by itself would be in the way of the next try."""
    run(confined(["qemu-img", *arguments]), timeout=LONGEST)


@contextlib.contextmanager
def fresh(target: Path, owner: Owner = ROOT) -> Iterator[Path]:
    """A path to write to, which becomes `target` when the block ends. Raises Unavailable, and leaves nothing, when there is no room."""
    made = target.with_name(f"{target.name}.new")
    try:
        made.unlink(missing_ok=True)
        yield made
        shutil.chown(made, owner.user, owner.user)
        made.chmod(owner.mode)
        durable.replace(made, target)
    except (CommandFailed, OSError) as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise no_room(target.parent) from error
        if LOCKED in str(error):
            raise Conflict(f"A disk that {target.name} is made of is in use: {error}", "Stop its machine first.") from error
        raise Unavailable(f"{target} could not be written: {error}") from error
    finally:
        made.unlink(missing_ok=True)


def _forget(*files: Path) -> None:
    """Remove files, and what a try that was cut off left of them."""
    for file in files:
        file.unlink(missing_ok=True)
        file.with_name(f"{file.name}.new").unlink(missing_ok=True)


def no_room(folder: Path, needed: int = 0) -> Unavailable:
    """What is said when a disk does not fit; `needed` is MiB."""
    more = f", and {needed} MiB are needed" if needed else ""
    return Unavailable(
        f"There is no room for a disk: {shutil.disk_usage(folder).free >> 20} MiB are free in {folder}{more}.",
        "Give machines back, remove old seeds, copies and kept disks, or put the state on a larger disk.",
    )


def make_room(folder: Path, reserve: int, *sources: Path) -> None:
    """Raise Unavailable unless a copy of `sources` fits into `folder` and `reserve` MiB are left."""
    needed = reserve + sum(source.stat().st_blocks * 512 >> 20 for source in sources)
    if shutil.disk_usage(folder).free >> 20 < needed:
        raise no_room(folder, needed)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Nobody else who asks for the same disk goes on meanwhile. It is not QEMU's lock."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


RESTORE = "Restore it from a copy, if there is one."


def virtual_size(image: Path, hint: str = RESTORE, *, alone: bool = True) -> int:
    """The size in bytes of the disk in a qcow2 image, from its header. Raises NoData when it is none, or needs other files and has to stand `alone`."""
    try:
        found = qcow2.header(image)
    except FileNotFoundError as error:
        raise NoData(f"The disk {image} is missing.", hint) from error
    except qcow2.NoImage as error:
        raise NoData(f"{image} is damaged: {error}.", hint) from error
    if alone and found.problem:
        raise NoData(f"{image} is not used: {found.problem}.", hint)
    return found.size


# -- data disks ---------------------------------------------------------------------------------


def _raw(path: Path) -> Path:
    return path.with_suffix(".raw")


def copying(path: Path) -> Path:
    """Where a machine's QEMU writes a copy of its data disk, while it runs with it."""
    return path.with_suffix(".copying")


def make(path: Path, size: int, owner: Owner) -> None:
    """An empty data disk of `size` GiB with a file system."""
    if not 0 < size <= 65536:
        raise BadInput(f"A data disk cannot have {size} GiB.", "Choose 1 or more.")
    raw = _raw(path)
    try:
        with fresh(path, owner) as made:
            raw.unlink(missing_ok=True)
            run(["mke2fs", *FILE_SYSTEM, raw, f"{size}G"])
            _convert("convert", "-f", "raw", "-O", "qcow2", raw, made)
    finally:
        raw.unlink(missing_ok=True)


def grow(path: Path, size: int) -> None:
    """Let a data disk that nobody uses have `size` bytes."""
    virtual_size(path)  # whatever its header names would be made longer, too
    try:
        _convert("resize", "-q", "-f", "qcow2", path, str(size))
    except CommandFailed as error:
        if LOCKED in error.output:
            raise Conflict(f"The data disk {path.name} is in use.", "Stop its machine first.") from error
        raise Unavailable(f"The data disk {path.name} could not grow: {error.output}") from error


def check(path: Path) -> None:
    """Raise NoData unless the disk is whole as far as its own books say, and Conflict when somebody uses it."""
    virtual_size(path)
    try:
        _convert("check", "-q", "-f", "qcow2", path)
    except CommandFailed as error:
        if error.status == 3:  # room that is not given back, which harms nobody
            return
        if LOCKED in error.output:
            raise Conflict(f"The data disk {path.name} is in use by something else.", "Find out what, and end it.") from error
        if error.status in (1, 2):  # it cannot be opened, or its books do not agree
            raise NoData(f"The data disk {path.name} is damaged: {error.output}", RESTORE) from error
        raise


def _claim(path: Path) -> Path:
    return path.with_suffix(".machine")


def holder(path: Path) -> Path | None:
    """The folder of the machine that has a data disk: it has it as long as that folder is there, which is what goes last of a machine."""
    try:
        folder = _claim(path).readlink()
    except FileNotFoundError:
        return None
    return folder if folder.exists() else None


def claim(path: Path, folder: Path) -> None:
    """Give a data disk to the machine with this folder, for good. Raises Conflict while another has it."""
    virtual_size(path)
    with held(path):
        if (other := holder(path)) == folder:
            return
        if other is not None:
            raise Conflict(
                f"The data disk {path.name} is in use by another machine, {other.name}.",
                "Give that machine back, or take the disk from it.",
            )
        _claim(path).unlink(missing_ok=True)
        _claim(path).symlink_to(folder)
        durable.sync(path.parent)


def release(path: Path, folder: Path) -> None:
    """Let another machine have the data disk."""
    if holder(path) == folder:
        _claim(path).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a data disk and what belongs to it. Raises Conflict while a machine has it."""
    if path.exists():
        with held(path):
            if (other := holder(path)) is not None:
                raise Conflict(f"The data disk {path.name} is in use by a machine, {other.name}.", "Give the machine back first.")
            path.unlink(missing_ok=True)
    _forget(path, _claim(path), _raw(path), copying(path))


# -- copies -------------------------------------------------------------------------------------


def _manifest(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.json")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def compress(source: Path, target: Path) -> None:
    """The whole disk as a file that needs no other one."""
    with fresh(target) as made:
        _convert("convert", "-c", "-o", "compression_type=zstd", "-f", "qcow2", "-O", "qcow2", source, made)


def has_copy(copy: Path) -> bool:
    """Whether a copy was finished."""
    return copy.exists() and _manifest(copy).exists()


def blank(path: Path, size: int, owner: Owner) -> None:
    """A disk of `size` bytes with nothing on it."""
    with fresh(path, owner) as made:
        _convert("create", "-q", "-f", "qcow2", made, str(size))


def make_copy(source: Path, copy: Path, disk: Path) -> None:
    """A compressed copy of `source`, which holds what is on the data disk `disk`, and its manifest, which is made last."""
    _manifest(copy).unlink(missing_ok=True)
    compress(source, copy)
    told = {"sha256": _digest(copy), "size": copy.stat().st_size, "disk": disk.stem, "disk_size": virtual_size(copy)}
    with fresh(_manifest(copy)) as made:
        made.write_text(json.dumps(told, indent=1))


def verify(copy: Path) -> None:
    """Read a copy whole. Raises DpeError unless it is as it was written."""
    try:
        told: dict[str, Any] = json.loads(_manifest(copy).read_text())
        size, digest = int(told["size"]), str(told["sha256"])
        if (found := copy.stat().st_size) != size:
            problem = f"{found} bytes instead of {size}"
        elif _digest(copy) != digest:
            problem = "its content is not what was written"
        else:
            return
    except (OSError, ValueError, TypeError, LookupError) as error:
        problem = str(error)
    raise DpeError(f"The copy {copy.name} is damaged and not used: {problem}.", "Use another copy.")


def restore(copy: Path, target: Path, owner: Owner) -> None:
    """A disk with the content of a copy. One with that content already is adopted; Conflict when it has another."""
    verify(copy)
    virtual_size(copy, "Use another copy.")
    if target.exists():
        virtual_size(target)
        try:
            run(qcow2.alone("compare", "-q", "-f", "qcow2", "-F", "qcow2", reads=copy, writes=target), timeout=LONGEST)
        except CommandFailed as error:
            if error.status != 1:  # which says that they differ
                raise Unavailable(f"The data disk {target.name} could not be compared with its copy: {error.output}") from error
            raise Conflict(f"There is a data disk {target.name} already, with another content.", "Remove it first.") from error
        return
    expand(copy, target, owner)


def expand(copy: Path, target: Path, owner: Owner, size: int = 0) -> None:
    """A disk to be used, from a compressed one, of at least `size` bytes. It may have come from elsewhere, and is only read where nothing else is."""
    virtual_size(copy, "Use another copy.")
    with fresh(target, owner) as made:
        made.touch(mode=0o600)
        qcow2.convert(copy, made)
        if size > virtual_size(made):
            _convert("resize", "-q", "-f", "qcow2", made, str(size))


def remove_copy(copy: Path) -> None:
    """Remove a copy; what says that it is whole goes first."""
    _forget(_manifest(copy), copy)


# -- what a disk boots from ---------------------------------------------------------------------


def own_boot(disk: Path) -> Boot | None:
    """Kernel and initial RAM disk that lie beside a disk."""
    try:
        cmdline = json.loads(disk.with_suffix(BOOT).read_text())["cmdline"]
    except FileNotFoundError:
        return None
    return Boot(disk.with_suffix(KERNEL), disk.with_suffix(INITRD), cmdline)


def give_boot(boot: Boot, disk: Path) -> None:
    """Lay these beside a disk, so that it boots from what it was used with after its seed is gone."""
    readable = Owner(0, 0o444)
    for source, suffix in ((boot.kernel, KERNEL), (boot.initrd, INITRD)):
        with fresh(disk.with_suffix(suffix), readable) as made:
            shutil.copyfile(source, made)
    with fresh(disk.with_suffix(BOOT), readable) as made:
        made.write_text(json.dumps({"cmdline": boot.cmdline}))


def remove_kept(disk: Path) -> None:
    """Remove a disk and what it boots from."""
    _forget(disk, *(disk.with_suffix(suffix) for suffix in (BOOT, KERNEL, INITRD)))
