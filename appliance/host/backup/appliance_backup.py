"""Backups of the whole appliance: where they go, what is in them, and whether they can be read again.

What is kept lies in `host/backup/` for root alone: `config.json` (target, with its secrets, and schedule), `key` (the recovery key), the
appliance's own SSH key, `last.json` (what came of the last one). A backup is one restic snapshot, whose `backup-work/manifest.json` says what is
in it; restore.py reads it.
"""

import contextlib
import json
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ValidationError

from appliance import catalog, durable
from appliance.catalog import (
    Account,
    DataDisk,
    DiskState,
    Engine,
    EventKind,
    Lease,
    Level,
    Seed,
    SeedState,
    data_disks,
    doorbell,
    grants,
    now,
    options,
    outgoing_mail,
)
from appliance.errors import BadInput, Conflict, DpeError, NotFound, Unavailable
from appliance.host.backup import restic
from appliance.host.backup.restic import Repository, folder
from appliance.host.disks import block_devices
from appliance.host.interface import backups as interface
from appliance.host.interface import conditions
from appliance.host.interface.backups import (
    S3,
    AnyTarget,
    Backup,
    Checked,
    Disk,
    Folder,
    Found,
    Last,
    Made,
    Plan,
    Sftp,
    State,
    Target,
    Volume,
)
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import events, image
from appliance.host.system.conditions import condition, write_conditions
from appliance.paths import below
from appliance.settings import Settings

FORMAT = 1
WORK = "backup-work"  # in the state directory: what is only made to be backed up
MANIFEST = "manifest.json"
KINDS = ("catalog.db", MANIFEST, "scenario")
SEED_FILES = ("disk.qcow2", "vmlinuz", "initrd", "seed.json")
AWAY = 60.0  # seconds after which an engine that says nothing is not there
LATE = 36 * 3600.0  # seconds after which a scheduled backup is too old
OWN_FILES = ("settings.toml", "web-secret", "tls", "host/host.json")  # of the state directory, small ones
PERIODS = {"daily": timedelta(days=1), "weekly": timedelta(days=7), "monthly": timedelta(days=30)}  # of restore tests


class Config(BaseModel):
    """What was configured. `repository` is restic's id of it, so that another one in its place is noticed."""

    target: AnyTarget
    repository: str
    noted: bool = False  # somebody said that they wrote the recovery key down
    plan: Plan = Plan()
    since: AwareDatetime
    same_disk: bool = (
        False  # as it was found when it was configured and at each backup: a folder of a server that hangs is not asked for it
    )


class BackedUpDisk(BaseModel):
    """A data disk in a backup: the file of its copy, below the snapshot's root; empty when there is none, and `problem` says why."""

    id: str
    name: str = ""
    owner: str = ""
    file: str = ""
    problem: str = ""


class Manifest(BaseModel):
    """What a backup holds. `state` is the state directory that paths in its catalog begin with; `bytes` is what it takes restored."""

    format: int
    schema_version: int
    version: str
    scenario: str
    title: str
    hostname: str
    taken_at: AwareDatetime
    state: str
    bytes: int
    people: int
    machines: int
    seeds: list[str] = []
    disks: list[BackedUpDisk] = []
    files: list[str] = []
    plan: Plan = Plan()


# -- what is kept ----------------------------------------------------------------------------------


