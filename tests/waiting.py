"""Waiting for what comes by itself."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 60.0  # seconds: long, as a busy machine is no fault, and what never comes fails all the same

T = TypeVar("T")


def until(
    holds: Callable[[], T], what: Callable[[], object] | str = "it did not come", seconds: float = PATIENCE, every: float = 0.02
) -> T:
    """What `holds` returns as soon as that is true; it is asked every so many seconds. `what` is said of what did not come, or asked for it then."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(every)
    return found


def listens(port: int, address: str = "127.0.0.1") -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0
