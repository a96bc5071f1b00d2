"""Backups of the whole appliance: where they go, making, checking and restoring them. What root has to do, `dpe-host` does."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from appliance import catalog
from appliance.bulkhead import Bulkhead
from appliance.catalog import Actor, EventKind, record, timezone
from appliance.errors import BadInput, DpeError
from appliance.host import schedule
from appliance.host.backup import Looked, Plan
from appliance.host.client import Client
from appliance.host.restic import TARGET
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
    """Where the backups stand. `target` has what was entered but no secrets; None before anything was. `problem` is a sentence or empty."""

    target: dict[str, Any] | None
    where: str
    noted: bool
    plan: Plan
    last: dict[str, Any]
    problem: str
    next: datetime | None

    @property
    def made_at(self) -> datetime | None:
        return _moment(self.last.get("ok_at"))

    @property
    def checked_at(self) -> datetime | None:
        return _moment(self.last.get("checked_at"))


@dataclass(frozen=True)
class Found:
    """A backup that is there; sizes are bytes. `missing` counts data disks that could not be copied for it."""

    id: str
    at: datetime
    bytes: int
    people: int
    machines: int
    disks: int
    missing: int
    seeds: int
    schema: int
    scenario: str
    version: str


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def entered(values: Mapping[str, str], host_keys: list[str] | None = None, *, stored: bool = False) -> dict[str, Any]:
    """A target from a form, whose fields are `<kind>_<name>`; `stored` says that its secret may be. Raises BadInput, naming the field."""
    kind = values.get("kind", "")
    if kind not in FIELDS:
        raise BadInput("It is not said where backups go.", "Choose one.")
    target: dict[str, Any] = {name: values.get(f"{kind}_{name}", "").strip() for name in FIELDS[kind]}
    if kind == "sftp":
        target |= {"port": target["port"] or "22", "host_keys": host_keys or []}
    if kind == "s3" and not target["secret_key"] and stored:
        target["secret_key"] = KNOWN_SECRET
    target["kind"] = kind
    try:
        return TARGET.validate_python(target).model_dump()
    except ValidationError as error:
        wrong = str(error.errors()[0]["loc"][1])
        called, hint = FIELDS[kind].get(wrong, ("It", "Mend it and try again."))
        raise BadInput(f"{called} {'is missing' if not target.get(wrong) else 'cannot be that'}.", hint) from None


def state(settings: Settings) -> State:
    """Raises Unavailable while dpe-host does not answer."""
    found = Client(settings).ask("backup.state")
    plan = Plan.model_validate(found.pop("plan"))
    upcoming = schedule.upcoming(plan, datetime.now(UTC), timezone.current()) if found["target"] else None
    return State(**found, plan=plan, next=upcoming)


def problem(settings: Settings) -> str:
    """Why one should not count on the backups, in a sentence; empty when all is well or that cannot be told now."""
    try:
        found = Client(settings).ask("backup.state")
    except DpeError:
        return ""
    return str(found["problem"]) if found["target"] else "Nothing of this appliance is backed up."


def everything(settings: Settings) -> list[Found]:
    """The backups that are there, the newest first. Asks the target, which may take a while."""
    return _found(_at_target(settings, "").ask("backup.list"))


def _at_target(settings: Settings, by: str, target: dict[str, Any] | None = None) -> Client:
    """Asks dpe-host what it can only say when the target has answered: the one given, or the one in use."""
    return Client(settings, by, ASKING, TARGETS, describe(target) if target else "the place of the backups")


def _found(listed: list[dict[str, Any]]) -> list[Found]:
    return [Found(**{**one, "at": datetime.fromisoformat(one["at"])}) for one in listed]


def disks(settings: Settings) -> list[dict[str, str]]:
    """Disks that could hold backups: uuid, name, label, size, model."""
    listed: list[dict[str, str]] = Client(settings).ask("backup.disks")
    return listed


def public_key(settings: Settings) -> str:
    """What lets the appliance in at an SSH server."""
    return str(Client(settings).ask("backup.public_key"))


def test(actor: Actor, settings: Settings, target: dict[str, Any], key: str) -> Looked:
    """What is at a target; nothing is changed."""
    return Looked(**_at_target(settings, actor.name, target).ask("backup.test", target=target, key=key))


def configure(actor: Actor, settings: Settings, target: dict[str, Any], key: str) -> Looked:
    """Use a target from now on, unless its server's key has to be confirmed first."""
    looked = Looked(**_at_target(settings, actor.name, target).ask("backup.configure", target=target, key=key))
    if looked.state != "confirm":
        _tell(actor, "backup.configured", f"{actor.name} set up where backups go: {describe(target)}.")
    return looked


