"""Signing in and out, and one's own account."""

import html
import re
from datetime import datetime, timedelta

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import Actor, Event, Session, now
from appliance.services import accounts
from tests import world
from tests.unit.identity.test_ssh_keys import KEY
from tests.unit.webui.conftest import HOST, Browser
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
        "https://appliance.test:22/", "https://appliance.test:9200/", "https://appliance.test:8999/", "/\\evil.test", "\\\\evil.test", "https:/evil.test",
        "https://appliance.test:9001@evil.test/", "https://appliance.test:9001\\@evil.test/", "/\tevil", "/\n/evil.test", "///evil.test", "evil.test", "",
        "https://appliance.test:99999999/", "https://[::1", "https:///evil.test", " //evil.test", "https://appliance.test.evil.test:9001/",
    ],
)  # fmt: skip
def test_nobody_is_sent_elsewhere(app: Flask, address: str) -> None:
    with app.test_request_context("/sign-in", base_url="https://appliance.test:8443"):
        assert own_address(address) == "/"


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/account",
        "/admin/machines/?state=ready&text=a%20b",
        "https://appliance.test:9000/lab",
        "https://appliance.test:9049/a?b=c",
        "https://appliance.test:9199/",
    ],
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
    cookie = ada.client.get_cookie("__Host-Http-dpe", domain="appliance.test")
    assert cookie is not None
    ada.post("/sign-out")
    ada.client.set_cookie("__Host-Http-dpe", cookie.value, domain="appliance.test", secure=True)
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
    assert accounts.ssh_keys_text(people["ada"].account_id) == key
    page = ada.get("/account").text
    assert "ada@laptop" in page
    assert "SHA256:" in page
    [row] = accounts.ssh_keys_of(people["ada"].account_id)
    assert ada.post(f"/account/keys/{row.id}/remove").status_code == 303
    assert not accounts.ssh_keys_of(people["ada"].account_id)


def test_the_line_by_which_machines_are_known(ada: Browser) -> None:
    assert re.fullmatch(r"@cert-authority \[\*\]:2222,dpe-\*,[0-9.]+\.\* ssh-ed25519 [\w+/=]+\n", ada.get("/download/known-hosts").text)


def test_keys_of_others_cannot_be_removed(ada: Browser, grace: Browser, people: dict[str, Actor]) -> None:
    accounts.add_ssh_keys(people["grace"], KEY)
    [row] = accounts.ssh_keys_of(people["grace"].account_id)
    assert ada.post(f"/account/keys/{row.id}/remove").status_code == 404
    assert accounts.ssh_keys_of(people["grace"].account_id) == [row]


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


OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.mark.cases
@pytest.mark.parametrize("there", [OURS, {"Origin": "https://appliance.test:8443"}])
def test_a_form_sent_after_the_session_ended_is_offered_again(ada: Browser, there: dict[str, str]) -> None:
    page = ada.get("/account")
    assert page.status_code == 200
    with catalog.write():
        Session.delete().execute()
    typed = 'ssh-ed25519 AAAA "quoted" <b>\r\nand a second line'
    answer = ada.post("/account/keys", {"keys": typed}, **there)
    assert answer.status_code == 401
    assert "what you entered is offered to you again" in answer.text
    kept = html.unescape(re.search(r'name="kept" value="([^"]*)"', answer.text)[1])  # type: ignore[index]
    ada.get("/sign-in")
    assert "kept" in ada.post("/sign-in", {"name": "ada", "password": "wrong", "kept": kept}).text  # a slip does not lose it either
    answer = ada.post("/sign-in", {"name": "ada", "password": world.PASSWORD, "kept": kept, "next": "/account"})
    assert answer.status_code == 200
    assert "Send it now?" in answer.text
    assert re.search(r'<form [^>]*action="/account/keys"', answer.text)
    fields = {
        name: html.unescape(value)
        for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', answer.get_data(as_text=True))
    }
    assert fields["keys"] == typed
    assert fields["csrf_token"] != ada.token
    assert (
        ada.client.post("/account/keys", base_url=HOST, data={**fields, "keys": ""}, headers={"Referer": HOST + "/sign-in"}).status_code
        == 303
    )