def config(settings: Settings) -> Config | None:
    """What was configured; None when nothing was."""
    try:
        return Config.model_validate_json((folder(settings) / "config.json").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise Unavailable("What was configured for backups cannot be read.", "Configure them again.") from error


def configured(settings: Settings) -> Config:
    """The same. Raises Conflict when nothing was configured."""
    found = config(settings)
    if found is None:
        raise Conflict("It has not been said where backups go.", "Configure that first.")
    return found


def save(settings: Settings, new: Config) -> None:
    durable.write(folder(settings) / "config.json", new.model_dump_json(indent=1))
    write_conditions(settings)


def key(settings: Settings) -> str:
    """The recovery key; empty when there is none yet."""
    try:
        return (folder(settings) / "key").read_text().strip()
    except FileNotFoundError:
        return ""


def last(settings: Settings) -> dict[str, Any]:
    """What came of the last backup, the last check and the last restore test: the fields of `Last`, as far as there was one."""
    try:
        found: dict[str, Any] = json.loads((folder(settings) / "last.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def note(settings: Settings, **values: Any) -> None:
    """Keep what came of a backup, a check or a restore test."""
    durable.write(folder(settings) / "last.json", json.dumps({**last(settings), **values}, indent=1))
    write_conditions(settings)


def stamp() -> str:
    """The present moment, as it is kept there."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def repository(settings: Settings, patience: float = restic.SOON) -> Iterator[Repository]:
    """The configured repository. Raises Conflict when another one lies in its place."""
    known = configured(settings)
    with restic.at(known.target, key(settings), settings, patience) as found:
        if found.id() != known.repository:
            raise Conflict(f"Other backups lie at {known.target} than those of this appliance.", "Configure the backup again.")
        yield found


# -- where they go -----------------------------------------------------------------------------------


def inspect_target(settings: Settings, target: Target, opened_by: str) -> Found:
    """What is at a target, without changing anything. Raises DpeError when it cannot be reached."""
    if isinstance(target, Sftp):
        shown = restic.host_keys(target)
        if not set(target.host_keys) & set(shown):
            words = (
                "The server shows a key that nobody has confirmed yet."
                if not target.host_keys
                else "The server shows another key than before."
            )
            return Found(state="confirm", words=words, fingerprints=[restic.fingerprint(one) for one in shown], host_keys=shown)
    with restic.at(target, opened_by, settings, restic.PAGE) as there:
        try:
            id = there.id()
        except NotFound:
            words = f"{restic.capital(str(target))} can be used; no backups are there yet."
            return Found(state="empty", words=words, same_disk=is_beside(target, settings))
        except BadInput:
            return Found(state="theirs", words="There are backups that another recovery key opens.")
        found = there.snapshots()
    words = (
        "There are backups that this recovery key opens, none yet."
        if not found
        else f"There are backups that this recovery key opens: {len(found)}."
    )
    newest = str(found[0]["time"]) if found else ""
    return Found(state="ours", words=words, backups=len(found), newest=newest, repository=id, same_disk=is_beside(target, settings))


def with_secret(settings: Settings, target: Target) -> Target:
    """The target with the secret that is known already, when the same one was entered without: `*` stands for it."""
    if isinstance(target, S3) and target.secret_key == "*":  # noqa: S105
        known = config(settings)
        if known is None or not isinstance(known.target, S3) or known.target.access_key != target.access_key:
            raise BadInput("The secret of the access key is missing.", "Enter it.", field="s3_secret_key")
        if known.target.endpoint.rstrip("/") != target.endpoint.rstrip("/"):
            raise BadInput("The secret goes to no other server than the one it was entered for.", "Enter it again.", field="s3_secret_key")
        return target.model_copy(update={"secret_key": known.target.secret_key})
    return target


@implements(interface.TEST)
def _test(args: interface.At, host: Host) -> Found:
    opened_by = restic.typed(args.key) if args.key else key(host.settings) or restic.new_key()
    return inspect_target(host.settings, with_secret(host.settings, args.target), opened_by)


@implements(interface.CONFIGURE)
def _configure(args: interface.At, host: Host) -> Found:
    """Use a target from now on, making a repository there when there is none."""
    settings, target = host.settings, with_secret(host.settings, args.target)
    given = restic.typed(args.key) if args.key else ""
    chosen = given or key(settings) or restic.new_key()
    found = inspect_target(settings, target, chosen)
    if found.state == "confirm":
        return found
    if found.state == "theirs":
        raise Conflict("There are backups that another recovery key opens.", "Enter that key to go on with them, or choose another place.")
    id = found.repository
    if found.state == "empty":
        with restic.at(target, chosen, settings) as there:
            there.ask("init")
            id = there.id()
    before = config(settings)
    durable.write(folder(settings) / "key", chosen)
    noted = bool(given) or (before is not None and before.noted)
    plan = before.plan if before else Plan()
    since = before.since if before else datetime.now(UTC)
    beside = is_beside(target, settings)
    save(settings, Config(target=_plain(target), repository=id, noted=noted, plan=plan, since=since, same_disk=beside))
    return found


def _plain(target: Target) -> Any:
    """As the configuration takes it."""
    return interface.TARGET.validate_python(target.model_dump())


@implements(interface.PLAN)
def _plan(args: interface.Schedule, host: Host) -> None:
    if args.plan.on and not args.plan.days:
        raise BadInput("No day is chosen.", "Choose one or more, or switch the schedule off.", field="days")
    save(host.settings, configured(host.settings).model_copy(update={"plan": args.plan}))


@implements(interface.STOP)
def _stop(args: Nothing, host: Host) -> None:
    """Back up no more. What lies at the target stays, and the recovery key stays with us."""
    (folder(host.settings) / "config.json").unlink(missing_ok=True)
    write_conditions(host.settings)


@implements(interface.KEY)
def _key(args: Nothing, host: Host) -> str:
    if configured(host.settings).noted:
        raise Conflict("The recovery key is shown only until somebody said that they wrote it down.", "Look at what was written down.")
    return restic.printed(key(host.settings))


@implements(interface.NOTED)
def _noted(args: interface.Written, host: Host) -> None:
    """Raises BadInput when the key was written down otherwise than it is."""
    groups = restic.printed(key(host.settings)).split("-")
    if re.sub(r"[\s-]", "", args.ends).upper() != groups[0] + groups[-1]:
        raise BadInput(
            "That is not how the recovery key begins and ends.",
            "Look at what you wrote down, or have the key shown once more.",
            field="ends",
        )
    save(host.settings, configured(host.settings).model_copy(update={"noted": True}))


@implements(interface.PUBLIC_KEY)
def _public_key(args: Nothing, host: Host) -> str:
    return restic.ssh_key(host.settings)[1]


@implements(interface.DISKS)
def _disks(args: Nothing, host: Host) -> list[Volume]:
    """Disks with a file system that nobody uses."""
    return disks()


FILE_SYSTEMS = ("ext4", "ext3", "xfs", "btrfs", "exfat", "vfat", "ntfs")


def disks(listing: str | None = None) -> list[Volume]:
    """File systems that could hold backups: plugged in, not mounted, not the appliance's own. `listing` is what lsblk says."""
    return [
        Volume(uuid=one.uuid, name=one.name, label=one.label, size=f"{one.size / 1e9:.1f} GB", model=one.model or disk.model)
        for disk in block_devices.devices(listing=listing)
        for one in (disk, *disk.below())
        if one.fstype in FILE_SYSTEMS and one.uuid and not one.mountpoints and not one.partlabel.startswith("dpe-")
    ]


@implements(interface.STATE)
def _state(args: Nothing, host: Host) -> State:
    """All that is known without asking the target."""
    known, result = config(host.settings), last(host.settings)
    came = Last.model_validate(result)
    if known is None:
        return State(target=None, where="", noted=False, plan=Plan(), last=came, problem="")
    return State(
        target=known.target,
        where=restic.capital(str(known.target)),
        noted=known.noted,
        plan=known.plan,
        last=came,
        problem=problem(known, result, datetime.now(UTC)),
        restore_problem=restore_problem(known, came, datetime.now(UTC)),
        same_disk=known.same_disk,
    )


def is_beside(target: Target, settings: Settings) -> bool:
    """Whether a target lies on a disk that the appliance's own data lies on, so that both go with it; what is not there now does not."""
    there = None
    match target:
        case Folder():
            with contextlib.suppress(OSError):
                there = Path(target.path).stat().st_dev
        case Disk():
            there = block_devices.number_of(target.uuid)
    return there is not None and block_devices.share_a_disk(there, settings.state.stat().st_dev)


@condition("backups")
def _condition(settings: Settings) -> conditions.Backups:
    known = config(settings)
    if known is None:
        return conditions.Backups()
    result, moment = last(settings), datetime.now(UTC)
    return conditions.Backups(
        set_up=True,
        noted=known.noted,
        same_disk=known.same_disk,
        problem=problem(known, result, moment),
        restore_problem=restore_problem(known, Last.model_validate(result), moment),
    )


def problem(known: Config, result: dict[str, Any], moment: datetime) -> str:
    """Why one should not count on the backups, in a sentence; empty when all is well."""
    if result.get("checked_at") and not result.get("check_ok", True):
        return f"The last check found: {result.get('check_error', '')}"
    if result and not result.get("ok", True):
        return f"The last backup failed: {result.get('error', '')}"
    if not result.get("ok_at"):
        return "There is no backup yet." if not known.plan.on or (moment - known.since).total_seconds() > LATE else ""
    allowed = LATE + 24 * 3600 * (7 - len(known.plan.days) if known.plan.days else 7)
    age = (moment - datetime.fromisoformat(result["ok_at"])).total_seconds()
    return f"The last backup is {round(age / 86400)} days old." if age > allowed else ""


def restore_problem(known: Config, last: Last, moment: datetime) -> str:
    """Why one should not count on a restore, in a sentence: the last test failed, or none was made for two periods; empty when all is well."""
    if last.test_ok is False:
        return f"The last restore test failed: {last.test_error}"
    period = PERIODS.get(known.plan.restore_test)
    if period is None or not last.ok_at:
        return ""
    age = moment - (datetime.fromisoformat(last.test_ok_at) if last.test_ok_at else known.since)
    if age <= 2 * period + timedelta(seconds=LATE):
        return ""
    return f"The last restore test was {age.days} days ago." if last.test_ok_at else "No restore was tested yet."


# -- making one ----------------------------------------------------------------------------------------


@implements(interface.RUN)
def _run(args: Nothing, host: Host) -> Made:
    settings = host.settings
    known = configured(settings)
    note(settings, begun_at=stamp())
    try:
        catalog.attach(settings.catalog)
        host.tell(f"Looking at {known.target}", 0)
        with repository(settings) as there:
            if (beside := is_beside(known.target, settings)) != known.same_disk:
                save(settings, configured(settings).model_copy(update={"same_disk": beside}))
            result = _make(there, known, host)
            try:
                _forget(there, known.plan, host)
            except Conflict:
                raise
            except DpeError as error:
                result.problems.append(f"Old backups could not be removed: {error.message}")
    except DpeError as error:
        if host.cancelled.is_set():
            raise
        first = bool(last(settings).get("ok", True))
        note(settings, at=stamp(), ok=False, error=str(error))
        events.record_event(settings, EventKind.BACKUP_FAILED, f"The backup failed: {error.message}", hint=error.hint)
        _write_to_owners(settings, f"The backup failed: {error}" if first else "")
        raise
    finally:
        catalog.close()
    note(settings, at=stamp(), ok=True, error="", ok_at=stamp(), **result.model_dump())
    lacks = f" {len(result.problems)} things are missing from it." if result.problems else ""
    message = f"A backup was made at {known.target}: {result.disks} data disks, {result.people} people.{lacks}"
    events.record_event(
        settings, EventKind.BACKUP_MADE, message, level=Level.WARNING if lacks else Level.INFO, hint=" ".join(result.problems)[:1000]
    )
    return result


def _write_to_owners(settings: Settings, text: str) -> None:
    if not text:
        return
    with contextlib.suppress(Exception):  # the failure itself is what counts
        catalog.attach(settings.catalog)
        with catalog.write():
            about = f"backup-{stamp()}"
            outgoing_mail.enqueue_mail(
                sorted(grants.owners()),
                about,
                "The appliance's backup failed",
                f"{text}\n\nUntil it works again, nothing new is safe.",
                "/admin/server/backups/",
            )
        doorbell.ring()


def _make(there: Repository, known: Config, host: Host) -> Made:
    settings = host.settings
    with contextlib.suppress(DpeError):  # what really is in the way says so later
        there.clear_locks()
    work = settings.state / WORK
    shutil.rmtree(work, ignore_errors=True)  # of one that was cut off
    work.mkdir(mode=0o700)
    asked = _copy_disks(host)
    try:
        manifest = _gather(work, asked, known, host)
        facts = {
            "schema": manifest.schema_version, "people": manifest.people, "machines": manifest.machines, "bytes": manifest.bytes,
            "disks": sum(1 for one in manifest.disks if one.file), "missing": sum(1 for one in manifest.disks if one.problem),
            "seeds": len(manifest.seeds), "scenario": manifest.scenario, "version": manifest.version or "0",
        }  # fmt: skip
        tags = [
            part
            for name, value in {restic.TAG: "", **facts}.items()
            for part in ("--tag", f"{name}={value}" if name != restic.TAG else name)
        ]
        before = there.snapshots()
        parent = ["--parent", str(before[0]["id"])] if before else []
        summary: dict[str, Any] = {}

        def heard(line: str) -> None:
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if said.get("message_type") == "status":
                    host.tell("Writing the backup", 30 + round(65 * float(said.get("percent_done", 0))))
                elif said.get("message_type") == "summary":
                    summary.update(said)

        host.tell("Writing the backup", 30)
        listed = work / "files"
        listed.write_bytes(b"".join(name.encode() + b"\0" for name in manifest.files))
        status = there.follow(
            host, "backup", "--json", "--host", "dpe", "--exclude", "snapshot-[0-9]*", *tags, *parent, "--files-from-raw", listed,
            cwd=settings.state, heard=heard,
        )  # fmt: skip
        problems = [f"{one.name or one.id}: {one.problem}" for one in manifest.disks if one.problem]
        if status == 3:
            problems.append("Some files changed or vanished while they were read.")
        return Made(
            snapshot=str(summary.get("snapshot_id", ""))[:8],
            bytes=manifest.bytes,
            added=int(summary.get("data_added", 0)),
            people=manifest.people,
            machines=manifest.machines,
            disks=sum(1 for one in manifest.disks if one.file),
            problems=problems,
        )
    finally:
        for one in asked:
            one.remove()
        shutil.rmtree(work, ignore_errors=True)


@dataclass(frozen=True)
class Copy:
    """A data disk and the copy of it that was made for this backup, if one could be; `file` as restic is told."""

    disk: DataDisk
    path: Path | None
    problem: str = ""
    ours: bool = True  # to be removed afterwards

    def remove(self) -> None:
        """The folder of copies is for those that somebody wanted there."""
        if self.path is not None and self.ours:
            for end in (".about.json", ".qcow2.json", ".qcow2"):  # what says that it is whole goes first
                self.path.with_name(self.path.stem + end).unlink(missing_ok=True)


def _copy_disks(host: Host) -> list[Copy]:
    """Have the engine copy every data disk, of running machines too, and wait until it has."""
    settings = host.settings
    with catalog.write():
        wanted = [disk for disk in list(DataDisk.select()) if disk.state is DiskState.READY]
        already = {disk.id for disk in wanted if disk.backup_asked}
        before = {disk.id: disk.backup_at for disk in wanted}
        DataDisk.update(backup_asked=True, backup_problem="").where(DataDisk.id.in_(list(before))).execute()
    if wanted:
        doorbell.ring()
    while True:
        waits = [disk for disk in (data_disks.by_id(id) for id in before) if disk is not None and disk.backup_asked]
        if wanted:
            host.tell(
                f"Copying data disks: {len(wanted) - len(waits)} of {len(wanted)}", round(30 * (len(wanted) - len(waits)) / len(wanted))
            )
        if not waits:
            break
        row = Engine.get_or_none()
        if row is None or (now() - row.seen_at).total_seconds() > AWAY:
            _ask_no_more(before)
            raise Unavailable(
                "The engine, which copies data disks, does not answer.", "It is started again by itself; try again in a moment."
            )
        if host.cancelled.wait(0.5):
            _ask_no_more(before)
            raise Conflict("It was cancelled.", "What was there before is untouched.")
    return [
        _copied(disk, before.get(disk.id), settings, already=disk.id in already)
        for disk in list(DataDisk.select())
        if disk.state is not DiskState.NEW
    ]


def _ask_no_more(ids: Any) -> None:
    with catalog.write():
        DataDisk.update(backup_asked=False).where(DataDisk.id.in_(list(ids))).execute()


def _copied(disk: DataDisk, before: datetime | None, settings: Settings, *, already: bool) -> Copy:
    if disk.state is DiskState.TROUBLED and disk.machine_id is None and settings.data_disk(disk.id).exists():
        return Copy(disk, settings.data_disk(disk.id), ours=False)  # nobody writes to it
    made = sorted(below(settings.backups, disk.id).glob("*.about.json"))
    if disk.backup_problem or disk.backup_at is None or disk.backup_at == before or not made:
        return Copy(disk, None, disk.backup_problem or f"It is {disk.state.value}, and could not be copied.")
    return Copy(disk, made[-1].with_name(made[-1].name.removesuffix(".about.json") + ".qcow2"), ours=not already)


def _gather(work: Path, copies: list[Copy], known: Config, host: Host) -> Manifest:
    """Lay out what is backed up, and describe it."""
    settings = host.settings
    host.tell("Copying the catalog", 30)
    schema = catalog.copy(settings.catalog, work / "catalog.db")
    shutil.copytree(settings.scenario, work / "scenario", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    files = [f"{WORK}/{name}" for name in KINDS]
    files += [name for name in OWN_FILES if (settings.state / name).exists()]
    seeds: list[str] = []
    if known.plan.seeds:
        for seed in list(Seed.select().where(Seed.promoted == True, Seed.state == SeedState.READY)):  # noqa: E712
            place = below(settings.seeds, seed.class_name, seed.version)
            if (place / "disk.qcow2").exists():
                seeds.append(seed.name)
                files += [os_path(place / name, settings) for name in SEED_FILES if (place / name).exists()]
    disks = []
    for one in copies:
        file = "" if one.path is None else os_path(one.path, settings)
        if one.path is not None:
            files += [file] + [os_path(beside, settings) for beside in _beside(one.path)]
        disks.append(
            BackedUpDisk(
                id=one.disk.id,
                name=one.disk.name,
                owner=one.disk.account.name if one.disk.account else "",
                file=file.lstrip("/"),
                problem=one.problem,
            )
        )
    built = image.boot_image()
    manifest = Manifest(
        format=FORMAT,
        schema_version=schema,
        version=built.version if built else "",
        scenario=settings.scenario.resolve().name,  # of the folder; what the catalog has may be called otherwise by now
        title=str(options.get("title")),
        hostname=socket.gethostname(),
        taken_at=datetime.now(UTC),
        state=str(settings.state),
        bytes=sum(_size(settings.state / name) for name in files),  # a / in front means another place
        people=Account.select().count(),
        machines=Lease.select().where(Lease.ended_at.is_null()).count(),
        seeds=seeds,
        disks=disks,
        files=files,
        plan=known.plan,
    )
    (work / MANIFEST).write_text(manifest.model_dump_json(indent=1))
    return manifest


def _beside(copy: Path) -> list[Path]:
    return [found for end in (".about.json", ".qcow2.json") if (found := copy.with_name(copy.stem + end)).exists()]


def os_path(path: Path, settings: Settings) -> str:
    """A path as restic is told it: below the state directory without it, elsewhere whole."""
    return str(path.relative_to(settings.state)) if path.is_relative_to(settings.state) else str(path)


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_blocks * 512 if path.exists() else 0
    return sum(file.stat().st_blocks * 512 for file in path.rglob("*") if file.is_file())


def _forget(there: Repository, plan: Plan, host: Host) -> None:
    host.tell("Removing backups that are older than is wanted", 95)
    there.follow(
        host, "forget", "--tag", restic.TAG, "--group-by", "", "--keep-daily", str(plan.daily), "--keep-weekly", str(plan.weekly),
        "--keep-monthly", str(plan.monthly), "--keep-last", "1", "--prune", cwd=host.settings.state, heard=lambda _line: None,
    )  # fmt: skip


# -- what is there, and whether it can be read ---------------------------------------------------------


def described(snapshots: list[dict[str, Any]]) -> list[Backup]:
    """Backups: what their tags say."""
    found = []
    for one in snapshots:
        tags = dict(tag.split("=", 1) for tag in one.get("tags") or [] if "=" in tag)
        numbers = {name: int(tags.get(name, "0")) for name in ("schema", "people", "machines", "bytes", "disks", "missing", "seeds")}
        at = datetime.fromisoformat(str(one["time"])[:19]).replace(tzinfo=_zone(str(one["time"])))
        found.append(
            Backup(
                id=str(one["id"])[:16],
                at=at.astimezone(UTC),
                **numbers,
                scenario=tags.get("scenario", ""),
                version=tags.get("version", ""),
            )
        )
    return found


def _zone(stamp: str) -> Any:
    ends = stamp[19:].lstrip(".0123456789")  # restic writes nanoseconds, which Python 3.11 does not read
    return UTC if ends in ("", "Z") else datetime.strptime(ends, "%z").tzinfo


@implements(interface.LIST)
def _list(args: Nothing, host: Host) -> list[Backup]:
    with repository(host.settings, restic.PAGE) as there:
        return described(there.snapshots())


@implements(interface.VERIFY)
def _verify(args: interface.Part, host: Host) -> Checked:
    """Read the backups again: that all is there, is as it was written, and the newest one's catalog can be used."""
    settings = host.settings
    known = configured(settings)
    try:
        with repository(settings) as there:
            found = described(there.snapshots())
            if not found:
                raise NotFound("There is no backup yet.", "Make one first.")
            host.tell(f"Reading {'all' if args.part == 100 else f'{args.part} %'} of the data at {known.target}", None)
            reading = "--read-data" if args.part == 100 else f"--read-data-subset={args.part}%"
            there.clear_locks()
            there.follow(host, "check", reading, cwd=settings.state, heard=lambda line: None)
            host.tell("Trying the newest backup's catalog", 95)
            manifest = check_newest(there, found[0].id, settings)
    except DpeError as error:
        if not host.cancelled.is_set():
            note(settings, checked_at=stamp(), check_ok=False, check_error=str(error))
            events.record_event(settings, EventKind.BACKUP_DAMAGED, f"The check of the backups failed: {error.message}", hint=error.hint)
        raise
    copies = sum(1 for disk in manifest.disks if disk.file)
    words = (
        ("One backup is whole" if len(found) == 1 else f"{len(found)} backups are whole")
        + ("" if args.part == 100 else f", as far as {args.part} % of the data tell")
        + f". The newest has {manifest.people} people, {manifest.machines} machines that somebody holds and {copies} data disks, and its catalog can be used."
    )
    note(settings, checked_at=stamp(), check_ok=True, check_error="", check_words=words)
    events.record_event(settings, EventKind.BACKUP_CHECKED, f"The backups at {known.target} were checked: {words}")
    return Checked(words=words, backups=len(found))


def check_newest(there: Repository, snapshot: str, settings: Settings) -> Manifest:
    """The manifest of a backup, once its catalog could be opened."""
    manifest = read_manifest(there, snapshot)
    with tempfile.TemporaryDirectory(dir=settings.run) as place:
        there.ask("restore", snapshot, "--no-lock", "--target", place, "--include", f"/{WORK}/catalog.db", timeout=3600)
        version = catalog.check_catalog_file(Path(place) / WORK / "catalog.db")
    if version != manifest.schema_version:
        raise Conflict("The newest backup's catalog is not the one that its manifest tells of.", "Make a new backup.")
    return manifest


def read_manifest(there: Repository, snapshot: str) -> Manifest:
    """What a backup says of itself. Raises Conflict for one of a newer appliance, NotFound for what is none of ours."""
    try:
        said = json.loads(there.ask("dump", "--no-lock", snapshot, f"/{WORK}/{MANIFEST}"))
        if int(said["format"]) > FORMAT or int(said["schema_version"]) > catalog.versions()[-1]:
            newer = f"That backup was made by a newer appliance ({said.get('version') or 'schema ' + str(said['schema_version'])})."
            raise Conflict(newer, "Update this appliance first, then restore.")
        return Manifest.model_validate(said)
    except (ValueError, LookupError, TypeError, ValidationError) as error:
        raise NotFound("That is no backup of an appliance, or its description is damaged.", "Choose another one.") from error
