"""Signing in with the command, and where the token is kept."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from flask import Flask

from appliance.catalog import Actor, Token
from dpe import certificate, hosts
from dpe.cli import cli
from dpe.client import Client
from dpe.errors import ClientError, NotAllowed
from dpe.hosts import Host
from tests.unit.client.conftest import HOST, Wsgi
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.cli


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A computer with nothing on it, and no keyring."""
    monkeypatch.setenv("DPE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("DPE_NO_KEYRING", "1")
    for name in ("DPE_ADDRESS", "DPE_TOKEN", "DPE_FINGERPRINT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "config"


@pytest.fixture
def login(app: Flask, people: dict[str, Actor], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`dpe login`, while somebody does `meanwhile` with the code between two questions of the command."""
    monkeypatch.setattr(certificate, "is_trusted", lambda _: True)
    moment = [1000.0]
    monkeypatch.setattr("appliance.services.devices.time.monotonic", lambda: moment[0])

    def run(*words: str, meanwhile: Callable[[str], object] = lambda _: None, input: str = "") -> Result:
        runner = CliRunner()

        def sleep(seconds: float) -> None:
            moment[0] += seconds
            if shown := [made.user_code for made in devices._devices.values() if made.approved_by is None and not made.denied]:
                meanwhile(shown[0])

        from appliance.services import devices

        devices._devices.clear()
        make = Client.__init__

        def init(self: Client, *arguments: Any, **named: Any) -> None:
            make(self, *arguments, **{**named, "transport": Wsgi(app)})
            self.sleep = sleep

        monkeypatch.setattr(Client, "__init__", init)
        return runner.invoke(cli, ["login", HOST, *words], input=input, catch_exceptions=False)

    return run


def approve(browser: Browser, code: str) -> None:
    browser.get(f"/device?code={code}")
    assert browser.post("/device/approve", {"code": code}).status_code == 200


def test_it_is_approved_in_the_browser(login: Callable[..., Result], ada: Browser, here: Path) -> None:
    answer = login("--name", "my laptop", meanwhile=lambda code: approve(ada, code))
    assert answer.exit_code == 0, answer.output
    assert "and approve the code" in answer.stderr
    assert "as ada" in answer.stdout
    token = Token.get()
    assert (token.name, token.scope) == ("my laptop", ["consoles", "machines", "read", "todos"])
    assert (here / "hosts.json").stat().st_mode & 0o777 == 0o600
    assert here.stat().st_mode & 0o777 == 0o700
    assert hosts.current().account == "ada"
    assert "notebook" in CliRunner().invoke(cli, ["list"]).stdout
    assert CliRunner().invoke(cli, ["logout"]).exit_code == 0
    assert CliRunner().invoke(cli, ["list"]).exit_code == 3


def test_it_is_denied(login: Callable[..., Result], ada: Browser) -> None:
    def deny(code: str) -> None:
        ada.get(f"/device?code={code}")
        ada.post("/device/deny", {"code": code})

    answer = login(meanwhile=deny)
    assert (answer.exit_code, Token.select().count()) == (3, 0)
    assert "It was denied." in answer.stderr


def test_nobody_comes(login: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.services.devices.LASTS", 20)
    answer = login()
    assert answer.exit_code == 7, answer.output
    assert Token.select().count() == 0


def test_a_network_that_fails_for_a_moment_is_no_end(login: Callable[..., Result], ada: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    send, failed = Wsgi.send, list[str]()

    def fail(self: Wsgi, request: Any, *arguments: Any, **named: Any) -> Any:
        if request.url.endswith("/token") and len(failed) < 2:
            failed.append(request.url)
            raise requests.exceptions.ConnectionError("reset")
        return send(self, request, *arguments, **named)

    monkeypatch.setattr(Wsgi, "send", fail)
    assert login(meanwhile=lambda code: approve(ada, code)).exit_code == 0
    assert len(failed) == 2


def test_admins_ask_for_more(login: Callable[..., Result], grace: Browser) -> None:
    assert login("--admin", meanwhile=lambda code: approve(grace, code)).exit_code == 0
    assert "admin:seeds" in Token.get().scope


@pytest.mark.badinput
@pytest.mark.parametrize("scope", ["everything", ""])
def test_a_scope_that_there_is_not(login: Callable[..., Result], scope: str) -> None:
    answer = login("--scope", scope)
    assert answer.exit_code == 1
    assert "There is no scope" in answer.stderr


def test_a_token_that_somebody_has_is_taken_as_it_is(login: Callable[..., Result], people: dict[str, Actor]) -> None:
    from appliance.services import tokens

    token = tokens.create(people["alan"], "by hand", ["read"], 7)
    assert login("--with-token", input=f"{token}\n").exit_code == 0
    assert hosts.current().token == token
    assert login("--with-token", input="dpe_wrong\n").exit_code == 3
    assert hosts.current().token == token


# -- the certificate ------------------------------------------------------------------------------------------


def test_an_unknown_certificate_is_not_taken_without_a_word(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """With nobody to be asked it is refused; the fingerprint stands there to be compared."""
    monkeypatch.setattr(certificate, "is_trusted", lambda _: False)
    monkeypatch.setattr(certificate, "fetch", lambda _: PEM)
    answer = CliRunner().invoke(cli, ["login", HOST])
    assert answer.exit_code == 1
    assert certificate.fingerprint_of(PEM) in answer.stderr
    assert "--fingerprint" in answer.stderr
    assert not (here / "hosts.json").exists()


def test_another_certificate_than_before_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.keep(Host(HOST, "ada", "dpe_x", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"))
    monkeypatch.setattr(certificate, "is_trusted", lambda _: False)
    monkeypatch.setattr(certificate, "fetch", lambda _: PEM)
    assert "ANOTHER one than before" in CliRunner().invoke(cli, ["login", HOST]).stderr


PEM = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"


# -- where it is kept -----------------------------------------------------------------------------------------


class Ring(SimpleNamespace):
    """A keyring."""

    def __init__(self) -> None:
        super().__init__(kept={}, errors=SimpleNamespace(KeyringError=RuntimeError))

    def set_password(self, *words: str) -> None:
        self.kept[words[:2]] = words[2]

    def get_password(self, *words: str) -> str | None:
        found: str | None = self.kept.get(words)
        return found

    def delete_password(self, *words: str) -> None:
        del self.kept[words]


def test_a_keyring_has_the_token_and_the_file_does_not(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.delenv("DPE_NO_KEYRING")
    monkeypatch.setitem(sys.modules, "keyring", ring := Ring())  # type: ignore[arg-type]
    assert hosts.keep(Host(HOST, "ada", "dpe_secret"))
    assert "dpe_secret" not in (here / "hosts.json").read_text()
    assert hosts.current().token == "dpe_secret"
    hosts.forget(HOST)
    assert ring.kept == {}


def test_a_keyring_that_fails_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DPE_NO_KEYRING")
    ring = Ring()
    ring.set_password = lambda *_: (_ for _ in ()).throw(OSError("no D-Bus"))  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "keyring", ring)  # type: ignore[arg-type]
    assert not hosts.keep(Host(HOST, "ada", "dpe_secret"))
    assert hosts.current().token == "dpe_secret"


def test_several_appliances(here: Path) -> None:
    for number in (1, 2):
        hosts.keep(Host(f"https://dpe{number}.test", "ada", f"dpe_{number}"))
    assert (hosts.current().token, hosts.current("dpe1.test").token) == ("dpe_2", "dpe_1")
    with pytest.raises(NotAllowed, match="not signed in to https://dpe3"):
        hosts.current("https://dpe3.test/")
    hosts.forget("https://dpe2.test")
    assert hosts.current().token == "dpe_1"


def test_the_environment_says_it_for_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPE_ADDRESS", "dpe.test:8443")
    monkeypatch.setenv("DPE_TOKEN", "dpe_env")
    assert hosts.current() == Host("https://dpe.test:8443", "", "dpe_env")


@pytest.mark.badinput
@pytest.mark.parametrize("address", ["http://dpe.test", "https://", "https://user@dpe.test", "ftp://x"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ClientError, match="is no address"):
        hosts.normal(address)


@pytest.mark.badinput
@pytest.mark.parametrize("text", ["", "[]", '{"hosts": 5, "default": ""}', json.dumps({"default": ""})])
def test_a_file_that_is_spoilt_says_what_to_do(here: Path, text: str) -> None:
    here.mkdir()
    (here / "hosts.json").write_text(text)
    with pytest.raises(ClientError, match="cannot be read"):
        hosts.current()
