"""The files of a snapshot: a seed's booted memory, its device state and its disk, from which machines are forked.

A snapshot fits one QEMU, machine type, processor and set of devices, which its facts name. Its files are
read whole, and compared with their digests, before their first use and whenever they have been touched
since; in between, a look at their inodes is enough.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.hypervisor.provider import Unfit

MEMORY, STATE, DISK, FACTS = "memory", "state", "disk.qcow2", "snapshot.json"
CHUNK = 1 << 20

_reading = threading.Lock()  # of many forks at once the first reads, and the others find its note


@dataclass(frozen=True)
class Facts:
    """What a snapshot depends on, in words where a person may read it.

    hypervisor: QEMU's version; machine: versioned machine type; cpu: model; memory: MiB; domain: digest of all that QEMU was told.
    """

    hypervisor: str
    acceleration: str
    machine: str
    cpu: str
    memory: int
    domain: str

    def differs(self, recorded: Mapping[str, Any]) -> str:
        """What is no longer as recorded, in words; empty when all is."""
        for name, value in asdict(self).items():
            if (was := recorded.get(name)) != value:
                return f"{name} was {was}, and is {value}" if name != "domain" else "the machines' devices have changed"
        return ""


def keep(folder: Path, facts: Facts) -> None:
    """Write down facts and digests of a snapshot just taken, all of it safely on disk and read-only."""
    files = {}
    for name in (MEMORY, STATE, DISK):
        file = folder / name
        durable.sync(file)
        files[name] = {"size": file.stat().st_size, "digest": digest(file)}
    durable.write(folder / FACTS, json.dumps({**asdict(facts), "files": files}, indent=1), mode=0o444)


def read(folder: Path) -> dict[str, Any]:
    """The facts written by `keep`. Raises Unfit."""
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text())
        if {name: set(known) for name, known in facts["files"].items()} != {name: {"size", "digest"} for name in (MEMORY, STATE, DISK)}:
            raise ValueError("it does not tell of each of its files")
        return facts
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise Unfit(f"The snapshot {folder} cannot be read: {error}.", "Another one is taken by itself.") from error


def check(folder: Path, facts: Facts, verified: Path) -> None:
    """Raise Unfit, saying why, unless the snapshot fits the host and its files are whole.

    `verified` is a folder for what is known of files read before, which `forget` has read again.
    """
    recorded = read(folder)
    if changed := facts.differs(recorded):
        raise Unfit(f"The snapshot no longer fits this host: {changed}.", "Another one is taken by itself.")
    seen = _identity(folder)
    note = _note(folder, verified)
    with _reading:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(note.read_text()) == seen:
                return
        for name, known in recorded["files"].items():
            _read_whole(folder / name, known)
        durable.write(note, json.dumps(seen))


def forget(folder: Path, verified: Path) -> None:
    """Have the snapshot read whole at its next check."""
    _note(folder, verified).unlink(missing_ok=True)


def _note(folder: Path, verified: Path) -> Path:
    return verified / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.json"


def _read_whole(file: Path, known: Mapping[str, Any]) -> None:
    try:
        if (size := file.stat().st_size) != known["size"]:
            problem = f"is damaged: {size} bytes instead of {known['size']}"
        elif digest(file) != known["digest"]:
            problem = "is damaged: its content is not what was written"
        else:
            return
    except OSError as error:
        problem = f"cannot be read: {error}"
    raise Unfit(f"{file} {problem}.", "Another snapshot is taken by itself.")


def _identity(folder: Path) -> list[list[int]]:
    """Changes whenever somebody writes to one of the files, replaces it or gives it away."""
    try:
        stats = [(folder / name).stat() for name in (MEMORY, STATE, DISK)]
    except OSError as error:
        raise Unfit(f"A file of the snapshot is missing: {error}.", "Another one is taken by itself.") from error
    return [[stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for stat in stats]


def digest(file: Path) -> str:
    """SHA-256 of a file's size and data with their places; holes, of which memory has many, are not read."""
    found = hashlib.sha256()
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with file.open("rb", buffering=0) as content:
        found.update(str(os.fstat(content.fileno()).st_size).encode())
        for start, end in _extents(content.fileno()):
            for offset in range(start, end, CHUNK):
                content.seek(offset)
                count = content.readinto(view[: min(CHUNK, end - offset)])
                if any(view[:count]):  # a page of noughts is as good as a hole
                    found.update(offset.to_bytes(8, "big"))
                    found.update(view[:count])
    return found.hexdigest()


def _extents(handle: int) -> Iterator[tuple[int, int]]:
    """Where the file has data, in whole chunks: a file system may move the borders of holes."""
    size = os.fstat(handle).st_size
    end = 0
    while end < size:
        try:
            data = os.lseek(handle, end, os.SEEK_DATA)
        except OSError:  # only a hole is left
            return
        start = max(end, data - data % CHUNK)
        end = min(size, -(-os.lseek(handle, data, os.SEEK_HOLE) // CHUNK) * CHUNK)
        yield start, end
