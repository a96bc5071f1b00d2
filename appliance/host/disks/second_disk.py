"""`python -m appliance.host.disks.second_disk`: where the state lies, at boot and before anything uses it.

Without a second disk it lies on the first one, and nothing is done. `host/store.json` on the first disk says otherwise:

- `moving`: the state is copied to the second disk now, while nobody writes to it, and then the file says `used`. Whatever ends the copying,
  the first disk's state is still whole, and is used; the next boot tries again.
- `used`: the second disk is mounted over the state directory, and `host/` of the first one over its own. When the disk does not come,
  this fails, and with it all that would begin with an empty catalog; `missing` says so on the screen and on the rescue page.
"""

import contextlib
import grp
import json
import logging
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from appliance import durable, layout
from appliance.errors import CommandFailed, DpeError, Unavailable
from appliance.host.disks import mirror
from appliance.run import run
from appliance.settings import Settings, load

log = logging.getLogger(__name__)

LEFT = frozenset({"host", "run", "lost+found", "ballast"})  # stays where it is, or is made anew
CATALOG = LEFT | {"catalog"}
PATIENCE = 60  # seconds for a disk to come
KEPT_BACK = 256  # MiB of a file system of ours that only root and the web page may fill
MOUNTS = Path("/run/dpe-store")  # where what is not in its place is mounted


@dataclass(frozen=True)
class Store:
    """The second disk: its file system's UUID, and what a person calls it. `state` is moving or used."""

    uuid: str
    name: str
    state: str


def file(settings: Settings) -> Path:
    return settings.host / "store.json"


def read_second_disk(settings: Settings) -> Store | None:
    """Raises Unavailable when the file is damaged: then nobody knows where the data lies."""
    try:
        found = Store(**json.loads(file(settings).read_bytes()))
        if found.state not in ("moving", "used"):
            raise ValueError(f"{found.state!r} is no state")
        return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Unavailable(
            f"{file(settings)}, which says on which disk the data lies, cannot be read: {error}.", "Restore a backup."
        ) from error


def write_second_disk(settings: Settings, store: Store) -> None:

    durable.write(file(settings), json.dumps(asdict(store), indent=1))


def missing(settings: Settings) -> str:
    """What is missing, for the screen and the rescue page; empty when the state is where it should be."""
    try:
        store = read_second_disk(settings)
    except DpeError as error:
        return str(error)
    if store is None or store.state == "moving" or settings.state.is_mount():
        return ""
    return (
        f"The disk with this appliance's data does not answer: {store.name}. Nothing is lost that is on it."
        " Switch the server off, see that the disk is plugged in, and switch it on again."
    )


def device(uuid: str, patience: int = PATIENCE) -> Path | None:
    """The partition with this file system, when it comes within so many seconds."""
    path = Path("/dev/disk/by-uuid") / uuid
    with contextlib.suppress(CommandFailed):
        run(["udevadm", "wait", f"--timeout={patience}", path], timeout=patience + 30)
    return path if path.exists() else None


def mount(what: Path, where: Path, *options: str) -> None:
    """Mount a file system of ours; one that is mounted there is left."""
    where.mkdir(mode=0o711, parents=True, exist_ok=True)
    if not where.is_mount():
        run(["mount", "-o", ",".join(("noatime", *_reserve(), *options)), what, where])


def bind(what: Path, where: Path) -> None:
    """Let a folder be seen at another place, too, as it is: what is mounted over it later does not appear there.

    Mounts are shared under systemd, so that it would appear, and be taken for what it hides.
    """
    where.mkdir(mode=0o711, parents=True, exist_ok=True)
    if not where.is_mount():
        run(["mount", "--bind", what, where])
    run(["mount", "--make-private", where])


def unmount(where: Path) -> None:
    if where.is_mount():
        run(["umount", where])


def _reserve() -> tuple[str, ...]:
    """What is kept back is for root and, when nothing else is left, for the web page to delete something with."""
    with contextlib.suppress(KeyError):
        return (f"resgid={grp.getgrnam(layout.WEB).gr_gid}",)
    return ()


def keep_back(mounted: Path) -> None:
    """Set how much of the file system below `mounted` only root and the web page may fill."""
    with contextlib.suppress(CommandFailed):  # no ext4
        source = run(["findmnt", "-n", "-o", "SOURCE", "-T", mounted]).strip().partition("[")[0]
        block = int(run(["stat", "-f", "-c", "%S", mounted]))
        run(["tune2fs", "-r", str((KEPT_BACK << 20) // block), source])


_REPAIRED, _DAMAGED = 1 | 2, 4
LETS_GO = 10.0  # seconds until the mounts of who was killed are gone


def repair_file_system(what: Path) -> None:
    """Have a file system repaired that was not unmounted; whoever was killed with it is waited for. Raises Unavailable when it cannot be."""
    until = time.monotonic() + LETS_GO
    while True:
        try:
            run(["e2fsck", "-p", what], timeout=None)
            return
        except CommandFailed as error:  # its bits are those of e2fsck(8)
            if error.status & _DAMAGED:
                raise Unavailable(f"The file system of {what} is damaged: {error.output}", "Restore a backup onto another disk.") from error
            if not error.status & ~_REPAIRED:
                return
            if time.monotonic() > until:
                raise Unavailable(
                    f"The file system of {what} cannot be checked: {error.output}", "See what uses it, and start again."
                ) from error
        time.sleep(0.2)


def place(settings: Settings, found: Path | None, store: Store) -> None:
    """Move the state, if that is still to be done, and put the second disk in its place. `found` is its partition. Raises Unavailable."""
    if found is None:
        if store.state == "used":
            raise Unavailable(missing(settings))
        log.warning("%s is not there, so the data stays where it is", store.name)
        file(settings).unlink()
        return
    if settings.state.is_mount():
        return
    repair_file_system(found)
    if store.state == "moving":
        try:
            _move(settings, found, store)
        except (OSError, DpeError) as error:
            log.error("the data could not be moved to %s and stays where it is: %s", store.name, error)
            file(settings).unlink()
            return
    first, own = MOUNTS / "first", MOUNTS / "host"
    bind(settings.state, first)
    bind(settings.host, own)
    mount(found, settings.state)
    bind(own, settings.host)
    if settings.catalog.exists():
        if first.stat().st_dev == settings.state.stat().st_dev:
            raise Unavailable(f"{first} shows the second disk, so that the first one's copy is not removed.")
        mirror.empty(first, LEFT - {"ballast"})  # only now, when what was copied is in use


def _move(settings: Settings, found: Path, store: Store) -> None:
    fresh = MOUNTS / "new"
    mount(found, fresh)
    try:
        whole, done, said = max(1, mirror.size(settings.state, LEFT)), 0, time.monotonic()
        log.info(
            "moving what changed meanwhile, of %d MiB, to %s; the server may be switched off, and begins again then",
            whole >> 20,
            store.name,
        )

        def tell(copied: int) -> None:
            nonlocal done, said
            done += copied
            if time.monotonic() - said > 10:
                said = time.monotonic()
                log.info("moved %d MiB", done >> 20)

        mirror.mirror(settings.state, fresh, skip=LEFT, tell=tell)
        run(["sync", "-f", fresh], timeout=None)
    finally:
        unmount(fresh)
    write_second_disk(settings, replace(store, state="used"))  # from here on it is the new one


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = load()
    try:
        settings.host.mkdir(mode=0o711, parents=True, exist_ok=True)
        if store := read_second_disk(settings):
            place(settings, device(store.uuid), store)
        keep_back(settings.state)
    except DpeError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
