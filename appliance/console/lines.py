"""Serial lines: QEMU lets one client at a time in, so this process is that client for all who look, and keeps the last lines for who comes next."""

import asyncio
import contextlib
import os
from pathlib import Path

KEPT = 64 << 10  # bytes of what a line said last
BEHIND = 256  # pieces that somebody may be behind before they are let go
CHUNK = 16 << 10


class Line:
    """The serial line of a machine, from when somebody first looked at it until the machine goes off."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.kept = bytearray()
        self.over = False
        self._reader, self._writer = reader, writer
        self._listeners: set[asyncio.Queue[bytes]] = set()

    def join(self) -> "asyncio.Queue[bytes]":
        """What it says from now on, after what it said last; an empty piece is the end, of the line or of one who cannot keep up."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        if self.kept:
            queue.put_nowait(bytes(self.kept))
        self._listeners.add(queue)
        return queue

    def leave(self, queue: "asyncio.Queue[bytes]") -> None:
        self._listeners.discard(queue)

    async def write(self, data: bytes) -> None:
        """Type something. Raises OSError when the machine went off."""
        self._writer.write(data)
        await self._writer.drain()

    async def read(self) -> None:
        """Until the machine goes off."""
        try:
            with contextlib.suppress(OSError):
                while said := await self._reader.read(CHUNK):
                    self.kept += said
                    del self.kept[:-KEPT]
                    for queue in list(self._listeners):
                        if queue.qsize() < BEHIND:
                            queue.put_nowait(said)
                        else:
                            self.leave(queue)
                            queue.put_nowait(b"")
        finally:
            self.over = True
            for queue in self._listeners:
                queue.put_nowait(b"")
            self._listeners.clear()
            self._writer.close()


class Lines:
    """Those that are open, by the path of their sockets."""

    def __init__(self) -> None:
        self._open: dict[Path, tuple[Line, asyncio.Task[None]]] = {}
        self._lock = asyncio.Lock()

    async def get(self, path: Path) -> Line:
        """Raises OSError when there is none, because the machine is off or has none."""
        async with self._lock:
            if path in self._open and not self._open[path][0].over:
                return self._open[path][0]
            line = Line(*await asyncio.open_unix_connection(os.fspath(path)))
            self._open[path] = line, asyncio.create_task(self._follow(path, line))
            return line

    async def _follow(self, path: Path, line: Line) -> None:
        try:
            await line.read()
        finally:
            if path in self._open and self._open[path][0] is line:
                del self._open[path]

    async def close(self) -> None:
        """Let all of them go."""
        tasks = [task for _, task in self._open.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
