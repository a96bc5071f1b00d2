"""The page of webhooks, and the same over the API."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from appliance import catalog
from appliance.catalog import Actor, DeliveryState, Event, EventKind, Session, Webhook, WebhookDelivery, events, now, record
from appliance.outbound import subscriptions
from appliance.services import tokens, webhooks
from tests.receiver import serving
from tests.unit.webui.conftest import HOST, Browser
from webui.api import SCOPES
from webui.api.document import document

pytestmark = pytest.mark.webhook

PAGE = "/admin/webhooks/"
FORM = {
    "name": "Chat",
    "url": "https://hooks.example.org/x?token=letmein",
    "enabled": "yes",
    "kinds": "run.failed\nsign_in",
    "areas": ["machine"],
}


def secret_in(answer: TestResponse) -> str:
    found = re.search(r'value="(whsec_[^"]+)"', answer.text)
    assert found
    return found[1]


def test_one_is_made_changed_and_deleted(grace: Browser) -> None:
    assert "Nobody is told of events." in grace.get(PAGE).text
    secret = secret_in(grace.post(f"{PAGE}new", FORM | {"classes": ["notebook"]}))
    one = Webhook.get()
    assert (one.name, one.kinds, one.classes, one.enabled) == ("Chat", ["machine", "run.failed", "sign_in"], ["notebook"], True)
    assert subscriptions.signing_secrets(one, now()) == [secret]
    page = grace.get(f"{PAGE}{one.id}").text
    assert secret not in page
    assert "built-in method" not in page, "an area is called update, and so is something of every dict"
    assert re.search(r'name="areas" value="machine"[^>]* checked', page)
    assert "run.failed\nsign_in" in grace.client.get(f"{PAGE}{one.id}", base_url=HOST).get_data(as_text=True)
    again = secret_in(grace.post(f"{PAGE}{one.id}/secret"))
    assert subscriptions.signing_secrets(Webhook.get(), now()) == [again, secret]
    assert "hooks.example.org" in grace.get(PAGE).text
    assert grace.post(f"{PAGE}{one.id}", FORM | {"enabled": "", "name": "Talk"}).status_code == 303
    assert (Webhook.get().name, Webhook.get().enabled) == ("Talk", False)
    assert "disabled" in grace.get(PAGE).text
    recorded = "".join(row.message + json.dumps(row.data) for row in Event.select())
    assert "letmein" not in recorded
    assert grace.post(f"{PAGE}{one.id}/delete").status_code == 303
    assert Webhook.select().count() == 0
    assert grace.get(f"{PAGE}{one.id}").status_code == 404


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": " "}, "needs a name"),
        ({"name": "x" * 61}, "longer than 60"),
        ({"url": "ftp://example.org"}, "cannot be called"),
        ({"url": "https://u:p@example.org/"}, "cannot be called"),
        ({"kinds": "machine.sings"}, "is no kind of event"),
        ({"classes": ["nothing"]}, "There is no class"),
    ],
)
def test_a_slip_is_named_and_loses_nothing(grace: Browser, wrong: dict[str, Any], said: str) -> None:
    answer = grace.post(f"{PAGE}new", FORM | wrong)
    assert answer.status_code == 400
    assert said in answer.text
    assert ("Chat" if "name" not in wrong else "letmein") in answer.text
    assert Webhook.select().count() == 0


@pytest.mark.badinput
def test_two_are_not_called_the_same_and_there_are_not_too_many(
    grace: Browser, people: dict[str, Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    grace.post(f"{PAGE}new", FORM)
    answer = grace.post(f"{PAGE}new", FORM | {"name": "CHAT"})
    assert (answer.status_code, "There is a webhook Chat already." in answer.text) == (409, True)
    monkeypatch.setattr(webhooks, "MOST", 1)
    assert "There are 1 webhooks already." in grace.post(f"{PAGE}new", FORM | {"name": "Other"}).text


def test_what_is_dangerous_asks_once_more_who_it_is(grace: Browser) -> None:
    grace.post(f"{PAGE}new", FORM)
    with catalog.write():
        Session.update(confirmed_at=now() - timedelta(hours=1)).execute()
    id = Webhook.get().id
    for path in ("new", str(id), f"{id}/secret", f"{id}/delete"):
        assert "Confirm access" in grace.post(PAGE + path, FORM).text


def test_a_ping_says_what_the_receiver_answers(grace: Browser) -> None:
    with serving() as receiver:
        grace.post(f"{PAGE}new", FORM | {"url": receiver.url})
        id = Webhook.get().id
        assert "The receiver took the ping." in grace.post(f"{PAGE}{id}/ping").text
        [(_, headers, body)] = receiver.calls
        assert json.loads(body)["type"] == "ping"
        assert headers["webhook-signature"].startswith("v1,")
        receiver.says = [(503, b"busy", {}), (404, b"", {})]
        assert "answers 503. It says “busy”." in grace.post(f"{PAGE}{id}/ping").text
        answer = grace.post(f"{PAGE}{id}/ping")
        assert (answer.status_code, "answers 404" in answer.text) == (409, True)


def dead(grace: Browser, count: int = 2) -> int:
    """A webhook with so many dead deliveries, and one that was delivered."""
    grace.post(f"{PAGE}new", FORM)
    id: int = Webhook.get().id
    with catalog.write():
        for number in range(count + 1):
            record(EventKind.RUN_FAILED, f"Run {number} failed.")
            state = DeliveryState.DEAD if number < count else DeliveryState.DELIVERED
            WebhookDelivery.create(webhook=id, event=events.last_id(), state=state, tries=9, answer="<b>500</b>", tried_at=now())
    return id


def test_dead_letters_are_shown_and_sent_again(grace: Browser) -> None:
    id = dead(grace)
    page = grace.get(f"{PAGE}{id}").text
    for words in ("2 events could not be delivered", "Run 0 failed.", "&lt;b&gt;500", "2 not delivered"):
        assert words in page
    assert "Run 2 failed." not in grace.get(f"{PAGE}{id}?state=dead").text
    one = WebhookDelivery.get()
    assert grace.post(f"{PAGE}{id}/deliveries", {"verb": "send-again", "id": str(one.id)}).status_code == 303
    assert WebhookDelivery.get_by_id(one.id).state is DeliveryState.PENDING
    assert grace.post(f"{PAGE}{id}/send-dead-again").status_code == 303
    assert [row.state.value for row in WebhookDelivery.select()] == ["pending", "pending", "delivered"]
    assert "could not be delivered" not in grace.get(f"{PAGE}{id}").text


@pytest.mark.authz
def test_only_who_may_change_settings_sees_them(signed_in: Callable[[str], Browser], grace: Browser) -> None:
    id = dead(grace)
    assert [signed_in("ada").get(path).status_code for path in (PAGE, f"{PAGE}{id}")] == [403, 403]


# -- the API -------------------------------------------------------------------------------------------


@pytest.fixture
def call(app: Flask, people: dict[str, Actor]) -> Callable[..., TestResponse]:
    token = tokens.create(people["grace"], "script", list(SCOPES), 7)

    def ask(method: str, path: str, json: object = None, **headers: str) -> TestResponse:
        head = {"Authorization": f"Bearer {token}", **headers}
        return app.test_client().open(f"/api/v1/admin/{path}", method=method, base_url=HOST, json=json, headers=head)

    return ask


BODY = {"name": "Chat", "url": "https://hooks.example.org/x", "kinds": ["machine", "run.failed"], "classes": ["notebook"]}


@pytest.mark.api
def test_programs_do_the_same(call: Callable[..., TestResponse]) -> None:
    made = call("POST", "webhooks", BODY, **{"Idempotency-Key": "one"})
    assert made.status_code == 201
    assert made.json is not None
    id = made.json["id"]
    assert {name: made.json[name] for name in (*BODY, "enabled")} == {**BODY, "enabled": True}
    assert "whsec_" not in made.text, "the answer is kept for a day, to be given again"
    assert call("POST", "webhooks", BODY, **{"Idempotency-Key": "one"}).json == made.json
    seen = call("GET", f"webhooks/{id}")
    assert call("PUT", f"webhooks/{id}", BODY).json == {"changed": False, "fields": []}
    assert call("PUT", f"webhooks/{id}", {**BODY, "enabled": False}).json == {"changed": True, "fields": ["enabled"]}
    assert call("DELETE", f"webhooks/{id}", **{"If-Match": seen.headers["ETag"]}).status_code == 412
    secret = call("POST", f"webhooks/{id}/secret").json
    assert secret is not None
    assert subscriptions.signing_secrets(Webhook.get(), now())[0] == secret["secret"]
    assert call("DELETE", f"webhooks/{id}").status_code == 204
    assert call("GET", "webhooks").json == {"items": []}


@pytest.mark.api
def test_programs_see_what_was_not_taken_and_have_it_sent_again(grace: Browser, call: Callable[..., TestResponse]) -> None:
    id = dead(grace)
    found = call("GET", f"webhooks/{id}/deliveries?state=dead").json
    assert found is not None
    assert [(one["message"], one["state"], one["tries"]) for one in found["items"]] == [
        ("Run 1 failed.", "dead", 9),
        ("Run 0 failed.", "dead", 9),
    ]
    first = found["items"][0]["id"]
    assert [call("POST", f"deliveries/{first}/send-again").status_code for _ in range(2)] == [202, 409]
    assert call("POST", f"webhooks/{id}/send-dead-again").json == {"state": "pending"}
    assert WebhookDelivery.select().where(WebhookDelivery.state == "pending").count() == 2


@pytest.mark.api
@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wrong", "at"),
    [({"kinds": ["machine.sings"]}, "#/kinds"), ({"url": "x"}, "#/url"), ({"classes": ["no"]}, "#/classes"), ({"more": 1}, "#/more"), ({"kinds": [1]}, "#/kinds/0")],
)  # fmt: skip
def test_a_wrong_field_is_named(call: Callable[..., TestResponse], wrong: dict[str, object], at: str) -> None:
    answer = call("POST", "webhooks", BODY | wrong)
    assert answer.status_code == 400
    assert answer.json is not None
    assert [one["pointer"] for one in answer.json["errors"]] == [at]


@pytest.mark.api
def test_what_a_receiver_is_sent_is_what_the_document_says(app: Flask, people: dict[str, Actor]) -> None:
    made = document(app)
    post = made["webhooks"]["event"]["post"]
    schema = {**post["requestBody"]["content"]["application/json"]["schema"], "components": made["components"]}
    with serving() as receiver:
        one, _ = webhooks.create(people["grace"], "Chat", receiver.url)
        with catalog.write():
            record(EventKind.RUN_FAILED, "It failed.", class_name="notebook", run=1)
        subscriptions.send_due(one.id)
        [(_, headers, body)] = receiver.calls
    assert {parameter["name"] for parameter in post["parameters"]} <= headers.keys()
    said = json.loads(body)
    check = jsonschema_rs.validator_for(schema)
    check.validate(said)
    assert not check.is_valid({**said, "data": {**said["data"], "id": "1"}})


@pytest.mark.api
def test_an_event_is_told_as_the_api_has_it(grace: Browser, people: dict[str, Actor]) -> None:
    with serving() as receiver:
        one, _ = webhooks.create(people["grace"], "Chat", receiver.url)
        with catalog.write():
            record(EventKind.RUN_FAILED, "It failed.", class_name="notebook", run=1)
        subscriptions.send_due(one.id)
        [(_, _, body)] = receiver.calls
    listed = grace.get("/api/v1/admin/events?limit=1").json
    assert listed is not None
    assert [json.loads(body)["data"]] == listed["items"]
