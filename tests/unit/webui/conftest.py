"""Fixtures of the web page's unit tests: the application over a busy catalog, and browsers that speak to it without a network."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance import catalog
from appliance.catalog import Actor
from appliance.settings import Settings, load
from tests import pages, world
from tests.fake_rauc import fake_host
from webui import create_app
from webui.app import work_on
from webui.live import hub

__all__ = ["fake_host"]

HOST = "https://appliance.test:8443"


class Browser:
    """A test client that sends what a browser sends: the session's cookie, where it is, and the form's CSRF token."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.token = ""
        self.at = "/"

    def get(self, path: str, **headers: str) -> TestResponse:
        answer = self.client.get(path, base_url=HOST, headers={**headers})
        if found := re.search(r'name="csrf_token" value="([^"]+)"', answer.text):
            self.token = found[1]
        self.at = path
        return answer

    def live(self, path: str) -> TestResponse:
        """The live part of a page, as the page itself asks for it."""
        return self.get(path, **{"HX-Request": "true", "HX-Target": "div#live"})

    def post(self, path: str, data: dict[str, Any] | None = None, *, csrf: bool = True, **headers: str) -> TestResponse:
        values = {**(data or {}), **({"csrf_token": self.token} if csrf else {})}
        return self.client.post(path, base_url=HOST, data=values, headers={"Referer": HOST + self.at, **headers})

    def put(self, path: str, data: bytes = b"", **headers: str) -> TestResponse:
        return self.client.put(path, base_url=HOST, data=data, headers={"Referer": HOST + self.at, "X-CSRFToken": self.token, **headers})

    def delete(self, path: str, **headers: str) -> TestResponse:
        return self.client.delete(path, base_url=HOST, headers={"Referer": HOST + self.at, "X-CSRFToken": self.token, **headers})

    def sign_in(self, name: str, password: str = world.PASSWORD, **data: str) -> TestResponse:
        self.get("/sign-in")
        answer = self.post("/sign-in", {"name": name, "password": password, **data})
        if answer.status_code == 303:
            self.get("/account")
        return answer


@pytest.fixture(autouse=True)
def on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a template breaks its lines is nothing to a test."""

    def text(answer: TestResponse) -> str:
        if (answer.mimetype or "").startswith("image/"):
            return ""
        found = answer.get_data(as_text=True)
        return pages.on_one_line(found) if answer.mimetype == "text/html" else found

    monkeypatch.setattr(TestResponse, "text", property(text))


@pytest.fixture
def people(opened: Settings) -> dict[str, Actor]:
    return world.busy(opened)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The application, made once: its 400 addresses take longer to compile than most tests."""
    app = create_app(load(state=tmp_path_factory.mktemp("web"), network="unit"))
    catalog.close()
    return app


@pytest.fixture
def app(made: Flask, opened: Settings) -> Flask:
    """The application over the catalog of this test. A test that adds to it makes one of its own."""
    hub.stopping = lambda: False
    work_on(made, opened)
    return made


@pytest.fixture
def visitor(app: Flask) -> Browser:
    """A browser that is not signed in."""
    return Browser(app.test_client())


@pytest.fixture
def signed_in(app: Flask, people: dict[str, Actor]) -> Callable[[str], Browser]:
    """A browser in which somebody is signed in: `signed_in("ada")`."""

    def open_browser(name: str) -> Browser:
        browser = Browser(app.test_client())
        assert browser.sign_in(name).status_code == 303
        return browser

    return open_browser


@pytest.fixture
def ada(signed_in: Callable[[str], Browser]) -> Browser:
    """Somebody who is no admin and holds a notebook."""
    return signed_in("ada")


@pytest.fixture
def grace(signed_in: Callable[[str], Browser]) -> Browser:
    """An admin."""
    return signed_in("grace")
