"""The engine delivers events to webhooks, each by itself: who hangs holds up nobody."""

import contextlib
import json
import socket
import threading

import pytest

from appliance import catalog
from appliance.catalog import Actor, EventKind, WebhookDelivery, record
from appliance.engine import Engine
from appliance.identity import secrets
from appliance.outbound import subscriptions
from appliance.services import webhooks
from appliance.settings import Settings
from tests.post import listener
from tests.receiver import serving
from tests.unit.engine.fake import settle

pytestmark = [pytest.mark.webhook, pytest.mark.badinput]

OWNER = Actor("grace", None)


def test_receivers_that_hang_redirect_or_pour_hold_up_nobody(engine: Engine, opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.web_secret.write_bytes(b"k" * 32)
    secrets.open(opened.web_secret)
    monkeypatch.setattr(subscriptions, "LIMIT", 60.0)
    hanging = threading.Semaphore(0)

    def hang(_connection: socket.socket) -> None:
        hanging.release()

    with serving() as elsewhere, serving() as pouring, serving() as good:
        with contextlib.ExitStack() as while_they_hang:
            port = while_they_hang.enter_context(listener(hang))
            elsewhere.says = [(302, b"", {"Location": good.url})]
            pouring.says = [(200, b"x" * (10 << 20), {})]
            slow = [webhooks.create(OWNER, f"Hangs {number}", f"http://127.0.0.1:{port}/", ["machine"])[0].id for number in range(4)]
            others = [
                webhooks.create(OWNER, name, receiver.url, ["machine"])[0].id
                for name, receiver in (("Elsewhere", elsewhere), ("Pours", pouring), ("Good", good))
            ]
            with catalog.write():
                record(EventKind.MACHINE_IDLE, "small-1 is idle.")
            engine.tick()
            assert all(hanging.acquire(timeout=10) for _ in slow)
            for id in others:
                engine.jobs._jobs[f"webhook-{id}"].future.result(10)
            assert [json.loads(body)["type"] for _, _, body in good.calls] == ["machine.idle"]
            assert (len(elsewhere.calls), len(pouring.calls)) == (1, 1)
            engine.tick()
            assert not hanging.acquire(timeout=0.05), "one job at a time for each"
            assert {f"webhook-{id}" for id in slow} <= engine.jobs.keys()
        settle(engine, 1)
    answers = {row.webhook.name: (row.state.value, row.answer) for row in WebhookDelivery.select()}
    assert answers["Good"][0] == answers["Pours"][0] == "delivered"
    assert "that is not followed" in answers["Elsewhere"][1]
    assert all(answers[f"Hangs {number}"][0] == "pending" and answers[f"Hangs {number}"][1] for number in range(4))
