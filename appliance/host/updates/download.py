"""Updates fetched from an address that the admin configured: only when asked, or every day where the admin switched that on.

The address is that of a bundle itself, on any web server. It is asked for only when it has changed since, and goes on where it was cut off.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from appliance import connect
from appliance.catalog import EventKind
from appliance.connect import AddressRefused, Reply
from appliance.errors import BadInput, Conflict, DpeError, Unavailable
from appliance.host.interface import updates as interface
from appliance.host.interface.updates import Fetched, Source
from appliance.host.rpc.client import Client
from appliance.host.rpc.periodic import every
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import image
from appliance.host.system.events import record_event
from appliance.host.updates import installation
from appliance.settings import Settings

REACH = 30.0  # seconds for a connection and an answer
STILL = 60.0  # seconds without a byte
HOPS = 4
CHUNK = 1 << 18
LARGEST = 16 << 30  # bytes
DAY = timedelta(days=1)


class Kept(Source):
    """What is remembered of it: `mark` is what the server called the last one that was taken; `partial` the one that was cut off."""

    mark: str = ""
    partial: str = ""


def _file(settings: Settings) -> Path:
    return installation.folder(settings) / "source.json"


def source(settings: Settings) -> Kept:
    return installation.load(_file(settings), Kept) or Kept()


def _remember(settings: Settings, **values: Any) -> None:
    installation.store(_file(settings), source(settings).model_copy(update=values))


def check_address(text: str) -> str:
    """The address of a bundle. Raises BadInput."""
    text = text.strip()
    with contextlib.suppress(ValueError, BadInput):
        parts = urlsplit(text)
        plain = text.isascii() and text.isprintable() and " " not in text and "#" not in text and len(text) <= 2000
        if plain and parts.scheme == "https" and parts.hostname and parts.port != 0 and "@" not in parts.netloc:
            connect.check_host(parts.hostname, "address")
            return text
    raise BadInput(
        f"{text[:80]!r} is not an address of updates.",
        "Write one like https://updates.example.org/dpe.raucb, without a password in it.",
        field="address",
    )


# -- fetching --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _get(address: str, headers: dict[str, str], authority: str) -> Iterator[Reply]:
    """Ask, and follow where the server sends us, over https only. Raises Unavailable and Refused."""
    for _ in range(HOPS):
        url = check_address(address)
        with connect.exchange("GET", url, {"User-Agent": "DPE-Appliance", **headers}, authority=authority, reach=REACH) as reply:
            if reply.status not in (301, 302, 303, 307, 308):
                yield reply
                return
            address = urljoin(address, reply.header("Location"))
    raise AddressRefused("The address leads from one to another without end.", "Enter the address of the update itself.")


def download(of: Kept, file: Path, settings: Settings, host: Host) -> str:
    """Fetch into `file`, from where it was cut off; returns what the server calls it, or nothing when it has nothing new.

    Raises Unavailable, Refused, and Conflict when it was cancelled.
    """
    begun = file.stat().st_size if file.exists() and of.partial else 0
    headers = {"Range": f"bytes={begun}-", "If-Range": of.partial} if begun else {"If-None-Match": of.mark} if of.mark else {}
    with _get(of.address, headers, of.authority) as reply:
        where, mark = urlsplit(of.address).hostname or "", reply.header("ETag") or reply.header("Last-Modified")
        if reply.status == 304 or (reply.status == 200 and mark and mark == of.mark):
            return ""
        if (begun := _begins_at(reply, begun)) < 0:
            file.unlink(missing_ok=True)
            kind = Unavailable if reply.status >= 500 or reply.status in (408, 416, 429) else AddressRefused
            raise kind(f"{where} answers {reply.status} {reply.response.reason}.", "Check the address.")
        total = begun + (reply.response.length or 0)
        if not begun < total <= LARGEST:
            raise AddressRefused(f"{where} does not say how large the update is.", "Enter the address of the update itself.")
        installation.check_room(settings, total - begun)
        _remember(settings, partial=mark)
        host.tell(f"Fetching {total >> 20} MiB from {where}" + (f", from {begun >> 20} MiB on" if begun else ""), 100 * begun // total)
        done = _write(reply, file, begun, total, host)
        if done != total:
            raise Unavailable(f"{where} hung up after {done >> 20} of {total >> 20} MiB.", "Fetch again: it goes on from there.")
        return mark or datetime.now(UTC).isoformat()


def _begins_at(reply: Reply, begun: int) -> int:
    """From which byte of the update on the answer goes; less than 0 for what is no part of it."""
    if reply.status == 206 and begun and reply.header("Content-Range").startswith(f"bytes {begun}-"):
        return begun
    return 0 if reply.status == 200 else -1


def _write(reply: Reply, file: Path, begun: int, total: int, host: Host) -> int:
    """Write what comes, and say how far it is; returns how many bytes there are then."""
    done = begun
    with file.open("ab" if begun else "wb") as out:
        for chunk in reply.chunks(CHUNK, STILL):
            if host.cancelled.is_set():
                raise Conflict("It was cancelled.", "Fetch again: it goes on from there.")
            out.write(chunk)
            if 100 * (done + len(chunk)) // total > 100 * done // total:
                host.tell("", 100 * (done + len(chunk)) // total)
            done += len(chunk)
    return done


# -- verbs -----------------------------------------------------------------------------------------


@implements(interface.SOURCE)
def address(args: Nothing, host: Host) -> Source:
    """Where updates are fetched from, and what came of the last look."""
    return source(host.settings)


@implements(interface.SET_SOURCE)
def set_source(args: interface.From, host: Host) -> None:
    """Say where updates are fetched from; empty means nowhere."""
    image.required()
    before = source(host.settings)
    address = check_address(args.address) if args.address.strip() else ""
    authority = connect.check_authority(args.authority)
    if args.daily and not address:
        raise BadInput("Nothing can be fetched without an address.", "Enter one, or do not look every day.", field="address")
    kept = before if address == before.address else Kept()
    installation.store(_file(host.settings), kept.model_copy(update={"address": address, "authority": authority, "daily": args.daily}))


@implements(interface.FETCH)
def fetch(args: Nothing, host: Host) -> Fetched:
    """Fetch what is at the configured address, if it is new, and check it; it is then as one that was sent."""
    here, settings = image.required(), host.settings
    of, file = source(settings), settings.updates / "fetched.part"
    if not of.address:
        raise BadInput("Nobody said where updates are fetched from.", "Enter the address first.")
    try:
        host.tell(f"Asking {urlsplit(of.address).hostname}", None)
        mark = download(of, file, settings, host)
        if not mark:
            found, staged = "Nothing new.", None
        else:
            host.tell("Checking the update", None)
            _remember(settings, partial="")
            staged = installation.take_bundle(settings, file, host.by)
            _remember(settings, mark=mark)
            newer = installation.newer(staged.version, here.version)
            found = f"Version {staged.version}." if newer else f"Version {staged.version}, which is no newer than this one."
            if newer:
                record_event(settings, EventKind.UPDATE_FETCHED, f"The update to {staged.version} was fetched; an admin can install it.")
    except DpeError as error:
        _remember(settings, looked_at=datetime.now(UTC), found=error.message)
        raise
    _remember(settings, looked_at=datetime.now(UTC), found=found)
    host.tell(found, 100)
    return Fetched(found=found, version=staged.version if staged else None)


@every(600)
def look_daily(settings: Settings) -> None:
    """Begin a fetch where the admin switched that on, a day after the last one. Nothing is installed by itself."""
    of = source(settings)
    if not of.daily or image.boot_image() is None or (of.looked_at and datetime.now(UTC) - of.looked_at < DAY):
        return
    with contextlib.suppress(Conflict):  # something else goes on: the next look
        Client(settings, "the daily look for updates").begin(interface.FETCH)
