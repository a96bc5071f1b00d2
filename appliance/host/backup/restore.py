"""Putting a backup in place of what the appliance has, on this server or a fresh one.

`restore.begin` fetches all of it into `restoring/` beside what is there, checks it, and writes `restoring/ready` last; until then nothing has
changed. The appliance then restarts, and `finish`, called before anything else is started, puts each part in place by a rename. It may be cut
off anywhere: what was moved is not moved again.
"""

import contextlib
import filecmp
import json
import logging
import os
import pwd
import shutil
import threading
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel

from appliance import catalog, durable, layout, qcow2
from appliance.catalog import EventKind, after_restore, lineage, timezone
from appliance.errors import BadInput, Conflict, DpeError, NotFound, Unavailable
from appliance.host.backup import appliance_backup, restic
from appliance.host.backup.appliance_backup import WORK, Config, Manifest
from appliance.host.backup.restic import Repository
from appliance.host.interface import backups as interface
from appliance.host.interface.backups import Backup, Copied, Plan, Restored
from appliance.host.rpc.registry import Host, implements
from appliance.host.system import events, image
from appliance.paths import below
from appliance.run import run
from appliance.settings import Settings

log = logging.getLogger(__name__)

QEMU = "dpe-qemu"
# What is put in place, as a whole; what a backup does not have stays as it is.
PARTS = ("catalog", "web-secret", "tls", "settings.toml", "seeds", "data", "scenario")
GONE = ("machines", "kept", "libvirt", "work", "labels")  # of machines that were here
SPARE = 512 << 20  # bytes that stay free
# Settings of the server itself, which are not taken from another one's backup.
OF_THE_SERVER = ("state", "scenario", "debian_mirror", "emulate", "backup_folder", "parallel")
OF_THE_NETWORK = ("listen", "https_port", "app_port", "names", "network", "subnet", "uplink")


class Ready(BaseModel):
    """What waits to be put in place. `disks`: why each data disk has no file, or nothing, by its id."""

    id: str
    taken_at: datetime
    by: str
    former: str
    scenario: str
    network: bool
    disks: dict[str, str]


@dataclass(frozen=True)
class _Source:
    repository: Repository
    target: interface.Target
    key: str


@contextlib.contextmanager
def _source(args: interface.From, settings: Settings, patience: float = restic.SOON) -> Iterator[_Source]:
    if args.target is None:
        with appliance_backup.repository(settings, patience) as there:
            yield _Source(there, there.target, appliance_backup.key(settings))
        return
    target, key = appliance_backup.with_secret(settings, args.target), restic.typed(args.key)
    with restic.at(target, key, settings, patience) as there:
        there.id()  # says at once when there is none, or the key is another one's
        yield _Source(there, target, key)


@implements(interface.LIST_FROM)
def _list(args: interface.From, host: Host) -> list[Backup]:
    with _source(args, host.settings, restic.PAGE) as source:
        return appliance_backup.described(source.repository.snapshots())


def place(settings: Settings) -> Path:
    """Where what is being restored lies until it is in place."""
    return settings.state / "restoring"


def waits(settings: Settings) -> bool:
    """Whether a restore only waits for the next start."""
    return (place(settings) / "ready").exists()


# -- fetching -----------------------------------------------------------------------------------------


@implements(interface.RESTORE)
def _begin(args: interface.Restore, host: Host) -> Restored:
    settings = host.settings
    if waits(settings):
        raise Conflict("A restore waits for the restart already.", "Restart the appliance.")
    shutil.rmtree(place(settings), ignore_errors=True)
    try:
        with _source(args, settings) as source:
            host.tell("Looking at the backup", 0)
            manifest = appliance_backup.read_manifest(source.repository, args.snapshot)
            _check(manifest, settings)
            new = place(settings) / "new"
            new.mkdir(mode=0o700, parents=True)
            place(settings).chmod(0o700)
            fetch(source.repository, args.snapshot, manifest, new, host)
            host.tell("Checking what was fetched", 92)
            ready = _arrange(new, manifest, args, host)
            _go_on_backing_up(source, manifest, settings)
        os.sync()
        durable.write(place(settings) / "ready", ready.model_dump_json())
    except BaseException:
        if not waits(settings):
            shutil.rmtree(place(settings), ignore_errors=True)
        raise
    host.tell("Restarting the appliance", 100)
    if image.boot_image() is not None:
        run(["systemctl", "--no-block", "reboot"])  # elsewhere the supervisor looks for what waits
    return Restored(people=manifest.people, machines=manifest.machines, disks=sum(1 for disk in manifest.disks if disk.file))


