"""The page's certificate, over the page and a real dpe-host."""

import base64
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.access import own_certificate, tls
from appliance.catalog import Event, Session
from appliance.settings import Settings
from tests import world
from tests.authority import DAY, NOW, root
from tests.hosted import Hosted, hosted
from tests.pages import is_at
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.cases

PAGE = "/admin/server/certificate"
ROOT = root()
MIDDLE = ROOT.sign("House Middle", ca=True)


@pytest.fixture
def host(opened: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    monkeypatch.setattr(own_certificate, "authorities", lambda: [ROOT.certificate])
    with hosted(opened, tmp_path) as made:
        yield made


def name(browser: Browser) -> str:
    """The name at which the tests' browser sees the page."""
    return browser.get(PAGE).text.split("for another name than ")[1].split("<")[0]


def files(**contents: bytes) -> dict[str, Any]:
    return {field: (io.BytesIO(content), f"{field}.pem") for field, content in contents.items()}


def test_it_is_checked_used_shown_and_removed_again(
    grace: Browser, host: Hosted, opened: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    leaf = MIDDLE.sign("dpe", names=(name(grace), "dpe.example.org"))
    assert "the appliance itself: browsers warn" in grace.get(PAGE).text
    key = leaf.key_pem(b"correct horse")
    answer = grace.post(PAGE, {**files(certificate=leaf.pem, chain=MIDDLE.pem, key=key), "passphrase": "correct horse"})
    assert answer.status_code == 303
    page = grace.get(PAGE).text
    assert "House Middle" in page
    assert "dpe.example.org" in page
    assert tls.fingerprint(tls.served(opened)) in page
    assert "House Middle" in grace.get("/admin/server/").text
    assert "BEGIN PRIVATE KEY" in tls.served(opened).read_text()

    secrets = ["PRIVATE KEY", "correct horse", base64.b64encode(key).decode()[:60]]
    told = " ".join([caplog.text, page, *(f"{event.message} {event.data}" for event in Event.select())])
    assert not [secret for secret in secrets if secret in told]
    changed = Event.get(Event.kind == "certificate.changed")
    assert (changed.actor, changed.message) == (
        "grace",
        f"grace had the page served with a certificate for {name(grace)}, dpe.example.org.",
    )

    assert grace.post(f"{PAGE}/remove").status_code == 303
    assert "the appliance itself: browsers warn" in grace.get(PAGE).text
    assert tls.served(opened).name == "appliance.crt"
    assert not (opened.tls / "own.pem").exists()
    assert Event.select().where(Event.kind == "certificate.removed").count() == 1


@pytest.mark.badinput
def test_what_is_wrong_is_said_on_the_page_and_nothing_changes(grace: Browser, host: Hosted, opened: Settings) -> None:
    leaf = MIDDLE.sign("dpe", names=(name(grace),))
    before = tls.fingerprint(tls.served(opened))
    answer = grace.post(PAGE, files(certificate=leaf.pem, key=leaf.key_pem()))
    assert answer.status_code == 400
    assert "The chain is incomplete" in answer.text
    answer = grace.post(PAGE, {})
    assert answer.status_code == 400
    assert is_at("certificate", answer.text)
    assert "too large" in grace.post(PAGE, files(certificate=b"x" * 150_000)).text
    assert tls.fingerprint(tls.served(opened)) == before
    answer = grace.post(PAGE, {**files(certificate=leaf.pem, key=leaf.key_pem()), "private_authority": "yes"})
    assert answer.status_code == 303
    other = MIDDLE.sign("dpe", names=("other.example.org",))
    sent = {"certificate": other.pem, "chain": MIDDLE.pem, "key": other.key_pem()}
    answer = grace.post(PAGE, files(**sent))
    assert "it is for other.example.org" in answer.text
    assert grace.post(PAGE, {**files(**sent), "other_name": "yes"}).status_code == 303


def test_one_that_ends_soon_is_said_to(grace: Browser, host: Hosted) -> None:
    leaf = MIDDLE.sign("dpe", names=(name(grace),), ends=NOW + 20 * DAY)
    grace.post(PAGE, files(certificate=leaf.pem, chain=MIDDLE.pem, key=leaf.key_pem()))
    assert "Your certificate ends" in grace.get(PAGE).text
    assert "replace it in time" in grace.get("/admin/server/").text


def test_who_is_asked_again_who_they_are_is_told_to_choose_the_files_again(grace: Browser, host: Hosted) -> None:
    leaf = MIDDLE.sign("dpe", names=(name(grace),))
    Session.update(confirmed_at=NOW - DAY).execute()
    asked = grace.post(
        PAGE, {**files(certificate=leaf.pem, chain=MIDDLE.pem, key=leaf.key_pem(b"correct horse")), "passphrase": "correct horse"}
    )
    assert "Confirm access" in asked.text
    assert "correct horse" not in asked.text
    answer = grace.post(PAGE, {"again": world.PASSWORD})
    assert "Choose them again" in answer.text
    assert is_at("certificate", answer.text)
