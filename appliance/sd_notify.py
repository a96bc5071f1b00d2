"""What a process tells systemd (sd_notify(3)), or the supervisor of `make run` in its place."""

import contextlib
import os
import socket

READY = "READY=1"
ALIVE = "WATCHDOG=1"


def notify(state: str) -> None:
    """Tell systemd READY, ALIVE (within each WatchdogSec, or we are killed) or any other of its words."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)  # who listens may stand still itself; that is no reason to stand still, too
            with contextlib.suppress(OSError):
                line.connect("\0" + path[1:] if path.startswith("@") else path)
                line.sendall(state.encode())
