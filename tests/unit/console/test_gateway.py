"""dpe-console over sockets of the test's own: what passes between a browser and a machine, who watches, and how it ends."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.asyncio.server import unix_serve
from websockets.exceptions import ConnectionClosed

from appliance.console import gateway, lines
from appliance.console.gateway import Gateway
from appliance.errors import Unavailable
from appliance.services import consoles
from appliance.services.consoles import Admission
from appliance.settings import Settings

pytestmark = pytest.mark.console

MACHINE = "0123abcd-0000-4000-8000-000000000000"
OWNER = Admission("hers", MACHINE, 1, 1, "screen", control=True, address="127.0.0.1")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Connect = Callable[[Admission], "contextlib.AbstractAsyncContextManager[ClientConnection]"]


class Rows:
    """In place of the catalog: who is written down as being there, and whose right holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there: dict[int, Admission] = {}
        self.ended: set[Admission] = set()
        monkeypatch.setattr(consoles, "begin", self.begin)
        monkeypatch.setattr(consoles, "end", self.there.pop)
        monkeypatch.setattr(consoles, "good", lambda asked: set(asked) - self.ended)
        monkeypatch.setattr(consoles, "why_ended", lambda _: "Its lease has ended.")
        monkeypatch.setattr(gateway.Gateway, "note_used", lambda *_: None)

    def begin(self, admission: Admission) -> int:
        number = len(self.there) + 1
        self.there[number] = admission
        return number


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Rows:
    return Rows(monkeypatch)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while said := await reader.read(1000):
        writer.write(said)
    writer.close()


@asynccontextmanager
async def machine(path: Path, serve: Serve) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """What QEMU has at a path, and who is connected to it."""
    connected: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        with contextlib.suppress(OSError):
            await serve(reader, writer)

    path.parent.mkdir(exist_ok=True)
    server = await asyncio.start_unix_server(accept, str(path))
    yield connected
    server.close()
    for writer in connected:
        writer.transport.abort()
    await asyncio.sleep(0)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Gateway, Connect]]:
    tested, path = Gateway(settings), str(settings.run / "console.sock")
    async with unix_serve(tested.handle, path, process_request=tested.answer, compression=None, close_timeout=1):
        yield tested, lambda who: unix_connect(path, additional_headers={"X-DPE-Ticket": who.dump()}, compression=None, close_timeout=1)
    await tested._lines.close()
    tested._thread.shutdown()


async def end_of(browser: ClientConnection) -> tuple[int, str]:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(browser.recv(), 10)
    assert browser.close_code
    return browser.close_code, browser.close_reason or ""


async def heard(browser: ClientConnection, length: int) -> bytes:
    said = b""
    while len(said) < length:
        piece = await asyncio.wait_for(browser.recv(), 10)
        assert isinstance(piece, bytes)
        said += piece
    return said


async def gone(rows: Rows) -> None:
    """Until nobody is written down as being there."""
    async with asyncio.timeout(10):
        while rows.there:
            await asyncio.sleep(0.005)


def test_bytes_pass_both_ways_and_who_is_there_is_written_down(settings: Settings, rows: Rows) -> None:
    async def go() -> None:
        async with machine(settings.screen(MACHINE), echo), running(settings) as (tested, connect):
            async with connect(OWNER) as browser:
                data = bytes(range(256)) * 1000
                await browser.send(data)
                assert await heard(browser, len(data)) == data
                assert list(rows.there.values()) == [OWNER]
            await gone(rows)
            assert tested.connections == set()

    asyncio.run(go())


@pytest.mark.revoked
def test_a_right_that_ends_ends_it_with_the_reason_and_the_machine_hears_no_more(settings: Settings, rows: Rows) -> None:
    async def go() -> None:
        async with machine(settings.screen(MACHINE), echo) as connected, running(settings) as (tested, connect):
            other = replace(OWNER, session_id="his")
            async with connect(OWNER) as browser, connect(other) as beside:
                for one in (browser, beside):
                    await one.send(b"x")
                    await heard(one, 1)
                await tested.look()
                rows.ended.add(OWNER)
                await tested.look()
                assert await end_of(browser) == (gateway.ENDED, "Its lease has ended.")
                await beside.send(b"still there")
                assert await heard(beside, 11) == b"still there"
            await gone(rows)
            assert len(connected) == 2

    asyncio.run(go())


def test_a_machine_that_goes_off_says_so_and_one_without_a_screen_when_it_gets_one(settings: Settings, rows: Rows) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async def go() -> None:
        async with running(settings) as (_, connect):
            async with connect(OWNER) as browser:
                code, reason = await end_of(browser)
                assert code == gateway.NONE_THERE
                assert "once it is stopped and started" in reason
            async with connect(replace(OWNER, target="tcp/1")) as browser:
                assert await end_of(browser) == (gateway.NONE_THERE, "Nothing answers on port 1 of the machine.")
            async with machine(settings.screen(MACHINE), hang_up), connect(OWNER) as browser:
                await browser.send(b"x")
                assert await end_of(browser) == (gateway.OFF, "The machine has gone off.")
            async with machine(settings.screen(MACHINE), hang_up), connect(OWNER) as browser:
                rows.ended.add(OWNER)  # given back: the machine is quicker than the next look
                await browser.send(b"x")
                assert await end_of(browser) == (gateway.ENDED, "Its lease has ended.")

    asyncio.run(go())


