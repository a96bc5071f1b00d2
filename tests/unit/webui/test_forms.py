"""What a request sent becomes a model, and what does not fit is told at its field."""

import html
import io
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from flask import Flask
from markupsafe import Markup
from pydantic import Field

from tests import world
from tests.pages import is_at
from tests.unit.webui.conftest import Browser
from webui import forms
from webui.forms import DayOrNothing, Form, FormError, Upload, Whole, WholeOrNothing, code

pytestmark = pytest.mark.console_ui


class Wish(Form):
    name: Annotated[str, forms.text("Its name is missing.")] = Field("", validate_default=True, description="Write one.")
    count: Whole = Field(1, title="Count", description="Write a whole number.")
    most: WholeOrNothing = Field(None, title="At most")
    day: DayOrNothing = Field(None, title="Day")


@pytest.mark.parametrize("how", ["form", "json"])
def test_a_form_and_json_are_read_alike(app: Flask, how: str) -> None:
    sent: dict[str, Any] = {"name": "x", "count": "3", "most": "", "day": "2030-12-31", "else": "left out"}
    with app.test_request_context("/", method="POST", **({"data": sent} if how == "form" else {"json": sent})):
        wish = forms.read(Wish)
    assert (wish.name, wish.count, wish.most, str(wish.day)) == ("x", 3, None, "2030-12-31")


@pytest.mark.parametrize(
    ("sent", "fields", "message"),
    [
        ({}, {"name"}, "Its name is missing."),
        ({"name": 7}, {"name"}, "Its name is missing."),
        ({"name": "x", "count": "²"}, {"count"}, "Count: '²' is not a number."),
        ({"name": "x", "count": ""}, {"count"}, "Count: a number is missing."),
        ({"name": "x", "count": True}, {"count"}, "Count: True is not a number."),
        ({"name": "x", "count": None}, {"count"}, "Count: None is not a number."),
        ({"name": "x", "count": "9" * 40}, {"count"}, "Count: '99999999999999999999' is not a number."),
        ({"name": "x", "most": "-1", "day": "tomorrow"}, {"most", "day"}, "At most: '-1' is not a number."),
        ({"name": "x", "day": "0001-01-01"}, {"day"}, "Day: '0001-01-01' is not a day of our time."),
        ([1, 2], {"name"}, "Its name is missing."),
    ],
)
def test_what_does_not_fit_is_told_at_its_field(app: Flask, sent: Any, fields: set[str], message: str) -> None:
    with app.test_request_context("/", method="POST", json=sent), pytest.raises(FormError) as told:
        forms.read(Wish)
    assert (set(told.value.fields), told.value.message) == (fields, message)


class Letter(Form):
    content: Upload = Field(b"", title="File")
    to: Whole = Field(1, title="To")


@pytest.mark.parametrize(
    ("data", "content"),
    [({"content": (io.BytesIO(b"\x00\xff"), "letter.bin")}, b"\x00\xff"), ({"content": (io.BytesIO(), "")}, b""), ({"to": "2"}, b"")],
)
def test_a_file_is_its_content(app: Flask, data: dict[str, Any], content: bytes) -> None:
    with app.test_request_context("/", method="POST", data=data):
        assert forms.read(Letter).content == content


def test_a_file_is_not_shown_again(app: Flask) -> None:
    with app.test_request_context("/", method="POST", data={"content": (io.BytesIO(b"dear"), "letter.txt"), "to": "nobody"}):
        with pytest.raises(FormError) as told:
            forms.read(Letter)
        form = forms.bound(Letter, error=told.value)
    assert (form["content"].widget, form["content"].value, form["to"].value) == ("file", "", "nobody")


def test_the_page_says_it_at_the_field_and_keeps_what_was_entered(signed_in: Callable[[str], Browser]) -> None:
    grace = signed_in("grace")
    grace.get("/admin/quotas/")
    answer = grace.post("/admin/quotas/", {"kind": "account", "name": "ada", "machines": "many", "memory": "4096"})
    assert answer.status_code == 400
    assert "Machines: &#39;many&#39; is not a number." in answer.text
    assert 'id="e-machines">&#39;many&#39; is not a number.' in answer.text
    assert 'value="many"' in answer.text
    assert 'value="4096"' in answer.text
    grace.get("/admin/grants/")
    entered = {"role": "user", "kind": "account", "name": "ada", "over": "garbage", "ends": "2030-13-31", "again": world.PASSWORD}
    answer = grace.post("/admin/grants/", entered)
    assert answer.status_code == 400
    assert "Scope" in answer.text
    assert "&#39;2030-13-31&#39; is not a day." in answer.text.split('id="f-ends"')[1].split("</form>")[0]


