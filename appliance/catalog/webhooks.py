"""Who is told of which events, and what is to be delivered to each.

The events are the outbox: whatever is committed with an event is told of. A webhook's `position` moves over them in the transaction that puts its
deliveries, so that none is left out and none put twice, whenever the process ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from appliance.catalog import events, listing
from appliance.catalog.database import change, each, found, rows, write
from appliance.catalog.event_kinds import AREAS
from appliance.catalog.listing import Page, Window
from appliance.catalog.models import DeliveryState, Event, Webhook, WebhookDelivery, stamp

LONGEST_WAIT = timedelta(hours=1)  # between two tries
PENDING = 500  # deliveries of a webhook that are put at most: what comes then waits in the record
LOOKED_AT = 2000  # events at once
DELIVERED = 200  # that are remembered of each webhook
DEAD = timedelta(days=30)  # for which dead ones are


def concerns(kinds: list[str], classes: list[str], kind: str, class_name: str | None) -> bool:
    """Whether who asked for these areas and kinds of event, and these classes, is told of one; none is all."""
    area = AREAS.get(kind.partition(".")[0].partition("_")[0])
    return (not kinds or kind in kinds or area in kinds) and (not classes or class_name in classes)


def add(**values: Any) -> Webhook:
    """A new one, which is told of what happens from now on; call it inside `write()`."""
    return Webhook.create(position=events.last_id(), **values)


def by_id(id: int) -> Webhook | None:
    return next(iter(found(Webhook, "id = ?", (id,))), None)


def change_webhook(id: int, **values: Any) -> None:
    """Set its columns. One that is enabled again is told of what happens from then on; call it inside `write()`."""
    change(Webhook, values, "id = ?", (id,))


def _due(moment: datetime) -> tuple[str, str]:
    """Until when something must have waited to be due now, and from when on its wait is from a clock that was ahead, and over, too."""
    return stamp(moment), stamp(moment + LONGEST_WAIT)


def due(moment: datetime) -> list[int]:
    """The webhooks for which there is something to do now: events that were not looked at, or deliveries whose time has come."""
    return [
        row[0]
        for row in rows(
            """
            SELECT id FROM webhook WHERE enabled = 1 AND (retry_at IS NULL OR retry_at <= ?1 OR retry_at > ?2) AND (
                (position < (SELECT coalesce(max(id), 0) FROM event)
                 AND (SELECT count(*) FROM webhook_delivery WHERE webhook_id = webhook.id AND state = 'pending') < ?3)
                OR EXISTS (SELECT 1 FROM webhook_delivery
                           WHERE webhook_id = webhook.id AND state = 'pending' AND (next_at <= ?1 OR next_at > ?2)))
            ORDER BY id
            """,
            (*_due(moment), PENDING),
        )
    ]


def put_deliveries(id: int, moment: datetime) -> None:
    """Put what is to be delivered of the events that a webhook did not look at yet."""
    with write():
        one = by_id(id)
        if one is None or not one.enabled:
            return
        waiting = rows("SELECT count(*) FROM webhook_delivery WHERE webhook_id = ? AND state = 'pending'", (id,))[0][0]
        position = one.position
        wanted: list[int] = []
        for event, kind, class_name, thing in rows(
            "SELECT id, kind, class_name, object FROM event WHERE id > ? ORDER BY id LIMIT ?", (position, LOOKED_AT)
        ):
            if waiting + len(wanted) >= PENDING:
                break
            position = event
            # Nobody is told how they are told, or that would never end.
            if thing != f"webhook:{id}" and concerns(one.kinds, one.classes, kind, class_name):
                wanted.append(event)
        if position == one.position:
            return
        change(Webhook, {"position": position}, "id = ?", (id,))
        each(
            "INSERT INTO webhook_delivery (webhook_id, event_id, state, created_at, next_at) VALUES (:id, :event, 'pending', :at, :at)",
            [{"id": id, "event": event, "at": stamp(moment)} for event in wanted],
        )


@dataclass(frozen=True)
class Due:
    """A delivery whose time has come, to whom, and of what."""

    delivery: WebhookDelivery
    webhook: Webhook
    event: Event


def next_due(id: int, moment: datetime) -> Due | None:
    """What is to be delivered next to a webhook that is enabled; None when it can wait."""
    chosen = found(
        WebhookDelivery,
        "webhook_id = ? AND state = 'pending' AND (next_at <= ? OR next_at > ?) ORDER BY next_at, id LIMIT 1",
        (id, *_due(moment)),
    )
    one = by_id(id)
    if not chosen or one is None or not one.enabled:
        return None
    return Due(chosen[0], one, found(Event, "id = ?", (chosen[0].event_id,))[0])


def note_delivered(due: Due, answer: str, moment: datetime) -> None:
    """The receiver has it; call it inside `write()`."""
    values = {"state": DeliveryState.DELIVERED, "answer": answer, "tries": due.delivery.tries + 1, "tried_at": moment}
    change(WebhookDelivery, values, "id = ?", (due.delivery.id,))
    if due.webhook.failures:
        change(Webhook, {"failures": 0, "failing_since": None, "retry_at": None}, "id = ?", (due.webhook.id,))


def note_failed(due: Due, answer: str, moment: datetime, wait: timedelta, pause: timedelta, given_up: timedelta) -> int:
    """It did not work: this one is tried again after `wait`, and the webhook rests for `pause`. What waits for longer than `given_up` is dead from now on;
    returns how many those are. Call it inside `write()`."""
    delivery, one = due.delivery, due.webhook
    values = {"answer": answer, "tries": delivery.tries + 1, "tried_at": moment, "next_at": moment + wait}
    change(WebhookDelivery, values, "id = ?", (delivery.id,))
    values = {"failures": one.failures + 1, "failing_since": one.failing_since or moment, "retry_at": moment + pause}
    change(Webhook, values, "id = ?", (one.id,))
    return change(
        WebhookDelivery,
        {"state": DeliveryState.DEAD},
        "webhook_id = ? AND state = 'pending' AND created_at <= ?",
        (one.id, stamp(moment - given_up)),
    )


def send_again(ids: Iterable[int], moment: datetime) -> int:
    """Have deliveries that are over made once more, at once; returns how many those are. Call it inside `write()`."""
    again = {"state": DeliveryState.PENDING, "tries": 0, "created_at": moment, "next_at": moment}
    count = 0
    for id in ids:
        count += change(WebhookDelivery, again, "id = ? AND state <> 'pending'", (id,))
        change(Webhook, {"retry_at": None}, "id = (SELECT webhook_id FROM webhook_delivery WHERE id = ?)", (id,))
    return count


def dead_of(id: int) -> list[int]:
    """The dead deliveries of a webhook, oldest first."""
    return [row[0] for row in rows("SELECT id FROM webhook_delivery WHERE webhook_id = ? AND state = 'dead' ORDER BY id", (id,))]


def forget(moment: datetime) -> None:
    """Forget what was delivered, but for the last of each webhook, and what is dead for long; call it inside `write()`."""
    for (id,) in rows("SELECT id FROM webhook"):
        last = rows(
            "SELECT id FROM webhook_delivery WHERE webhook_id = ? AND state = 'delivered' ORDER BY id DESC LIMIT 1 OFFSET ?",
            (id, DELIVERED),
        )
        if last:
            rows("DELETE FROM webhook_delivery WHERE webhook_id = ? AND state = 'delivered' AND id <= ? RETURNING id", (id, last[0][0]))
    rows("DELETE FROM webhook_delivery WHERE state = 'dead' AND created_at <= ? RETURNING id", (stamp(moment - DEAD),))


def counts() -> dict[int, dict[str, int]]:
    """How many deliveries of each webhook there are, by their state."""
    known: dict[int, dict[str, int]] = {}
    for id, state, count in rows("SELECT webhook_id, state, count(*) FROM webhook_delivery GROUP BY webhook_id, state"):
        known.setdefault(id, {})[state] = count
    return known


def last_of(id: int) -> WebhookDelivery | None:
    """The last delivery that was tried."""
    return next(
        iter(found(WebhookDelivery, "webhook_id = ? AND tried_at IS NOT NULL ORDER BY tried_at DESC, id DESC LIMIT 1", (id,))), None
    )


SORTS: dict[str, Any] = {"event": WebhookDelivery.id}


def page(window: Window, ids: Iterable[int] | None, *, id: int, state: str = "") -> Page[WebhookDelivery]:
    """Deliveries of a webhook, a page at a time, each with its event."""
    query = WebhookDelivery.select(WebhookDelivery, Event).join(Event).where(WebhookDelivery.webhook == id)
    conditions = (
        WebhookDelivery.state == state if state else None,
        WebhookDelivery.id.in_(list(ids)) if ids is not None else None,
    )
    return listing.page(listing.narrowed(query, *conditions), WebhookDelivery.id, SORTS, window)
