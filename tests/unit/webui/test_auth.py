"""Signing in and out, and one's own account."""

import pytest
from flask import Flask

from appliance.catalog import Account, Actor, Session
from tests import world
from tests.unit.webui.conftest import Browser
from webui.auth import own_address


def test_signing_in_leads_to_the_portal(visitor: Browser, people: dict[str, Actor]) -> None:
    answer = visitor.sign_in("ada")
    assert answer.headers["Location"] == "/"
    assert "Hello, Ada" in visitor.get("/").text


def test_a_page_that_wanted_it_is_where_signing_in_leads(visitor: Browser, people: dict[str, Actor]) -> None:
    asked = visitor.get("/admin/events/?kind=seed")
    assert asked.headers["Location"] == "/sign-in?next=/admin/events/?kind%3Dseed"
    assert visitor.sign_in("grace", next="/admin/events/?kind=seed").headers["Location"] == "/admin/events/?kind=seed"


@pytest.mark.badinput
def test_a_wrong_password_keeps_the_name_and_says_what_to_do(visitor: Browser, people: dict[str, Actor]) -> None:
    answer = visitor.sign_in("ada", "wrong")
    assert answer.status_code == 403
    assert 'value="ada"' in answer.text
    assert "do not fit" in answer.text
    assert 'value="wrong"' not in answer.text


@pytest.mark.badinput
def test_guessing_is_slowed_down(visitor: Browser, people: dict[str, Actor]) -> None:
    for _ in range(6):
        visitor.sign_in("ada", "wrong")
    answer = visitor.sign_in("ada")
    assert answer.status_code == 403
    assert "Too many failed attempts." in answer.text
    assert "Try again in" in answer.text


@pytest.mark.badinput
@pytest.mark.parametrize(
    "address",
    [
        "//evil.test/", "https://evil.test/", "https://evil.test:9001/", "http://appliance.test:9001/", "https://appliance.test/", "javascript:alert(1)",
        "https://appliance.test:22/", "https://appliance.test:9050/", "https://appliance.test:8999/", "/\\evil.test", "\\\\evil.test", "https:/evil.test",
        "https://appliance.test:9001@evil.test/", "https://appliance.test:9001\\@evil.test/", "/\tevil", "/\n/evil.test", "///evil.test", "evil.test", "",
        "https://appliance.test:99999999/", "https://[::1", "https:///evil.test", " //evil.test", "https://appliance.test.evil.test:9001/",
    ],
)  # fmt: skip
def test_nobody_is_sent_elsewhere(app: Flask, address: str) -> None:
    with app.test_request_context("/sign-in", base_url="https://appliance.test:8443"):
        assert own_address(address) == "/"


@pytest.mark.parametrize(
    "address",
    ["/", "/account", "/admin/machines/?state=ready&text=a%20b", "https://appliance.test:9000/lab", "https://appliance.test:9049/a?b=c"],
)
def test_our_own_addresses_are_kept(app: Flask, address: str) -> None:
    with app.test_request_context("/sign-in", base_url="https://appliance.test:8443"):
        assert own_address(address) == address


def test_the_sign_in_page_may_send_on_to_the_applications(visitor: Browser, people: dict[str, Actor]) -> None:
    policy = visitor.get("/sign-in").headers["Content-Security-Policy"]
    assert "form-action 'self' https://appliance.test:*" in policy


def test_signing_out_ends_the_session_on_the_server(ada: Browser) -> None:
    assert ada.post("/sign-out").status_code == 303
    assert Session.select().count() == 0
    assert ada.get("/").status_code == 303
    assert ada.get("/sign-out").status_code == 405


def test_an_old_cookie_is_worth_nothing_after_signing_out(ada: Browser) -> None:
    cookie = ada.client.get_cookie("__Host-dpe", domain="appliance.test")
    assert cookie is not None
    ada.post("/sign-out")
    ada.client.set_cookie("__Host-dpe", cookie.value, domain="appliance.test", secure=True)
    assert ada.get("/").status_code == 303


def test_changing_the_password_signs_other_browsers_out(ada: Browser, app: Flask) -> None:
    other = Browser(app.test_client())
    other.sign_in("ada")
    answer = ada.post("/account/password", {"old": world.PASSWORD, "new": "another good one"})
    assert answer.status_code == 303
    assert ada.get("/").status_code == 200
    assert other.get("/").status_code == 303
    assert other.sign_in("ada", "another good one").status_code == 303


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("old", "new", "words"), [("wrong", "another good one", "old password is not right"), (world.PASSWORD, "short", "too short")]
)
def test_a_password_that_cannot_be_changed(ada: Browser, old: str, new: str, words: str) -> None:
    answer = ada.post("/account/password", {"old": old, "new": new})
    assert answer.status_code == 400
    assert words in answer.text


def test_keys(ada: Browser, people: dict[str, Actor]) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ada@laptop"
    assert ada.post("/account/keys", {"keys": f"\n {key} \n"}).status_code == 303
    assert Account.get_by_id(people["ada"].account_id).ssh_keys == key


@pytest.mark.badinput
def test_a_wrong_key_is_refused_and_not_lost(ada: Browser) -> None:
    answer = ada.post("/account/keys", {"keys": "-----BEGIN PRIVATE <KEY>-----"})
    assert answer.status_code == 400
    assert "not a public SSH key" in answer.text
    assert "-----BEGIN PRIVATE &lt;KEY&gt;-----</textarea>" in answer.text


def test_ending_a_session_of_ones_own(ada: Browser, app: Flask, people: dict[str, Actor]) -> None:
    other = Browser(app.test_client())
    other.sign_in("ada")
    mine, theirs = (row.id for row in Session.select().order_by(Session.created_at))
    assert ada.post(f"/account/sessions/{theirs}/end").status_code == 303
    assert other.get("/").status_code == 303
    assert ada.get("/").status_code == 200
    assert mine


def test_sessions_of_others_cannot_be_ended(ada: Browser, grace: Browser, people: dict[str, Actor]) -> None:
    theirs = Session.get(Session.account == people["grace"].account_id)
    ada.post(f"/account/sessions/{theirs.id}/end")
    assert grace.get("/").status_code == 200
