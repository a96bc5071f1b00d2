"""Certificate, power and processes of the server over the API, with a real dpe-host behind it that restarts nothing."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from appliance.access import own_certificate, tls
from appliance.catalog import Actor, Event, EventKind
from appliance.settings import Settings
from tests.authority import root
from tests.hosted import Hosted, hosted
from tests.program import Program

pytestmark = pytest.mark.api

ROOT = root()
MIDDLE = ROOT.sign("House Middle", ca=True)
NAME = "dpe.example.org"


@pytest.fixture
def host(opened: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    monkeypatch.setattr(own_certificate, "authorities", lambda: [ROOT.certificate])
    with hosted(opened, tmp_path) as made:
        yield made


@pytest.fixture
def program(app: Flask, people: dict[str, Actor], host: Hosted) -> Program:
    return Program(app, people["grace"])


def files(*contents: bytes) -> list[str]:
    return [base64.b64encode(one).decode() for one in contents]


def test_a_certificate_is_sent_served_and_taken_away_again(program: Program, opened: Settings) -> None:
    leaf = MIDDLE.sign("dpe", names=(NAME,))
    key = leaf.key_pem(b"correct horse")
    assert program.ask(200, "GET", "admin/certificate")["own"] is False
    made = program.ask(
        200, "PUT", "admin/certificate", {"files": files(leaf.pem, MIDDLE.pem, key), "passphrase": "correct horse", "host": NAME}
    )
    assert (made["own"], made["names"], made["issuer"]) == (True, [NAME], "House Middle")
    assert made["fingerprint"] == tls.fingerprint(tls.served(opened)) == program.ask(200, "GET", "admin/certificate")["fingerprint"]
    assert "BEGIN PRIVATE KEY" in tls.served(opened).read_text()
    assert Event.get(Event.kind == "certificate.changed").actor == "grace"
    assert not [one for one in Event.select() if "PRIVATE" in f"{one.message} {one.data}" or "correct horse" in f"{one.message} {one.data}"]
    program.ask(204, "DELETE", "admin/certificate")
    assert program.ask(200, "GET", "admin/certificate")["own"] is False
    assert tls.served(opened).name == "appliance.crt"


@pytest.mark.badinput
def test_a_certificate_that_does_not_fit_is_refused_at_its_field(program: Program, opened: Settings) -> None:
    leaf = MIDDLE.sign("dpe", names=(NAME,))
    program.ask(200, "GET", "admin/certificate")
    before = tls.fingerprint(tls.served(opened))
    whole = {"files": files(leaf.pem, MIDDLE.pem, leaf.key_pem(b"correct horse")), "host": NAME}
    path = "admin/certificate"
    assert program.refused("PUT", path, whole) == ["#/passphrase"]
    assert program.refused("PUT", path, {**whole, "passphrase": "wrong"}) == ["#/passphrase"]
    assert program.refused("PUT", path, {"files": ["no Base64", *whole["files"][1:]], "host": "", "key": "x"}) == [
        "#/files/0",
        "#/host",
        "#/key",
    ]
    other = {**whole, "passphrase": "correct horse", "host": "other.example.org"}
    assert "not for other.example.org" in program.ask(400, "PUT", path, other)["title"]
    assert "admin:host" in program.ask(403, "PUT", path, other, scope="admin:server")["detail"]
    assert tls.fingerprint(tls.served(opened)) == before


def test_the_server_is_restarted_and_shut_down(program: Program, host: Hosted) -> None:
    for scope in ("admin:server", "admin:configuration"):
        program.ask(403, "POST", "admin/power/restart", scope=scope)
    program.ask(404, "POST", "admin/power/explode")
    program.ask(404, "POST", "admin/processes/nothing/restart")
    assert host.asked == []
    program.ask(202, "POST", "admin/processes/web/restart")
    assert host.asked == [["restart", "web"]]
    program.ask(202, "POST", "admin/power/restart")
    program.ask(202, "POST", "admin/power/off")
    assert [words[-1] for words in host.asked[1:]] == ["reboot", "poweroff"]
    found = Event.select().where(Event.kind.in_([EventKind.POWER_RESTART, EventKind.POWER_OFF])).order_by(Event.id)
    assert [event.message for event in found] == ["grace restarts the server.", "grace switches the server off."]
