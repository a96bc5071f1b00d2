"""The process between browsers and whatever of a machine is a stream: its screen, its serial line, a port.

nginx has asked the web process who comes (services.consoles.redeem), and passes on what that said as `X-DPE-Ticket`. From then on the
connection is held here, and ends when `services.consoles.good` says so, with a reason that people can read.
"""

import asyncio
import contextlib
import http
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from appliance.console import rfb
from appliance.console.lines import Lines
from appliance.console.ssh import Questions
from appliance.errors import DpeError
from appliance.held import Held, given
from appliance.identity import secrets
from appliance.services import consoles
from appliance.services.consoles import Admission
from appliance.settings import Settings

CHUNK = 64 << 10
CONNECT = 5.0  # seconds for a machine to answer
LARGEST = 1 << 20  # bytes in a message
EACH = 20  # connections that a session may have at once
TOLD = 123  # bytes of a reason that a WebSocket's end has room for (RFC 6455, 5.5)
# How a connection ends that we end; RFC 6455 leaves 4000 to 4999 to applications.
ENDED, OFF, ODD, NONE_THERE, TOO_MANY, FAILED = 4001, 4002, 4003, 4004, 4008, 1011

T = TypeVar("T")


@dataclass(eq=False)
class Session:
    """Somebody at a machine."""

    ticket: Admission
    over: asyncio.Event = field(default_factory=asyncio.Event)
    used: bool = True

    def cut(self) -> None:
        self.over.set()


@dataclass(frozen=True)
class Way:
    """To a machine and back: `read` returns nothing at its end."""

    read: Callable[[], Awaitable[bytes]]
    write: Callable[[bytes], Awaitable[None]]
    close: Callable[[], None]


class Ended(Exception):
    """A session's end: a code, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Gateway(Held[Session, Admission]):
    """All connections of people to screens, serial lines and ports."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._lines = Lines()

    def good(self, tickets: set[Admission]) -> set[Admission]:
        return consoles.good(tickets)

    def note_used(self, used: set[Admission]) -> None:
        super().note_used(used)
        consoles.note_used(used)

    async def serve(self, listening: socket.socket) -> None:
        """Serve until the process is told to stop."""
        await self._ask(consoles.forget)
        async with (
            unix_serve(self.handle, sock=listening, process_request=self.answer, compression=None, max_size=LARGEST, close_timeout=1),
            Questions(self.settings).answered(),
        ):
            await self.until_stopped()
        await self._lines.close()

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Whoever started us asks whether we are there, and pages how far away we are."""
        if "X-DPE-Ticket" in request.headers:
            return None
        return connection.respond(http.HTTPStatus.OK, "ok\n")

    async def _ask(self, question: Callable[..., T], *about: object) -> T:
        """Of the catalog, which may keep one waiting."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, *about)

    async def handle(self, browser: ServerConnection) -> None:
        """One connection, from when it was let in until it ends for whatever reason."""
        assert browser.request
        admission = Admission.load(browser.request.headers["X-DPE-Ticket"])
        session = Session(admission)
        beside = sum(one.ticket.session_id == admission.session_id for one in self.connections)
        self.connections.add(session)
        row, code, reason = None, 1000, ""
        try:
            if beside >= EACH:
                raise Ended(TOO_MANY, "Too many screens are open. Close some.")
            row = await self._ask(consoles.begin, admission)
            await self._pass(session, browser)
        except Ended as ended:
            code, reason = ended.code, ended.reason
        except DpeError as error:  # the disk may be full: nobody is anywhere without its being written down
            code, reason = FAILED, str(error)
        finally:
            self.connections.discard(session)
            if row is not None:
                await asyncio.shield(self._ask(consoles.end, row))
            with contextlib.suppress(ConnectionClosed):
                await browser.close(code, reason.encode()[:TOLD].decode(errors="ignore"))

    async def _pass(self, session: Session, browser: ServerConnection) -> None:
        way = await self._open(session.ticket)
        there = asyncio.create_task(self._there(session, browser, way))
        back = asyncio.create_task(self._back(browser, way))
        over = asyncio.create_task(session.over.wait())
        try:
            done, _ = await asyncio.wait({there, back, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            way.close()  # before anybody is told: nothing that is still under way arrives
            for task in (there, back, over):
                task.cancel()
            found = await asyncio.gather(there, back, over, return_exceptions=True)
        if any(isinstance(one, rfb.Refused) for one in found):
            raise Ended(ODD, "What the browser sent is not understood. Reload the page.")
        if there in done and over not in done and back not in done:
            return  # the browser has gone
        if over in done or session.ticket not in await self._ask(consoles.good, [session.ticket]):
            raise Ended(ENDED, await self._ask(consoles.why_ended, session.ticket))
        raise Ended(OFF, "The machine has gone off.")

    async def _open(self, admission: Admission) -> Way:
        kind, _, port = admission.target.partition("/")
        try:
            async with asyncio.timeout(CONNECT):
                if kind == "serial":
                    return await self._line(admission)
                if kind == "screen":
                    streams = await asyncio.open_unix_connection(os.fspath(self.settings.screen(admission.machine_id)), limit=CHUNK)
                else:
                    streams = await asyncio.open_connection(admission.address, int(port), limit=CHUNK)
        except (OSError, TimeoutError):
            if port:
                raise Ended(NONE_THERE, f"Nothing answers on port {port} of the machine.") from None
            raise Ended(
                NONE_THERE, "It has none now. A machine saved by an older version has one once it is stopped and started."
            ) from None
        reader, writer = streams

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        return Way(lambda: reader.read(CHUNK), write, writer.transport.abort)

    async def _line(self, admission: Admission) -> Way:
        line = await self._lines.get(self.settings.serial_line(admission.machine_id))
        queue = line.join()
        return Way(queue.get, line.write, lambda: line.leave(queue))

    async def _there(self, session: Session, browser: ServerConnection, way: Way) -> None:
        watcher = None if session.ticket.control else rfb.Watcher()
        blind = watcher is not None and session.ticket.target == "serial"
        with contextlib.suppress(OSError, ConnectionClosed):
            async for said in browser:
                data = said.encode() if isinstance(said, str) else said
                session.used = True
                if watcher is not None:
                    data = b"" if blind else watcher.feed(data)
                if data:
                    await way.write(data)

    async def _back(self, browser: ServerConnection, way: Way) -> None:
        with contextlib.suppress(OSError, ConnectionClosed):
            while said := await way.read():
                await browser.send(said)


def main() -> None:
    """`python -m appliance.console`: on the socket that systemd, or whoever started it, opened for it."""
    listening, settings = given("appliance.console")
    secrets.open(settings.web_secret)
    asyncio.run(Gateway(settings).serve(listening))
