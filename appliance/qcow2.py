"""Disk images that came from outside: looked at before anything opens them, then written anew where nothing else can be reached.

A qcow2 header may name other files of the host: one that the image is a difference to, or one that holds its data. Whoever writes
such an image has that file read, or written to, by whatever opens it. Here the header is read by itself, as
https://www.qemu.org/docs/master/interop/qcow2.html describes it, and only an image that stands alone passes.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import BadInput
from appliance.run import Argument, confined, run

MAGIC = b"QFI\xfb"
LARGEST = 65536 << 30  # bytes of a disk
LONGEST_HEADER = 1 << 16  # the smallest cluster is 512 bytes; what is read here lies in the first 64 KiB of any image
CONVERTS = 6 * 3600  # seconds for the largest disk

_FIXED = struct.Struct(">4sIQIIQIIQQIIQ")  # version 2, 72 bytes
_MORE = struct.Struct(">QQQII")  # what version 3 adds, 32 bytes

# Incompatible features: a reader that does not know one must not open the image.
_DIRTY, _CORRUPT, _EXTERNAL_DATA, _COMPRESSION = 1, 2, 4, 8
_END, _DATA_FILE, _ENCRYPTION = 0, 0x44415441, 0x0537BE77
_LONGEST_BACKING = 1023  # bytes, as the format has it
_MOST_L1 = 32 << 20  # bytes; QEMU's own bound


@dataclass(frozen=True)
class Header:
    """What an image says of itself: the disk's size in bytes, and why it does not stand alone, if it does not."""

    size: int
    problem: str = ""


class NoImage(ValueError):
    """It is no qcow2 image, or its header is damaged."""


def header(image: Path) -> Header:
    """The header of an image; nothing it names is opened. Raises NoImage, or OSError when it cannot be read."""
    with image.open("rb") as file:
        told = file.read(LONGEST_HEADER)
        length = file.seek(0, 2)
    if len(told) < _FIXED.size or told[:4] != MAGIC:
        raise NoImage("it is not a qcow2 image")
    _, version, backing, backing_length, bits, size, encryption, l1_entries, l1, refcounts, clusters, snapshots, _ = _FIXED.unpack_from(
        told
    )
    if version not in (2, 3):
        raise NoImage(f"it is of version {version}, and only 2 and 3 are known")
    features, extensions = 0, _FIXED.size
    if version == 3:
        if len(told) < _FIXED.size + _MORE.size:
            raise NoImage("its header is cut off")
        features, _, _, _, extensions = _MORE.unpack_from(told, _FIXED.size)
    if not 9 <= bits <= 21:
        raise NoImage("its clusters have an impossible size")
    if size % 512 or size > LARGEST:
        raise NoImage(f"it claims to hold a disk of {size} bytes")
    if l1_entries * 8 > _MOST_L1 or l1 + l1_entries * 8 > max(length, 1) or refcounts + (clusters << bits) > length:
        raise NoImage("it is cut off")
    return Header(size, _dependence(told, features, extensions, backing or backing_length, encryption, snapshots))


def backing(image: Path) -> str:
    """The path that an image says it is a difference to, empty for one that stands alone: to be shown and compared, never to be opened."""
    with image.open("rb") as file:
        told = file.read(_FIXED.size)
        if len(told) < _FIXED.size or told[:4] != MAGIC:
            return ""
        _, _, at, length, *_ = _FIXED.unpack(told)
        if not at or length > _LONGEST_BACKING:
            return ""
        file.seek(at)
        return os.fsdecode(file.read(length))


def _dependence(told: bytes, features: int, extensions: int, backing: int, encryption: int, snapshots: int) -> str:
    """Why an image does not stand alone; empty when it does."""
    if backing:
        return "it is only the difference to another file"
    found = _extensions(told, extensions)
    if features & _EXTERNAL_DATA or _DATA_FILE in found:
        return "its data is in another file"
    if encryption or _ENCRYPTION in found:
        return "it is encrypted"
    if snapshots:
        return "it has snapshots inside"
    if features & _CORRUPT:
        return "it is marked as damaged"
    if unknown := features & ~(_DIRTY | _COMPRESSION):
        return f"it uses features that are not known here ({unknown:#x})"
    return ""


def _extensions(told: bytes, offset: int) -> set[int]:
    """The kinds of the header's extensions. Raises NoImage when they do not end where they should."""
    found = set[int]()
    while True:
        if offset + 8 > len(told):
            raise NoImage("its header does not end")
        kind, length = struct.unpack_from(">II", told, offset)
        if kind == _END:
            return found
        found.add(kind)
        offset += 8 + -(-length // 8) * 8


def inspect(image: Path, most: int = LARGEST) -> int:
    """The size in bytes of the disk in an image that stands alone, at most `most`. Raises BadInput for any other, NoImage, and OSError."""
    found = header(image)
    if found.problem:
        raise BadInput(
            f"The image {image.name} is not used: {found.problem}.", "Use one that stands alone, as `qemu-img convert` makes it."
        )
    if found.size > most:
        raise BadInput(f"The image {image.name} holds a disk of {found.size >> 30} GiB, more than there may be.", "Use a smaller one.")
    return found.size


def alone(verb: str, *options: str, reads: Path, writes: Path) -> list[str]:
    """qemu-img where there is nothing but itself, `/from` and `/to`: no other file of the host, no network, no rights of root's."""
    # Of root's rights only that the two files may be anybody's: there are no others.
    rights: list[Argument] = ["--cap-drop", "ALL", "--cap-add", "CAP_DAC_OVERRIDE", "--die-with-parent"]
    empty: list[Argument] = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", *rights]
    programs: list[Argument] = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "lib", "lib64"):
        programs += ["--symlink", f"usr/{name}", f"/{name}"]
    files: list[Argument] = ["--ro-bind", reads.resolve(), "/from", "--bind", writes.resolve(), "/to"]
    return confined([*empty, *programs, "--proc", "/proc", *files, "--", "qemu-img", verb, *options, "/from", "/to"])


def convert(source: Path, target: Path, *options: str) -> int:
    """Write the disk in an image from outside anew, to a file that is there; returns its size in bytes. Raises as `inspect` does, and CommandFailed."""
    size = inspect(source)
    run(alone("convert", *options, "-f", "qcow2", "-O", "qcow2", reads=source, writes=target), timeout=CONVERTS)
    return size