def describe(target: dict[str, Any]) -> str:
    """A target in words, without secrets."""
    return str(TARGET.validate_python(target))


def key(actor: Actor, settings: Settings) -> str:
    """The recovery key, as long as nobody said that they wrote it down. Raises Conflict afterwards."""
    return str(Client(settings, actor.name).ask("backup.key"))


def noted(actor: Actor, settings: Settings) -> None:
    """They wrote the recovery key down; it is shown no more."""
    Client(settings, actor.name).ask("backup.noted")
    _tell(actor, "backup.key_noted", f"{actor.name} wrote the recovery key of the backups down.")


def plan(actor: Actor, settings: Settings, values: Mapping[str, str], days: list[str]) -> None:
    """Set when backups are made and how many are kept. Raises BadInput, naming the field."""
    called = {"at": "The time", "daily": "The number of days", "weekly": "The number of weeks", "monthly": "The number of months"}
    given = {name: values.get(name, "").strip() for name in called}
    try:
        wanted = Plan.model_validate({**given, "on": values.get("on") == "yes", "seeds": values.get("seeds") == "yes", "days": days})
    except ValidationError as error:
        wrong = str(error.errors()[0]["loc"][0])
        hint = "Write one like 02:30." if wrong == "at" else "Write a whole number; for days at least 1, and at most 400."
        raise BadInput(f"{called.get(wrong, 'A day')} cannot be that.", hint) from None
    Client(settings, actor.name).ask("backup.plan", plan=wanted.model_dump())
    days_words = f"on {len(wanted.days)} days a week at {wanted.at}" if wanted.on else "only when asked for"
    _tell(actor, "backup.planned", f"{actor.name} set the schedule of the backups: {days_words}.")


def stop(actor: Actor, settings: Settings) -> None:
    """Back up no more; what is there stays."""
    Client(settings, actor.name).ask("backup.stop")
    _tell(actor, "backup.stopped", f"{actor.name} switched backups off.")


def run(actor: Actor, settings: Settings) -> str:
    """Make a backup now; returns the task."""
    return _begin(actor, settings, "backup.run")


def verify(actor: Actor, settings: Settings) -> str:
    """Read all backups again; returns the task."""
    return _begin(actor, settings, "backup.verify")


def restore(actor: Actor, settings: Settings, snapshot: str, *, network: bool) -> str:
    """Put a backup in the place of what is here, after a restart; returns the task."""
    task = _begin(actor, settings, "restore.begin", snapshot=snapshot, network=network)
    _tell(actor, "backup.restore", f"{actor.name} puts a backup in the place of what is here.")
    return task


def fetch_copies(actor: Actor, settings: Settings, snapshot: str) -> str:
    """Fetch the copies of data disks of a backup into the folder of copies; returns the task."""
    return _begin(actor, settings, "restore.copies", snapshot=snapshot)


def _begin(actor: Actor, settings: Settings, verb: str, **args: Any) -> str:
    return str(Client(settings, actor.name).ask(verb, **args)["task"])


def _tell(actor: Actor, kind: EventKind | str, message: str) -> None:
    with catalog.write():
        record(kind, message, actor, object="appliance")


# -- on an appliance that is not set up yet -------------------------------------------------------------

WIZARD = Actor("set-up")


def elsewhere(settings: Settings, target: dict[str, Any], key: str) -> list[Found]:
    """The backups at a target that a recovery key opens."""
    return _found(_at_target(settings, WIZARD.name, target).ask("restore.list", target=target, key=key))


def restore_from(settings: Settings, target: dict[str, Any], key: str, snapshot: str, *, network: bool) -> str:
    """Restore a backup of a target; returns the task."""
    return _begin(WIZARD, settings, "restore.begin", target=target, key=key, snapshot=snapshot, network=network)
