"""The relay, over sockets of the test's own: what passes, what is refused, and who is cut."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance import held
from appliance.catalog import machines
from appliance.relay import Refused, Relay, parse
from appliance.services import app_access
from appliance.services.app_access import Ticket
from appliance.settings import Settings

pytestmark = pytest.mark.revoked

MACHINE = "0123abcd-0000-4000-8000-000000000000"
TICKET = f"X-DPE-Target: 127.0.0.1:%d\r\nX-DPE-Ticket: session {MACHINE}\r\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def between(settings: Settings, tmp_path: Path, application: Serve) -> AsyncIterator[tuple[Relay, str, int]]:
    """A relay with nobody looking at tickets, the path of its socket, and the port of an application."""
    tested = Relay(settings)
    accepted: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        with contextlib.suppress(OSError):
            await application(reader, writer)

    behind = await asyncio.start_server(serve, "127.0.0.1", 0)
    path = str(tmp_path / "relay.sock")
    front = await asyncio.start_unix_server(tested._handle, path)
    try:
        yield tested, path, behind.sockets[0].getsockname()[1]
    finally:
        for connection in list(tested.connections):
            connection.cut()
        for writer in [*accepted, *asked]:
            writer.close()
        asked.clear()
        front.close()
        behind.close()
        tested._thread.shutdown()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


asked: list[asyncio.StreamWriter] = []


async def ask(path: str, port: int, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path)
    asked.append(writer)
    line, _, rest = request.partition(b"\r\n")
    writer.write(line + b"\r\n" + (TICKET % port).encode() + rest)
    await writer.drain()
    return reader, writer


def answering(answer: bytes, seen: list[bytes]) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    return serve


def exchange(settings: Settings, tmp_path: Path, answer: bytes, request: bytes) -> tuple[bytes, bytes]:
    """What the machine saw, and what came back."""
    seen: list[bytes] = []

    async def go() -> bytes:
        async with between(settings, tmp_path, answering(answer, seen)) as (_, path, port):
            reader, writer = await ask(path, port, request)
            got = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return got

    return (lambda got: (seen[0] if seen else b"", got))(asyncio.run(go()))


@pytest.mark.hostile
def test_a_machine_gets_its_own_cookies_and_nothing_of_the_relays(settings: Settings, tmp_path: Path) -> None:
    sent = b"GET /lab HTTP/1.1\r\nHost: h\r\nCookie: __Host-Http-dpe=s; dpe-0123abcd-login=1; dpe-ffffffff-login=2; _xsrf=3\r\nX-DPE-More: x\r\n\r\n"
    seen, _ = exchange(settings, tmp_path, b"HTTP/1.1 204 No Content\r\n\r\n", sent)
    assert seen == b"GET /lab HTTP/1.1\r\nHost: h\r\nCookie: login=1; _xsrf=3\r\n\r\n"
    seen, _ = exchange(settings, tmp_path, b"HTTP/1.1 204 No Content\r\n\r\n", b"GET / HTTP/1.1\r\nCookie: __Host-Http-dpe=s\r\n\r\n")
    assert b"ookie" not in seen


@pytest.mark.hostile
def test_its_answer_passes_byte_by_byte_but_for_its_cookies(settings: Settings, tmp_path: Path) -> None:
    body = bytes(range(256)) * 4000
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Odd:  two  words \r\nSet-Cookie: a=1; HttpOnly\r\nset-cookie: b=2\r\n\r\n"
    _, got = exchange(settings, tmp_path, head + body, b"POST / HTTP/1.1\r\nHost: h\r\n\r\n")
    wanted = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Odd: two  words\r\nSet-Cookie: dpe-0123abcd-a=1; HttpOnly\r\nset-cookie: b=2\r\n\r\n"
    assert got == wanted + body


@pytest.mark.hostile
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1;\r\n HttpOnly\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: __Host-Http-dpe=evil\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (3 << 20),
    ],
    ids=["nothing", "garbage", "no header", "folded", "bare CR", "endless"],
)
def test_what_could_be_read_in_two_ways_does_not_pass(settings: Settings, tmp_path: Path, answer: bytes) -> None:
    assert exchange(settings, tmp_path, answer, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")[1] == b""


@pytest.mark.hostile
def test_line_ends_of_one_byte_hide_nothing() -> None:
    head = parse(b"HTTP/1.1 200 OK\nSet-Cookie: a=1\nX: 2\n\n")
    assert head.dump() == b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX: 2\r\n\r\n"
    for odd in (b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", b"HTTP/1.1 200 OK\r\n: x\r\n\r\n"):
        with pytest.raises(Refused):
            parse(odd)


@pytest.mark.hostile
def test_what_machines_left_that_are_gone_is_taken_away(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "live_ids", lambda: {MACHINE, "11111111-0000-4000-8000-000000000000"})
    sent = b"GET /lab?x HTTP/1.1\r\nSec-Fetch-Mode: navigate\r\nCookie: dpe-0123abcd-a=1; dpe-11111111-a=2; dpe-ffffffff-a=3\r\n\r\n"
    _, got = exchange(settings, tmp_path, b"HTTP/1.1 204 No Content\r\n\r\n", sent)
    taken = [line.split(b"; ")[:2] for line in got.split(b"\r\n") if line.startswith(b"Set-Cookie")]
    assert taken == [[b"Set-Cookie: dpe-ffffffff-a=", path] for path in (b"Path=/", b"Path=/lab", b"Path=/lab/")]
    _, got = exchange(settings, tmp_path, b"HTTP/1.1 204 No Content\r\n\r\n", sent.replace(b"navigate", b"cors"))
    assert b"Set-Cookie" not in got


def test_a_machine_that_answers_before_all_was_sent_is_heard(settings: Settings, tmp_path: Path) -> None:
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    _, got = exchange(settings, tmp_path, answer, b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 100_000)
    assert got == answer


def test_tickets_that_are_not_good_are_cut_and_others_go_on(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        while said := await reader.read(100):
            writer.write(said)

    prolonged: list[set[str]] = []
    good: set[Ticket] = set()
    monkeypatch.setattr(app_access, "good", lambda _: good)
    monkeypatch.setattr(held.sessions, "prolong", lambda ids, _: prolonged.append(set(ids)))

    async def go() -> None:
        async with between(settings, tmp_path, echo) as (tested, path, port):
            reader, writer = await ask(path, port, b"GET /ws HTTP/1.1\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            good.add(Ticket("session", MACHINE))
            await tested.look()
            await tested.look()  # noted once a minute
            assert prolonged == [{"session"}]
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"

            def away(_: object) -> set[Ticket]:
                raise OSError("the catalog is away")

            monkeypatch.setattr(app_access, "good", away)
            with pytest.raises(OSError, match="away"):
                await tested.look()
            writer.write(b"still")  # for a while nobody knows, and nobody is cut for that
            assert await reader.readexactly(5) == b"still"
            tested._looked_at = time.monotonic() - held.BLIND
            await tested.look()
            assert await asyncio.wait_for(reader.read(), 10) == b""

            reader, writer = await ask(path, port, b"GET /ws HTTP/1.1\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            monkeypatch.setattr(app_access, "good", lambda _: set())
            await tested.look()
            assert await asyncio.wait_for(reader.read(), 10) == b""

    asyncio.run(go())


def test_whoever_started_it_hears_that_it_serves(settings: Settings, tmp_path: Path) -> None:
    async def go() -> bytes:
        async with between(settings, tmp_path, answering(b"", [])) as (_, path, _port):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = await reader.read()
            writer.close()
            return got

    assert asyncio.run(go()).startswith(b"HTTP/1.1 200 OK\r\n")