MAIL = {"host": "mail.example.org", "port": "587", "security": "starttls", "sender": "dpe@example.org"}
DIRECTORY = {
    "kind": "ldap",
    "encryption": "starttls",
    "servers": "ldap.example.org",
    "base": "dc=example,dc=org",
    "minutes": "60",
    "sign_in": "search",
}
KEY = "ssh-rsa broken"
ACCOUNTS = {"name": "emmy", "password": "a long password", "full_name": "Emmy Noether"}
SETTINGS = {"title": "Hillside", "time_zone": "Europe/Berlin", "overcommit": "150"}
PEM = "-----BEGIN CERTIFICATE-----"


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("path", "sent", "field"),
    [
        ("/admin/settings/", SETTINGS | {"title": " "}, "title"),
        ("/admin/settings/", SETTINGS | {"time_zone": "Moon/Copernicus"}, "time_zone"),
        ("/admin/settings/", SETTINGS | {"overcommit": "much"}, "overcommit"),
        ("/admin/accounts/new", ACCOUNTS | {"name": "ada"}, "name"),
        ("/admin/accounts/new", ACCOUNTS | {"name": "no name"}, "name"),
        ("/admin/accounts/new", ACCOUNTS | {"password": "short"}, "password"),
        ("/admin/accounts/new", ACCOUNTS | {"ssh_keys": KEY}, "ssh_keys"),
        ("/admin/accounts/new", ACCOUNTS | {"full_name": "E" * 101}, "full_name"),
        ("/admin/groups/", {"name": "", "about": "Who paints"}, "name"),
        ("/admin/org-units/", {"name": ""}, "name"),
        ("/admin/grants/", {"role": "user", "kind": "account", "name": "nobody"}, "name"),
        ("/admin/grants/", {"role": "user", "kind": "account", "name": "ada", "ends": "2001-01-01"}, "ends"),
        ("/admin/quotas/", {"kind": "group", "name": "nobody", "machines": "3"}, "name"),
        ("/admin/quotas/", {"kind": "account", "name": "ada", "memory": "99999999999"}, "memory"),
        ("/admin/settings/email-and-webhooks/mail", MAIL | {"host": "no host"}, "host"),
        ("/admin/settings/email-and-webhooks/mail", MAIL | {"port": "many"}, "port"),
        ("/admin/settings/email-and-webhooks/mail", MAIL | {"sender": "somebody"}, "sender"),
        ("/admin/settings/email-and-webhooks/mail", MAIL | {"user": "dpe"}, "password"),
        ("/admin/settings/email-and-webhooks/mail/test", MAIL | {"authority": PEM}, "authority"),
        ("/admin/settings/email-and-webhooks/address", {"address": "here"}, "address"),
        ("/admin/settings/email-and-webhooks/webhooks", {"authority": PEM}, "hooks-authority"),
        ("/admin/directory/", DIRECTORY | {"base": "nowhere"}, "base"),
        ("/admin/directory/", DIRECTORY | {"minutes": "7"}, "minutes"),
        ("/admin/directory/test", DIRECTORY | {"servers": "no_host:port"}, "servers"),
        ("/admin/orphans/days", {"days": "soon"}, "days"),
        ("/admin/events/record/forwarding", {"host": "logs.example.org", "port": "0", "transport": "tcp"}, "port"),
        ("/admin/workflow/sequences/", {"title": "Paint", "name": "Paint it"}, "name"),
        ("/admin/workflow/sequences/", {"title": "P" * 300, "name": "paint"}, "title"),
        ("/admin/workflow/sequences/import", {"text": "name: paint\ntitel: Paint\n"}, "text"),
        ("/admin/accounts/import/", {"table": "name,email\n!,x\n"}, "table"),
        ("/account/password", {"old": "wrong", "new": "a long password"}, "old"),
        ("/account/password", {"old": world.PASSWORD, "new": "short"}, "new"),
        ("/account/keys", {"keys": KEY}, "keys"),
        ("/account/tokens", {"name": "", "scope": "read", "days": "30"}, "name"),
        ("/account/tokens", {"name": "backup", "days": "30"}, "scope"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_in_a_summary_that_has_the_focus(
    grace: Browser, path: str, sent: dict[str, str], field: str
) -> None:
    answer = grace.post(path, sent)
    assert answer.status_code in (400, 409)
    assert is_at(field, answer.text)
    name = field.removeprefix("hooks-")
    for key, value in sent.items():
        if f'name="{key}"' in answer.text and key not in ("old", "new", name) and len(value) < 60:
            assert value in answer.text, key
    typed = sent.get(name, "")
    assert name in ("password", "old", "new", "scope") or html.escape(typed, quote=False) in html.unescape(answer.text)


def test_help_shows_what_is_written_just_so() -> None:
    assert code("Ready, or `off` & `<b>`.") == "Ready, or <code>off</code> &amp; <code>&lt;b&gt;</code>."
    assert code(Markup("<a>What they do</a>")) == "<a>What they do</a>"
