"""Events as they happen, as server-sent events: every event of the record, from one that was seen on, for as long as the right to see it lasts."""

import json
import time
from collections.abc import Iterator
from uuid import uuid4

from flask import Response, request
from flask_login import current_user

from appliance import catalog
from appliance.catalog import Actor, events
from appliance.errors import Unavailable
from appliance.identity import permissions
from appliance.services import sessions
from webui.api.operation import Unfitting, blueprint, operation
from webui.guard import actor, needs
from webui.live import HEARTBEAT, LENGTH, hub

ADDRESS = "/api/v1/admin/events/stream"
BATCH = 200  # events that are read at once


@blueprint.get("/admin/events/stream")
@needs("events.read")
@operation("admin:read", {200: str}, media="text/event-stream", query={"after": str})
def event_stream() -> Response:
    """What happens, as server-sent events, each with its number as `id`, its kind as `event`, and as `data` what /admin/events has of it.

    It begins after the event with the number `after` or, as browsers do it, the header Last-Event-ID; without, with the next that happens. It ends after
    five minutes, or with the right to see events; come back with the last number, and nothing is missed.
    """
    after, who, tab = _after(), actor(), f"api-{uuid4()}"
    assert who.account_id is not None
    credential = current_user.credential
    mine = hub.join(who.account_id, tab)
    if mine is None:
        raise Unavailable("There are too many streams.", "Close one, or ask /admin/events now and then.")
    seen = hub.wait(-1, 0)
    catalog.close()
    answer = Response(_lines(after, seen, who, credential), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
    answer.call_on_close(lambda: hub.leave(who.account_id or 0, tab, mine))
    return answer


def _after() -> int:
    """After which event it begins."""
    text = request.args.get("after") or request.headers.get("Last-Event-ID") or ""
    if not text:
        return hub.last_event()
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise Unfitting({"after": "It is the number of an event."})
    return int(text)


def _may_still(who: Actor, credential: str) -> bool:
    """Whether whoever began it could begin it now."""
    return sessions.is_live(credential) and permissions.of(who).has("events.read")


def _lines(after: int, seen: int, who: Actor, credential: str) -> Iterator[str]:
    end = time.monotonic() + LENGTH
    yield "retry: 1000\n\n"
    while not hub.stopping() and (left := end - time.monotonic()) > 0:
        try:
            if not _may_still(who, credential):
                return
            found = list(events.every(after=after, batch_size=BATCH))
        finally:
            catalog.close()  # a stream holds no connection while it waits
        for event in found:
            after = event.id
            yield f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(events.described(event))}\n\n"
        yield ": still here\n\n"
        seen = hub.wait(seen, min(HEARTBEAT, left))