def _check(manifest: Manifest, settings: Settings) -> None:
    if image.boot_image() is not None and manifest.scenario != settings.scenario.name:
        raise Conflict(
            f"That backup is of the scenario {manifest.scenario}; this appliance serves {settings.scenario.name}.",
            f"Restore it on an appliance of the scenario {manifest.scenario}.",
        )
    free = shutil.disk_usage(settings.state).free
    if free < manifest.bytes + SPARE:
        raise Unavailable(
            f"There is no room for it: {manifest.bytes >> 20} MiB are needed, and {free >> 20} MiB are free.",
            "Make room, or use a larger disk.",
        )


def fetch(there: Repository, snapshot: str, manifest: Manifest, new: Path, host: Host, only: Sequence[str] = ()) -> None:
    """Fetch a backup into a new folder: all of it, or only files and folders of its manifest. Raises DpeError."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1):
            host.tell("Fetching the backup", min(90, round(90 * _taken(new) / max(manifest.bytes, 1))))

    watcher = threading.Thread(target=watch, daemon=True)
    included = [part for name in only for part in ("--include", f"/{name.lstrip('/')}")]
    host.tell("Fetching the backup", 0)
    watcher.start()
    try:
        status = there.follow(
            host, "restore", "--no-lock", snapshot, "--target", new, *included, cwd=host.settings.state, heard=lambda _line: None
        )
    finally:
        over.set()
        watcher.join()
    if status:
        raise Unavailable("Not all of the backup could be fetched.", "Check the backups, or choose another one.")


def _taken(folder: Path) -> int:
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(top, name)).st_blocks * 512  # noqa: PTH118 - of thousands of files
    return total


def below_new(new: Path, name: str) -> Path:
    """A file of the backup. Raises BadInput for a name that leads elsewhere."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise BadInput(f"The backup names the file {name}, which is not in it.", "Choose another one.")
    return new / name


def _arrange(new: Path, manifest: Manifest, args: interface.Restore, host: Host) -> Ready:
    """Lay out what was fetched as it is put in place."""
    settings, put = host.settings, place(host.settings) / "put"
    version = catalog.check_catalog_file(new / WORK / "catalog.db")
    if version != manifest.schema_version:
        raise Conflict("The backup's catalog is not the one that its manifest tells of.", "Choose another backup.")
    for name in ("catalog", "data"):
        (put / name).mkdir(mode=0o700, parents=True)
    (new / WORK / "catalog.db").rename(put / "catalog" / "catalog.db")
    disks: dict[str, str] = {}
    for disk in manifest.disks:
        file = below_new(new, disk.file)
        there = bool(disk.file) and file.is_file() and not file.is_symlink()
        where = below(put, "data", f"{disk.id}.qcow2")
        disks[disk.id] = _bring_disk(file, where) if there else disk.problem or "Its copy is not in the backup."
    for name in ("web-secret", "tls", "seeds"):
        if (new / name).exists():
            (new / name).rename(put / name)
    if (new / WORK / "scenario").is_dir():
        (put / "scenario").mkdir(mode=0o755)
        (new / WORK / "scenario").rename(below(put, "scenario", manifest.scenario))
    _settings(new, put, args, settings)
    if (new / "host" / "host.json").exists():
        _host(new / "host" / "host.json", put / "host.json", args, settings)
    _own(put)
    return Ready(
        id=args.snapshot,
        taken_at=manifest.taken_at,
        by=host.by,
        former=manifest.state,
        scenario=manifest.scenario,
        network=args.network,
        disks=disks,
    )


