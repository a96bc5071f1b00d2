"""Tickets that are good once and for seconds.

They live in the memory of the web process, which is one, so that none is ever on a disk, and a process that starts again has given none.
"""

import secrets
import threading
import time
from dataclasses import dataclass
from typing import Generic, TypeVar

LASTS = 30.0  # seconds
EACH = 20  # tickets of a session; the oldest go first

T = TypeVar("T")


@dataclass(frozen=True)
class _Given(Generic[T]):
    what: T
    session_id: str
    until: float


class OneShot(Generic[T]):
    """Tickets of one kind, each for something that whoever gave it knows what to make of."""

    def __init__(self) -> None:
        self._given: dict[str, _Given[T]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._given)

    def give(self, session_id: str, what: T) -> str:
        """A ticket for this session."""
        token, moment = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            for old in [one for one, given in self._given.items() if given.until < moment]:
                del self._given[old]
            for old in [one for one, given in self._given.items() if given.session_id == session_id][: 1 - EACH]:
                del self._given[old]
            self._given[token] = _Given(what, session_id, moment + LASTS)
        return token

    def take(self, token: str) -> T | None:
        """What the ticket is for, which is used up; None when it is none, or none any more."""
        with self._lock:
            given = self._given.pop(token, None)
        return given.what if given is not None and given.until >= time.monotonic() else None
