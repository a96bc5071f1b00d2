"""Factory reset. `python -m appliance.host.disks.reset` does it at boot, before anything is mounted from the data partition.

What is to be done is first written to the small partition that is not erased; that note goes when all is done. So a power cut in the middle
only means that the next boot begins anew.
"""

import contextlib
import logging
import os
import sys
from pathlib import Path

from pydantic import BaseModel, ValidationError

from appliance import durable
from appliance.errors import CommandFailed, DpeError
from appliance.host.disks import block_devices, second_disk
from appliance.host.interface import disks
from appliance.host.rpc.registry import Host, implements
from appliance.host.system import image
from appliance.run import run

log = logging.getLogger(__name__)

ESP = Path("/boot/efi")
NOTE = ESP / "dpe-reset.json"
GRUBENV = ESP / "EFI/debian/grubenv"
DATA = Path("/dev/disk/by-partlabel/dpe-data")


class Note(BaseModel):
    """What is to be erased; `thorough`: by overwriting all of it. `second` is the UUID of the second disk's file system."""

    thorough: bool
    second: str = ""


@implements(disks.RESET)
def begin_reset(args: disks.Reset, host: Host) -> None:
    """Forget everything: it happens at the restart that follows. Whoever calls has made sure that this is meant."""
    image.required()
    image.alone()
    second = ""
    with contextlib.suppress(DpeError):  # then nobody knows of one
        second = kept.uuid if (kept := second_disk.read_second_disk(host.settings)) else ""
    write_note(Note(thorough=args.thorough, second=second))
    log.warning("factory reset, by %s", host.by or "somebody at the screen")
    # Machines are not worth saving; a moment later, so that the answer arrives.
    run(["systemd-run", "--collect", "--on-active=2", "systemctl", "--force", "reboot"])


def write_note(note: Note, path: Path = NOTE) -> None:
    durable.write(path, note.model_dump_json())
    os.sync()


def read_note(path: Path = NOTE) -> Note | None:
    """A note that cannot be read was cut off while it was written, and nobody was told that it would be done."""
    try:
        return Note.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        path.unlink()
        return None


def erase(device: Path, *, thorough: bool) -> None:
    """Make the disk forget what is on it."""
    if thorough:
        run(["blkdiscard", "--force", "--zeroout", device], timeout=None)
    else:
        with contextlib.suppress(CommandFailed):  # not every disk can
            run(["blkdiscard", "--force", device], timeout=None)
    run(["wipefs", "--all", "--force", "--quiet", device])


def do(note: Note, data: Path, second: Path | None, done: Path = NOTE) -> None:
    """Erase the second disk and the data partition, make that one empty, and forget the note."""
    if second is not None:
        print(f"Erasing the second disk ({second}) ...", flush=True)
        erase(second, thorough=note.thorough)
        if whole := block_devices.devices(second)[0].pkname:
            run(["wipefs", "--all", "--force", "--quiet", f"/dev/{whole}"])  # with its partitions it would not look empty
    print("Erasing all data of this appliance ..." + (" That takes a while." if note.thorough else ""), flush=True)
    erase(data, thorough=note.thorough)
    run(["mkfs.ext4", "-q", "-F", "-m", "1", "-L", "dpe-data", data], timeout=None)
    run(["sync"], timeout=None)
    done.unlink(missing_ok=True)
    os.sync()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if (note := read_note()) is None:
            return
        run(["udevadm", "wait", "--timeout=60", DATA], timeout=90)
        image.alone()
        second = second_disk.device(note.second) if note.second else None
        if note.second and second is None:
            print("The second disk does not answer, and is left as it is. Erase it elsewhere.", file=sys.stderr, flush=True)
        do(note, DATA, second)
        run(["udevadm", "settle"])
        with contextlib.suppress(CommandFailed):  # it is another server from now on
            run(["grub-editenv", GRUBENV, "unset", "machine_id"])
        print("Done: this is a new appliance.", flush=True)
    except DpeError as error:
        print(f"The factory reset is not done: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
