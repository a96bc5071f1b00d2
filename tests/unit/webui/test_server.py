"""The pages of the server over a real dpe-host, without a browser; and the API."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from appliance.catalog import Actor, Event
from appliance.host.system import network, network_trial
from appliance.services import server, ssh, tokens
from appliance.settings import Settings
from tests.hosted import Hosted, hosted
from tests.pages import is_at
from tests.unit.identity.test_ssh_keys import KEY
from tests.unit.webui import conftest
from tests.unit.webui.conftest import Browser

NEW = {"mode": "static", "card": "52:54:00:12:34:56", "address": "192.0.2.20/24", "gateway": "192.0.2.1", "dns": "192.0.2.1 192.0.2.3"}


@pytest.fixture
def host(opened: Settings, tmp_path: Path) -> Iterator[Hosted]:
    with hosted(opened, tmp_path) as made:
        yield made


def begin(settings: Settings) -> None:
    found = network_trial.current(settings)
    assert found is not None
    network_trial.write_trial(settings, found.model_copy(update={"begins": 0.0}))
    network.step(settings)


def link(page: str) -> str:
    return page.split('href="https://192.0.2.20:8443')[1].split('"')[0]


def test_the_link_confirms_without_signing_in_once_and_in_time(grace: Browser, visitor: Browser, host: Hosted, opened: Settings) -> None:
    answer = grace.post("/admin/server/network", NEW)
    assert answer.status_code == 200
    keep = link(answer.text)
    begin(opened)
    assert visitor.get("/admin/server/network/keep/guessed").status_code == 404
    kept = visitor.get(keep)
    assert kept.status_code == 200
    assert "192.0.2.20/24" in kept.text
    assert network_trial.current(opened) is None
    assert "kept" in grace.get("/admin/server/network/trial").text
    assert Event.select().where(Event.kind == "network.changed").count() == 1


def test_being_signed_in_at_the_new_address_confirms(
    grace: Browser, app: Flask, host: Hosted, opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    grace.post("/admin/server/network", NEW)
    begin(opened)
    assert "back in" in grace.get("/admin/server/network/trial").text  # still at the old one, through another card
    monkeypatch.setattr(conftest, "HOST", "https://192.0.2.20:8443")
    moved = Browser(app.test_client())
    assert moved.get("/admin/server/network/trial").status_code == 303  # not signed in there: no proof
    assert network_trial.current(opened) is not None
    moved.sign_in("grace")
    assert "kept" in moved.get("/admin/server/network/trial").text
    assert network_trial.current(opened) is None


def test_a_link_after_the_time_says_so(grace: Browser, visitor: Browser, host: Hosted, opened: Settings) -> None:
    keep = link(grace.post("/admin/server/network", NEW).text)
    begin(opened)
    grace.get("/admin/server/network/trial")
    assert grace.post("/admin/server/network/back").status_code == 303
    late = visitor.get(keep)
    assert late.status_code == 404
    assert "too late" in late.text


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("path", "form", "said", "at"),
    [
        ("network", {**NEW, "address": "192.0.2.20"}, "has no prefix", "address"),
        ("network", {**NEW, "gateway": "198.51.100.9"}, "is not in the network of the address", "gateway"),
        ("network", {**NEW, "address": "192.0.2.77/24"}, "is in use already", "address"),
        ("network", {**NEW, "dns": "one two"}, "is no IP address", "dns"),
        ("network", {"mode": "static"}, "not said which network interface", "card"),
        ("network", {}, "mode", "mode"),
        ("name", {"name": "büro 1"}, "cannot be a host name", "name"),
        ("time/servers", {"enabled": "yes", "servers": "a_b"}, "no name of a time server", "servers"),
        ("time/set", {"at": "2027-03-01T14:30"}, "follows time servers", ""),
        ("time/set", {"at": "tomorrow"}, "is no date and time", ""),  # its form is not there while servers are asked
    ],
)
def test_what_is_wrong_is_said_and_what_was_entered_stays(
    grace: Browser, host: Hosted, opened: Settings, path: str, form: dict[str, str], said: str, at: str
) -> None:
    grace.get("/admin/server/network")
    answer = grace.post(f"/admin/server/{path}", form)
    assert answer.status_code in (400, 409)
    assert said in answer.text
    assert not at or is_at(at, answer.text)
    for name, value in form.items():
        if name in ("address", "gateway", "name", "servers"):
            assert f'value="{value}"' in answer.text
    assert network_trial.last(opened) is None
    assert not (opened.host / "host.json").exists()


@pytest.mark.badinput
def test_a_broken_host_json_is_said_on_the_pages(grace: Browser, host: Hosted, opened: Settings) -> None:
    (opened.host / "host.json").write_text("{")
    for path in ("", "network"):
        assert "asks for its address by DHCP" in grace.get(f"/admin/server/{path}").text


def test_the_api_tells_the_status_to_those_who_may(grace: Browser, ada: Browser, host: Hosted) -> None:
    said = grace.get("/api/v1/server", **{"X-CSRFToken": grace.token}).json
    assert said is not None
    assert said["version"] == "1.2.0"
    assert {one["name"]: one["state"] for one in said["processes"]}["nginx"] == "failed"
    assert said["memory"]["available"] <= said["memory"]["total"]
    assert ada.get("/api/v1/server", **{"X-CSRFToken": ada.token}).status_code == 403


def test_power_needs_a_name_that_exists_and_a_fresh_password(
    app: Flask, grace: Browser, host: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert grace.get("/admin/server/power/explode").status_code == 404
    assert grace.post("/admin/server/power/explode").status_code == 404
    assert "Mary Somerville: 2 machines" in grace.get("/admin/server/power/off").text
    monkeypatch.setattr("webui.reauth.sessions.confirmed_within", lambda *_: False)
    assert grace.post("/admin/server/power/off").status_code == 403
    assert host.asked == []
    monkeypatch.undo()


def test_without_dpe_host_the_pages_say_who_does_not_answer(grace: Browser) -> None:
    page = grace.get("/admin/server/").text
    assert "does not answer" in page
    assert "Whether a disk is failing is not known now" in page, "what has nothing to show says so"
    for path in ("network", "time", "operations/1"):
        assert grace.get(f"/admin/server/{path}").status_code == 503


def test_patience_is_longer_where_the_address_has_to_be_found() -> None:
    assert server.PATIENCE["dhcp"] > server.PATIENCE["static"]


@pytest.mark.ssh
def test_the_ssh_server_is_off_until_an_admin_switches_it_on(grace: Browser, ada: Browser, host: Hosted, people: dict[str, Actor]) -> None:
    """Then people read how their machines are reached."""
    assert not ssh.wanted()
    assert "ssh -J" not in ada.get("/account").text
    assert ada.post("/admin/server/ssh", {"enabled": "yes"}).status_code in (403, 404)
    assert not ssh.wanted()
    assert grace.post("/admin/server/ssh", {"enabled": "yes"}).status_code == 303
    assert ssh.wanted()
    assert "Nobody gets a shell here" in grace.get("/admin/server/").text
    assert "ssh -J dpe-jump@appliance.test:2222 " in ada.get("/account").text
    token = tokens.create(people["ada"], "ssh", ["consoles"], 1)
    answer = ada.client.post(
        "/api/v1/ssh-certificate", base_url=conftest.HOST, json={"public_key": f"{KEY} ada"}, headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.json is not None
    assert (answer.status_code, answer.json["port"], answer.json["user"]) == (201, 2222, "dpe-jump")
    assert answer.json["certificate"].startswith("ssh-ed25519-cert-v01@openssh.com ")
    assert grace.post("/admin/server/ssh", {"enabled": "no"}).status_code == 303
    assert not ssh.wanted()
    assert [event.message for event in Event.select().where(Event.kind == "settings.changed").order_by(Event.id)][-2:] == [
        "grace switched the SSH server on.",
        "grace switched the SSH server off.",
    ]
