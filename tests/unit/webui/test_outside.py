"""The page of e-mail and webhooks, and the address where webhooks are answered."""

import json
import re
from datetime import timedelta

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import Account, Event, Session, Throttle, now, options, runs
from appliance.catalog.models import Run, Step, StepState
from appliance.outbound import mail, webhook
from tests import world
from tests.post import PASSWORD, office
from tests.slapd import Authority
from tests.unit.webui.conftest import HOST, Browser

PAGE = "/admin/settings/email-and-webhooks/"
FORM = {"host": "mail.invalid", "port": "587", "security": "starttls", "sender": "dpe@example.org", "authority": ""}
SECRET = {"user": "dpe", "password": "the mail password"}


# -- e-mail ------------------------------------------------------------------------------------


def test_what_is_saved_is_shown_but_for_the_password(grace: Browser) -> None:
    assert "not set up" in grace.get(PAGE).text
    assert grace.post(f"{PAGE}mail", FORM | SECRET).status_code == 303
    page = grace.get(PAGE).text
    for words in ("mail.invalid", "dpe@example.org", "Leave it empty to keep the one that is stored.", HOST, "Disable e-mail"):
        assert words in page
    assert SECRET["password"] not in page
    assert SECRET["password"] not in "".join(str(row.data) + row.message for row in Event.select())
    assert options.get("address") == HOST, "links lead to where the admin was, until somebody says otherwise"
    assert grace.post(f"{PAGE}mail", FORM | {"user": "dpe", "sender": "other@example.org"}).status_code == 303
    using = mail.current()
    assert using is not None
    assert (using[0].sender, using[1]) == ("other@example.org", SECRET["password"])


@pytest.mark.badinput
def test_the_password_is_not_told_to_another_server(grace: Browser) -> None:
    grace.post(f"{PAGE}mail", FORM | SECRET)
    for other in ({"host": "evil.example.org"}, {"security": "none"}, {"port": "25"}, {"user": "root"}):
        for path in ("mail", "mail/test"):
            answer = grace.post(PAGE + path, FORM | {"user": "dpe"} | other)
            assert answer.status_code == 400
            assert "Enter the password again" in answer.text


@pytest.mark.badinput
def test_a_slip_is_named_and_loses_nothing(grace: Browser) -> None:
    answer = grace.post(f"{PAGE}mail", FORM | SECRET | {"port": "<99999>"})
    assert answer.status_code == 400
    for words in ("&lt;99999&gt;", "is not a port", "mail.invalid", f'value="{SECRET["password"]}"'):
        assert words in answer.text
    assert options.get("mail") == {}
    assert "The password is missing." in grace.post(f"{PAGE}mail", FORM | {"user": "dpe"}).text
    assert "without accents" in grace.post(f"{PAGE}mail", FORM | {"user": "dpe", "password": "pässword"}).text
    assert "is not the appliance" in grace.post(f"{PAGE}address", {"address": "https://x/y"}).text


def test_a_test_mail_goes_to_whoever_asks_and_saves_nothing(grace: Browser) -> None:
    with catalog.write():
        Account.update(email="").where(Account.name == "grace").execute()
    assert "Your account has no e-mail address" in grace.post(f"{PAGE}mail/test", FORM).text
    with catalog.write():
        Account.update(email="grace@example.org").where(Account.name == "grace").execute()
    assert "There is no host called mail.invalid." in grace.post(f"{PAGE}mail/test", FORM).text
    with office() as post:
        page = grace.post(f"{PAGE}mail/test", FORM | {"host": "127.0.0.1", "port": str(post.port), "security": "none"}).text
        assert "took the test mail for grace@example.org" in page
        assert "Nothing is saved yet." in page
        grace.post(f"{PAGE}mail/test", FORM | {"host": "127.0.0.1", "port": str(post.port), "security": "none"})
    assert len({made["Message-ID"] for made in post.taken}) == 2, "each test is a mail of its own"
    assert options.get("mail") == {}


@pytest.mark.badinput
def test_a_refused_login_is_told_without_the_password(grace: Browser) -> None:
    with catalog.write():
        Account.update(email="grace@example.org").where(Account.name == "grace").execute()
    with office(auth_require_tls=False) as post:
        at = {"host": "127.0.0.1", "port": str(post.port), "security": "none", "user": "dpe"}
        page = grace.post(f"{PAGE}mail/test", FORM | at | {"password": PASSWORD + "x"}).text
        assert "does not take the name dpe and its password" in page
        assert "took the test mail" in grace.post(f"{PAGE}mail/test", FORM | at | {"password": PASSWORD}).text


def test_mail_is_switched_off_and_on(grace: Browser) -> None:
    assert grace.post(f"{PAGE}mail/switch", {"on": "yes"}).status_code == 409
    grace.post(f"{PAGE}mail", FORM | SECRET)
    grace.post(f"{PAGE}mail/switch", {"on": "no"})
    assert mail.current() is None
    assert "switched off" in grace.get(PAGE).text
    grace.post(f"{PAGE}mail/switch", {"on": "yes"})
    assert mail.current() is not None