def test_a_port_of_a_machine_is_reached(settings: Settings, rows: Rows) -> None:
    async def go() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with running(settings) as (_, connect), connect(replace(OWNER, target=f"tcp/{port}")) as browser:
            await browser.send(b"SSH-2.0-x\r\n")
            assert await heard(browser, 11) == b"SSH-2.0-x\r\n"
        server.close()

    asyncio.run(go())


def test_who_watches_is_not_heard(settings: Settings, rows: Rows) -> None:
    watching = replace(OWNER, control=False)
    hello, key, request = b"RFB 003.008\n\1\0", b"\4\1\0\0\0\0\0a", b"\3\1" + bytes(8)

    async def go() -> None:
        screen, line = machine(settings.screen(MACHINE), echo), machine(settings.serial_line(MACHINE), echo)
        async with screen, line, running(settings) as (_, connect):
            async with connect(watching) as browser:
                await browser.send(hello + key)
                await browser.send(key + request)
                assert await heard(browser, 24) == b"RFB 003.008\n\1\1" + request
                await browser.send(b"\7nonsense")
                assert (await end_of(browser))[0] == gateway.ODD
            async with connect(replace(watching, target="serial")) as looks, connect(replace(OWNER, target="serial")) as types:
                await looks.send(b"rm -rf /\n")
                await types.send("ls\n")
                assert await heard(looks, 3) == await heard(types, 3) == b"ls\n"

    asyncio.run(go())


def test_a_serial_line_has_one_client_and_keeps_the_last_lines(settings: Settings, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "KEPT", 10)
    serial = replace(OWNER, target="serial")

    async def go() -> None:
        async with running(settings) as (_, connect):
            async with machine(settings.serial_line(MACHINE), echo) as connected:
                async with connect(serial) as browser:
                    await browser.send(b"one two three")
                    assert await heard(browser, 13) == b"one two three"
                async with connect(serial) as browser, connect(serial) as beside:
                    assert await heard(browser, 10) == await heard(beside, 10) == b" two three"
                    await browser.send(b"!")
                    assert await heard(beside, 1) == b"!"
                    assert len(connected) == 1
                    connected[0].close()
                    assert await end_of(beside) == (gateway.OFF, "The machine has gone off.")
            settings.serial_line(MACHINE).unlink()
            async with machine(settings.serial_line(MACHINE), echo), connect(serial) as browser:  # it is started again
                await browser.send(b"new")
                assert await heard(browser, 3) == b"new"

    asyncio.run(go())


def test_who_cannot_keep_up_with_a_line_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BEHIND", 3)
    monkeypatch.setattr(lines, "CHUNK", 1)

    async def go() -> None:
        reader = asyncio.StreamReader()
        left, right = socket.socketpair()
        _, writer = await asyncio.open_connection(sock=left)
        line = lines.Line(reader, writer)
        slow = line.join()
        reader.feed_data(b"abcdef")
        reader.feed_eof()
        await line.read()
        assert [slow.get_nowait() for _ in range(slow.qsize())] == [b"a", b"b", b"c", b""]
        right.close()

    asyncio.run(go())


def test_a_session_opens_a_bounded_number(settings: Settings, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "EACH", 1)

    async def go() -> None:
        async with machine(settings.screen(MACHINE), echo), running(settings) as (_, connect), connect(OWNER) as first:
            await first.send(b"x")
            await heard(first, 1)
            async with connect(OWNER) as second:
                assert (await end_of(second))[0] == gateway.TOO_MANY

    asyncio.run(go())


@pytest.mark.lost
def test_nobody_is_there_without_its_being_written_down(settings: Settings, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Admission) -> int:
        raise Unavailable("The disk is full.")

    async def go() -> None:
        monkeypatch.setattr(consoles, "begin", full)
        async with machine(settings.screen(MACHINE), echo) as connected, running(settings) as (_, connect), connect(OWNER) as browser:
            assert await end_of(browser) == (gateway.FAILED, "The disk is full.")
            assert connected == []

    asyncio.run(go())


def test_whoever_started_it_hears_that_it_serves(settings: Settings, rows: Rows) -> None:
    async def go() -> bytes:
        async with running(settings):
            reader, writer = await asyncio.open_unix_connection(str(settings.run / "console.sock"))
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = await reader.read()
            writer.close()
            return got

    assert asyncio.run(go()).startswith(b"HTTP/1.1 200 OK\r\n")
