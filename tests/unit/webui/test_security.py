"""One-time codes, tokens and asking again, on the pages."""

import html
import re
from datetime import timedelta

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import ROOT, Account, Actor, Event, Grant, Machine, MachineState, SecondFactor, Session, Token, now
from appliance.identity import totp
from appliance.services import second_factor, tokens
from tests import world
from tests.pages import Page
from tests.unit.webui.conftest import Browser


def code(steps: int = 0) -> str:
    """What the phone shows now, or will show next: both are good for half a minute more."""
    return totp.code(SecondFactor.get().secret, totp.step_at(now()) + steps)


def turn_on(browser: Browser) -> list[str]:
    """Set one-time codes up, as a person does; returns the recovery codes."""
    browser.get("/account/codes")
    assert browser.post("/account/codes/begin").status_code == 303
    assert "<svg" in browser.get("/account/codes").text
    answer = browser.post("/account/codes", {"code": code()})
    assert answer.status_code == 200
    return re.findall(r"<li>([a-z0-9]{5}-[a-z0-9]{5})</li>", answer.text)


def grow_stale() -> None:
    with catalog.write():
        Session.update(confirmed_at=now() - timedelta(hours=1)).execute()


def test_codes_are_set_up_and_then_asked_for(ada: Browser, app: Flask) -> None:
    assert len(turn_on(ada)) == 10
    secret = SecondFactor.get().secret
    assert secret not in ada.get("/account/codes").text
    other = Browser(app.test_client())
    answer = other.sign_in("ada", next="/account")
    assert answer.headers["Location"] == "/sign-in/code?next=/account"
    assert other.get("/").status_code == 303, "the password alone opens nothing"
    assert "authenticator app" in other.get("/sign-in/code?next=/account").text
    answer = other.post("/sign-in/code", {"code": code(1), "next": "/account"})
    assert answer.headers["Location"] == "/account"
    assert other.get("/account").status_code == 200


@pytest.mark.badinput
def test_a_wrong_code_keeps_where_one_wanted_to_go(ada: Browser, app: Flask) -> None:
    turn_on(ada)
    other = Browser(app.test_client())
    other.sign_in("ada")
    other.get("/sign-in/code")
    answer = other.post("/sign-in/code", {"code": "123", "next": "/account"})
    assert answer.status_code == 403
    assert "That code does not fit" in answer.text
    assert 'name="next" value="/account"' in answer.text
    assert other.post("/sign-in/code", {"code": code(1), "next": "https://evil.test/"}).headers["Location"] == "/"


def test_nobody_gives_a_code_without_a_password_before(visitor: Browser, people: dict[str, Actor]) -> None:
    assert visitor.get("/sign-in/code").headers["Location"].startswith("/sign-in?")
    visitor.get("/sign-in")
    assert visitor.post("/sign-in/code", {"code": "123456"}).headers["Location"].startswith("/sign-in?")


@pytest.mark.badinput
def test_a_wrong_first_code_changes_nothing(ada: Browser) -> None:
    ada.get("/account/codes")
    ada.post("/account/codes/begin")
    answer = ada.post("/account/codes", {"code": "nonsense"})
    assert answer.status_code == 400
    assert "Wait for the next one" in answer.text
    assert "<svg" in answer.text
    assert not second_factor.accounts_with()


def test_codes_are_turned_off_after_a_code(ada: Browser) -> None:
    recovery = turn_on(ada)
    grow_stale()
    assert "Confirm access" in ada.post("/account/codes/off").text
    assert ada.post("/account/codes/off", {"again": world.PASSWORD}).status_code == 403, "the password is not enough any more"
    assert ada.post("/account/codes/off", {"again": recovery[0]}).status_code == 303
    assert not second_factor.accounts_with()


# -- asking again ------------------------------------------------------------------------


def test_what_was_entered_survives_being_asked_again(ada: Browser) -> None:
    ada.get("/account/tokens")
    grow_stale()
    form = {"name": 'a "name" <b>', "scope": ["read", "machines"], "days": "30"}
    asked = ada.post("/account/tokens", form)
    assert asked.status_code == 403
    assert "Confirm access" in asked.text
    assert Token.select().count() == 0
    kept = [
        (html.unescape(name), html.unescape(value))
        for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', asked.text)
    ]
    assert ("name", 'a "name" <b>') in kept
    assert [value for name, value in kept if name == "scope"] == ["read", "machines"]
    again = {**form, "again": "wrong"}
    assert "That is not your password" in ada.post("/account/tokens", again).text
    made = ada.post("/account/tokens", {**form, "again": world.PASSWORD})
    assert made.status_code == 200
    assert Token.get().name == 'a "name" <b>'
    assert ada.post("/account/tokens", {**form, "name": "another"}).status_code == 200, "and then not for a while"


