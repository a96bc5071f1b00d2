"""Events by subscription, against a real web server: what a receiver is told, that nothing is lost or forged, and what becomes of what it does not take."""

import base64
import hmac
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import (
    Class,
    Event,
    EventKind,
    Level,
    Webhook,
    WebhookDelivery,
    now,
    record,
    report,
    webhooks,
)
from appliance.outbound import subscriptions
from appliance.services import webhooks as service
from appliance.settings import Settings
from tests import world
from tests.receiver import Receiver, serving

pytestmark = [pytest.mark.webhook, pytest.mark.usefixtures("key")]

OWNER = catalog.Actor("grace", None)


class Clock:
    """The time that subscriptions go by."""

    def __init__(self) -> None:
        self.at = now()

    def __call__(self) -> datetime:
        return self.at

    def later(self, **time: float) -> None:
        self.at += timedelta(**time)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(subscriptions, "now", made)
    return made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving() as made:
        yield made


def subscribe(receiver: Receiver, name: str = "Chat", **chosen: Any) -> tuple[int, str]:
    one, secret = service.create(OWNER, name, receiver.url, **chosen)
    return one.id, secret


def happen(kind: EventKind = EventKind.MACHINE_READY, message: str = "small-1 is ready.", **more: Any) -> None:
    with catalog.write():
        record(kind, message, **more)


def told(receiver: Receiver) -> list[str]:
    return [json.loads(body)["data"]["message"] for _, _, body in receiver.calls]


def states() -> list[str]:
    return [row.state.value for row in WebhookDelivery.select().order_by(WebhookDelivery.id)]


# -- what a receiver is told ------------------------------------------------------------------


def test_an_event_is_told_once_as_the_specification_says(receiver: Receiver) -> None:
    happen(message="Before it was there.")
    id, secret = subscribe(receiver)
    happen(class_name="small", machine_id="m1", seconds=3)
    assert webhooks.due(now()) == [id]
    subscriptions.send_due(id)
    subscriptions.send_due(id)
    [(_, headers, body)] = receiver.calls
    said = json.loads(body)
    event = Event.select().order_by(Event.id.desc()).get()
    assert (said["type"], datetime.fromisoformat(said["timestamp"])) == ("machine.ready", event.at)
    assert {name: said["data"][name] for name in ("id", "class", "machine", "message", "data")} == {
        "id": event.id, "class": "small", "machine": "m1", "message": "small-1 is ready.", "data": {"seconds": 3},
    }  # fmt: skip
    # The signature, as a receiver would make it by standardwebhooks.com.
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    made = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, "sha256")
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(made).decode()}"
    assert webhooks.due(now()) == []
    assert states() == ["delivered"]
    assert WebhookDelivery.get().answer == '200 {"ok": true}'


@pytest.mark.parametrize(
    ("kinds", "classes", "expected"),
    [
        ([], [], ["ready", "failed", "signed in", "elsewhere"]),
        (["machine"], [], ["ready", "failed", "elsewhere"]),
        (["machine.failed", "sign"], [], ["failed", "signed in"]),
        (["sign_in"], [], ["signed in"]),
        ([], ["small"], ["ready", "failed"]),
        (["machine.ready"], ["other"], ["elsewhere"]),
        (["backup"], [], []),
    ],
)
def test_it_is_told_of_what_it_subscribed_to(
    receiver: Receiver, small: Class, kinds: list[str], classes: list[str], expected: list[str]
) -> None:
    world.machine_class("other", world.NOTEBOOK)
    id, _ = subscribe(receiver, kinds=kinds, classes=classes)
    happen(message="ready", class_name="small")
    happen(EventKind.MACHINE_FAILED, "failed", class_name="small")
    happen(EventKind.SIGN_IN, "signed in")
    happen(message="elsewhere", class_name="other")
    subscriptions.send_due(id)
    assert told(receiver) == expected


def test_nobody_is_told_how_they_are_told(receiver: Receiver, clock: Clock) -> None:
    """Or each failure would be another event to be told of."""
    id, _ = subscribe(receiver)
    service.new_secret(OWNER, id)
    other, _ = subscribe(receiver, "Tickets")
    subscriptions.send_due(id)
    assert told(receiver) == ["grace has 127.0.0.1 told of events, as Tickets."]
    assert other != id


