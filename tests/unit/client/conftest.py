"""The command, in this process, against the real application: its HTTP library speaks to it without a network."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from flask import Flask
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from appliance.catalog import Actor
from appliance.services import tokens
from dpe.cli import Context, cli
from dpe.client import Client
from tests.unit.webui.conftest import HOST, Browser, ada, app, grace, made, people, signed_in
from webui.api import SCOPES

__all__ = ["Browser", "ada", "app", "grace", "made", "people", "signed_in"]

Dpe = Callable[..., Result]


class Wsgi(BaseAdapter):
    """Requests answered by an application in this process; `asked` are theirs: method and path."""

    def __init__(self, app: Flask) -> None:
        super().__init__()
        self.app, self.asked = app, list[tuple[str, str, Mapping[str, str]]]()

    def send(self, request: Any, *_: Any, **__: Any) -> Any:
        path = request.url.removeprefix(HOST)
        self.asked.append((request.method, path, request.headers))
        found = self.app.test_client().open(path, method=request.method, base_url=HOST, headers=dict(request.headers), data=request.body)
        answer = requests.Response()
        answer.status_code, answer.headers = found.status_code, CaseInsensitiveDict(found.headers.items())
        answer.raw, answer.request, answer.url, answer.encoding = io.BytesIO(found.data), request, request.url, "utf-8"
        found.close()  # a stream would hold its place
        return answer

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def client(app: Flask, people: dict[str, Actor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Client]:
    """The client of somebody whose token is good for everything: `client("ada")`; it never really waits."""
    monkeypatch.setenv("DPE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr("webui.api.stream.LENGTH", 0.1)  # an answer comes here when it is whole
    for name in ("DPE_ADDRESS", "DPE_TOKEN", "DPE_FINGERPRINT"):
        monkeypatch.delenv(name, raising=False)

    def make(name: str = "ada", *scope: str) -> Client:
        found = Client(HOST, tokens.create(people[name], "dpe", list(scope or SCOPES), 7), transport=Wsgi(app))
        found.sleep = lambda _: None
        return found

    return make


@pytest.fixture
def dpe(client: Callable[..., Client]) -> Dpe:
    """Run the command as somebody: `dpe("list", name="ada")`."""
    made: dict[str, Context] = {}

    def run(*words: str, name: str = "ada", input: str | None = None) -> Result:
        context = made.get(name) or made.setdefault(name, Context(""))
        context._client = context._client or client(name)
        return CliRunner().invoke(cli, words, obj=context, input=input, catch_exceptions=False)

    return run
