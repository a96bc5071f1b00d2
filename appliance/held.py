"""Connections that are held as long as the right to them holds: what the relay and dpe-console have in common.

Twice a second the tickets of all of them are looked at together, and a connection whose ticket is no longer good is cut. Nobody tells that a
right has ended, so nobody can forget to. What goes on over a connection keeps the session alive, like requests do.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

from appliance import catalog
from appliance.services import sessions
from appliance.settings import Settings
from appliance.settings import load as load_settings

log = logging.getLogger("dpe.held")

LOOK_EVERY = 0.5  # seconds between two looks at all tickets
BLIND = 30.0  # seconds without a look after which nobody is known to be let in
FIRST = 3  # the first file descriptor that systemd passes (sd_listen_fds(3))


class Ticketed(Hashable, Protocol):
    """What a connection goes by."""

    @property
    def session_id(self) -> str: ...

    @property
    def machine_id(self) -> str: ...


T = TypeVar("T", bound=Ticketed)
T_co = TypeVar("T_co", bound=Ticketed, covariant=True)


class Holding(Hashable, Protocol[T_co]):
    """A connection. `used`: whether the browser sent anything since the last look."""

    used: bool

    @property
    def ticket(self) -> T_co: ...

    def cut(self) -> None:
        """End it at once, whatever is under way."""


C = TypeVar("C", bound=Holding[Any])


class Held(ABC, Generic[C, T]):
    """The connections of a process, and the looks at them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connections: set[C] = set()
        self._thread = ThreadPoolExecutor(1, "catalog")  # the catalog may keep it waiting, and nothing else waits with it
        self._looked_at = time.monotonic()
        self._prolonged: dict[str, float] = {}

    @abstractmethod
    def good(self, tickets: set[T]) -> set[T]:
        """Those of these tickets that still hold."""

    async def until_stopped(self) -> None:
        """Look again and again, until the process is told to stop."""
        stopping = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
        looking = asyncio.create_task(self._keep_looking())
        await stopping.wait()
        looking.cancel()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self.look()
            except Exception:
                log.exception("the tickets cannot be looked at")

    async def look(self) -> None:
        """Cut every connection whose ticket is no longer good; note who uses theirs."""
        seen = list(self.connections)
        if not seen:
            self._looked_at = time.monotonic()
            return
        loop = asyncio.get_running_loop()
        try:
            good = await loop.run_in_executor(self._thread, self.good, {one.ticket for one in seen})
            self._looked_at = time.monotonic()
        except Exception:
            if time.monotonic() - self._looked_at < BLIND:
                raise
            log.exception("nobody is known to be let in any more")
            good = set()
        for one in seen:
            if one.ticket not in good:
                log.info("the right to machine %s has ended: a connection is cut", one.ticket.machine_id)
                one.cut()
        used = {one.ticket for one in seen if one.used and one.ticket in good}
        for one in seen:
            one.used = False
        await loop.run_in_executor(self._thread, self.note_used, used)

    def note_used(self, used: set[T]) -> None:
        """Whoever works in a machine is not signed out in the middle of it."""
        moment, every = time.monotonic(), sessions.SEEN_EVERY.total_seconds()
        self._prolonged = {id: at for id, at in self._prolonged.items() if moment - at < every}
        due = {one.session_id for one in used} - self._prolonged.keys()
        if due:
            sessions.prolong(due, self.settings)
            self._prolonged |= dict.fromkeys(due, moment)


def given(module: str) -> tuple[socket.socket, Settings]:
    """What `python -m MODULE` works with: the socket that systemd, or whoever started it, opened for it, and the settings; the catalog is open."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--fd", type=int, default=FIRST if os.environ.get("LISTEN_FDS") else None, help="number of the socket that is open")
    fd = parser.parse_args().fd
    if fd is None:
        parser.error("no socket was passed: systemd does it, elsewhere --fd says its number")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    settings = load_settings()
    catalog.open(settings.catalog)
    return socket.socket(fileno=fd), settings
