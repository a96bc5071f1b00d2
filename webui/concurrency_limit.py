"""Few requests at a time, in the order in which they came.

Python runs one thread at a time. With thirty requests under way at once each would wait for all others
again and again, and the unlucky ones several times as long as the rest; in a queue everybody waits
about as long, and everybody less.

Who waits for somebody else uses no processor, and must not keep the others waiting: such a request steps
aside (see appliance/bulkhead.py) and comes back to the end of the queue.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class ConcurrencyLimit:
    """WSGI middleware: at most `width` requests are worked on, first come, first served; streams pass by it."""

    def __init__(self, app: Callable[..., Iterable[bytes]], width: int, passing: frozenset[str]) -> None:
        self.app, self.passing = app, passing
        self._free = width
        self._queue: deque[threading.Lock] = deque()
        self._mutex = threading.Lock()
        self._inside = threading.local()  # `.here`: whether this thread's request has a place

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

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Leave the place to the next one meanwhile; nothing for a thread that has none."""
        if not getattr(self._inside, "here", False):
            yield
            return
        self._leave()
        try:
            yield
        finally:
            self._enter()

    def _enter(self) -> None:
        self._wait()
        self._inside.here = True

    def _wait(self) -> None:
        with self._mutex:
            if self._free:
                self._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._queue.append(turn)
        turn.acquire()

    def _leave(self) -> None:
        self._inside.here = False
        with self._mutex:
            if self._queue:
                self._queue.popleft().release()  # the place is handed on, so nobody can push in
            else:
                self._free += 1
