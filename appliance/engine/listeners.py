"""Functions of other packages that are told of every event: each in its order, at least once, and by itself.

An entry point of the group `dpe.events` is a function that takes an event as the API has it. How far each has got stands in the catalog and moves when
the function has returned; what raises is called again with the same event, after a while. What happened before a function was known is not told.
"""

import itertools
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from appliance import catalog
from appliance.backoff import doubled
from appliance.catalog import events, now, options
from appliance.engine.jobs import Jobs

log = logging.getLogger("dpe.engine")

GROUP, QUEUE = "dpe.events", "listeners"
AT_ONCE = 100  # events, until its position is kept
FIRST, LONGEST = timedelta(seconds=1), timedelta(minutes=5)  # waits after a failure, doubling

Listener = Callable[[Mapping[str, Any]], object]


@cache
def known() -> Mapping[str, Listener]:
    """The functions by their names. One that cannot be imported is left out, which the log says: it must not stop the others."""
    found: dict[str, Listener] = {}
    for point in entry_points(group=GROUP):
        try:
            if not callable(function := point.load()):
                raise TypeError("it is no function")
            found[point.name] = function
        except Exception:
            log.exception("%s cannot be told of events", point.name)
    return found


def threads() -> int:
    """One for each, so that none holds up another."""
    return max(1, len(known()))


class Listeners:
    """One job for each that was not told of everything yet."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self._failed: dict[str, tuple[int, datetime]] = {}  # how often in a row, and when it is tried again

    def dispatch(self) -> None:
        """Hand out a job for each to whom there is something to tell."""
        if not known():
            return
        last, positions = events.last_id(), options.get("event_listeners")
        for name in known():
            key, (_, again_at) = f"events-{name}", self._failed.get(name, (0, now()))
            if key not in self.jobs and positions.get(name) != last and now() >= again_at:
                self.jobs.submit(QUEUE, key, self.tell, name)

    def tell(self, name: str) -> None:
        """Tell it what it does not know yet, up to some events. Raises what the function raises."""
        begun = options.get("event_listeners").get(name)
        position = events.last_id() if begun is None else begun
        try:
            for event in list(itertools.islice(events.every(after=position, batch_size=AT_ONCE), AT_ONCE)):
                known()[name](events.described(event))
                position = event.id
        except Exception:
            failures = self._failed.get(name, (0, now()))[0]
            self._failed[name] = failures + 1, now() + doubled(FIRST, failures, LONGEST)
            raise
        else:
            self._failed.pop(name, None)
        finally:
            if position != begun:
                with catalog.write():
                    options.put("event_listeners", {**options.get("event_listeners"), name: position})