@pytest.mark.badinput
@pytest.mark.parametrize("codes", [False, True])
def test_a_wrong_answer_is_told_at_its_field_which_keeps_the_focus(ada: Browser, codes: bool) -> None:
    if codes:
        turn_on(ada)
    ada.get("/account/tokens")
    grow_stale()
    answer = ada.post("/account/tokens", {"name": "x", "scope": "read", "days": "30", "again": "wrong"})
    assert answer.status_code == 403
    page = Page(answer.text)
    field = page.by(id="f-again")
    assert "autofocus" in field
    assert field["value"] == ""
    assert page.text[field["aria-describedby"]].startswith("That code does not fit." if codes else "That is not your password.")
    assert page.by(href="#f-again")
    assert page.by(name="name", type="hidden")["value"] == "x"


def test_the_question_fits_into_the_live_part_of_a_page(ada: Browser) -> None:
    ada.get("/account/codes")
    grow_stale()
    answer = ada.post("/account/codes/begin", **{"HX-Request": "true", "HX-Target": "div#live"})
    assert answer.text.lstrip().startswith('<div id="live"')
    assert "hx-get" not in answer.text.split(">")[0]


def test_reading_is_never_asked_again(ada: Browser) -> None:
    grow_stale()
    assert ada.get("/account/tokens").status_code == 200


def test_showing_a_password_once_more_is_for_this_session_alone(ada: Browser, app: Flask) -> None:
    other = Browser(app.test_client())
    other.sign_in("ada")
    grow_stale()
    ada.get("/account/codes")
    assert ada.post("/account/codes/begin", {"again": world.PASSWORD}).status_code == 303
    other.get("/account/codes")
    assert other.post("/account/codes/recovery").status_code == 403


# -- tokens --------------------------------------------------------------------------------


def test_a_token_is_shown_once(ada: Browser) -> None:
    ada.get("/account/tokens")
    made = ada.post("/account/tokens", {"name": "script", "scope": "read", "days": "30"})
    token = re.search(r"dpe_[\w-]{43}", made.text)
    assert token is not None
    listed = ada.get("/account/tokens").text
    assert token[0] not in listed
    assert f"…{token[0][-4:]}" in listed
    assert ada.post(f"/account/tokens/{Token.get().id}/end").status_code == 303
    assert Token.select().count() == 0


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"name": "x", "scope": "everything", "days": "30"}, "may do nothing"),
        ({"name": "x", "scope": "read", "days": "many"}, "1 to 366 days"),
        ({"name": "x", "scope": "read", "days": "100000000000000000000"}, "1 to 366 days"),
        ({"name": " ", "scope": "read", "days": "30"}, "needs a name"),
    ],
)
def test_a_token_that_cannot_be_made_loses_nothing(ada: Browser, form: dict[str, str], said: str) -> None:
    ada.get("/account/tokens")
    answer = ada.post("/account/tokens", form)
    assert answer.status_code == 400
    assert said in answer.text
    assert f'value="{form["name"]}"' in answer.text
    assert Token.select().count() == 0


def test_tokens_of_others_do_not_exist(ada: Browser, grace: Browser) -> None:
    grace.get("/account/tokens")
    grace.post("/account/tokens", {"name": "script", "scope": "read", "days": "30"})
    assert ada.post(f"/account/tokens/{Token.get().id}/end").status_code == 404
    assert Token.select().count() == 1


def test_all_other_browsers_are_signed_out_at_once(ada: Browser, app: Flask, people: dict[str, Actor]) -> None:
    others = [Browser(app.test_client()) for _ in range(2)]
    for other in others:
        other.sign_in("ada")
    assert ada.post("/account/sessions/end-others").status_code == 303
    assert [other.get("/").status_code for other in others] == [303, 303]
    assert ada.get("/").status_code == 200
    assert Account.get_by_id(people["ada"].account_id)


# -- codes that a role requires --------------------------------------------------------------


@pytest.fixture
def required(grace: Browser) -> None:
    """Owners need one-time codes; grace, who is one, decided so."""
    grace.get("/admin/settings/")
    assert grace.post("/admin/settings/codes", {"role": "owner"}).status_code == 303


def test_a_role_that_requires_codes_is_worth_nothing_without(grace: Browser, ada: Browser, required: None) -> None:
    for path in ("/", "/admin/", "/admin/machines/", "/account", "/account/tokens", "/sign-in", "/admin/no-such-page"):
        assert grace.get(path).headers.get("Location") == "/account/codes", path
    assert grace.post("/request", {"class": "notebook"}).headers["Location"] == "/account/codes"
    assert "Your role needs one-time codes." in grace.get("/account/codes").text
    assert ada.get("/").status_code == 200
    turn_on(grace)
    assert grace.get("/admin/").status_code == 200