def _bring_disk(image: Path, target: Path) -> str:
    """Write a data disk of the backup anew where it belongs; why not, when it cannot be used, and empty when it is there.

    It came from outside, and its header may name other files of this host: see appliance/qcow2.py.
    """
    target.touch(mode=0o600)
    try:
        qcow2.convert(image, target, "-c", "-o", "compression_type=zstd")
    except (DpeError, qcow2.NoImage, OSError) as error:
        target.unlink()
        log.warning("the data disk %s of the backup is not used: %s", image.name, error)
        return error.message if isinstance(error, DpeError) else f"The image {image.name} is damaged: {error}."
    image.unlink()
    return ""


def _settings(new: Path, put: Path, args: interface.Restore, settings: Settings) -> None:
    """settings.toml of the backup, with what belongs to this server as it is here."""

    def read(file: Path) -> dict[str, Any]:
        return tomllib.loads(file.read_text()) if file.exists() else {}

    ours = read(settings.state / "settings.toml")
    kept = OF_THE_SERVER + (() if args.network else OF_THE_NETWORK)
    values = {name: value for name, value in read(new / "settings.toml").items() if name not in kept}
    write_settings(put / "settings.toml", values | {name: ours[name] for name in kept if name in ours})


def write_settings(file: Path, values: dict[str, Any]) -> None:
    """A settings.toml of plain values. Strings are written as JSON has them, which TOML reads the same."""
    lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in sorted(values.items()))
    durable.write(file, "".join(lines), mode=0o644)


def _host(theirs: Path, put: Path, args: interface.Restore, settings: Settings) -> None:
    """host.json: the time servers, and the network only when it was asked for."""
    here = settings.host / "host.json"
    ours = json.loads(here.read_text()) if here.exists() else {}
    wanted = ("ntp", "ntp_enabled", *(("hostname", "network") if args.network else ()))
    taken = {name: value for name, value in json.loads(theirs.read_text()).items() if name in wanted}
    durable.write(put, json.dumps({**ours, **taken}, indent=1))


def _own(put: Path) -> None:
    """Another server's users have other numbers."""
    for top, folders, names in os.walk(put):
        for name in (*folders, *names):
            os.chown(Path(top, name), 0, 0, follow_symlinks=False)
    try:
        qemu = pwd.getpwnam(QEMU)
    except KeyError:
        return
    for disk in (put / "data").iterdir():
        os.chown(disk, qemu.pw_uid, qemu.pw_gid)
        disk.chmod(0o600)


def _go_on_backing_up(source: _Source, manifest: Manifest, settings: Settings) -> None:
    """A fresh appliance goes on with the backups that it came from."""
    if appliance_backup.config(settings) is None:
        durable.write(restic.folder(settings) / "key", source.key)
        plan: Plan = manifest.plan
        target = interface.TARGET.validate_python(source.target.model_dump())
        appliance_backup.save(
            settings, Config(target=target, repository=source.repository.id(), noted=True, plan=plan, since=manifest.taken_at)
        )


# -- putting it in place -------------------------------------------------------------------------------


