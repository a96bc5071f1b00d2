"""Events told to other products that subscribed to them: signed, each until its receiver has it, one after the other for each webhook.

A try that fails makes its event wait, twice as long each time, and the webhook rest as long as it fails in a row: who is away is asked seldom, and
one event that is refused holds no other up. After three days it is a dead letter, which an admin can have sent again.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from appliance import catalog
from appliance.backoff import doubled
from appliance.catalog import Event, EventKind, Webhook, events, now, options, record, webhooks
from appliance.errors import DpeError
from appliance.identity import secrets
from appliance.outbound import webhook
from appliance.outbound.webhook import PURPOSE, Answer, Gone

log = logging.getLogger(__name__)

LIMIT = 15.0  # seconds for one try
FIRST, LONGEST = timedelta(seconds=5), webhooks.LONGEST_WAIT  # waits between tries, doubling
GIVEN_UP = timedelta(days=3)
AT_ONCE = 50  # deliveries, until the engine looks at everything anew


def message_id(one: Webhook, event: Event) -> str:
    """What a delivery is named by, at each try. By the event's hash: after a restore another event may have its number."""
    return f"msg_{secrets.mark('webhook event', f'{one.id}.{event.id}.{event.hash}')}"


def signing_secrets(one: Webhook, moment: datetime) -> list[str]:
    """The secrets to sign with, the newest first: the one before it, too, for a day."""
    before = [one.secret_before] if one.before_until is not None and moment < one.before_until else []
    return [secrets.unseal(PURPOSE, sealed) for sealed in (one.secret, *before)]


def _post(one: Webhook, id: str, type: str, at: datetime, data: dict[str, Any]) -> Answer:
    return webhook.post(
        one.url,
        {"type": type, "timestamp": at.isoformat(), "data": data},
        id=id,
        signed_with=signing_secrets(one, now()),
        authority=options.get("webhooks").get("authority", ""),
        limit=LIMIT,
        status_only=True,
    )


def ping(one: Webhook) -> Answer:
    """Call the receiver now, of no event. Raises what `webhook.post` raises."""
    moment = now()
    return _post(one, f"msg_{secrets.mark('webhook ping', moment.isoformat())}", "ping", moment, {"webhook": one.name})


def send_due(id: int) -> None:
    """Deliver what is due to one webhook, until a try fails."""
    webhooks.put_deliveries(id, now())
    for _ in range(AT_ONCE):
        due = webhooks.next_due(id, now())
        if due is None or not _deliver(due):
            return


def _deliver(due: webhooks.Due) -> bool:
    """One try; whether it worked."""
    one, event = due.webhook, due.event
    try:
        answer = _post(one, message_id(one, event), event.kind, event.at, events.described(event))
    except DpeError as error:
        log.warning("webhook %s: %s", one.name, error.message)
        with catalog.write():
            _note_failed(due, error)
        return False
    with catalog.write():
        webhooks.note_delivered(due, f"{answer.status} {answer.text}".strip(), now())
    return True


def _note_failed(due: webhooks.Due, error: DpeError) -> None:
    one = due.webhook
    wait, pause = doubled(FIRST, due.delivery.tries, LONGEST), doubled(FIRST, one.failures, LONGEST)
    dead = webhooks.note_failed(due, error.message, now(), wait, pause, GIVEN_UP)
    if dead:
        count = "An event was" if dead == 1 else f"{dead} events were"
        _tell(EventKind.WEBHOOKS_DEAD, one, f"{count} not delivered to {one.name} within {GIVEN_UP.days} days: {error.message}", error.hint)
    if isinstance(error, Gone):
        webhooks.change_webhook(one.id, enabled=False)
        hint = "Enable it again if it should go on."
        _tell(EventKind.WEBHOOKS_GONE, one, f"The receiver of {one.name} wants no more events (410): it is disabled.", hint)


def _tell(kind: EventKind, one: Webhook, message: str, hint: str) -> None:
    record(kind, message, object=f"webhook:{one.id}", hint=hint)
