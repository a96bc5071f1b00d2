"""Room that is kept for when the disk is full, so that the catalog can be written and something deleted: a file that holds it, and shrinks then.

It is given out in parts: whoever writes without end takes one of them, and is refused before the next, be it root. The last one is for a start
of the appliance, which needs a little room, and is not given out before. The catalog's own file holds room as well (`database.keep_slack`), which
nobody else can take.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from appliance import catalog
from appliance.catalog import EventKind, database
from appliance.errors import Unavailable
from appliance.host.rpc.periodic import every
from appliance.host.system import events
from appliance.settings import Settings

log = logging.getLogger(__name__)

LARGEST = 256 << 20  # bytes
SHARE = 32  # of the file system, on small ones
PARTS = 8  # in which it is given out
START = 1 << 20  # bytes that a start needs
HINT = "Delete something: Server > Storage says what there is."


@dataclass(frozen=True)
class Room:
    """Of the file system that holds the state, in bytes. `free` is what anybody may fill; `full`: what was kept for this has been given out.

    `scarce`: there is less than machines and seeds may ever get.
    """

    total: int
    free: int
    full: bool
    scarce: bool = False


def file(settings: Settings) -> Path:
    return settings.state / "ballast"


def mark(settings: Settings) -> Path:
    """There as long as the disk is full."""
    return settings.host / "full"


def room(settings: Settings) -> Room:
    """How full the disk is; anybody who may pass through the state directory may ask."""
    found = os.statvfs(settings.state)
    free = found.f_bavail * found.f_frsize
    return Room(found.f_blocks * found.f_frsize, free, mark(settings).exists(), free < settings.disk_reserve << 20)


def held(settings: Settings) -> int:
    """The bytes that are still kept."""
    try:
        return file(settings).stat().st_size
    except FileNotFoundError:
        return 0


@every(2)
def keep_ballast(settings: Settings) -> None:
    """Give the room out when there is hardly any other; take it back when there is plenty."""
    now, kept = room(settings), held(settings)
    size = min(LARGEST, now.total // SHARE)
    if now.free < size // PARTS and kept > size // PARTS:
        os.truncate(file(settings), max(size // PARTS, kept - size // PARTS))
        if not now.full:
            mark(settings).touch(mode=0o644)
            events.record_event(settings, EventKind.STORAGE_FULL, "The disk is full. Machines that write to it may stand still.", hint=HINT)
    elif kept < size and now.free > 2 * size:
        _fill(file(settings), size)
        if now.full:
            mark(settings).unlink()
            events.record_event(settings, EventKind.STORAGE_ROOM, "There is room on the disk again.")
    elif not kept and not now.full:
        mark(settings).touch(mode=0o644)
        events.record_event(settings, EventKind.STORAGE_FULL, "The disk is nearly full.", hint=HINT)


@every(10)
def keep_slack(settings: Settings) -> None:
    """See that the catalog has room of its own, while there is some."""
    if room(settings).full:
        return
    try:
        catalog.attach(settings.catalog)
        database.keep_slack()
    except Unavailable:  # the catalog is away, and others say so
        return
    finally:
        catalog.close()


def give_for_start(settings: Settings) -> None:
    """Give out the last of it when the appliance starts on a disk that is full: even the catalog cannot be read without making a small file beside it."""
    try:
        found = os.statvfs(settings.state)
    except FileNotFoundError:  # the first start
        return
    if found.f_bavail * found.f_frsize < START:
        file(settings).unlink(missing_ok=True)


def _fill(path: Path, size: int) -> None:
    fresh = path.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError:
        fresh.unlink()
        raise
    finally:
        os.close(handle)
    fresh.rename(path)
