"""Setting a password by a link, asking for one, and the password that somebody else chose: what opens, what does not, and what is told to whom."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Event, PasswordLink, Throttle, machines, options, outgoing_mail
from appliance.services import tokens
from tests.unit.webui.conftest import HOST, Browser
from webui.reauth import ALWAYS

GIVEN = "chosen by an admin"
OWN = "a good one of mine"


def mail_works() -> None:
    with catalog.write():
        options.put("mail", {"on": True})
        options.put("address", HOST)


def link_in(text: str) -> str:
    found = re.search(rf'id="f-link" value="{HOST}/set-password#([^"]+)"', text)
    assert found, text
    return found[1]


def test_who_is_made_without_a_password_gets_in_by_the_link_that_is_shown_once(grace: Browser, visitor: Browser) -> None:
    grace.get("/admin/accounts/new")
    shown = grace.post("/admin/accounts/new", {"name": "emmy", "full_name": "Emmy Noether", "email": "emmy@example.org", "password": ""})
    link = link_in(shown.text)
    secret = link.partition(":")[2]
    assert 'class="qr"' in shown.text
    assert secret not in str(shown.headers)  # no cookie has it
    assert secret not in grace.get(f"/admin/accounts/{Account.get(Account.name == 'emmy').id}/sign-in").text
    page = visitor.get("/set-password")
    assert page.headers["Referrer-Policy"] == "no-referrer"
    answer = visitor.post("/set-password", {"link": link, "password": "short"})
    assert (answer.status_code, answer.headers["Referrer-Policy"]) == (400, "no-referrer")
    assert "too short" in answer.text
    assert link in answer.text  # nothing entered is lost
    answer = visitor.post("/set-password", {"link": link, "password": OWN})
    assert answer.headers["Location"] == "/sign-in"
    assert "Your password is set. Sign in with it, Emmy Noether." in visitor.get("/sign-in").text
    assert visitor.sign_in("emmy", OWN).headers["Location"] == "/"
    assert visitor.get("/").status_code == 200
    said = str([list(model.select().dicts()) for model in (Event, PasswordLink, Throttle, Account)])
    assert secret not in said


@pytest.mark.badinput
def test_a_link_that_is_over_says_what_to_do(visitor: Browser, people: dict[str, Actor]) -> None:
    visitor.get("/set-password")
    answer = visitor.post("/set-password", {"link": "ada:nothing", "password": OWN})
    assert answer.status_code == 403
    assert "This link is not good any more." in answer.text
    assert "Ask your admin for a new one." in answer.text


def test_an_admin_sees_that_somebody_is_invited_mails_it_and_withdraws_it(grace: Browser, people: dict[str, Actor]) -> None:
    page = f"/admin/accounts/{people['ada'].account_id}/sign-in"
    assert "No mail reaches them" in grace.get(page).text
    assert grace.post(f"{page}/invite", {"by": "mail"}).status_code == 409
    mail_works()
    assert "Mail invitation" in grace.get(page).text
    assert grace.post(f"{page}/invite", {"by": "mail"}).status_code == 303
    assert [letter.to for letter in outgoing_mail.due_mail(catalog.now())] == ["ada@example.org"]
    assert "They are invited to choose one." in grace.get(page).text
    assert grace.post(f"{page}/withdraw").status_code == 303
    assert "They are invited" not in grace.get(page).text


def test_many_are_invited_by_mail_at_once_and_those_whom_none_reaches_are_named(grace: Browser, people: dict[str, Actor]) -> None:
    mail_works()
    with catalog.write():
        Account.update(email="", password="").where(Account.name == "alan").execute()
    assert "no password yet" in grace.get("/admin/accounts/").text
    ids = [str(people[name].account_id) for name in ("ada", "alan", "mary")]
    answer = grace.post("/admin/accounts/bulk", {"verb": "invite", "id": ids})
    assert "Mail invitation: 1 account refused" in answer.text
    assert "No mail reaches alan." in answer.text
    assert sorted(letter.to for letter in outgoing_mail.due_mail(catalog.now())) == ["ada@example.org", "mary@example.org"]


def test_who_forgot_the_password_is_answered_the_same_whether_there_is_anybody(visitor: Browser, people: dict[str, Actor]) -> None:
    assert "ask your admin for a new password" in visitor.get("/forgot-password").text
    visitor.post("/forgot-password", {"name": "ada"})
    assert PasswordLink.select().count() == 0
    assert "Forgot your password?" not in visitor.get("/sign-in").text
    mail_works()
    assert "Forgot your password?" in visitor.get("/sign-in").text

    def asked(name: str) -> tuple[int, str]:
        visitor.get("/forgot-password")
        answer = visitor.post("/forgot-password", {"name": name})
        return answer.status_code, re.sub(r'(csrf_token" value|CSRFToken":) ?"[^"]*|data-now="[^"]*', "", answer.text)

    assert asked("ada") == asked("nobody at all")
    assert [letter.to for letter in outgoing_mail.due_mail(catalog.now())] == ["ada@example.org"]
    for _ in range(2):
        assert asked("ada") == asked("nobody at all")
    assert asked("ada")[0] == asked("nobody at all")[0] == 403


@pytest.mark.authz
def test_nothing_opens_before_a_password_that_somebody_else_chose_is_changed(
    grace: Browser, signed_in: Callable[[str], Browser], people: dict[str, Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, id = signed_in("ada"), people["ada"].account_id
    grace.get(f"/admin/accounts/{id}/sign-in")
    assert grace.post(f"/admin/accounts/{id}/password", {"password": GIVEN}).status_code == 303
    assert ada.get("/").headers["Location"].startswith("/sign-in")
    ada.get("/sign-in")
    assert ada.post("/sign-in", {"name": "ada", "password": GIVEN}).status_code == 303
    with catalog.write():  # a token cannot be there: setting the password ended all of them
        Account.update(must_change=False).where(Account.id == id).execute()
        token = tokens.create(people["ada"], "script", ["read"], 7)
        Account.update(must_change=True).where(Account.id == id).execute()
    met: list[str] = []
    with monkeypatch.context() as patched:
        views = ada.client.application.view_functions
        for endpoint, view in list(views.items()):
            patched.setitem(views, endpoint, _met(met, endpoint, view))
        for rule in ada.client.application.url_map.iter_rules():
            address = re.sub(r"<[^>]*>", "1", rule.rule)
            _ = ada.get(address) if "GET" in (rule.methods or ()) else ada.post(address)
    assert {endpoint for endpoint in met if not endpoint.startswith("moved.")} <= {*ALWAYS, "auth.new_password"}
    port = str(world_port(people))
    assert ada.get("/door/check", **{"X-DPE-Port": port, "X-DPE-Uri": "/"}).status_code == 401
    assert ada.get("/door/console", **{"X-DPE-Uri": "/ws/x/screen?ticket=y"}).headers["Location"] == "/account/new-password"
    answer = ada.client.get("/api/v1/me", base_url=HOST, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    assert "a password that somebody else chose" in answer.text
    ada.get("/account/new-password")
    assert ada.post("/account/new-password", {"password": GIVEN}).status_code == 400
    assert ada.post("/account/new-password", {"password": OWN}).headers["Location"] == "/"
    assert ada.get("/").status_code == 200
    assert ada.get("/account/new-password").status_code == 200
    assert ada.post("/account/new-password", {"password": "once more"}).status_code == 409


def _met(met: list[str], endpoint: str, view: Any) -> Any:
    """A view in the place of this one, which only notes that it was reached."""

    def reached(**_: object) -> str:
        met.append(endpoint)
        return "reached"

    reached.need = view.need  # type: ignore[attr-defined]
    reached.scope = "read"  # type: ignore[attr-defined]
    return reached


def world_port(people: dict[str, Actor]) -> int:
    """Behind which ada's machine is."""
    [machine] = machines.of_account(people["ada"].account_id or 0)
    return 9000 + machine.door


@pytest.mark.api
def test_the_api_invites_by_mail_or_by_a_link_that_no_key_keeps(grace: Browser, people: dict[str, Actor]) -> None:
    token = tokens.create(people["grace"], "script", ["admin:people"], 7)
    bearer = {"Authorization": f"Bearer {token}"}

    def call(path: str, method: str = "POST", **sent: object) -> tuple[int, dict[str, str]]:
        answer = grace.client.open(f"/api/v1/admin/accounts{path}", method=method, base_url=HOST, json=sent, headers=bearer)
        return answer.status_code, answer.get_json(silent=True) or {}

    status, made = call("", name="emmy", full_name="Emmy Noether", email="emmy@example.org")
    assert status == 201
    assert call(f"/{made['id']}/invite", by="mail")[0] == 409
    status, invited = call(f"/{made['id']}/invite", by="link")
    assert status == 200
    assert invited["link"].startswith(f"{HOST}/set-password#emmy:")
    assert invited["mailed_to"] is None
    assert call(f"/{made['id']}/invite", "DELETE")[0] == 204
    assert call(f"/{made['id']}/invite", "DELETE")[0] == 409
    mail_works()
    assert call(f"/{made['id']}/invite")[1]["mailed_to"] == "emmy@example.org"
