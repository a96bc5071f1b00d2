"""Webhooks: which other products are told of which events, and what became of that."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from appliance import catalog
from appliance.bulkhead import Bulkhead
from appliance.catalog import Actor, Class, EventKind, Webhook, WebhookDelivery, doorbell, events, now, record, webhooks
from appliance.catalog.event_kinds import Area
from appliance.connect import AddressRefused
from appliance.errors import BadInput, Conflict, NotFound
from appliance.outbound import subscriptions, webhook

MOST = 20  # webhooks: each has a thread of the engine's own
LONGEST_NAME = 60
PINGING = Bulkhead("testing a webhook", 2)


@dataclass(frozen=True)
class State:
    """A webhook, how many deliveries of it wait and are dead, and the last that was tried."""

    webhook: Webhook
    pending: int
    dead: int
    last: WebhookDelivery | None


def host_of(one: Webhook) -> str:
    """Whom it calls; the rest of the address may let in whoever has it."""
    return urlsplit(one.url).hostname or ""


def every() -> list[State]:
    """All of them, by name."""
    counts = webhooks.counts()
    return [_state(one, counts.get(one.id, {})) for one in Webhook.select().order_by(Webhook.name)]


def state_of(id: int) -> State:
    """One of them. Raises NotFound."""
    return _state(get(id), webhooks.counts().get(id, {}))


def _state(one: Webhook, counts: dict[str, int]) -> State:
    return State(one, counts.get("pending", 0), counts.get("dead", 0), webhooks.last_of(one.id))


def get(id: int) -> Webhook:
    """One of them. Raises NotFound."""
    found = webhooks.by_id(id)
    if found is None:
        raise NotFound("There is no such webhook.", "It may have been deleted.")
    return found


# -- what somebody says of one -----------------------------------------------------------------------


def check_name(text: str) -> str:
    """A name as it is kept. Raises BadInput."""
    name = " ".join(text.split())
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise BadInput(f"A webhook needs a name of 1 to {LONGEST_NAME} characters.", "Say which product it tells.", field="name")
    return name


def check_url(text: str) -> str:
    """An address that can be called. Raises BadInput, about the field."""
    try:
        return webhook.check_url(text)
    except BadInput as error:
        raise BadInput(error.message, error.hint, field="url") from None


def check_kinds(kinds: Iterable[str]) -> list[str]:
    """Areas and kinds of event, each once. Raises BadInput for one that there is not."""
    known = {*Area, *EventKind}
    chosen = list(dict.fromkeys(kinds))
    for one in chosen:
        if one not in known:
            raise BadInput(
                f"{one[:60]!r} is no kind of event.",
                "Write one like machine.assigned, or an area like machine; EVENTS.md has all.",
                field="kinds",
            )
    return chosen


def check_classes(classes: Iterable[str]) -> list[str]:
    """Names of classes, each once. Raises BadInput for one that there is not."""
    known = {one.name for one in Class.select(Class.name)}
    chosen = list(dict.fromkeys(classes))
    for one in chosen:
        if one not in known:
            raise BadInput(f"There is no class {one[:60]!r}.", "The page Classes has all.", field="classes")
    return chosen


def _told(one: Webhook) -> dict[str, Any]:
    """What the record has of one: neither its secret nor all of its address."""
    return {"name": one.name, "host": host_of(one), "kinds": one.kinds, "classes": one.classes, "enabled": one.enabled}


def _check_unique(name: str, but: int | None = None) -> None:
    other = Webhook.get_or_none(Webhook.name == name)
    if other is not None and other.id != but:
        raise Conflict(f"There is a webhook {other.name} already.", "Choose another name.", field="name")


# -- verbs ---------------------------------------------------------------------------------------------


def create(
    actor: Actor, name: str, url: str, kinds: Iterable[str] = (), classes: Iterable[str] = (), *, enabled: bool = True
) -> tuple[Webhook, str]:
    """A new one, and its secret, which is told only here. It is told of what happens from now on. Raises BadInput and Conflict."""
    values = {"name": check_name(name), "url": check_url(url), "kinds": check_kinds(kinds), "classes": check_classes(classes)}
    secret = webhook.new_secret()
    with catalog.write():
        if Webhook.select().count() >= MOST:
            raise Conflict(f"There are {MOST} webhooks already.", "Delete one that is no longer used.")
        _check_unique(str(values["name"]))
        one = webhooks.add(**values, enabled=enabled, secret=webhook.sealed(secret))
        message = f"{actor.name} has {host_of(one)} told of events, as {one.name}."
        record(EventKind.WEBHOOKS_CREATED, message, actor, object=f"webhook:{one.id}", after=_told(one))
    return one, secret


def change(actor: Actor, id: int, *, name: str, url: str, kinds: Iterable[str], classes: Iterable[str], enabled: bool) -> list[str]:
    """Have all of it be so; returns what that changed. Another address is asked at once. One that is enabled again is told of what happens from then on.

    Raises BadInput, Conflict and NotFound.
    """
    wanted: dict[str, Any] = {
        "name": check_name(name),
        "url": check_url(url),
        "kinds": check_kinds(kinds),
        "classes": check_classes(classes),
        "enabled": enabled,
    }
    with catalog.write():
        before = get(id)
        _check_unique(wanted["name"], id)
        changed = [field for field, value in wanted.items() if getattr(before, field) != value]
        if not changed:
            return []
        if enabled and not before.enabled:
            wanted["position"] = events.last_id()
        if {"url", "enabled"} & set(changed):
            wanted |= {"failures": 0, "failing_since": None, "retry_at": None}
        webhooks.change_webhook(id, **wanted)
        after = get(id)
        message = f"{actor.name} changed the webhook {after.name}."
        record(EventKind.WEBHOOKS_CHANGED, message, actor, object=f"webhook:{id}", before=_told(before), after=_told(after))
    doorbell.ring()
    return changed


def delete(actor: Actor, id: int) -> None:
    """Tell it nothing any more; what waited for it is forgotten. Raises NotFound."""
    with catalog.write():
        one = get(id)
        one.delete_instance()
        record(EventKind.WEBHOOKS_DELETED, f"{actor.name} deleted the webhook {one.name}.", actor, object=f"webhook:{id}")


def new_secret(actor: Actor, id: int) -> str:
    """Sign with a new secret from now on, and for a day with the one before it as well. Returned only here. Raises NotFound."""
    secret, moment = webhook.new_secret(), now()
    with catalog.write():
        one = get(id)
        webhooks.change_webhook(
            id,
            secret=webhook.sealed(secret),
            rotated_at=moment,
            secret_before=one.secret,
            before_until=moment + webhook.OVERLAP,
        )
        record(EventKind.WEBHOOKS_SECRET, f"{actor.name} made a new secret for the webhook {one.name}.", actor, object=f"webhook:{id}")
    return secret


def ping(actor: Actor, id: int) -> str:
    """Call the receiver now, of no event; returns what it answered. Raises NotFound, Unavailable when it may answer later, and Conflict when it refuses."""
    one = get(id)
    try:
        with PINGING.wait(f"the receiver of {one.name}"):
            answer = subscriptions.ping(one)
    except AddressRefused as error:
        raise Conflict(error.message, error.hint) from error
    return f"{answer.status} {answer.text}".strip()


def send_again(actor: Actor, delivery_id: int) -> None:
    """Have an event delivered once more that is over, dead or not. Raises NotFound, and Conflict when it waits to be delivered."""
    with catalog.write():
        delivery = WebhookDelivery.get_or_none(WebhookDelivery.id == delivery_id)
        if delivery is None:
            raise NotFound("There is no such delivery.", "It may have been forgotten.")
        if not webhooks.send_again([delivery_id], now()):
            raise Conflict("It is to be delivered already.", "Wait until that has happened.")
        name = delivery.webhook.name
        message = f"{actor.name} has event {delivery.event_id} delivered to {name} once more."
        record(EventKind.WEBHOOKS_SENT_AGAIN, message, actor, object=f"webhook:{delivery.webhook_id}")
    doorbell.ring()


def send_dead_again(actor: Actor, id: int) -> int:
    """Have all dead deliveries of a webhook made once more; returns how many those are. Raises NotFound."""
    with catalog.write():
        one = get(id)
        count = webhooks.send_again(webhooks.dead_of(id), now())
        if count:
            message = f"{actor.name} has {count} events delivered to {one.name} once more."
            record(EventKind.WEBHOOKS_SENT_AGAIN, message, actor, object=f"webhook:{id}")
    doorbell.ring()
    return count
