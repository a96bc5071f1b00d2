"""Backups of the whole appliance: where they go, making, checking and restoring them. What root has to do, `dpe-host` does."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from appliance import catalog
from appliance.bulkhead import Bulkhead
from appliance.catalog import Actor, EventKind, record, timezone
from appliance.errors import BadInput
from appliance.host.backup import schedule
from appliance.host.interface import backups as verbs
from appliance.host.interface.backups import TARGET, AnyTarget, Backup, Found, Last, Plan, ShownTarget, Volume
from appliance.host.rpc.client import Client
from appliance.settings import Settings

# What is entered for each kind of target: its name in the form, what it is called, and what to write instead of something wrong.
FIELDS: dict[str, dict[str, tuple[str, str]]] = {
    "folder": {"path": ("The folder", "Write its whole path, like /mnt/backup.")},
    "disk": {"uuid": ("The disk", "Choose one from the list; plug one in if there is none.")},
    "sftp": {
        "host": ("The server", "Write its name or address, like backup.example.org."),
        "port": ("The port", "Write a number; usually it is 22."),
        "user": ("The user", "Write the name to sign in with, like dpe."),
        "path": ("The folder there", "Write its path, like /srv/backup/dpe."),
    },
    "s3": {
        "endpoint": ("The address", "Write it as the provider says, like https://s3.example.org."),
        "bucket": ("The bucket", "Write its name: small letters, digits, dots and dashes."),
        "prefix": ("The folder in the bucket", "Letters, digits, dots and dashes; or leave it empty."),
        "region": ("The region", "Write it as the provider says, or leave it empty."),
        "access_key": ("The access key", "Write it as the provider shows it."),
        "secret_key": ("The secret of the access key", "Write it as the provider showed it."),
    },
}
TARGETS = Bulkhead("asking where backups go", 2, line=4, patience=15)  # a page asks twice: how it stands, and what is there
ASKING = 55.0  # seconds until dpe-host has said what is at a target; the front door waits for 60
KNOWN_SECRET = "*"  # noqa: S105 - stands for the one that is stored


@dataclass(frozen=True)
class State:
    """Where the backups stand. `target` has what was entered but no secrets; None before anything was. `problem` and `restore_problem`
    are a sentence or empty; `same_disk` says that they lie on a disk of the appliance's own data."""

    target: ShownTarget | None
    where: str
    noted: bool
    plan: Plan
    last: Last
    problem: str
    next: datetime | None
    same_disk: bool
    restore_problem: str

    @property
    def made_at(self) -> datetime | None:
        return _moment(self.last.ok_at)

    @property
    def checked_at(self) -> datetime | None:
        return _moment(self.last.checked_at)

    @property
    def tested_at(self) -> datetime | None:
        return _moment(self.last.tested_at)


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def entered(values: Mapping[str, str], host_keys: list[str] | None = None, *, stored: bool = False) -> AnyTarget:
    """A target from a form, whose fields are `<kind>_<name>`; `stored` says that its secret may be. Raises BadInput, naming the field."""
    kind = values.get("kind", "")
    if kind not in FIELDS:
        raise BadInput("It is not said where backups go.", "Choose one.", field="kind")
    target: dict[str, Any] = {name: values.get(f"{kind}_{name}", "").strip() for name in FIELDS[kind]}
    if kind == "sftp":
        target |= {"port": target["port"] or "22", "host_keys": host_keys or []}
    if kind == "s3" and not target["secret_key"] and stored:
        target["secret_key"] = KNOWN_SECRET
    target["kind"] = kind
    try:
        return TARGET.validate_python(target)
    except ValidationError as error:
        wrong = str(error.errors()[0]["loc"][1])
        called, hint = FIELDS[kind].get(wrong, ("It", "Mend it and try again."))
        what = "is missing" if not target.get(wrong) else "cannot be that"
        raise BadInput(f"{called} {what}.", hint, field=f"{kind}_{wrong}") from None


def state(settings: Settings) -> State:
    """Raises Unavailable while dpe-host does not answer."""
    found = Client(settings).call(verbs.STATE)
    upcoming = schedule.upcoming(found.plan, datetime.now(UTC), timezone.current()) if found.target else None
    return State(
        found.target, found.where, found.noted, found.plan, found.last, found.problem, upcoming, found.same_disk, found.restore_problem
    )


def everything(settings: Settings) -> list[Backup]:
    """The backups that are there, the newest first. Asks the target, which may take a while."""
    return _at_target(settings, "").call(verbs.LIST)


def _at_target(settings: Settings, by: str, target: AnyTarget | None = None) -> Client:
    """Asks dpe-host what it can only say when the target has answered: the one given, or the one in use."""
    return Client(settings, by, ASKING, TARGETS, str(target) if target else "the place of the backups")


def disks(settings: Settings) -> list[Volume]:
    """Disks that could hold backups."""
    return Client(settings).call(verbs.DISKS)