@pytest.mark.cases
def test_a_form_that_is_older_than_signing_in_is_offered_again(ada: Browser) -> None:
    ada.get("/account")
    old = ada.token
    ada.post("/sign-out")
    ada.sign_in("ada")
    ada.token = old
    answer = ada.post("/account/keys", {"keys": "typed"}, **OURS)
    assert answer.status_code == 400
    assert "Send it now?" in answer.text
    assert 'value="typed"' in answer.text


@pytest.mark.hostile
def test_a_form_that_another_page_sent_is_not_kept(ada: Browser, visitor: Browser) -> None:
    visitor.get("/sign-in")
    for headers in (
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": HOST},
        {"Origin": "https://appliance.test:9003"},
        {},
    ):
        answer = visitor.post("/account/keys", {"keys": "evil"}, **headers)
        assert answer.status_code == 303
        assert "evil" not in answer.text
    for text in ("nonsense", "[]", '{"address": "//evil.test/", "fields": []}', '{"address": "https://evil.test/", "fields": []}'):
        visitor.get("/sign-in")
        assert visitor.post("/sign-in", {"name": "ada", "password": world.PASSWORD, "kept": text}).status_code == 303
        visitor.client.delete_cookie("__Host-Http-dpe", domain="appliance.test")


@pytest.mark.cases
def test_what_a_script_sends_after_the_session_ended_is_told_so_in_the_page(visitor: Browser, people: dict[str, Actor]) -> None:
    visitor.get("/sign-in")
    answer = visitor.post("/request", {"class": "notebook"}, **{"HX-Request": "true", **OURS})
    assert answer.status_code == 401
    assert "HX-Redirect" not in answer.headers
    assert "Sign in in another tab" in answer.text


@pytest.mark.cases
def test_a_session_goes_on_while_it_is_used_but_not_for_ever(ada: Browser) -> None:
    def until(**changes: object) -> datetime:
        with catalog.write():
            Session.update(seen_at=now() - timedelta(hours=11), **changes).execute()
        ada.get("/account")
        found: datetime = Session.get().expires_at
        return found

    soon = now() + timedelta(hours=1)
    assert until(expires_at=soon) > now() + timedelta(hours=11, minutes=59)
    assert until(expires_at=soon, created_at=now() - timedelta(days=6, hours=22)) < now() + timedelta(hours=2, minutes=1)
    with catalog.write():
        Session.update(seen_at=now() - timedelta(hours=11), expires_at=soon, created_at=now()).execute()
    ada.live("/")  # a page that is only left open renews itself
    assert Session.get().expires_at == soon


@pytest.mark.hostile
def test_a_session_that_was_not_signed_in_here_is_known_by_the_page(visitor: Browser, people: dict[str, Actor]) -> None:
    """What the page keeps under its own port, and what the session was opened with; page.js compares them."""
    assert "data-browser-key" in visitor.get("/sign-in").text
    visitor.post("/sign-in", {"name": "ada", "password": world.PASSWORD, "browser": "of-this-browser"})
    page = visitor.get("/account").text
    assert 'data-browser="of-this-browser"' in page
    assert "nobody signed in as ada here" in page
    assert visitor.post("/sign-out", {"swapped": "yes"}).status_code == 303
    assert Session.select().count() == 0
    assert Event.select().where(Event.kind == "sign_in.swapped").count() == 1


def test_a_browser_is_told_to_keep_a_session_only_where_that_is_allowed_and_asked_for(app: Flask, grace: Browser, visitor: Browser) -> None:
    assert 'name="keep"' not in visitor.get("/sign-in").text
    assert "Expires=" not in visitor.sign_in("ada", keep="yes").headers["Set-Cookie"]
    assert grace.post("/admin/settings/kept", {"kept_days": "30"}).status_code == 303
    assert "stay signed in on a device for 30 days" in grace.get("/admin/events/").text
    for asked, until in (({}, False), ({"keep": "yes"}, True)):
        browser = Browser(app.test_client())
        assert 'name="keep"' in browser.get("/sign-in").text
        answer = browser.sign_in("ada", **asked)
        assert ("Expires=" in answer.headers["Set-Cookie"]) is until
    assert "at most 180 days" in grace.post("/admin/settings/kept", {"kept_days": "900"}).text
