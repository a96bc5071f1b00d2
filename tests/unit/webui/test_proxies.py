"""Reverse proxies named in the page, over a real dpe-host."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.access import proxies
from appliance.catalog import Event, Session
from appliance.settings import Settings
from tests.authority import DAY, NOW
from tests.hosted import Hosted, hosted
from tests.pages import is_at
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.hostile

PAGE = "/admin/server/proxies"


@pytest.fixture
def host(opened: Settings, tmp_path: Path) -> Iterator[Hosted]:
    opened.tls.mkdir(parents=True, exist_ok=True)
    with hosted(opened, tmp_path) as made:
        yield made


def test_they_are_named_trusted_recorded_and_forgotten(grace: Browser, host: Hosted, opened: Settings) -> None:
    assert "None in front of this page" in grace.get("/admin/server/").text
    answer = grace.post(PAGE, {"proxies": "192.0.2.7\r\n10.1.0.0/24\r\n"})
    assert answer.status_code == 303
    assert proxies.trusted(opened) == ["192.0.2.7", "10.1.0.0/24"]
    assert "192.0.2.7\n10.1.0.0/24</textarea>" in grace.get(PAGE).text
    assert "192.0.2.7, 10.1.0.0/24" in grace.get("/admin/server/").text
    changed = Event.get(Event.kind == "proxies.changed")
    assert (changed.actor, changed.message) == ("grace", "grace had the page trust 192.0.2.7, 10.1.0.0/24.")
    assert grace.post(PAGE, {"proxies": "10.1.0.0/24"}).status_code == 303
    assert grace.post(PAGE, {"proxies": "10.1.0.0/24"}).status_code == 303
    assert grace.post(PAGE, {"proxies": ""}).status_code == 303
    assert proxies.trusted(opened) == []
    assert [event.message for event in Event.select().where(Event.kind == "proxies.changed").order_by(Event.id)][1:] == [
        "grace had the page trust 10.1.0.0/24.",
        "grace had the page trust no reverse proxy.",
    ]


@pytest.mark.badinput
def test_a_wrong_line_is_said_and_what_was_written_stays(grace: Browser, host: Hosted, opened: Settings) -> None:
    answer = grace.post(PAGE, {"proxies": "192.0.2.7\nproxy"})
    assert answer.status_code == 400
    assert "Line 2: &#39;proxy&#39; is neither an address nor a network." in answer.text
    assert "192.0.2.7\nproxy</textarea>" in answer.text
    assert is_at("proxies", answer.text)
    assert proxies.trusted(opened) == []


def test_the_way_somebody_came_is_shown_as_text(grace: Browser, host: Hosted) -> None:
    assert "no proxy in between says otherwise" in grace.get(PAGE).text
    page = grace.get(PAGE, **{"X-DPE-Via": "127.0.0.1", "X-DPE-Claim": "<b>203.0.113.5"}).text
    assert "It says that it forwards for" in page
    assert "&lt;b&gt;203.0.113.5" in page
    assert "which is trusted" in grace.get(PAGE, **{"X-DPE-Via": "192.0.2.7"}).text


def test_only_who_may_and_who_says_again_who_they_are(grace: Browser, ada: Browser, host: Hosted, opened: Settings) -> None:
    assert ada.post(PAGE, {"proxies": "192.0.2.7"}).status_code == 403
    Session.update(confirmed_at=NOW - DAY).execute()
    assert "Confirm access" in grace.post(PAGE, {"proxies": "192.0.2.7"}).text
    assert proxies.trusted(opened) == []