def public_key(settings: Settings) -> str:
    """What lets the appliance in at an SSH server."""
    return Client(settings).call(verbs.PUBLIC_KEY)


def test(actor: Actor, settings: Settings, target: AnyTarget, key: str) -> Found:
    """What is at a target; nothing is changed."""
    return _at_target(settings, actor.name, target).call(verbs.TEST, verbs.At(target=target, key=key))


def configure(actor: Actor, settings: Settings, target: AnyTarget, key: str) -> Found:
    """Use a target from now on, unless its server's key has to be confirmed first."""
    looked = _at_target(settings, actor.name, target).call(verbs.CONFIGURE, verbs.At(target=target, key=key))
    if looked.state != "confirm":
        _tell(actor, EventKind.BACKUP_CONFIGURED, f"{actor.name} set up where backups go: {target}.")
    return looked


def key(actor: Actor, settings: Settings) -> str:
    """The recovery key, as long as nobody said that they wrote it down. Raises Conflict afterwards."""
    return Client(settings, actor.name).call(verbs.KEY)


def noted(actor: Actor, settings: Settings, ends: str) -> None:
    """They wrote the recovery key down, as its first and its last group in `ends` show; it is shown no more. Raises BadInput."""
    Client(settings, actor.name).call(verbs.NOTED, verbs.Written(ends=ends))
    _tell(actor, EventKind.BACKUP_KEY_NOTED, f"{actor.name} wrote the recovery key of the backups down.")


def plan(actor: Actor, settings: Settings, values: Mapping[str, Any], days: list[str]) -> None:
    """Set when backups are made and how many are kept; `values` are the other fields of a Plan. Raises BadInput, about the field."""
    called = {"at": "The time", "daily": "The number of days", "weekly": "The number of weeks", "monthly": "The number of months"}
    try:
        wanted = Plan.model_validate({**values, "days": days})
    except ValidationError as error:
        wrong = str(error.errors()[0]["loc"][0])
        hint = "Write one like 02:30." if wrong == "at" else "Write a whole number; for days at least 1, and at most 400."
        raise BadInput(f"{called.get(wrong, 'A day')} cannot be that.", hint, field=wrong) from None
    Client(settings, actor.name).call(verbs.PLAN, verbs.Schedule(plan=wanted))
    days_words = f"on {len(wanted.days)} days a week at {wanted.at}" if wanted.on else "only when asked for"
    _tell(actor, EventKind.BACKUP_PLANNED, f"{actor.name} set the schedule of the backups: {days_words}.")


def stop(actor: Actor, settings: Settings) -> None:
    """Back up no more; what is there stays."""
    Client(settings, actor.name).call(verbs.STOP)
    _tell(actor, EventKind.BACKUP_STOPPED, f"{actor.name} switched backups off.")


def run(actor: Actor, settings: Settings) -> str:
    """Make a backup now; returns the operation."""
    return Client(settings, actor.name).begin(verbs.RUN)


def verify(actor: Actor, settings: Settings) -> str:
    """Read all backups again; returns the operation."""
    return Client(settings, actor.name).begin(verbs.VERIFY, verbs.Part())


def test_restore(actor: Actor, settings: Settings) -> str:
    """Restore the newest backup into a scratch folder, to see whether that can be done; returns the operation."""
    return Client(settings, actor.name).begin(verbs.TEST_RESTORE)


def restore(actor: Actor, settings: Settings, snapshot: str, *, network: bool) -> str:
    """Put a backup in the place of what is here, after a restart; returns the operation."""
    operation = Client(settings, actor.name).begin(verbs.RESTORE, verbs.Restore(snapshot=snapshot, network=network))
    _tell(actor, EventKind.BACKUP_RESTORE, f"{actor.name} puts a backup in the place of what is here.")
    return operation


def fetch_copies(actor: Actor, settings: Settings, snapshot: str) -> str:
    """Fetch the copies of data disks of a backup into the folder of copies; returns the operation."""
    return Client(settings, actor.name).begin(verbs.FETCH_COPIES, verbs.Copies(snapshot=snapshot))


def _tell(actor: Actor, kind: EventKind, message: str) -> None:
    with catalog.write():
        record(kind, message, actor, object="appliance")


# -- on an appliance that is not set up yet -------------------------------------------------------------

WIZARD = Actor("set-up")


def elsewhere(settings: Settings, target: AnyTarget, key: str) -> list[Backup]:
    """The backups at a target that a recovery key opens."""
    return _at_target(settings, WIZARD.name, target).call(verbs.LIST_FROM, verbs.From(target=target, key=key))


def restore_from(settings: Settings, target: AnyTarget, key: str, snapshot: str, *, network: bool) -> str:
    """Restore a backup of a target; returns the operation."""
    wanted = verbs.Restore(target=target, key=key, snapshot=snapshot, network=network)
    return Client(settings, WIZARD.name).begin(verbs.RESTORE, wanted)