def test_no_secret_is_told(receiver: Receiver, opened: Settings) -> None:
    """Whatever is recorded on a busy morning, and what the webhook itself is."""
    id, secret = subscribe(receiver)
    with catalog.write():
        Webhook.update(position=0).execute()
    people = world.busy(opened)
    service.change(people["grace"], id, name="Chat", url=f"{receiver.url}&token=letmein", kinds=[], classes=[], enabled=True)
    other, _ = subscribe(receiver, "Other")
    service.new_secret(people["grace"], other)
    while webhooks.due(now()):
        subscriptions.send_due(id)
        subscriptions.send_due(other)
    everything = b"".join(body for _, _, body in receiver.calls).decode()
    assert len(receiver.calls) > 15
    kept = report.secrets(opened.catalog)
    assert kept
    for hidden in (*kept, secret.removeprefix("whsec_"), "letmein", world.PASSWORD):
        assert hidden not in everything


# -- nothing is lost or told twice ------------------------------------------------------------


def test_what_is_not_committed_did_not_happen(receiver: Receiver) -> None:
    id, _ = subscribe(receiver)
    with pytest.raises(KeyboardInterrupt), catalog.write():
        record(EventKind.MACHINE_READY, "It never was.")
        raise KeyboardInterrupt
    happen(message="It was.")
    subscriptions.send_due(id)
    assert told(receiver) == ["It was."]


