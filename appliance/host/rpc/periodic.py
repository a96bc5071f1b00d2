"""What `dpe-host` does by itself, again and again.

A module adds a loop by `@every(seconds)` above a function `(settings) -> None`. Each has a thread of its own, begins at once, and goes on
after an error, which is logged once.
"""

import logging
import threading
from collections.abc import Callable

from appliance.settings import Settings

log = logging.getLogger(__name__)

PeriodicWork = Callable[[Settings], None]
LOOPS: list[tuple[float, PeriodicWork]] = []


def every(seconds: float) -> Callable[[PeriodicWork], PeriodicWork]:
    """Have dpe-host call the function at its start, and then again `seconds` after each end."""

    def add(look: PeriodicWork) -> PeriodicWork:
        LOOPS.append((seconds, look))
        return look

    return add


def start_loops(settings: Settings, stop: threading.Event) -> None:
    """Start all loops; they end soon after `stop` is set, or with the process."""
    for seconds, look in LOOPS:
        threading.Thread(target=_go_on, args=(seconds, look, settings, stop), name=look.__name__, daemon=True).start()


def _go_on(seconds: float, look: PeriodicWork, settings: Settings, stop: threading.Event) -> None:
    said = ""
    while not stop.is_set():
        try:
            look(settings)
            said = ""
        except Exception as error:
            if repr(error) != said:
                log.exception("%s failed", look.__name__)
            said = repr(error)
        stop.wait(seconds)
