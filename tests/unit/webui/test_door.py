"""What the front door is answered; what it may do is decided, and tested, in appliance.access."""

import json
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import Actor, Engine, Event, Machine, Session, Token, now
from appliance.services import consoles, tokens
from tests.unit.webui.conftest import HOST, Browser

APP_PORT = 9000


def ask(browser: Browser, port: int | str, **headers: str) -> tuple[int, dict[str, str]]:
    answer = browser.get("/door/check", **{"X-DPE-Port": str(port), "X-DPE-Uri": "/lab", **headers})
    return answer.status_code, dict(answer.headers)


def test_the_owner_gets_in_with_a_ticket(ada: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    status, headers = ask(ada, APP_PORT + machine.slot)
    assert status == 200
    assert headers["X-DPE-Upstream"] == f"10.213.0.{16 + machine.slot}:8888"
    assert headers["X-DPE-Ticket"] == f"{Session.get().id} {machine.id}"
    assert headers["X-DPE-Clear"] == '"storage"'  # it was never opened, and its port may be the one of the machine before
    assert "X-DPE-Clear" not in ask(ada, APP_PORT + machine.slot)[1]


def test_others_do_not(signed_in: Callable[[str], Browser], visitor: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    status, headers = ask(visitor, APP_PORT + machine.slot)
    assert status == 401
    assert headers["X-DPE-Location"].startswith("https://appliance.test:8443/sign-in?next=https%3A%2F%2Fappliance.test")
    assert ask(signed_in("alan"), APP_PORT + machine.slot)[0] == 403
    assert ask(signed_in("ada"), APP_PORT + 49)[0] == 403
    assert ask(signed_in("ada"), "nonsense")[0] == 403


def test_an_admin_does_and_that_is_recorded(grace: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    assert ask(grace, APP_PORT + machine.slot)[0] == 200
    assert Event.select().where(Event.kind == "machine.entered", Event.machine_id == machine.id).count() == 1


def test_it_is_quick(ada: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    ask(ada, APP_PORT + machine.slot)
    begun = time.process_time()
    for _ in range(50):
        ask(ada, APP_PORT + machine.slot)
    # About 2 ms of processor time; asked for every request of an application.
    assert (time.process_time() - begun) / 50 < 0.03


def test_health_is_public_and_says_nothing(visitor: Browser, people: dict[str, Actor]) -> None:
    answer = visitor.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_it_is_ready_when_catalog_engine_and_hypervisor_are(visitor: Browser, people: dict[str, Actor]) -> None:
    def asked() -> tuple[int, str]:
        answer = visitor.get("/readyz")
        return answer.status_code, answer.get_data(as_text=True)

    assert asked() == (200, "catalog ok\nengine ok\nhypervisor ok\n")
    with catalog.write():
        Engine.update(hypervisor_ok=False).execute()
    assert asked() == (503, "catalog ok\nengine ok\nhypervisor not ready\n")
    with catalog.write():
        Engine.update(seen_at=now() - timedelta(minutes=2)).execute()
    assert asked() == (503, "catalog ok\nengine not ready\nhypervisor not ready\n")


def test_a_ticket_opens_a_screen_once_for_its_browser_and_origin(ada: Browser, signed_in: Callable[[str], Browser]) -> None:
    machine = Machine.get(Machine.owner == Session.get().account_id)

    def ask(browser: Browser, token: str, target: str = "screen", origin: str = "https://appliance.test:8443") -> tuple[int, str]:
        uri = f"/ws/{machine.id}/{target}?ticket={token}"
        answer = browser.get("/door/console", **{"X-DPE-Uri": uri, "X-DPE-Origin": origin})
        return answer.status_code, answer.headers.get("X-DPE-Ticket", "")

    def ticket() -> str:
        answer = ada.post(f"/machines/{machine.id}/console/ticket", {"target": "screen"})
        assert answer.status_code == 200
        return str(answer.get_json()["ticket"])

    ada.get(f"/machines/{machine.id}/console")
    status, told = ask(ada, token := ticket())
    assert (status, json.loads(told)["machine_id"], json.loads(told)["control"]) == (200, machine.id, True)
    assert ask(ada, token) == (403, "")
    assert ask(ada, ticket(), origin="https://appliance.test:9000") == (403, "")
    assert ask(ada, ticket(), target="serial") == (403, "")
    assert ask(signed_in("alan"), ticket()) == (403, "")
    assert ask(ada, "") == (403, "")
    assert ask(ada, ticket())[0] == 200


@pytest.mark.revoked
def test_a_programs_ticket_is_for_its_token_alone_and_ends_with_it(app: Flask, ada: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    token, other = (tokens.create(people["ada"], name, ["consoles", "read"], 7) for name in ("dpe", "other"))

    def ticket(scope: str = token) -> str:
        answer = app.test_client().post(
            f"/api/v1/machines/{machine.id}/console", base_url=HOST, json={"target": "serial"}, headers={"Authorization": f"Bearer {scope}"}
        )
        assert (answer.status_code, answer.json["control"]) == (201, True)  # type: ignore[index]
        return str(answer.json["path"])  # type: ignore[index]

    def ask(uri: str, bearer: str = token, origin: str = "") -> tuple[int, str]:
        heads = {"X-DPE-Uri": uri, "X-DPE-Origin": origin, **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
        answer = app.test_client().get("/door/console", base_url=HOST, headers=heads)
        return answer.status_code, answer.headers.get("X-DPE-Ticket", "")

    status, told = ask(uri := ticket())
    admission = consoles.Admission.load(told)
    assert (status, admission.session_id) == (200, f"token:{Token.get(Token.name == 'dpe').id}")
    assert ask(uri)[0] == 403, "once"
    assert ask(ticket(), bearer=other)[0] == 403
    assert ask(ticket(), bearer="")[0] == 403
    assert ask(ticket(), origin=HOST)[0] == 403
    assert ada.get("/door/console", **{"X-DPE-Uri": ticket()}).status_code == 403
    assert consoles.good([admission]) == {admission}
    tokens.end_token(people["ada"], people["ada"].account_id or 0, Token.get(Token.name == "dpe").id)
    assert consoles.good([admission]) == set()
    assert consoles.why_ended(admission) == "You are signed out."


def test_a_token_opens_no_page_of_a_machine(app: Flask, people: dict[str, Actor]) -> None:
    """It is good for the API and its own consoles; the front door goes by sessions."""
    token = tokens.create(people["ada"], "dpe", ["consoles", "read"], 7)
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    heads = {"Authorization": f"Bearer {token}", "X-DPE-Port": str(APP_PORT + machine.slot)}
    assert app.test_client().get("/door/check", base_url=HOST, headers=heads).status_code == 401