def test_what_is_dangerous_asks_once_more_who_it_is(grace: Browser) -> None:
    grace.post(f"{PAGE}mail", FORM | SECRET)
    with catalog.write():
        Session.update(confirmed_at=now() - timedelta(hours=1)).execute()
    for path in ("mail", "mail/switch", "webhooks/secret", "webhooks"):
        assert "Confirm access" in grace.post(PAGE + path, FORM).text
    page = grace.post(f"{PAGE}webhooks/secret", {"again": world.PASSWORD}).text
    assert "whsec_" in page


# -- webhooks ----------------------------------------------------------------------------------


def test_a_secret_is_shown_once_and_the_one_before_is_good_for_a_day(grace: Browser) -> None:
    assert "no secret yet" in grace.get(PAGE).text
    first, second = (re.search(r'value="(whsec_[^"]+)"', grace.post(f"{PAGE}webhooks/secret").text) for _ in range(2))
    assert first
    assert second
    assert webhook.known_secrets() == [second[1], first[1]]
    page = grace.get(PAGE).text
    assert "the one before it is good until" in page
    kept = str(options.get("webhooks")) + "".join(str(row.data) for row in Event.select())
    for secret in (first[1], second[1]):
        assert secret not in page
        assert secret.removeprefix("whsec_") not in kept


def test_the_houses_authority_survives_a_new_secret(grace: Browser, authority_pem: str) -> None:
    assert "cannot be read" in grace.post(f"{PAGE}webhooks", {"authority": "x"}).text
    assert grace.post(f"{PAGE}webhooks", {"authority": authority_pem}).status_code == 303
    grace.post(f"{PAGE}webhooks/secret")
    assert authority_pem.strip() in grace.get(PAGE).text
    assert webhook.known_secrets()


@pytest.fixture
def authority_pem() -> str:
    return Authority.make().pem


# -- answers that come later -------------------------------------------------------------------


@pytest.fixture
def waiting(visitor: Browser, people: object) -> str:
    """The path at which a step that waits is answered."""
    with catalog.write():
        id = runs.begin_run("assign")
        Run.update(state="waiting", position=2).where(Run.id == id).execute()
        step = Step.create(
            run=id, number=2, name="cmdb", kind="webhook", title="Tell the CMDB", state=StepState.WAITING, output={"called": "yes"}
        )
    return f"/hooks/{webhook.token(webhook.Asking(id, 2, step.started_at))}"


def send(visitor: Browser, path: str, body: object) -> int:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return visitor.client.post(path, base_url=HOST, data=data, content_type="application/json").status_code


def step() -> Step:
    found: Step = Step.get()
    return found


def test_an_answer_is_kept_once_and_wakes_the_run(visitor: Browser, waiting: str) -> None:
    assert send(visitor, waiting, {"ok": True, "ticket": "4711"}) == 204
    assert step().output == {"called": "yes", "answer": {"ok": True, "ticket": "4711"}}
    assert Run.get().state == "queued"
    with catalog.write():
        Run.update(state="waiting").execute()
    assert send(visitor, waiting, b'{ "ticket": "4711", "ok": true }') == 204, "the same answer again"
    assert Run.get().state == "waiting", "and nothing happens"
    assert send(visitor, waiting, {"ok": False}) == 409
    assert step().output["answer"]["ok"] is True


def test_an_answer_may_come_before_the_call_has_ended(visitor: Browser, waiting: str) -> None:
    with catalog.write():
        Run.update(state="running").execute()
        Step.update(state=StepState.RUNNING).execute()
    assert send(visitor, waiting, b"") == 204
    assert step().output["answer"] == {}
    assert Run.get().woken


@pytest.mark.badinput
@pytest.mark.parametrize("body", [b"yes", b"[1]", b"\xff", b"{", b'{"ok": "yes"}', b"[" * 60_000])
def test_what_is_no_answer_is_refused(visitor: Browser, waiting: str, body: bytes) -> None:
    answer = visitor.client.post(waiting, base_url=HOST, data=body)
    assert answer.status_code == 400
    assert answer.mimetype == "application/problem+json"
    assert "answer" not in step().output


@pytest.mark.badinput
def test_an_answer_that_is_too_large_is_refused(visitor: Browser, waiting: str) -> None:
    assert send(visitor, waiting, {"x": "y" * 70_000}) == 413
    assert "answer" not in step().output


@pytest.mark.badinput
@pytest.mark.parametrize("gone", [{"position": 3}, {"cancel": True}, {"ended_at": now(), "state": "cancelled"}])
def test_nobody_answers_what_does_not_wait(visitor: Browser, waiting: str, gone: dict[str, object]) -> None:
    with catalog.write():
        Run.update(**gone).execute()
    assert send(visitor, waiting, {"ok": True}) == 409
    with catalog.write():
        Run.delete().execute()
    assert [send(visitor, waiting, {"ok": True}) for _ in range(9)] == [409] * 9, "whoever comes late is no guesser"


@pytest.mark.badinput
def test_guessing_is_slowed_down(visitor: Browser, waiting: str) -> None:
    wrong = waiting[:-3] + "AAA"
    assert [send(visitor, wrong, {}) for _ in range(6)] == [404] * 5 + [403]
    assert send(visitor, waiting, {}) == 403
    with catalog.write():
        Throttle.delete().execute()
    assert send(visitor, waiting, {}) == 204
    assert visitor.get(waiting).status_code == 405


def test_nobody_answers_before_the_appliance_is_set_up(app: Flask) -> None:
    assert app.test_client().post("/hooks/1.2.x", base_url=HOST).status_code == 401
