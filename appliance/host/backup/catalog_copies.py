"""Copies of the catalog on the same disk, one a day: no backup, but what helps when the catalog itself is broken.

`<state>/copies/<time>.db`, the last three. Putting one back stops the web page and the engine, keeps the catalog that was there beside the
copies as `damaged-<time>`, and starts them again.
"""

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from appliance import durable, layout
from appliance.catalog import EventKind, database, rescue_owners, timezone
from appliance.errors import Conflict, NotFound, Unavailable
from appliance.host.interface import rescue
from appliance.host.interface.rescue import COPY, Copy
from appliance.host.rpc.periodic import every
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import events, processes
from appliance.settings import Settings

KEPT = 3
DAILY = timedelta(hours=24)
LOOK = 600.0  # seconds between looks whether a day is over
STAMP = "%Y%m%d-%H%M%S"


def folder(settings: Settings) -> Path:
    return settings.state / "copies"


def everything(settings: Settings) -> list[Copy]:
    """All copies, the newest first."""
    files = [file for file in folder(settings).glob("*.db") if re.fullmatch(COPY, file.stem)]
    return [Copy(file.stem, _moment(file.stem).isoformat(), file.stat().st_size) for file in sorted(files, reverse=True)]


def _moment(name: str) -> datetime:
    return datetime.strptime(name, STAMP).replace(tzinfo=UTC)


@every(LOOK)
def make_copy(settings: Settings) -> None:
    """Make today's copy, unless there is one that is younger than a day. An appliance that was not set up has nothing worth a copy."""
    newest = next(iter(everything(settings)), None)
    if (newest is None or datetime.now(UTC) - _moment(newest.name) >= DAILY) and rescue_owners.read_owners(settings.catalog).owners:
        make(settings)


def make(settings: Settings) -> Copy:
    """Copy the catalog now; more than three copies are not kept. Raises Unavailable when it is damaged or there is no room."""
    folder(settings).mkdir(mode=0o700, exist_ok=True)
    fresh = folder(settings) / "fresh.new"
    try:
        database.copy(settings.catalog, fresh)
        name = datetime.now(UTC).strftime(STAMP)
        durable.replace(fresh, folder(settings) / f"{name}.db")
    finally:
        fresh.unlink(missing_ok=True)
    for old in everything(settings)[KEPT:]:
        (folder(settings) / f"{old.name}.db").unlink()
    return everything(settings)[0]


def put_back(settings: Settings, name: str, host: Host) -> str:
    """Make this copy the catalog; returns where the one that was there lies now. Raises NotFound, and Unavailable for a damaged copy."""
    copy = folder(settings) / f"{name}.db"
    if not copy.exists():
        raise NotFound("There is no such copy.", "Reload the page to see those there are.")
    host.tell("Looking whether the copy is whole", 0)
    version = database.check_catalog_file(copy)
    if not 0 < version <= database.versions()[-1]:
        raise Conflict(
            f"The copy is of version {version}; this appliance knows versions up to {database.versions()[-1]}.",
            "Use an older copy, or install the newer appliance again.",
        )
    fresh = folder(settings) / "returning.new"
    try:
        shutil.copyfile(copy, fresh)
        durable.sync(fresh)
    except OSError as error:
        raise Unavailable(
            f"The copy could not be made ready: {error.strerror}.", "Make room, and try again; nothing was changed."
        ) from error
    host.tell("Stopping the web page and the engine", 20)
    with processes.stopped(settings, "web", "relay", "console", "engine"):  # all that have the catalog open
        host.tell("Putting the copy in place", 60)
        aside = folder(settings) / f"damaged-{datetime.now(UTC).strftime(STAMP)}"
        aside.mkdir(mode=0o700)
        for ending in ("", "-wal", "-shm"):
            file = settings.catalog.with_name(settings.catalog.name + ending)
            if file.exists() or file.is_symlink():
                file.rename(aside / file.name)
        durable.sync(aside)
        durable.replace(fresh, settings.catalog)
        layout.prepare(settings)
        for old in sorted(folder(settings).glob("damaged-*"))[:-KEPT]:
            shutil.rmtree(old)
        host.tell("Starting the web page and the engine", 90)
    return str(aside)


@implements(rescue.CATALOG_STATE)
def _state(args: Nothing, host: Host) -> str:
    """Why the catalog cannot be used; empty when it can."""
    return database.trouble(host.settings.catalog)


@implements(rescue.CATALOG_COPIES)
def _copies(args: Nothing, host: Host) -> list[Copy]:
    return everything(host.settings)


@implements(rescue.PUT_BACK)
def _put_back(args: rescue.Which, host: Host) -> str:
    aside = put_back(host.settings, args.name, host)
    at = _moment(args.name)
    events.record_event(
        host.settings,
        EventKind.CATALOG_PUT_BACK,
        f"{host.by or 'Somebody'} put back the copy of the catalog of {timezone.timestamp(at, events.zone(host.settings))}.",
    )
    return aside