def test_a_kill_before_and_after_each_write_loses_nothing_and_repeats_the_same_message(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, _ = subscribe(receiver)
    for number in range(3):
        happen(message=f"event {number}")

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # in the middle of putting them
        patch.setattr(webhooks, "each", cut)
        with pytest.raises(KeyboardInterrupt):
            subscriptions.send_due(id)
    assert WebhookDelivery.select().count() == 0
    with monkeypatch.context() as patch:  # after the receiver has it, before that is noted
        patch.setattr(webhooks, "note_delivered", cut)
        with pytest.raises(KeyboardInterrupt):
            subscriptions.send_due(id)
    subscriptions.send_due(id)
    assert told(receiver) == ["event 0", "event 0", "event 1", "event 2"]
    ids = [headers["webhook-id"] for _, headers, _ in receiver.calls]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_a_backlog_waits_in_the_record_and_not_beside_it(receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "PENDING", 4)
    monkeypatch.setattr(webhooks, "LOOKED_AT", 3)
    id, _ = subscribe(receiver)
    for number in range(10):
        happen(message=str(number))
    receiver.says = [(500, b"", {})]
    subscriptions.send_due(id)
    subscriptions.send_due(id)
    assert WebhookDelivery.select().where(WebhookDelivery.state == "pending").count() <= 4
    clock.later(seconds=6)
    while webhooks.due(clock.at):
        subscriptions.send_due(id)
    assert sorted(told(receiver)[1:]) == [str(number) for number in range(10)]


# -- who does not take it ---------------------------------------------------------------------


@pytest.mark.badinput
def test_who_does_not_take_it_is_asked_less_and_less_often_until_it_does(receiver: Receiver, clock: Clock) -> None:
    id, _ = subscribe(receiver)
    happen()
    receiver.says = [(status, b"no", {}) for status in (500, 404, 302, 429)]
    for wait in (5, 10, 20, 40):
        assert webhooks.due(clock.at) == [id]
        subscriptions.send_due(id)
        clock.later(seconds=wait - 1)
        assert webhooks.due(clock.at) == []
        clock.later(seconds=1)
    state = service.state_of(id)
    assert (state.pending, state.webhook.failures, state.last is not None and state.last.answer) == (
        1, 4, f"127.0.0.1:{receiver.server.server_address[1]} answers 429. It says “no”.",
    )  # fmt: skip
    subscriptions.send_due(id)
    assert states() == ["delivered"]
    assert (Webhook.get_by_id(id).failures, Webhook.get_by_id(id).failing_since) == (0, None)
    assert {headers["webhook-id"] for _, headers, _ in receiver.calls} == {receiver.calls[0][1]["webhook-id"]}


@pytest.mark.badinput
def test_an_event_that_is_refused_lets_the_others_pass(receiver: Receiver, clock: Clock) -> None:
    id, _ = subscribe(receiver)
    for number in range(3):
        happen(message=str(number))
    receiver.says = [(422, b"not this one", {})]
    subscriptions.send_due(id)
    clock.later(seconds=4)
    assert webhooks.due(clock.at) == []
    clock.later(seconds=1)
    subscriptions.send_due(id)
    assert told(receiver) == ["0", "1", "2", "0"]


@pytest.mark.badinput
def test_after_three_days_it_is_a_dead_letter_that_is_sent_again_by_hand(receiver: Receiver, clock: Clock) -> None:
    id, _ = subscribe(receiver)
    happen(message="old")
    receiver.says = [(500, b"", {})] * 2
    subscriptions.send_due(id)
    clock.later(days=3)
    happen(message="new")
    subscriptions.send_due(id)
    assert sorted(states()) == ["dead", "pending"]
    assert service.state_of(id).dead == 1
    event = Event.get(Event.kind == "webhooks.dead")
    assert (event.level, event.message.partition(":")[0]) == (Level.WARNING, "An event was not delivered to Chat within 3 days")
    clock.later(hours=1)
    subscriptions.send_due(id)
    assert sorted(states()) == ["dead", "delivered"]
    assert service.send_dead_again(OWNER, id) == 1
    clock.at = now()
    subscriptions.send_due(id)
    assert states() == ["delivered", "delivered"]
    assert told(receiver)[-1] == "old"


@pytest.mark.badinput
def test_who_wants_no_more_is_told_no_more(receiver: Receiver) -> None:
    id, _ = subscribe(receiver)
    happen()
    receiver.says = [(410, b"gone", {})]
    subscriptions.send_due(id)
    assert not Webhook.get_by_id(id).enabled
    assert Event.select().where(Event.kind == "webhooks.gone").count() == 1
    assert webhooks.due(now() + timedelta(hours=2)) == []


@pytest.mark.badinput
def test_a_receiver_that_says_too_much_has_it_all_the_same(receiver: Receiver) -> None:
    id, _ = subscribe(receiver)
    happen()
    receiver.says = [(200, b"x" * (10 << 20), {})]
    subscriptions.send_due(id)
    assert states() == ["delivered"]
    assert len(WebhookDelivery.get().answer) < 300


def test_a_wait_from_a_clock_that_was_ahead_is_over(receiver: Receiver, clock: Clock) -> None:
    id, _ = subscribe(receiver)
    happen()
    with catalog.write():
        Webhook.update(retry_at=now() + timedelta(days=400)).execute()
    assert webhooks.due(clock.at) == [id]


# -- one that changes -------------------------------------------------------------------------


def test_both_secrets_sign_for_a_day(receiver: Receiver, clock: Clock) -> None:
    id, first = subscribe(receiver)
    second = service.new_secret(OWNER, id)
    one = Webhook.get_by_id(id)
    assert subscriptions.signing_secrets(one, now()) == [second, first]
    assert subscriptions.signing_secrets(one, now() + timedelta(days=1, seconds=1)) == [second]
    assert first not in str(Webhook.select().dicts().get()), "it is kept sealed"


def test_what_happens_while_it_is_disabled_is_not_sent_later(receiver: Receiver) -> None:
    id, _ = subscribe(receiver)
    chosen: dict[str, Any] = {"name": "Chat", "url": receiver.url, "kinds": ["machine"], "classes": []}
    service.change(OWNER, id, **chosen, enabled=False)
    happen(message="meanwhile")
    assert webhooks.due(now()) == []
    service.change(OWNER, id, **chosen, enabled=True)
    happen(message="afterwards")
    subscriptions.send_due(id)
    assert told(receiver) == ["afterwards"]
    assert service.change(OWNER, id, **chosen, enabled=True) == []


def test_one_that_is_deleted_meanwhile_ends_quietly(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    id, _ = subscribe(receiver)
    happen()
    noted = webhooks.note_delivered

    def deleted_first(due: webhooks.Due, *rest: Any) -> None:
        service.delete(OWNER, id)
        noted(due, *rest)

    monkeypatch.setattr(webhooks, "note_delivered", deleted_first)
    subscriptions.send_due(id)
    subscriptions.send_due(id)
    assert len(receiver.calls) == 1
    assert WebhookDelivery.select().count() == 0


def test_what_is_of_no_use_is_forgotten(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "DELIVERED", 2)
    id, _ = subscribe(receiver)
    for number in range(5):
        happen(message=str(number))
    subscriptions.send_due(id)
    with catalog.write():
        WebhookDelivery.update(state="dead").where(WebhookDelivery.id == 1).execute()
        webhooks.forget(now())
    assert [row.event.message for row in WebhookDelivery.select().order_by(WebhookDelivery.id)] == ["0", "3", "4"]
    with catalog.write():
        webhooks.forget(now() + timedelta(days=31))
    assert [row.event.message for row in WebhookDelivery.select().order_by(WebhookDelivery.id)] == ["3", "4"]
