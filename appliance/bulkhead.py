"""Waiting for servers of others such that nobody else waits along: bulkheads and circuit breakers.

Whatever a page asks of others (a directory, a mail server, a backup target, `dpe-host`) is asked inside a `Bulkhead`, which has so many
places and no more: when they are taken, whoever comes next is told so at once. A `Breaker` remembers who did not answer, so that
nobody waits for them again right away.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar

from appliance.errors import Unavailable

SLOW = 1.0  # seconds after which a failure has kept somebody waiting

# How whoever waits makes room for others meanwhile; the web page puts here that a request leaves the turnstile.
aside: Callable[[], AbstractContextManager[None]] = nullcontext


class Breaker:
    """Remembers who did not answer, by name: for `rest` seconds nobody asks them; after that one does, and the others go on when it worked."""

    def __init__(self, rest: float) -> None:
        self.rest = rest
        self._since: dict[str, float] = {}
        self._mutex = threading.Lock()

    def is_open(self, name: str) -> bool:
        """Whether not to ask now. Once in `rest` seconds the answer is no: whoever hears that, tries."""
        with self._mutex:
            since, moment = self._since.get(name), time.monotonic()
            if since is None:
                return False
            if moment - since < self.rest:
                return True
            self._since[name] = moment
            return False

    def failed(self, name: str) -> None:
        """They did not answer."""
        with self._mutex:
            if len(self._since) > 1000:  # names are typed by people
                self._since.clear()
            self._since[name] = time.monotonic()

    def worked(self, name: str) -> None:
        """They answered."""
        with self._mutex:
            self._since.pop(name, None)

    def failed_within(self, name: str, seconds: float) -> bool:
        """Whether they did not answer when they were last asked, and that was less than so long ago."""
        with self._mutex:
            return time.monotonic() - self._since.get(name, -seconds) < seconds


class Bulkhead:
    """Places for those who wait for one kind of server, in this process.

    `what` is told in a sentence when all are taken: "Many are {what} now.". At most `line` more wait for a place, `patience` seconds each.
    """

    every: ClassVar[list["Bulkhead"]] = []

    def __init__(self, what: str, places: int, *, line: int = 0, patience: float = 0.0, rest: float = 10.0) -> None:
        self.what, self.places, self.line, self.patience = what, places, line, patience
        self.breaker = Breaker(rest)
        self._free = threading.Semaphore(places)
        self._let_in = threading.Semaphore(places + line)
        self.every.append(self)

    @contextmanager
    def wait(self, whom: str = "") -> Iterator[None]:
        """Wait for an answer in a place, and out of everybody's way.

        With `whom`, their name in a sentence, an Unavailable that took long is remembered: they are not asked again for a while.
        Raises Unavailable when all places are taken, or they did not answer a moment ago.
        """
        with aside(), self._place():
            if whom and self.breaker.is_open(whom):
                raise Unavailable(f"There was no answer from {whom} a moment ago.", "Try again in a few seconds.")
            begun = time.monotonic()
            try:
                yield
            except Unavailable:
                if whom and time.monotonic() - begun >= SLOW:
                    self.breaker.failed(whom)
                raise
            if whom:
                self.breaker.worked(whom)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._let_in.acquire(blocking=False):
            raise self._full()
        try:
            if not self._free.acquire(timeout=self.patience):
                raise self._full()
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._let_in.release()

    def _full(self) -> Unavailable:
        return Unavailable(f"Many people are {self.what} now.", "Try again in a few seconds.")
