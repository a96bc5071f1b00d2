"""The host's clock, which may be set back: what waits for a time would then wait too long."""

import time

from appliance import catalog
from appliance.catalog import Engine as EngineRow
from appliance.catalog import not_ahead, now, runs
from appliance.catalog.models import CLOCK_SLACK


def _offset() -> float:
    return time.time() - time.monotonic()


class Clock:
    """Whether the clock was ahead until a moment ago."""

    def __init__(self) -> None:
        self._offset = _offset()

    def check(self) -> None:
        """Have all that waits looked at again when the clock was set back."""
        before, self._offset = self._offset, _offset()
        if self._offset < before - CLOCK_SLACK.total_seconds():
            with catalog.write():
                runs.look_again(now())


def was_ahead() -> bool:
    """Whether an engine before this one saw a time that is still to come."""
    before = EngineRow.get_or_none()
    return before is not None and before.seen_at > not_ahead(now())
