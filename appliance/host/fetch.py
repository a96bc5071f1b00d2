"""Updates fetched from an address that the admin configured: only when asked, or every day where the admin switched that on.

The address is that of a bundle itself, on any web server. It is asked for only when it has changed since, and goes on where it was cut off.
"""

import contextlib
import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from appliance import dial
from appliance.dial import Refused
from appliance.errors import BadInput, Conflict, DpeError, Unavailable
from appliance.host import image, updates
from appliance.host.client import Client
from appliance.host.events import tell
from appliance.host.interface import updates as interface
from appliance.host.interface.updates import Fetched, Source
from appliance.host.loops import every
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
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
    return updates.folder(settings) / "source.json"


def source(settings: Settings) -> Kept:
    return updates.load(_file(settings), Kept) or Kept()


def _remember(settings: Settings, **values: Any) -> None:
    updates.store(_file(settings), source(settings).model_copy(update=values))


def check_address(text: str) -> str:
    """The address of a bundle. Raises BadInput."""
    text = text.strip()
    with contextlib.suppress(ValueError, BadInput):
        parts = urlsplit(text)
        plain = text.isascii() and text.isprintable() and " " not in text and "#" not in text and len(text) <= 2000
        if plain and parts.scheme == "https" and parts.hostname and parts.port != 0 and "@" not in parts.netloc:
            dial.check_host(parts.hostname)
            return text
    raise BadInput(
        f"{text[:80]!r} is not an address of updates.", "Write one like https://updates.example.org/dpe.raucb, without a password in it."
    )


# -- fetching --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Got:
    """An answer whose body is yet to be read; `call` must be closed."""

    call: http.client.HTTPSConnection
    response: http.client.HTTPResponse


def _get(address: str, headers: dict[str, str], authority: str) -> Got:
    """Ask, and follow where the server sends us, over https only. Raises Unavailable and Refused."""
    for _ in range(HOPS):
        parts = urlsplit(check_address(address))
        host, port = parts.hostname or "", parts.port or 443
        call = http.client.HTTPSConnection(host, port)
        try:
            link = dial.connect(host, port, REACH)
        except (OSError, UnicodeError) as error:
            raise dial.explain(error, host, port, connected=False) from error
        try:
            link.settimeout(REACH)
            secure = call.sock = dial.trust(authority).wrap_socket(link, server_hostname=host)
            call.request(
                "GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers={"User-Agent": "DPE-Appliance", **headers}
            )
            response = call.getresponse()
        except OSError as error:
            link.close()
            raise dial.explain(error, host, port) from error
        except http.client.HTTPException as error:
            call.close()
            raise Unavailable(f"{host}:{port} does not answer as a web server does.", "Check the address.") from error
        if response.status not in (301, 302, 303, 307, 308):
            secure.settimeout(STILL)  # of `call` it is no more where the server hangs up after this
            return Got(call, response)
        call.close()
        address = urljoin(address, response.headers.get("Location", ""))
    raise Refused("The address leads from one to another without end.", "Enter the address of the update itself.")


def _mark(response: http.client.HTTPResponse) -> str:
    return response.headers.get("ETag") or response.headers.get("Last-Modified") or ""


def download(of: Kept, file: Path, settings: Settings, host: Host) -> str:
    """Fetch into `file`, from where it was cut off; returns what the server calls it, or nothing when it has nothing new.

    Raises Unavailable, Refused, and Conflict when it was cancelled.
    """
    begun = file.stat().st_size if file.exists() and of.partial else 0
    headers = {"Range": f"bytes={begun}-", "If-Range": of.partial} if begun else {"If-None-Match": of.mark} if of.mark else {}
    got = _get(of.address, headers, of.authority)
    with contextlib.closing(got.call):
        response, where = got.response, urlsplit(of.address).hostname
        mark = _mark(response)
        if response.status == 304 or (response.status == 200 and mark and mark == of.mark):
            return ""
        if response.status == 206 and begun and response.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):
            total = begun + (response.length or 0)
        elif response.status == 200:
            begun, total = 0, response.length or 0
        else:
            kind = Unavailable if response.status >= 500 or response.status in (408, 416, 429) else Refused
            file.unlink(missing_ok=True)
            raise kind(f"{where} answers {response.status} {response.reason}.", "Check the address.")
        if not 0 < total <= LARGEST:
            raise Refused(f"{where} does not say how large the update is.", "Enter the address of the update itself.")
        updates.check_room(settings, total - begun)
        _remember(settings, partial=mark)
        host.tell(f"Fetching {total >> 20} MiB from {where}" + (f", from {begun >> 20} MiB on" if begun else ""), 100 * begun // total)
        done = begun
        with file.open("ab" if begun else "wb") as out:
            for chunk in _chunks(got, host):
                out.write(chunk)
                if 100 * (done + len(chunk)) // total > 100 * done // total:
                    host.tell("", 100 * (done + len(chunk)) // total)
                done += len(chunk)
        if done != total:
            raise Unavailable(f"{where} hung up after {done >> 20} of {total >> 20} MiB.", "Fetch again: it goes on from there.")
        return mark or datetime.now(UTC).isoformat()


def _chunks(got: Got, host: Host) -> Iterator[bytes]:
    try:
        while chunk := got.response.read1(CHUNK):
            if host.cancelled.is_set():
                raise Conflict("It was cancelled.", "Fetch again: it goes on from there.")
            yield chunk
    except OSError as error:
        raise dial.explain(error, got.call.host, got.call.port) from error
    except http.client.HTTPException:
        return  # less came than was announced, which is seen by its length


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
    authority = dial.check_authority(args.authority)
    if args.daily and not address:
        raise BadInput("Nothing can be fetched without an address.", "Enter one, or do not look every day.")
    kept = before if address == before.address else Kept()
    updates.store(_file(host.settings), kept.model_copy(update={"address": address, "authority": authority, "daily": args.daily}))


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
            staged = updates.take(settings, file, host.by)
            _remember(settings, mark=mark)
            newer = updates.newer(staged.version, here.version)
            found = f"Version {staged.version}." if newer else f"Version {staged.version}, which is no newer than this one."
            if newer:
                tell(settings, "update.fetched", f"The update to {staged.version} was fetched; an admin can install it.")
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
    if not of.daily or image.found() is None or (of.looked_at and datetime.now(UTC) - of.looked_at < DAY):
        return
    with contextlib.suppress(Conflict):  # something else goes on: the next look
        Client(settings, "the daily look for updates").begin(interface.FETCH)
