"""Live pages: one stream a tab, which says no more than "changed"; the page then asks again for what it shows.

One thread watches the catalog's version, and only while somebody listens. A stream holds a thread of the
server, so there are at most half as many as those; whoever gets none asks every few seconds instead.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator

from flask import Blueprint, Response, g, request
from flask_login import current_user

from appliance import catalog
from appliance.services import sessions
from webui.guard import WITHOUT_PAGES, actor, asks_for_live_part, needs

log = logging.getLogger(__name__)
blueprint = Blueprint("live", __name__)

INTERVAL = 0.3  # between two looks at the catalog
AT_MOST = 1.0  # between two "changed"
QUIET = 2.0  # the same when no event was written: progress, load, heartbeats
HEARTBEAT = 15.0
LENGTH = 300.0
STREAMS = 64
STREAMS_EACH = 6


class Hub:
    """Wakes the streams when the catalog changed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._serial = 0
        self._open: dict[tuple[int, str], object] = {}  # account and tab -> its stream
        self._watching = False
        self.stopping: Callable[[], bool] = lambda: False  # the server says so before it waits for its threads

    def join(self, account_id: int, tab: str) -> object | None:
        """A new stream, or None when there are too many. An older one of the same tab ends: that page is gone,
        but a server learns so only when it next writes to it."""
        events = self.last_event()  # read here: what happens before the thread first looks is seen, too
        with self._changed:
            others = [key for key in self._open if key != (account_id, tab)]
            if self.stopping() or len(others) >= STREAMS or sum(key[0] == account_id for key in others) >= STREAMS_EACH:
                return None
            self._open[account_id, tab] = stream = object()
            self._changed.notify_all()
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, args=[events], name="live", daemon=True).start()
            return stream

    def leave(self, account_id: int, tab: str, stream: object) -> None:
        """The stream has ended."""
        with self._changed:
            if self._open.get((account_id, tab)) is stream:
                del self._open[account_id, tab]

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._open)

    def superseded(self, account_id: int, tab: str, stream: object) -> bool:
        """Whether a newer stream of the same tab has taken this one's place."""
        return self._open.get((account_id, tab)) is not stream

    def wait(self, seen: int, seconds: float, over: Callable[[], bool] = lambda: False) -> int:
        """The serial of the last change, as soon as it is not `seen` any more or `over` becomes true, or after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._serial != seen or self.stopping() or over(), seconds)
            return self._serial

    def _watch(self, events: int) -> None:
        seen, told = (self._version((0, events))[0], events), time.monotonic()
        pending = urgent = False
        while not self._over():
            version = self._version(seen)
            pending, urgent = pending or version != seen, urgent or version[1] != seen[1]
            seen = version
            if pending and time.monotonic() - told >= (AT_MOST if urgent else QUIET):
                told, pending, urgent = time.monotonic(), False, False
                with self._changed:
                    self._serial += 1
                    self._changed.notify_all()
            time.sleep(INTERVAL)
        catalog.close()

    def last_event(self) -> int:
        """The number of the newest event; 0 when the catalog cannot be read."""
        return self._version((0, 0))[1]

    def _over(self) -> bool:
        with self._changed:
            if self.stopping() or not self._open:
                self._watching = False
                self._changed.notify_all()
            return not self._watching

    @staticmethod
    def _version(last: tuple[int, int]) -> tuple[int, int]:
        try:
            return catalog.version()
        except Exception:  # a catalog that cannot be read for a moment must not end live pages for good
            log.warning("the catalog's version cannot be read", exc_info=True)
            return last


hub = Hub()


@blueprint.before_app_request
def _remember_the_last_event() -> None:
    if request.endpoint != "static" and request.blueprint not in WITHOUT_PAGES and not asks_for_live_part():
        g.last_event = hub.last_event()


@blueprint.get("/live")
@needs("own")
def stream() -> Response:
    """The stream of "changed" events of one tab; 503 when there are too many streams already.

    `since` is the last event when the page was made: what happened until the stream began is a change, too."""
    account_id, tab = actor().account_id, request.args.get("tab", "")[:40]
    session_id = current_user.session_id
    assert account_id is not None
    mine = hub.join(account_id, tab)
    if mine is None:
        return Response(status=503, headers={"Retry-After": "60"})
    seen = hub.wait(-1, 0)
    if hub.last_event() > request.args.get("since", sys.maxsize, type=int):
        seen = -1
    catalog.close()
    events = _events(seen, lambda: hub.superseded(account_id, tab, mine), lambda: sessions.is_live(session_id))
    answer = Response(events, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
    answer.call_on_close(lambda: hub.leave(account_id, tab, mine))
    return answer


def _events(seen: int, superseded: Callable[[], bool], signed_in: Callable[[], bool]) -> Iterator[str]:
    end = time.monotonic() + LENGTH
    yield "retry: 1000\n\n"
    while not hub.stopping() and (left := end - time.monotonic()) > 0:
        serial = hub.wait(seen, min(HEARTBEAT, left), superseded)
        if superseded():
            yield "event: superseded\ndata:\n\n"
            return
        if not signed_in():
            yield "data: changed\n\n"  # the page asks for itself, and is led to sign in
            return
        yield "data: changed\n\n" if serial != seen else ": still here\n\n"
        seen = serial
