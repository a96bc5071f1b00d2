"""The catalog is the bus between the processes; this is its bell.

Whoever committed something that the engine should see rings: one datagram on a Unix socket beside
the catalog. A bell that nobody hears is fine: the engine looks for itself within a second.
"""

import contextlib
import os
import socket
from pathlib import Path

from appliance.catalog.database import folder


def ring() -> None:
    """Wake the engine, if it is there."""
    path = folder() / "doorbell"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell, contextlib.suppress(OSError):
        bell.setblocking(False)
        bell.sendto(b"!", os.fspath(path))


class Listener:
    """The engine's end of the bell."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(os.fspath(path))
        path.chmod(0o660)

    def wait(self, seconds: float) -> bool:
        """Return True as soon as the bell rings, False after `seconds`; swallows all rings so far."""
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(16)
        except TimeoutError:
            return False
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(16)
        return True

    def close(self) -> None:
        self._socket.close()