def test_nor_do_machines_and_programs_open(grace: Browser, app: Flask, people: dict[str, Actor], required: None) -> None:
    token = tokens.create(people["grace"], "script", ["read"], 7)
    answer = app.test_client().get("/api/v1/me", base_url="https://appliance.test:8443", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    assert answer.json is not None
    assert "one-time codes" in answer.json["title"]
    machine = Machine.get(Machine.state == MachineState.IN_USE)
    headers = {"X-DPE-Port": str(app.config["SETTINGS"].app_port + machine.slot), "X-DPE-Uri": "/lab"}
    assert grace.get("/door/check", **headers).status_code == 401


def test_who_needs_codes_may_still_sign_out(grace: Browser, required: None) -> None:
    assert grace.post("/sign-out").headers["Location"] == "/sign-in"


def test_who_decides_and_that_it_is_recorded(grace: Browser, ada: Browser, required: None) -> None:
    event = Event.get(Event.kind == "settings.changed")
    assert event.data["after"] == {"codes required of": ["owner"]}
    assert ada.post("/admin/settings/codes", {"role": "user"}).status_code == 403
    assert second_factor.required_roles() == ["owner"]
    turn_on(grace)
    grace.get("/admin/settings/")
    grace.post("/admin/settings/codes", {"role": ["no such role", "user", "approver"]})
    assert second_factor.required_roles() == ["user", "approver"]
    assert ada.get("/").headers["Location"] == "/account/codes"


# -- how others get in -------------------------------------------------------------------------


def test_an_admin_looks_after_how_others_get_in(grace: Browser, ada: Browser, people: dict[str, Actor]) -> None:
    turn_on(ada)
    ada.get("/account/tokens")
    ada.post("/account/tokens", {"name": "old script", "scope": "read", "days": "30"})
    page = f"/admin/accounts/{people['ada'].account_id}/sign-in"
    assert "old script" in grace.get(page).text
    session = Session.get(Session.account == people["ada"].account_id)
    assert grace.post(f"{page}/sessions/{session.id}/end").status_code == 303
    assert ada.get("/").status_code == 303
    assert grace.post(f"{page}/tokens/{Token.get().id}/end").status_code == 303
    assert Token.select().count() == 0
    assert grace.post(f"{page}/codes/off").status_code == 303
    assert not second_factor.accounts_with()
    assert grace.post(f"{page}/codes/off").status_code == 404
    said = [event.message for event in Event.select().where(Event.actor == "grace").order_by(Event.id.desc()).limit(3)]
    assert said[::-1] == ["grace ended a session of ada.", "grace ended ada's token old script.", "grace turned one-time codes of ada off."]


def test_who_looks_after_a_unit_cannot_become_somebody_who_may_do_more(grace: Browser, ada: Browser, people: dict[str, Actor]) -> None:
    """Ada is delegated admin over everybody; grace is owner. Alan holds nothing."""
    with catalog.write():
        Grant.create(role="delegated_admin", account=people["ada"].account_id, over_unit=ROOT)
    turn_on(grace)
    alan, owner = people["alan"].account_id, people["grace"].account_id
    assert ada.get(f"/admin/accounts/{alan}").status_code == 200
    assert ada.post(f"/admin/accounts/{alan}/password", {"password": "a new long password"}).status_code == 303
    for path, form in (("password", {"password": "a new long password"}), ("enabled", {"enabled": "no"}), ("sign-in/codes/off", {})):
        answer = ada.post(f"/admin/accounts/{owner}/{path}", form)
        assert answer.status_code == 403, path
        assert "may do more than you" in answer.text
    assert second_factor.accounts_with() == {owner}
    with catalog.write():
        Grant.create(role="owner", account=people["alan"].account_id, starts_at=now() + timedelta(days=30))
    assert ada.post(f"/admin/accounts/{alan}/password", {"password": "a new long password"}).status_code == 403, (
        "what is to come counts too"
    )


def test_taking_somebodys_machine_asks_again_and_giving_ones_own_back_does_not(
    grace: Browser, ada: Browser, people: dict[str, Actor]
) -> None:
    grow_stale()
    mine = Machine.get(Machine.owner == people["ada"].account_id)
    assert ada.post(f"/machines/{mine.id}/release").status_code == 303
    theirs = Machine.get(Machine.owner == people["mary"].account_id)
    assert "Confirm access" in grace.post(f"/machines/{theirs.id}/release").text
    assert Machine.get(Machine.id == theirs.id).state is MachineState.IN_USE
    assert grace.post(f"/machines/{theirs.id}/release", {"again": world.PASSWORD}).status_code == 303
    assert Machine.get(Machine.id == theirs.id).state is MachineState.RECLAIMING
