"""Which pages of a snapshot's memory its machines touch until they are somebody's: recorded once, and read ahead in one go.

A snapshot that nobody used for a while is no longer in the page cache. Its machines would fetch it then page by page, each
fault a wait for the disk; what the first of them touched is nearly what all others will (REAP, Ustiugov et al., ASPLOS 2021;
FaaSnap, Ao et al., EuroSys 2022).
"""

import contextlib
import json
import mmap
import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from appliance import durable
from appliance.hypervisor.libvirt.snapshot_files import DISK, MEMORY, STATE

TOUCHED = "touched.json"
PAGE = mmap.PAGESIZE
THERE = 3 << 62  # bits of /proc/PID/pagemap: in memory, or swapped out; see Linux' Documentation/admin-guide/mm/pagemap.rst
AT_ONCE = 1 << 16  # entries of it that are read at a time
GAP = 32  # pages that are read with their neighbours rather than left out

Range = tuple[int, int]  # bytes from, and up to but without


def record(folder: Path, pid_file: Path, proc: Path = Path("/proc")) -> None:
    """Write down which pages of the snapshot a process touched, unless that is known or it has ended; what cannot be written is left."""
    if (folder / TOUCHED).exists():
        return
    with contextlib.suppress(OSError, ValueError):
        if ranges := list(joined(_touched(folder / MEMORY, proc / str(int(pid_file.read_text()))))):
            durable.write(folder / TOUCHED, json.dumps(ranges), mode=0o444)


def _touched(file: Path, process: Path) -> Iterator[int]:
    """The numbers of the file's pages that the process has mapped and touched."""
    inode = file.stat().st_ino
    for line in (process / "maps").read_text().splitlines():
        where, _, offset, _, number, *name = line.split(maxsplit=5)
        if int(number) == inode and name == [str(file)]:
            first, end = (int(one, 16) // PAGE for one in where.split("-"))
            with (process / "pagemap").open("rb", buffering=0) as pagemap:
                yield from (page - first + int(offset, 16) // PAGE for page in _present(pagemap.fileno(), first, end))


def _present(pagemap: int, first: int, end: int) -> Iterator[int]:
    for start in range(first, end, AT_ONCE):
        entries = array("Q", os.pread(pagemap, 8 * min(AT_ONCE, end - start), 8 * start))
        yield from (start + number for number, entry in enumerate(entries) if entry & THERE)


def joined(pages: Iterable[int]) -> Iterator[Range]:
    """Ranges of bytes that hold these pages, which are given in their order; those that lie close are in one."""
    begun = last = -1
    for page in pages:
        if begun < 0:
            begun = page
        elif page - last > GAP:
            yield begun * PAGE, (last + 1) * PAGE
            begun = page
        last = page
    if begun >= 0:
        yield begun * PAGE, (last + 1) * PAGE


def read_ahead(folder: Path) -> None:
    """Have the kernel fetch what machines of the snapshot will touch, in large pieces and without waiting for it; what it has, it leaves."""
    try:
        ranges: list[Range] = json.loads((folder / TOUCHED).read_text())
    except (OSError, ValueError):  # nobody was forked from it yet
        return
    with contextlib.suppress(OSError, TypeError, ValueError, OverflowError), (folder / MEMORY).open("rb", buffering=0) as memory:
        for start, end in ranges:
            os.posix_fadvise(memory.fileno(), start, end - start, os.POSIX_FADV_WILLNEED)
    for name in (STATE, DISK):
        with contextlib.suppress(OSError), (folder / name).open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
