"""One-time codes, being asked again, tokens and the record, in a real browser."""

import re
import socket
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog, syslog
from appliance.catalog import Account, Actor, RecoveryCode, SecondFactor, Session, Token, now, options, record
from appliance.identity import totp
from appliance.services import tokens
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import sound

Browse = Callable[..., Page]


def code() -> str:
    return totp.code(SecondFactor.get().secret, totp.step_at(now()))


def set_up_codes(page: Page) -> list[str]:
    """From the account's page to the recovery codes."""
    page.goto("/account")
    page.get_by_role("link", name="Set up").click()
    page.get_by_role("button", name="Set up").click()
    page.get_by_label("Code", exact=True).fill(code())
    page.get_by_role("button", name="Turn codes on").click()
    expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible()
    return page.locator(".recovery li").all_inner_texts()


def grow_stale() -> None:
    """As if everybody had signed in an hour ago."""
    with catalog.write():
        Session.update(confirmed_at=now() - timedelta(hours=1)).execute()


def test_signing_in_with_a_code_from_the_phone(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    recovery = set_up_codes(page)
    assert len(recovery) == 10
    steps.sign_out(page)
    page.get_by_label("Name").fill("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(world.PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Code", exact=True)).to_be_focused()
    page.keyboard.type("000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("That code does not fit")
    expect(page.get_by_label("Code", exact=True)).to_be_focused()
    page.keyboard.type(recovery[0].upper())
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Hello, Ada")).to_be_visible()
    page.goto("/account/codes")
    expect(page.get_by_text("You have 9 recovery codes left.")).to_be_visible()


def test_being_asked_again_in_the_middle_of_something(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    old = set_up_codes(page)
    page.goto("/account/codes")
    grow_stale()
    page.get_by_role("button", name="New recovery codes").click()
    page.locator("dialog#confirm").get_by_role("button", name="Create them").click()
    expect(page.get_by_role("heading", name="Confirm access")).to_be_visible()
    expect(page.get_by_label("Code from your app")).to_be_focused()
    page.keyboard.type(old[3])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible()
    assert set(page.locator(".recovery li").all_inner_texts()).isdisjoint(old)
    assert RecoveryCode.select().count() == 10


def test_a_token_works_as_it_is_shown(busy: Site, browse: Browse) -> None:
    page = browse(busy, permissions=["clipboard-read", "clipboard-write"])
    steps.sign_in(page, "ada")
    page.goto("/account/tokens")
    expect(page.get_by_text("You have no token.")).to_be_visible()
    page.get_by_label("Name").fill("script")
    page.get_by_role("button", name="Create token").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    token = page.evaluate("navigator.clipboard.readText()")
    assert token == page.get_by_label("The new token").input_value()
    program = browse(busy)
    answer = program.request.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["name"] == "ada"
    page.get_by_role("button", name="End", exact=True).click()
    page.locator("dialog#confirm").get_by_role("button", name="End it").click()
    expect(page.get_by_text("You have no token.")).to_be_visible()
    assert program.request.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"}).status == 401
    assert Token.select().count() == 0


@pytest.mark.cli
def test_a_program_is_approved_by_whoever_signs_in(busy: Site, browse: Browse) -> None:
    program, page = browse(busy), browse(busy, width=390, scheme="dark")
    asked = program.request.post("/api/v1/device", form={"client_name": "dpe on laptop", "scope": "read machines admin:read"}).json()
    page.goto(asked["verification_uri_complete"])
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(world.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Sign in dpe on laptop?")).to_be_visible()
    expect(page.get_by_text(asked["user_code"])).to_be_visible()
    sound(page)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", name="Approved")).to_be_visible()
    answer = program.request.post("/api/v1/device/token", form={"device_code": asked["device_code"]}).json()
    assert answer["scope"] == "admin:read machines read"
    assert [token.name for token in Token.select()] == ["dpe on laptop"]


def test_events_reach_a_receiver_that_was_away_and_the_page_follows(busy: Site, browse: Browse) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        page = browse(busy)
        steps.sign_in(page, "grace")
        page.goto("/admin/events/record")
        page.get_by_label("Receiver").fill("127.0.0.1")
        page.get_by_label("Port").fill(str(port))
        page.get_by_role("button", name="Save").click()
        syslog.Forwarder().forward()
        expect(page.get_by_text("does not take events: Connection refused")).to_be_visible()
    with socket.create_server(("127.0.0.1", port)) as receiver:
        receiver.settimeout(20)
        taken: list[bytes] = []

        def take() -> None:
            connection, _ = receiver.accept()
            with connection:
                while part := connection.recv(65536):
                    taken.append(part)

        thread = threading.Thread(target=take)
        thread.start()
        syslog.Forwarder().forward()
        thread.join()
        receiver.close()
    assert b"ada got notebook" in b"".join(taken)
    expect(page.get_by_text("1 event is on the way to")).to_be_visible()  # the one that says that the receiver is back


def test_an_event_says_what_changed(busy: Site, browse: Browse) -> None:
    with catalog.write():
        record(
            "account.changed",
            "grace changed alan.",
            Actor("grace"),
            object="account:alan",
            before={"email": "a@old.test"},
            after={"email": "a@new.test"},
        )
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/events/?object=account:alan")
    page.get_by_text("What changed").click()
    expect(page.get_by_role("row", name=re.compile("email a@old.test a@new.test"))).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert "a@new.test" in download.value.path().read_text()


def test_people_from_a_file(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/accounts/")
    page.get_by_role("link", name="Import").click()
    page.get_by_label("A file").set_input_files(
        {"name": "people.csv", "mimeType": "text/csv", "buffer": b"name,email\nemmy,emmy@example.org\n!,x\n"}
    )
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_text("Line 3: '!' cannot be an account's name")).to_be_visible()
    page.get_by_label("Or its text").fill("name,email\nemmy,emmy@example.org\n")
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("heading", name="1 account is created")).to_be_visible()
    assert Account.get(Account.name == "emmy").email == "emmy@example.org"


def test_everybody_can_read_and_use_these_pages(busy: Site, browse: Browse) -> None:
    page = browse(busy)

    def look(name: str) -> None:
        sound(page, name, looks=((320, "light"), (390, "dark"), (1280, "dark"), (1280, "light")))

    steps.sign_in(page, "grace")
    page.goto("about:blank")  # else it would be led to its own codes while they are required, at any moment
    tokens.create(busy.people["grace"], "a backup script", ["read", "machines"], 30)
    with catalog.write():
        options.put("syslog", {"host": "127.0.0.1", "port": 1, "transport": "tcp"})
        options.put("codes_required", ["user"])
    person = browse(busy)
    person.goto("/sign-in")
    person.get_by_label("Name").fill("ada")
    person.get_by_label("Password").fill(world.PASSWORD)
    person.get_by_role("button", name="Sign in").click()
    expect(person.get_by_text("Your role needs one-time codes.")).to_be_visible()
    sound(person)
    with catalog.write():
        options.put("codes_required", [])
    theirs = f"/admin/accounts/{busy.people['grace'].account_id}/sign-in"
    for path in (
        "/account/codes",
        "/account/tokens",
        "/device?code=XXXX",
        "/docs/command-line",
        "/admin/events/record",
        "/admin/accounts/import/",
        "/admin/events/?until=2999-01-01",
        theirs,
    ):
        page.goto(path)
        look(path)
    page.goto("/admin/events/record")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("The last one was number")).to_be_visible()
    look("checked")
    set_up_codes(page)
    look("recovery codes")
    grow_stale()
    page.goto("/account/tokens")
    page.get_by_label("Name").fill("script")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_role("heading", name="Confirm access")).to_be_visible()
    look("asked again")
    steps.sign_out(page)
    page.get_by_label("Name").fill("grace")
    page.get_by_label("Password").fill(world.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Your code")).to_be_visible()
    look("code")
