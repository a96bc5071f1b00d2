"""Updates of the bootable image, for the admin: what is here, what is on its way, and when the restart is; and who did it."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Protocol

from appliance import catalog
from appliance.catalog import Actor, EventKind, now, options, record, timezone
from appliance.errors import BadInput, DpeError
from appliance.host.interface import updates as verbs
from appliance.host.interface.operations import RUNNING, Operation
from appliance.host.interface.updates import Back, Memory, Past, Slot, Source, Staged, Switch
from appliance.host.rpc.client import Client
from appliance.host.updates.installation import newer
from appliance.settings import Settings

WARNING = timedelta(minutes=5)
CHECKED = 540.0  # seconds for all of a bundle to be read; the front door waits a little longer
NIGHT = time(3)
SHOWN_AFTER = timedelta(minutes=2)  # that a restart is still told of when its time has come


class Verb(Protocol):
    """Restart, at a time."""

    def __call__(self, actor: Actor, settings: Settings, *, when: str, at: str) -> datetime: ...


@dataclass(frozen=True)
class State:
    """Everything there is to know of updates."""

    version: str
    built_at: datetime
    slots: list[Slot]
    problem: str
    back: Back | None
    trial: Switch | None
    memory: Memory
    free: int
    source: Source
    operation: Operation | None  # of updates, the one that runs or ran last

    @property
    def staged_is_older(self) -> bool:
        return self.memory.staged is not None and not newer(self.memory.staged.version, self.version)

    @property
    def last(self) -> Past | None:
        return self.memory.past[0] if self.memory.past else None


def state(settings: Settings) -> State | None:
    """How it stands; None outside of the bootable image. Raises Unavailable while dpe-host does not answer."""
    client = Client(settings)
    operations = client.operations()  # first: what ends between the questions then still runs, and a page that says so looks again
    said = client.call(verbs.STATUS)
    if said.image is None:
        return None
    return State(
        version=said.image.version,
        built_at=said.image.built_at,
        slots=said.slots,
        problem=said.problem,
        back=said.back,
        trial=said.trial,
        memory=said,
        free=said.free,
        source=client.call(verbs.SOURCE),
        operation=next((operation for operation in operations if operation.verb.startswith("update.")), None),
    )


def is_running(found: State) -> bool:
    """Whether something is being fetched or written now."""
    return found.operation is not None and found.operation.state == RUNNING


# -- verbs -----------------------------------------------------------------------------------------


def take_bundle(actor: Actor, settings: Settings, file: Path) -> Staged:
    """Have a file that was sent to `uploads` checked and kept. Raises BadInput saying what is wrong with it."""
    try:
        staged = Client(settings, actor.name, CHECKED).call(verbs.INSPECT, verbs.Sent(file=file.name))
    except DpeError as error:
        _record(EventKind.UPDATE_REFUSED, f"An update that {actor.name} sent was refused: {error.message}", actor)
        raise
    _record(EventKind.UPDATE_TAKEN, f"{actor.name} sent the update to {staged.version}.", actor)
    return staged


def discard(actor: Actor, settings: Settings) -> None:
    """Throw away what was sent."""
    Client(settings, actor.name).call(verbs.DISCARD)
    _record(EventKind.UPDATE_DISCARDED, f"{actor.name} threw the update away that was not installed.", actor)


def install(actor: Actor, settings: Settings, version: str, *, older: bool) -> str:
    """Begin to write the update to the other slot; returns the operation's id. Raises Conflict."""
    operation = Client(settings, actor.name).begin(verbs.INSTALL, verbs.Install(version=version, older=older))
    _record(EventKind.UPDATE_BEGUN, f"{actor.name} has the update to {version} written.", actor)
    return operation


def fetch(actor: Actor, settings: Settings) -> str:
    """Begin to fetch what is at the configured address; returns the operation's id. Raises Conflict and BadInput."""
    return Client(settings, actor.name).begin(verbs.FETCH)


def set_source(actor: Actor, settings: Settings, *, address: str, authority: str, daily: bool) -> None:
    """Where updates are fetched from, and whether every day without being asked. Raises BadInput."""
    Client(settings, actor.name).call(verbs.SET_SOURCE, verbs.From(address=address, authority=authority, daily=daily))
    said = f"from {address.strip()}{', every day' if daily else ''}" if address.strip() else "from nowhere"
    _record(EventKind.UPDATE_SOURCE, f"{actor.name} set that updates are fetched {said}.", actor)


def restart(actor: Actor, settings: Settings, *, when: str, at: str) -> datetime:
    """Restart into the update that was written, at a time that everybody is told; returns it. Raises BadInput and Conflict."""
    moment = time_of(when, at)
    plan = Client(settings, actor.name).call(verbs.RESTART, verbs.At(at=moment))
    _announce(actor, moment, f"an update to {plan.version}")
    return moment


def back(actor: Actor, settings: Settings, *, when: str, at: str) -> datetime:
    """Restart into the version that ran before, at a time that everybody is told; returns it. Raises BadInput and Conflict."""
    moment = time_of(when, at)
    plan = Client(settings, actor.name).call(verbs.BACK, verbs.At(at=moment))
    _announce(actor, moment, f"going back to version {plan.version}")
    return moment


def stay(actor: Actor, settings: Settings) -> None:
    """Do not restart after all."""
    Client(settings, actor.name).call(verbs.STAY)
    with catalog.write():
        options.put("restart", {})
        record(EventKind.UPDATE_STAYS, f"{actor.name} called the restart off.", actor)


def time_of(when: str, at: str) -> datetime:
    """The moment that was chosen: `soon`, the next `night`, or `at` a local time like 2026-11-21T22:30. Raises BadInput."""
    zone = timezone.current()
    if when == "soon":
        return now() + WARNING
    if when == "night":
        here = now().astimezone(zone)
        day = here.date() + timedelta(days=0 if here.time() < NIGHT else 1)
        return datetime.combine(day, NIGHT, zone).astimezone(UTC)
    try:
        if when != "at":
            raise ValueError
        moment = datetime.fromisoformat(at).replace(tzinfo=zone).astimezone(UTC)
    except ValueError as error:
        raise BadInput("That is no time for the restart.", "Choose a day and a time.", field="at") from error
    if moment < now():
        raise BadInput("That time has passed.", "Choose a later one, or restart in five minutes.", field="at")
    return moment


def _announce(actor: Actor, at: datetime, why: str) -> None:
    with catalog.write():
        options.put("restart", {"at": at.isoformat(), "why": why})
        record(EventKind.UPDATE_PLANNED, f"{actor.name} has the appliance restarted at {timezone.timestamp(at)}, for {why}.", actor)


def _record(kind: EventKind, message: str, actor: Actor) -> None:
    with catalog.write():
        record(kind, message, actor)


@dataclass(frozen=True)
class Restart:
    """A restart that everybody is told of."""

    at: datetime
    why: str


def announced() -> Restart | None:
    """The restart to come, or that comes now."""
    found = options.get("restart")
    if not found:
        return None
    at = datetime.fromisoformat(found["at"])
    return Restart(at, found["why"]) if now() < at + SHOWN_AFTER else None
