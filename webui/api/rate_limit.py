"""How many calls an account may make: a bucket that fills at a steady rate, so that a burst is fine and a loop is not. The web is one process."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

BURST, RATE = 600, 20.0  # calls at once, and a second from then on
MOST = 10_000  # accounts that are remembered


@dataclass(frozen=True)
class Rate:
    """What is left of it; `wait` is in how many seconds to come back, 0 for who may come now."""

    burst: int
    rate: float
    left: float
    wait: int

    @property
    def policy(self) -> str:
        """As the header RateLimit-Policy has it: how many in how many seconds."""
        return f'"account";q={self.burst};w={math.ceil(self.burst / self.rate)}'

    @property
    def told(self) -> str:
        """As the header RateLimit has it: how many are left, and when all are there again."""
        return f'"account";r={int(self.left)};t={math.ceil((self.burst - self.left) / self.rate)}'


class RateLimit:
    """A bucket for each account."""

    def __init__(self, burst: int = BURST, rate: float = RATE, clock: Callable[[], float] = time.monotonic) -> None:
        self.burst, self.rate, self.clock = burst, rate, clock
        self._buckets: dict[int, tuple[float, float]] = {}  # how many were left, and when
        self._mutex = threading.Lock()

    def take(self, account_id: int) -> Rate:
        """Count a call of the account, if it may come now."""
        with self._mutex:
            moment = self.clock()
            left, since = self._buckets.pop(account_id, (float(self.burst), moment))
            left = min(self.burst, left + (moment - since) * self.rate)
            wait = 0 if left >= 1 else math.ceil((1 - left) / self.rate)
            left -= 0 if wait else 1
            self._buckets[account_id] = left, moment
            if len(self._buckets) > MOST:
                del self._buckets[next(iter(self._buckets))]  # whoever called the longest ago
            return Rate(self.burst, self.rate, left, wait)