def finish(settings: Settings) -> bool:
    """Put in place what waits, if anything does; whether that was so. Nothing of the appliance may run but whoever calls.

    What was here before is only removed once all is in place.
    """
    here = place(settings)
    if not waits(settings):
        shutil.rmtree(here, ignore_errors=True)  # of one that was cut off before it had begun
        return False
    ready = Ready.model_validate_json((here / "ready").read_bytes())
    old, put = here / "old", here / "put"
    old.mkdir(mode=0o700, exist_ok=True)
    for name in (*PARTS, *GONE):
        _swap(settings.state / name, put / name if name in PARTS else None, old / name)
    if (put / "host.json").exists():
        durable.write(settings.host / "host.json", (put / "host.json").read_text())  # which may be on another disk
    _use_scenario(ready, settings)
    layout.prepare(settings)
    catalog.open(settings.catalog)
    adopted = after_restore.adopt(ready.id, ready.taken_at, ready.by, ready.former, settings.state, ready.disks)
    if lineage.standing(lineage.read_mark(settings.mark)) is not lineage.Standing.SAME:
        lineage.keep_mark(settings.mark, lineage.here())  # this is the appliance's catalog now: whoever restored it has decided that
    catalog.close()
    os.sync()
    (here / "ready").unlink()
    shutil.rmtree(here, ignore_errors=True)
    log.warning("restored from the backup of %s: %s", ready.taken_at, adopted)
    return True


def _swap(now: Path, new: Path | None, old: Path) -> None:
    """Two renames: what is there goes to `old`, `new` takes its place. After a cut the second is made up."""
    if new is not None and not new.exists():
        return  # it is in place already, or the backup has none
    if now.exists() and not old.exists():
        now.rename(old)
    if new is not None and not now.exists():
        new.rename(now)


def _use_scenario(ready: Ready, settings: Settings) -> None:
    """The scenario of the backup counts, where it differs and the operator of this host has not said which."""
    ours, theirs = settings.scenario, below(settings.state, "scenario", ready.scenario)
    if "DPE_SCENARIO" in os.environ or not theirs.is_dir() or _same(ours, theirs):
        return
    file = settings.state / "settings.toml"
    write_settings(file, {**(tomllib.loads(file.read_text()) if file.exists() else {}), "scenario": str(theirs)})


def _same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same."""
    if not one.is_dir():
        return False
    found = filecmp.dircmp(one, other, ignore=["__pycache__"])
    if found.left_only or found.right_only or found.funny_files:
        return False
    equal = filecmp.cmpfiles(one, other, found.common_files, shallow=False)[0]
    return len(equal) == len(found.common_files) and all(_same(one / name, other / name) for name in found.common_dirs)


# -- copies of data disks alone --------------------------------------------------------------------------


@implements(interface.FETCH_COPIES)
def _copies(args: interface.Copies, host: Host) -> Copied:
    """Fetch the copies of data disks into the folder of copies, from where the page Disk backups brings them back one by one."""
    settings, work = host.settings, host.settings.state / "fetching"
    shutil.rmtree(work, ignore_errors=True)
    try:
        with _source(args, settings) as source:
            manifest = appliance_backup.read_manifest(source.repository, args.snapshot)
            files = [disk.file for disk in manifest.disks if disk.file and disk.file.endswith(".qcow2")]
            if not files:
                raise NotFound("There is no data disk in that backup.", "Choose another one.")
            _check(manifest, settings)
            work.mkdir(mode=0o700)
            wanted = [part for file in files for part in ("--include", f"/{PurePosixPath(file).with_suffix('')}.*")]
            host.tell(f"Fetching {len(files)} copies of data disks", None)
            source.repository.follow(
                host, "restore", "--no-lock", args.snapshot, "--target", work, *wanted, cwd=settings.state, heard=lambda _line: None
            )
        fetched = sum(_lay(below_new(work, file), settings.backups) for file in files)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    taken = timezone.timestamp(manifest.taken_at, events.zone(settings))
    events.record_event(settings, EventKind.BACKUP_COPIES, f"{fetched} copies of data disks were fetched from the backup of {taken}.")
    return Copied(copies=fetched)


def _lay(copy: Path, backups: Path) -> int:
    """Lay a copy and what tells of it into the folder of copies, the latter last; whether there was one."""
    about = copy.with_name(f"{copy.stem}.about.json")
    if not about.exists() or not copy.exists():
        return 0
    place = below(backups, copy.parent.name)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for end in (".qcow2", ".qcow2.json", ".about.json"):
        if (file := copy.with_name(copy.stem + end)).exists():
            shutil.move(file, place / file.name)
    return 1
