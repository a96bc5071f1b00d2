"""Whether a backup can be restored, found out by restoring it: into a scratch folder, which is looked at and removed again.

The newest backup is fetched whole, where that takes at most half of the room that is free; else without data disks and seeds. Nothing of the
appliance is touched, and nobody waits for it: schedule.py begins one from time to time. It has a time limit (`longest`), as nothing else of the
host's can begin meanwhile.
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance import catalog
from appliance.catalog import EventKind, lineage
from appliance.catalog.lineage import Standing
from appliance.errors import Conflict, DpeError, NotFound, Unavailable
from appliance.host.backup import appliance_backup, restore
from appliance.host.backup.appliance_backup import OWN_FILES, WORK, Manifest
from appliance.host.backup.restic import Repository
from appliance.host.interface import backups as interface
from appliance.host.interface.backups import Tested
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import events
from appliance.settings import Settings

NEEDED = ("web-secret", "tls")  # without which a restored appliance is not the same one
DISTRUST = "Do not count on the backups: check their target, then back up anew."


LONGEST = 24 * 3600.0  # seconds


def longest(size: int) -> float:
    """After how many seconds a test of a backup of so many bytes is given up: an hour, and a minute for each 256 MiB."""
    return min(LONGEST, 3600 + size / (256 << 20) * 60)


def place(settings: Settings) -> Path:
    """The scratch folder."""
    return settings.state / "restore-test"


def remove_leftovers(settings: Settings) -> None:
    """Remove what a test that was cut off has left; none may be running."""
    shutil.rmtree(place(settings), ignore_errors=True)


@contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    remove_leftovers(settings)
    place(settings).mkdir(mode=0o700)
    try:
        yield place(settings)
    finally:
        remove_leftovers(settings)


@contextmanager
def _in_time(host: Host, seconds: float) -> Iterator[None]:
    """Cancel what is going on after so long. Raises Unavailable then, in place of what that raised."""
    late = threading.Event()

    def end() -> None:
        late.set()
        host.cancelled.set()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except DpeError as error:
        if not late.is_set():
            raise
        host.cancelled.clear()  # nobody did
        raise Unavailable(
            "The restore test ended: it took too long.", "The backup target, or the way to it, is slow: look at both, then test once more."
        ) from error
    finally:
        timer.cancel()


@implements(interface.TEST_RESTORE)
def _test(args: Nothing, host: Host) -> Tested:
    settings = host.settings
    known = appliance_backup.configured(settings)
    appliance_backup.note(settings, test_begun_at=appliance_backup.stamp())
    try:
        host.tell(f"Looking at {known.target}", 0)
        with appliance_backup.repository(settings) as there:
            found = _restore_newest(there, host)
    except DpeError as error:
        if not host.cancelled.is_set():
            appliance_backup.note(settings, tested_at=appliance_backup.stamp(), test_ok=False, test_error=str(error))
            events.record_event(settings, EventKind.BACKUP_NOT_RESTORABLE, f"The restore test failed: {error.message}", hint=error.hint)
        raise
    at = appliance_backup.stamp()
    appliance_backup.note(settings, tested_at=at, test_ok=True, test_error="", test_ok_at=at, test_words=found.words)
    events.record_event(settings, EventKind.BACKUP_RESTORE_TESTED, found.words)
    return found


def _restore_newest(there: Repository, host: Host) -> Tested:
    settings = host.settings
    backups = appliance_backup.described(there.snapshots())
    if not backups:
        raise NotFound("There is no backup yet.", "Make one first.")
    manifest = appliance_backup.read_manifest(there, backups[0].id)
    whole = _room(manifest, settings)
    files = [name for name in manifest.files if whole or name.startswith((f"{WORK}/", *OWN_FILES))]
    with _in_time(host, longest(manifest.bytes)), _scratch(settings) as new:
        only = [] if whole else files
        restore.fetch(there, backups[0].id, manifest, new, host, only)
        host.tell("Checking what was fetched", 95)
        _check_files(new, files)
        _check_catalog(new / WORK / "catalog.db", manifest, settings)
    copies = sum(1 for disk in manifest.disks if disk.file)
    left_out = "" if whole else " Data disks and seeds were left out, as there is no room to try them."
    words = f"The newest backup could be restored: {manifest.people} people, {manifest.machines} machines that somebody holds and {copies} data disks.{left_out}"
    return Tested(words=words, whole=whole)


def _room(manifest: Manifest, settings: Settings) -> bool:
    """Whether there is room for all of a backup. Raises Unavailable when there is none for its small files either."""
    free = shutil.disk_usage(settings.state).free - restore.SPARE
    if free < 2 * settings.catalog.stat().st_size:
        raise Unavailable("There is no room to try a restore.", "Make room under Storage.")
    return manifest.bytes <= free // 2


def _check_files(new: Path, files: list[str]) -> None:
    """Raises Conflict unless all that is said to be in a backup is there."""
    missing = [name for name in files if not restore.below_new(new, name.lstrip("/")).exists()]
    missing += [name for name in NEEDED if name not in files]
    if missing:
        raise Conflict(f"The newest backup lacks {len(missing)} of its files, among them {missing[0]}.", DISTRUST)


def _check_catalog(file: Path, manifest: Manifest, settings: Settings) -> None:
    """Raises DpeError unless it is whole, of a version that can be migrated, and what this appliance's catalog was."""
    version = catalog.check_catalog_file(file)
    if version != manifest.schema_version or version not in catalog.versions():
        raise Conflict("The newest backup's catalog is not the one that its manifest tells of.", DISTRUST)
    mark = lineage.mark_of(file)
    try:
        catalog.attach(settings.catalog)
        stands = lineage.standing(mark)
    finally:
        catalog.close()
    if stands is Standing.OTHER:
        raise Conflict(
            "The newest backup is of another appliance's catalog.", "Back up anew; if that does not help, choose another target."
        )
    if stands is not Standing.SAME:
        raise Conflict("The newest backup knows what this appliance's catalog does not.", "The catalog was replaced since; back up anew.")
