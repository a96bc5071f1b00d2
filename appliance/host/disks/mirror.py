"""A folder made the same as another one, on another disk: what is the same already is left, whatever is copied is read back and compared."""

import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.errors import DpeError

PIECE = 1 << 20  # bytes
SETTLED = 2.0  # seconds that a file must not have been written to, for its time to tell whether it is again

Tell = Callable[[int], None]


def mirror(source: Path, target: Path, *, skip: frozenset[str], tell: Tell = lambda copied: None) -> None:
    """Make `target` what `source` is: content, holes, owners, modes, times. `skip` names entries at the top that are left alone in both.

    `tell` is called with the bytes of each piece that was copied; what it raises ends the copying. May be repeated after any end, and costs
    only the difference. Files may change meanwhile: the next time sees that. Raises DpeError when a disk does not keep what is written to it.
    """
    _folder(source, target, skip, tell)


def size(folder: Path, skip: frozenset[str] = frozenset()) -> int:
    """Bytes that the folder takes on its disk."""
    total = 0
    for entry in _entries(folder, skip):
        with contextlib.suppress(FileNotFoundError):  # it went meanwhile
            total += size(Path(entry)) if entry.is_dir(follow_symlinks=False) else entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def empty(folder: Path, skip: frozenset[str] = frozenset()) -> None:
    """Remove all that is in the folder."""
    for entry in list(_entries(folder, skip)):
        _remove(Path(entry))


def _entries(folder: Path, skip: frozenset[str]) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            yield from (entry for entry in found if entry.name not in skip)
    except FileNotFoundError:
        pass


def _folder(source: Path, target: Path, skip: frozenset[str], tell: Tell) -> None:
    if not target.is_dir() or target.is_symlink():
        _remove(target)
        target.mkdir()
    there = {entry.name for entry in _entries(source, skip)}
    for entry in list(_entries(target, skip)):
        if entry.name not in there:
            _remove(Path(entry))
    for name in sorted(there):
        with contextlib.suppress(FileNotFoundError):  # it went meanwhile
            _entry(source / name, target / name, tell)
    _like(source.lstat(), target)


def _entry(source: Path, target: Path, tell: Tell) -> None:
    kind = source.lstat()
    if stat.S_ISDIR(kind.st_mode):
        _folder(source, target, frozenset(), tell)
    elif stat.S_ISLNK(kind.st_mode):
        _remove(target)
        target.symlink_to(source.readlink())
        os.chown(target, kind.st_uid, kind.st_gid, follow_symlinks=False)
    elif stat.S_ISREG(kind.st_mode):
        if not _same(kind, target):
            _copy(source, target, tell)
        _like(kind, target)
        if time.time() - kind.st_mtime < SETTLED:
            os.utime(target, (0, 0))  # it may be written to again within what a clock's tick can tell


def _same(kind: os.stat_result, target: Path) -> bool:
    try:
        there = target.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(there.st_mode) and (there.st_size, there.st_mtime_ns) == (kind.st_size, kind.st_mtime_ns)


def _copy(source: Path, target: Path, tell: Tell) -> None:
    _remove(target)
    with source.open("rb", buffering=0) as reading, target.open("xb", buffering=0) as writing:
        given = hashlib.sha256()
        while piece := reading.read(PIECE):
            given.update(piece)
            if piece.count(0) == len(piece):
                writing.seek(len(piece), os.SEEK_CUR)
            else:
                _write(writing.fileno(), piece)
            tell(len(piece))
        writing.truncate()
        os.fsync(writing.fileno())
        os.posix_fadvise(writing.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # so that the disk is asked, not the memory
    with target.open("rb", buffering=0) as reading:
        kept = hashlib.file_digest(reading, "sha256")
    if kept.digest() != given.digest():
        raise DpeError(
            f"{target.name} is not on the new disk as it was written.", "The disk, its cable or the memory is bad; use another disk."
        )


def _write(handle: int, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(handle, left) :]


def _like(kind: os.stat_result, target: Path) -> None:
    os.chown(target, kind.st_uid, kind.st_gid)
    target.chmod(stat.S_IMODE(kind.st_mode))
    os.utime(target, ns=(kind.st_atime_ns, kind.st_mtime_ns))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
