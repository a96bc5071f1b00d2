"""What a process tells systemd, if it was started by it (sd_notify(3)); nobody hears it in `make run`."""

import os
import socket

READY = "READY=1"
ALIVE = "WATCHDOG=1"


def notify(state: str) -> None:
    """Tell systemd READY, ALIVE (within each WatchdogSec, or we are killed) or any other of its words."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.connect("\0" + path[1:] if path.startswith("@") else path)
            line.sendall(state.encode())
