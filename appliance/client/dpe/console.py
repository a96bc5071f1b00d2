"""`dpe console`, `dpe proxy` and `dpe ssh`: streams of a machine through the appliance, which needs no way to the machine's own network."""

import asyncio
import contextlib
import os
import shlex
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import click

from dpe import certificate, output
from dpe.cli import Context, one_machine
from dpe.errors import ClientError, Unreachable

ESCAPE = b"\x1d"  # Ctrl-]
CHUNK = 64 << 10


def _pass(
    client: Any, machine: dict[str, Any], target: str, read: Callable[[], bytes], write: Callable[[bytes], object], *,
    take_over: bool = False, meanwhile: AbstractContextManager[object] | None = None,
) -> str:  # fmt: skip
    """Both ways between the machine's target and what reads and writes, until one side ends; why the appliance ended it, if it said so.

    asyncio has a TLS connection to itself; one that two threads read and write at once stands still now and then, as websockets' own threads do.
    """
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    address = client.console(machine, target, take_over=take_over)

    async def passing() -> str:
        try:
            stream = await connect(
                address,
                ssl=certificate.context(client.certificate),
                additional_headers={"Authorization": f"Bearer {client.token}"},
                compression=None,
                proxy=None,
                max_size=None,
            )
        except (OSError, WebSocketException) as error:
            raise Unreachable(f"{machine['name']} does not answer: {error}.", "Look whether it is on: dpe list") from error
        async with stream:
            with meanwhile or contextlib.nullcontext():
                return await _copy(stream, read, write)

    return asyncio.run(passing())


async def _copy(stream: Any, read: Callable[[], bytes], write: Callable[[bytes], object]) -> str:
    from websockets.exceptions import ConnectionClosed

    async def there() -> None:
        async for data in _chunks(read):
            await stream.send(data)
        await stream.close()

    sending = asyncio.create_task(there())
    try:
        while True:
            data = await stream.recv()
            await asyncio.to_thread(write, data.encode() if isinstance(data, str) else data)
    except ConnectionClosed as closed:
        return str(closed.rcvd.reason) if closed.rcvd and closed.rcvd.code >= 4000 else ""
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
            await sending


async def _chunks(read: Callable[[], bytes]) -> AsyncIterator[bytes]:
    """What is read, until nothing is: each in its turn by a thread that may wait for ever, and that nobody waits for."""
    loop, came, wanted = asyncio.get_running_loop(), asyncio.Queue[bytes](), threading.Semaphore(0)

    def reading() -> None:
        data = b"?"
        while data and wanted.acquire():
            try:
                data = read()
            except OSError:
                data = b""
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(came.put_nowait, data)

    threading.Thread(target=reading, daemon=True).start()
    wanted.release()
    while data := await came.get():
        yield data
        wanted.release()


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


@click.command()
@one_machine
@click.option("--take-over", is_flag=True, help="Type in somebody else's machine; it is recorded.")
@click.option(
    "--listen",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Listen on 127.0.0.1 for a VNC viewer or an RDP client; 0: any free port.",
)
@click.option(
    "--target",
    default="screen",
    help="What it sees: screen, vnc/PORT of a desktop, or tcp/PORT where it speaks RDP (the console's page says it).",
)
@click.pass_obj
def console(context: Context, machine: str, take_over: bool, listen: int | None, target: str) -> None:
    """Connect to a machine's serial line, which Ctrl-] ends, or have a viewer of your own see its screen."""
    client = context.client
    found = client.machine(machine)
    if listen is not None:
        return _listen(client, found, listen, target, take_over=take_over)
    why = _pass(client, found, "serial", _typed, _write, take_over=take_over, meanwhile=_typing(found["name"]))
    output.note(why or "Disconnected.")


def _listen(client: Any, machine: dict[str, Any], port: int, target: str, *, take_over: bool) -> None:
    """Connect each viewer that comes to 127.0.0.1:port, with a ticket of its own, until the command is ended."""
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ClientError(f"Nothing can listen on port {port}: {error.strerror}.", "Name another one, or 0 for any.") from None
    with listening:
        output.note(f"{machine['name']} is at 127.0.0.1:{listening.getsockname()[1]} for programs of this computer. Ctrl-C ends it.")
        while True:
            viewer = listening.accept()[0]
            threading.Thread(target=_view, args=(client, machine, target, viewer), kwargs={"take_over": take_over}, daemon=True).start()


def _view(client: Any, machine: dict[str, Any], target: str, viewer: socket.socket, *, take_over: bool) -> None:
    with viewer:
        try:
            why = _pass(client, machine, target, lambda: viewer.recv(CHUNK), viewer.sendall, take_over=take_over)
        except ClientError as error:
            why = str(error)
        except OSError:  # the viewer has gone
            return
        finally:
            with contextlib.suppress(OSError):
                viewer.shutdown(socket.SHUT_RDWR)  # whoever still reads from it is to end, too
    if why:
        output.note(why)


def _typed() -> bytes:
    data = os.read(0, CHUNK)
    return b"" if ESCAPE in data else data


@contextlib.contextmanager
def _typing(name: str) -> Iterator[None]:
    """While the terminal hands on each key to the machine as it is typed."""
    output.note(f"Connected to {name}. Ctrl-] ends it.")
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@click.command()
@one_machine
@click.argument("port", type=click.IntRange(1, 65535), default=22)
@click.pass_obj
def proxy(context: Context, machine: str, port: int) -> None:
    """Connect standard input and output to a port of a machine, like ssh's ProxyCommand."""
    client = context.client
    found = client.machine(machine)
    if why := _pass(client, found, f"tcp/{port}", lambda: os.read(0, CHUNK), _write):
        raise ClientError(why)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@one_machine
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENT...]")
@click.option("--user", default="", help="Sign in as this user of the machine; else as its owner's.")
@click.option("--print", "only", is_flag=True, help="Print what would be called.")
@click.pass_obj
def ssh(context: Context, machine: str, arguments: tuple[str, ...], user: str, only: bool) -> None:
    """Open a shell in a machine, or run a command there, by SSH through the appliance.

    Arguments are ssh's own, a command last. The machine's seed has to have an SSH server, and your account a public key: the account's page, SSH keys.
    """
    found = context.client.machine(machine)
    words = ["ssh", *ssh_options(context, found, sys.argv[0]), f"{user or found['user']}@{found['name']}", *arguments]
    if only:
        output.done(shlex.join(words))
        return
    try:
        os.execvp(words[0], words)  # noqa: S606 - ssh takes over from here
    except FileNotFoundError:
        raise ClientError("There is no ssh on this computer.", "Install OpenSSH's client.") from None


def ssh_options(context: Context, machine: dict[str, Any], command: str) -> list[str]:
    """ssh goes through `dpe proxy`. Its host key is known under the machine's id: another machine of that name later has another."""
    words = [command, *(["--host", context.address] if context.address else []), "proxy", machine["id"]]
    through = f"{shlex.join(words).replace('%', '%%')} %p"
    return ["-o", f"ProxyCommand={through}", "-o", f"HostKeyAlias=dpe-{machine['id']}", "-o", "StrictHostKeyChecking=accept-new"]
