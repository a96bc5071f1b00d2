"""Few requests at a time, in the order in which they came.

Python runs one thread at a time. With thirty requests under way at once each would wait for all others
again and again, and the unlucky ones several times as long as the rest; in a queue everybody waits
about as long, and everybody less.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any


class Turnstile:
    """WSGI middleware: at most `width` requests are worked on, first come, first served; streams pass by it."""

    def __init__(self, app: Callable[..., Iterable[bytes]], width: int, passing: frozenset[str]) -> None:
        self.app, self.passing = app, passing
        self._free = width
        self._queue: deque[threading.Lock] = deque()
        self._mutex = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many requests stand in the queue."""
        return len(self._queue)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in self.passing:
            return self.app(environ, start_response)
        self._enter()
        try:
            return self.app(environ, start_response)
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._mutex:
            if self._free:
                self._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._queue.append(turn)
        turn.acquire()

    def _leave(self) -> None:
        with self._mutex:
            if self._queue:
                self._queue.popleft().release()  # the place is handed on, so nobody can push in
            else:
                self._free += 1
