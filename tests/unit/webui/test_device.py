"""Programs that sign in by being approved in a browser: the codes, who may approve, and what of it lasts."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from appliance import catalog
from appliance.catalog import Account, Actor, Event, Session, Token, now
from appliance.catalog import sessions as session_rows
from appliance.services import devices
from tests import world
from tests.unit.webui.conftest import HOST, Browser
from webui import device

Send = Callable[..., TestResponse]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(at=1000.0)
    monkeypatch.setattr(devices.time, "monotonic", lambda: clock.at)
    monkeypatch.setattr(devices, "_devices", {})
    return clock


@pytest.fixture
def send(app: Flask, people: dict[str, Actor]) -> Send:
    """A program that has no token: `send("/device", client_name=…)`."""

    def post(path: str, address: str = "192.0.2.7", **said: str) -> TestResponse:
        return app.test_client().post(f"/api/v1{path}", base_url=HOST, data=said, headers={"X-Forwarded-For": address})

    return post


def begin(send: Send, scope: str = "read machines", **more: str) -> dict[str, Any]:
    answer = send("/device", client_name="dpe on laptop", scope=scope, **more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json  # type: ignore[assignment]
    return found


def collect(send: Send, clock: SimpleNamespace, code: str, after: float = devices.INTERVAL) -> Any:
    clock.at += after
    return send("/device/token", device_code=code).json


def test_a_program_is_approved_and_given_its_token_once(send: Send, clock: SimpleNamespace, ada: Browser, app: Flask) -> None:
    asked = begin(send)
    assert (asked["expires_in"], asked["interval"]) == (600, devices.INTERVAL)
    assert asked["verification_uri_complete"] == f"{asked['verification_uri']}?code={asked['user_code']}"
    assert collect(send, clock, asked["device_code"]) == {"error": "authorization_pending"}
    page = ada.get(f"/device?code={asked['user_code']}").text
    for word in ("dpe on laptop", "192.0.2.7", asked["user_code"], "Get machines, stop and start them"):
        assert word in page
    assert "Manage accounts" not in page
    assert "Approved" in ada.post("/device/approve", {"code": asked["user_code"]}).text
    answer = collect(send, clock, asked["device_code"])
    assert (answer["token_type"], answer["scope"]) == ("Bearer", "machines read")
    token = Token.get()
    assert (token.account.name, token.name) == ("ada", "dpe on laptop")
    me = app.test_client().get("/api/v1/me", base_url=HOST, headers={"Authorization": f"Bearer {answer['access_token']}"})
    assert me.json["name"] == "ada"  # type: ignore[index]
    assert collect(send, clock, asked["device_code"]) == {"error": "expired_token"}
    assert Token.select().count() == 1
    event = Event.get(Event.kind == "account.device")
    assert (event.actor, event.data["after"]["approved"]) == ("ada", True)


def test_a_program_is_denied(send: Send, clock: SimpleNamespace, ada: Browser) -> None:
    asked = begin(send)
    ada.get(f"/device?code={asked['user_code']}")
    assert "Denied" in ada.post("/device/deny", {"code": asked["user_code"]}).text
    assert collect(send, clock, asked["device_code"]) == {"error": "access_denied"}
    assert collect(send, clock, asked["device_code"]) == {"error": "expired_token"}
    assert Event.get(Event.kind == "account.device").data["after"]["approved"] is False
    assert Token.select().count() == 0


def test_a_code_is_for_one_answer(send: Send, ada: Browser, signed_in: Callable[[str], Browser]) -> None:
    asked = begin(send)
    ada.post("/device/approve", {"code": asked["user_code"]})
    for decide in ("approve", "deny"):
        assert signed_in("alan").post(f"/device/{decide}", {"code": asked["user_code"]}).status_code == 404
    assert next(iter(devices._devices.values())).approved_by.name == "ada"  # type: ignore[union-attr]


def test_codes_last_for_ten_minutes(send: Send, clock: SimpleNamespace, ada: Browser) -> None:
    asked = begin(send)
    assert collect(send, clock, asked["device_code"], after=599) == {"error": "authorization_pending"}
    clock.at += 2
    assert ada.post("/device/approve", {"code": asked["user_code"]}).status_code == 404
    assert collect(send, clock, asked["device_code"]) == {"error": "expired_token"}


def test_who_asks_too_often_is_told_so(send: Send, clock: SimpleNamespace) -> None:
    asked = begin(send)
    assert collect(send, clock, asked["device_code"]) == {"error": "authorization_pending"}
    assert collect(send, clock, asked["device_code"], after=0.1) == {"error": "slow_down"}


@pytest.mark.revoked
@pytest.mark.parametrize("how", ["signed out", "disabled", "everything ended"])
def test_an_approval_ends_with_the_session_that_gave_it(
    send: Send, clock: SimpleNamespace, ada: Browser, people: dict[str, Actor], how: str
) -> None:
    asked = begin(send)
    ada.post("/device/approve", {"code": asked["user_code"]})
    with catalog.write():
        if how == "signed out":
            Session.delete().execute()
        elif how == "disabled":
            Account.update(disabled=True).where(Account.name == "ada").execute()
        else:
            session_rows.end_all(people["ada"].account_id or 0)
    assert collect(send, clock, asked["device_code"]) == {"error": "access_denied"}
    assert Token.select().count() == 0


def test_approving_asks_who_it_is(send: Send, ada: Browser) -> None:
    asked = begin(send)
    with catalog.write():
        Session.update(confirmed_at=now().replace(year=2020)).execute()
    assert "Confirm access" in ada.post("/device/approve", {"code": asked["user_code"]}).text
    assert "Approved" in ada.post("/device/approve", {"code": asked["user_code"], "again": world.PASSWORD}).text


def test_who_is_not_signed_in_comes_back_to_the_code(send: Send, visitor: Browser) -> None:
    asked = begin(send)
    answer = visitor.get(f"/device?code={asked['user_code']}")
    assert answer.status_code == 303
    assert asked["user_code"] in answer.headers["Location"]


@pytest.mark.hostile
def test_whoever_guesses_codes_has_to_wait(send: Send, ada: Browser, signed_in: Callable[[str], Browser]) -> None:
    asked = begin(send)
    for letter in "BCDFG":
        assert ada.get(f"/device?code=BBBB-BBB{letter}").status_code == 404
    answer = ada.get(f"/device?code={asked['user_code']}")
    assert answer.status_code == 403
    assert "Too many failed attempts." in answer.text
    assert signed_in("alan").get(f"/device?code={asked['user_code']}").status_code == 200


@pytest.mark.hostile
def test_programs_that_ask_and_ask_keep_no_other_address_out(send: Send, app: Flask) -> None:
    for _ in range(devices.EACH):
        begin(send)
    answer = send("/device", client_name="x", scope="read")
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert send("/device", address="192.0.2.8", client_name="x", scope="read").status_code == 200


@pytest.mark.badinput
@pytest.mark.parametrize(
    "said",
    [
        {},
        {"client_name": "x"},
        {"scope": "read"},
        {"client_name": "x", "scope": "read everything"},
        {"client_name": "x" * 61, "scope": "read"},
    ],
)
def test_what_asks_wrongly_is_told(send: Send, said: dict[str, str]) -> None:
    answer = send("/device", **said)
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    assert devices._devices == {}


@pytest.mark.hostile
def test_the_name_of_a_program_is_text(send: Send, ada: Browser) -> None:
    answer = send("/device", client_name="<b>x</b>", scope="read")
    page = ada.get(f"/device?code={answer.json['user_code']}").text  # type: ignore[index]
    assert "&lt;b&gt;" in page
    assert "<b>x" not in page


def test_a_code_is_typed_as_people_type(send: Send, ada: Browser) -> None:
    asked = begin(send)
    typed = asked["user_code"].lower().replace("-", " ")
    assert asked["user_code"] in ada.get(f"/device?code={typed}").text


# -- where the command is had ----------------------------------------------------------------------------------


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(device, "WHEELS", tmp_path)
    file = tmp_path / "dpe-0.1.0-py3-none-any.whl"
    file.write_bytes(b"wheel")
    (tmp_path / "other-1.whl").write_bytes(b"not ours")
    return file


def test_the_page_has_the_command_for_this_very_address(ada: Browser, visitor: Browser, wheel: Path) -> None:
    page = ada.get("/docs/command-line").text
    address = f"{HOST}/download/{wheel.name}"
    assert address in page
    assert "--trusted-host appliance.test:8443" in page
    found = visitor.get(f"/download/{wheel.name}")
    assert (found.status_code, found.data) == (200, b"wheel")
    found.close()
    assert f"#sha256={hashlib.sha256(found.data).hexdigest()}" in page


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["other-1.whl", "dpe-0.2.0-py3-none-any.whl", "..%2Fother-1.whl", "%2Fetc%2Fpasswd"])
def test_nothing_else_is_had_there(visitor: Browser, people: dict[str, Actor], wheel: Path, name: str) -> None:
    assert visitor.get(f"/download/{name}").status_code == 404


def test_without_the_wheel_the_page_says_so(ada: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "WHEELS", tmp_path / "nowhere")
    assert "Run make setup once more." in ada.get("/docs/command-line").text
