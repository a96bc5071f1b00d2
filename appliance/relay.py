"""The relay: everything between people and their machines passes here, and ends here when the right to it ends.

nginx asks whether somebody may come in when a request begins, and never again; a WebSocket, a stream or a download goes on for days. So
nginx hands each request that was let in to this process, with a ticket that says whose session and which machine it is for. Twice a second
all tickets are looked at together, and a connection whose ticket is no longer good is cut, on this side of the machine, whatever runs in it.
It is a process of its own because whatever stops it cuts everybody: the web process may start again, nginx may read its configuration again.

The relay is also where a machine's headers can be changed, which nginx cannot do by cookie (see access/cookies.py). After the two heads it
moves bytes.
"""

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from appliance.access import cookies
from appliance.catalog import machines
from appliance.held import Held, given
from appliance.services import app_access
from appliance.services.app_access import Ticket
from appliance.settings import Settings

HEAD = 2 << 20  # bytes of a head at most; nginx lets no larger one in
CHUNK = 256 << 10
CONNECT = 5.0  # seconds for a machine to answer
KNOWN_FOR = 10.0  # seconds that the marks of live machines are remembered

END = re.compile(rb"\r?\n\r?\n")
STATUS = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)(?: |$)")
HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*:[^\r\0]*")
OURS = b"x-dpe-"


class Refused(Exception):
    """What came is no head of HTTP."""


@dataclass
class Head:
    """The first line of a message and its headers, as they came."""

    first: bytes
    headers: list[tuple[bytes, bytes]]

    def get(self, name: bytes) -> str:
        """The first value of a header, or nothing."""
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), "")

    def replace(self, name: bytes, values: Callable[[str], Iterable[str]]) -> None:
        """Put other values in place of each value of a header."""
        self.headers = [
            pair
            for key, value in self.headers
            for pair in (
                [(key, new.encode("latin-1")) for new in values(value.decode("latin-1"))] if key.lower() == name else [(key, value)]
            )
        ]

    def dump(self) -> bytes:
        return b"\r\n".join([self.first, *(key + b": " + value for key, value in self.headers), b"", b""])


def parse(raw: bytes) -> Head:
    """A head from its bytes. Raises Refused for what one reader might take otherwise than another."""
    first, *lines = re.split(rb"\r?\n", END.split(raw, maxsplit=1)[0])
    if b"\r" in first or b"\0" in first or not all(HEADER.fullmatch(line) for line in lines):
        raise Refused
    pairs = [line.split(b":", 1) for line in lines]
    return Head(first, [(key.strip(), value.strip(b" \t")) for key, value in pairs])


async def read_head(reader: asyncio.StreamReader, raw: bytes = b"") -> tuple[Head, bytes]:
    """The next head, of which `raw` came already, and what came after it. Raises Refused, also when the other side closed before its end."""
    while not (found := END.search(raw)):
        chunk = await reader.read(CHUNK)
        if not chunk or len(raw) > HEAD:
            raise Refused
        raw += chunk
    return parse(raw[: found.end()]), raw[found.end() :]


@dataclass(eq=False)
class Connection:
    """One request on its way to a machine and back."""

    ticket: Ticket
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    used: bool = True  # since the last look: whether the browser sent anything

    def cut(self) -> None:
        """End it at once, whatever is under way."""
        for writer in self.writers:
            writer.transport.abort()


class Relay(Held[Connection, Ticket]):
    """All connections between nginx and machines."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._marks: set[str] = set()
        self._marked_at = float("-inf")

    def good(self, tickets: set[Ticket]) -> set[Ticket]:
        return app_access.good(tickets)

    async def serve(self, listening: socket.socket) -> None:
        """Serve until the process is told to stop."""
        server = await asyncio.start_unix_server(self._handle, sock=listening, limit=CHUNK)
        await self.until_stopped()
        server.close()
        for connection in list(self.connections):
            connection.cut()

    # -- one connection ----------------------------------------------------------------------

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head, rest = await read_head(reader)
            if not (target := head.get(b"x-dpe-target")):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")  # whoever started us asks
                await writer.drain()
                return
            session_id, _, machine_id = head.get(b"x-dpe-ticket").partition(" ")
            connection = Connection(Ticket(session_id, machine_id), [writer])
            self.connections.add(connection)
            try:
                await self._pass(connection, target, head, rest, reader, writer)
            finally:
                self.connections.discard(connection)
        except (OSError, Refused, TimeoutError):
            pass  # nginx tells the browser
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _pass(
        self, connection: Connection, target: str, head: Head, rest: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port = target.rpartition(":")
        async with asyncio.timeout(CONNECT):
            from_machine, to_machine = await asyncio.open_connection(host, int(port), limit=CHUNK)
        connection.writers.append(to_machine)
        try:
            keepalive = to_machine.get_extra_info("socket")
            keepalive.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            keepalive.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            machine_id, brought, path = connection.ticket.machine_id, head.get(b"cookie"), head.first.split(b" ")[1].decode("latin-1")
            wants_page = head.get(b"sec-fetch-mode") in ("navigate", "")
            head.headers = [pair for pair in head.headers if not pair[0].lower().startswith(OURS)]
            head.replace(b"cookie", lambda value: filter(None, [cookies.for_machine(value, machine_id)]))
            to_machine.write(head.dump() + rest)
            expired = cookies.expire(await self._left_behind(brought), path) if wants_page else []
            there = asyncio.create_task(self._there(connection, reader, to_machine))
            back = asyncio.create_task(self._back(machine_id, expired, from_machine, writer))
            _, pending = await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        finally:
            to_machine.close()

    async def _there(self, connection: Connection, reader: asyncio.StreamReader, to_machine: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            connection.used = True
            with contextlib.suppress(OSError):  # a machine may answer, and hear no more, before all was sent
                to_machine.write(chunk)
                await to_machine.drain()

    async def _back(self, machine_id: str, expired: list[str], from_machine: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        final, rest = False, b""
        while not final:
            head, rest = await read_head(from_machine, rest)
            if not (status := STATUS.match(head.first)):
                raise Refused
            final = status[1] == b"101" or not status[1].startswith(b"1")
            head.replace(b"set-cookie", lambda value: cookies.from_machine(value, machine_id))
            if final:
                head.headers += [(b"Set-Cookie", one.encode("latin-1")) for one in expired]
            writer.write(head.dump())
        writer.write(rest)
        await writer.drain()
        while chunk := await from_machine.read(CHUNK):
            writer.write(chunk)
            await writer.drain()

    async def _left_behind(self, brought: str) -> list[str]:
        """The cookies among these that machines left which are gone."""
        if cookies.left_behind(brought, self._marks) and time.monotonic() - self._marked_at > KNOWN_FOR:
            ids = await asyncio.get_running_loop().run_in_executor(self._thread, machines.live_ids)
            self._marks, self._marked_at = {cookies.mark(id) for id in ids}, time.monotonic()
        return cookies.left_behind(brought, self._marks)


def main() -> None:
    """`python -m appliance.relay`: on the socket that systemd, or whoever started it, opened for it."""
    listening, settings = given("appliance.relay")
    asyncio.run(Relay(settings).serve(listening))


if __name__ == "__main__":
    main()
