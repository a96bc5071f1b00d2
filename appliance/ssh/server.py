"""The process that runs the SSH server, as a user who may do nothing else: it knows neither the catalog nor a secret.

dpe-console, which does, says when the server is to be there, what each key is good for, and when a connection is to end (console/ssh.py).
sshd takes what it may pass on from the answer about a key, once: so a connection is ended when any of that does not hold any more, whatever
it is used for just then, and whoever has more machines by then signs in again.

Between the two goes a JSON object a line. From dpe-console: {"sshd": {"key", "certificate"} or null}, {"answer": NUMBER, "lines": [...]} and
{"cut": NUMBER}; to it: {"ask": NUMBER, "key": "TYPE BASE64"}, {"ended": NUMBER} and {"used": FINGERPRINT}.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import struct
from pathlib import Path
from typing import Any

from appliance import durable, run
from appliance.settings import Settings
from appliance.settings import load as load_settings
from appliance.ssh import sshd

log = logging.getLogger("dpe.ssh")

AGAIN = 1.0  # seconds between two tries to reach dpe-console, or to start sshd
PATIENCE = 10.0  # seconds for an answer
LINE = 1 << 20  # bytes of a line at most
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)
ACCEPTED = re.compile(r"Accepted publickey for .* (SHA256:[A-Za-z0-9+/]{43})(?: |$)")


class Server:
    """sshd, and its connections by the numbers that we gave them."""

    def __init__(self, settings: Settings, folder: Path, user: str = sshd.USER) -> None:
        self.settings, self.folder, self.user = settings, folder, user
        self._sshd: run.Process | None = None
        self._wanted: dict[str, str] | None = None
        self._monitors: dict[int, int] = {}  # descriptors of the processes that hold connections (pidfd_open(2))
        self._answers: dict[int, asyncio.Future[list[str]]] = {}
        self._numbers = 0
        self._console: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Until the process is told to stop."""
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stopping.set)
        path = sshd.socket_path(self.folder)
        path.unlink(missing_ok=True)
        async with await asyncio.start_unix_server(self._about_key, path):
            path.chmod(0o600)
            task = asyncio.create_task(self._follow())
            await stopping.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._stop()

    # -- dpe-console ------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Do as dpe-console says; while it is away nobody is let in, and nobody stays."""
        while True:
            with contextlib.suppress(OSError, ValueError):
                reader, self._console = await asyncio.open_unix_connection(self.settings.ssh_questions, limit=LINE)
                try:
                    while line := await self._line(reader):
                        self._hear(json.loads(line))
                finally:
                    self._console.close()
                    self._console = None
                    self._stop()
            await asyncio.sleep(AGAIN)

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        """The next line; sshd is started again meanwhile, should it have ended."""
        asked = asyncio.ensure_future(reader.readline())
        try:
            while not (await asyncio.wait({asked}, timeout=AGAIN))[0]:
                self._keep()
        finally:
            asked.cancel()
        return asked.result()

    def _hear(self, said: dict[str, Any]) -> None:
        if "sshd" in said:
            if said["sshd"] is None:
                self._wanted = None
                self._stop()
            else:
                self._wanted = said["sshd"]
                self._keep()
        elif "cut" in said:
            self._cut(said["cut"])
        elif (waiting := self._answers.pop(said["answer"], None)) is not None and not waiting.done():
            waiting.set_result(said["lines"])

    def _tell(self, **said: object) -> None:
        if self._console is not None:
            self._console.write(json.dumps(said).encode() + b"\n")

    # -- sshd -------------------------------------------------------------------------------

    def _keep(self) -> None:
        """See that it runs, if it is to."""
        if self._wanted is None or (self._sshd is not None and self._sshd.poll() is None):
            return
        sshd.host_key(self.folder).unlink(missing_ok=True)
        durable.write(sshd.host_key(self.folder), self._wanted["key"], mode=0o600)
        durable.write(sshd.certificate(self.folder), self._wanted["certificate"])
        durable.write(self.folder / "sshd_config", sshd.configuration(self.settings, self.folder, self.user))
        reading, writing = os.pipe()
        try:
            self._sshd = run.start(run.tied(sshd.command(self.folder)), cwd=Path("/"), stderr=writing)
        finally:
            os.close(writing)
        self._listening = asyncio.get_running_loop().create_task(self._listen(reading))  # a task that nobody holds may be gone at any time

    async def _listen(self, pipe: int) -> None:
        """What sshd says goes to our own log, and says whose key was used."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", 0))
        while line := (await reader.readline()).decode(errors="replace").strip():
            log.info("%s", line)
            if found := ACCEPTED.search(line):
                self._tell(used=found[1])

    def _stop(self) -> None:
        """No server, and nobody there."""
        if self._sshd is not None:
            self._sshd.terminate()
            self._sshd.wait()
            self._sshd = None
        for number in list(self._monitors):
            self._cut(number)
        for waiting in self._answers.values():
            waiting.cancel()
        self._answers.clear()

    # -- connections --------------------------------------------------------------------------

    async def _about_key(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """sshd asks what a key is good for, by a process that waits for the answer; its parent holds the connection."""
        try:
            credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            monitor = _parent(CREDENTIALS.unpack(credentials)[0])
            async with asyncio.timeout(PATIENCE):
                key = (await reader.readline()).decode().strip()
                self._numbers += 1
                number = self._numbers
                self._answers[number] = waiting = asyncio.get_running_loop().create_future()
                self._tell(ask=number, key=key)
                lines = await waiting
            if lines:
                self._hold(number, monitor)
                writer.write("".join(f"{line}\n" for line in lines).encode())
                await writer.drain()
        except (OSError, ValueError, TimeoutError, asyncio.CancelledError) as error:
            log.warning("a key is refused, because nobody says what it is good for: %r", error)
        finally:
            writer.close()

    def _hold(self, number: int, monitor: int) -> None:
        descriptor = os.pidfd_open(monitor)
        self._monitors[number] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._ended, number)

    def _ended(self, number: int) -> None:
        descriptor = self._monitors.pop(number)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self._tell(ended=number)

    def _cut(self, number: int) -> None:
        """End a connection. sshd passes the signal on to the process beside it that does the work."""
        if (descriptor := self._monitors.get(number)) is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)


def _parent(pid: int) -> int:
    """The number of a process's parent (proc_pid_stat(5))."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def main() -> None:
    """Run until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = load_settings()
    asyncio.run(Server(settings, settings.ssh_folder).serve())
