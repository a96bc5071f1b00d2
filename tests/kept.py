"""What tests make once and keep for the next ones and the next run: each thing under the hash of what it is made of.

In /var/cache/dpe-test, or DPE_TEST_CACHE. What is there is whole: it is made beside its place, synchronised and renamed. Removing it all is safe.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance import durable

CACHE = Path(os.environ.get("DPE_TEST_CACHE", "/var/cache/dpe-test"))
NEWEST = 10  # of each kind, by their last use: several checkouts may have sources of their own


def digest(*parts: str | Path) -> str:
    """The hash of some texts, and of files by their names, modes and contents, whole folders among them."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            found.update(f"{len(part)}:{part}".encode())
            continue
        for file in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if file.is_file() and "__pycache__" not in file.parts:
                content = file.read_bytes()
                found.update(f"{file.relative_to(part.parent)}:{file.stat().st_mode}:{len(content)}:".encode() + content)
    return found.hexdigest()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Nobody else is in here with this name: of several workers and runs that want the same thing, one makes it."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kept(kind: str, made_of: str, make: Callable[[Path], object]) -> Path:
    """The folder of that kind which `make` filled for this hash, now or some time ago; the oldest of the kind are removed."""
    folder = CACHE / kind / made_of[:16]
    with locked(kind):
        if not folder.exists():
            fresh = folder.with_name(f"{folder.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)  # somebody was ended while making it
            fresh.mkdir(parents=True)
            make(fresh)
            os.sync()
            durable.replace(fresh, folder)
        used(folder)
    return folder


def used(folder: Path) -> None:
    """Note that it was used just now, and remove all but the newest beside it. Call it locked."""
    os.utime(folder)
    beside = sorted(folder.parent.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
    for old in beside[NEWEST:]:
        shutil.rmtree(old)
