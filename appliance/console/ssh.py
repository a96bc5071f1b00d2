"""What the SSH server is told: whether it is to be there, what a key is good for, and when a connection is over. See ssh/server.py."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

from appliance.held import Held
from appliance.services import ssh
from appliance.services.ssh import Admission

LOOK_EVERY = 1.0  # seconds between two looks whether the server is to be there
LINE = 1 << 16  # bytes

T = TypeVar("T")


@dataclass(eq=False)
class Connection:
    """Somebody at the SSH server, by the number that it has for it."""

    ticket: Admission
    number: int
    writer: asyncio.StreamWriter
    used: bool = False

    def cut(self) -> None:
        _say(self.writer, cut=self.number)


class Questions(Held[Connection, Admission]):
    """What the SSH server asks, and the connections that are there by our answers."""

    def good(self, tickets: set[Admission]) -> set[Admission]:
        return ssh.good(tickets)

    @contextlib.asynccontextmanager
    async def answered(self) -> AsyncIterator[None]:
        """Meanwhile the SSH server is told what it asks."""
        path = self.settings.ssh_questions
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        async with await asyncio.start_unix_server(self._answer, path, limit=LINE):
            path.chmod(0o660)
            looking = asyncio.create_task(self._keep_looking())
            try:
                yield
            finally:
                looking.cancel()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        switching = asyncio.create_task(self._switch(writer))
        try:
            while line := await reader.readline():
                said = json.loads(line)
                if "ask" in said:
                    await self._ask(writer, int(said["ask"]), str(said["key"]))
                elif "used" in said:
                    await self._do(ssh.note_used, str(said["used"]))
                elif "ended" in said:
                    self.connections -= {one for one in self.connections if (one.writer, one.number) == (writer, said["ended"])}
        except (OSError, ValueError, KeyError, TypeError):
            pass  # it comes again, and begins anew
        finally:
            switching.cancel()
            self.connections -= {one for one in self.connections if one.writer is writer}
            writer.close()

    async def _ask(self, writer: asyncio.StreamWriter, number: int, key: str) -> None:
        admission = await self._do(ssh.admit, key, self.settings)
        if admission is not None:
            self.connections.add(Connection(admission, number, writer))
        _say(writer, answer=number, lines=[] if admission is None else [admission.line])

    async def _switch(self, writer: asyncio.StreamWriter) -> None:
        """Say whether the server is to be there, now and whenever that changes."""
        told: object = ...
        while True:
            wanted = await self._do(ssh.wanted)
            if wanted != told:
                _say(writer, sshd=await self._do(ssh.host_key) if wanted else None)
                told = wanted
            await asyncio.sleep(LOOK_EVERY)

    async def _do(self, question: Callable[..., T], *about: object) -> T:
        """Ask the catalog, which may keep one waiting."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, *about)


def _say(writer: asyncio.StreamWriter, **said: object) -> None:
    writer.write(json.dumps(said).encode() + b"\n")
