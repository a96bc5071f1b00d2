"""Room that is kept for when the disk is full: a file that holds it, and is removed then, so that the catalog can be written and something deleted."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from appliance.catalog import Level
from appliance.host import events
from appliance.host.loops import every
from appliance.settings import Settings

log = logging.getLogger(__name__)

LARGEST = 256 << 20  # bytes
SHARE = 32  # of the file system, on small ones
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


@every(2)
def keep(settings: Settings) -> None:
    """Give the room out when there is hardly any other; take it back when there is plenty."""
    now = room(settings)
    size = min(LARGEST, now.total // SHARE)
    if file(settings).exists():
        if now.free < size // 8:
            file(settings).unlink()
            mark(settings).touch(mode=0o644)
            events.tell(
                settings, "storage.full", "The disk is full. Machines that write to it may stand still.", level=Level.ERROR, hint=HINT
            )
    elif now.free > 2 * size:
        _fill(file(settings), size)
        if now.full:
            mark(settings).unlink()
            events.tell(settings, "storage.room", "There is room on the disk again.")
    elif not now.full:
        mark(settings).touch(mode=0o644)
        events.tell(settings, "storage.full", "The disk is nearly full.", level=Level.ERROR, hint=HINT)


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
