"""Fixtures of the browser tier: the web page as it is served, over TLS, and a headless Chromium in front of it."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from appliance import catalog, layout
from appliance.access import tls
from appliance.catalog import Actor
from appliance.settings import REPOSITORY, Settings, environment
from appliance.settings import load as load_settings
from tests import packages, quick, world
from tests.browser.nursery import Nursery, open_nursery
from tests.fake_rauc import fake_host

__all__ = ["fake_host"]

quick.passwords_and_templates()
expect.set_options(timeout=30_000)  # ms; it is waited for an event, and how long that takes is another's test

QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--host-resolver-rules=MAP *.dpe.test 127.0.0.1",  # names of machines; see tests/integration/test_names.py
]


@dataclass
class Site:
    """A running web page: its address and settings, the actors in its catalog, and its server."""

    url: str
    settings: Settings
    people: dict[str, Actor]
    process: psutil.Process

    def stop(self) -> float:
        """Stop the server as its supervisor would; returns how many seconds that took."""
        begun = time.monotonic()
        self.process.terminate()
        self.process.wait(40)
        return time.monotonic() - begun


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One headless Chromium for all tests; each test gets a context, with cookies, of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium-headless-shell", args=[*QUIET, "--ignore-certificate-errors"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where the servers of all tests are forked from; each has a process, a catalog and a port of its own."""
    with open_nursery() as nursery:
        yield nursery


@pytest.fixture
def serve(tmp_path: Path, nursery: Nursery) -> Iterator[Callable[..., Site]]:
    """Serve the web page over a catalog that the given function filled: `serve(world.busy)`."""
    started = []

    def begin(fill: Callable[[Settings], dict[str, Actor] | None]) -> Site:
        port = free_port()
        settings = load_settings({}, state=tmp_path / "state", https_port=port, app_port=20000 if port < 20000 else 10000, network="pages")
        layout.prepare(settings)
        catalog.open(settings.catalog)
        people = fill(settings) or {}
        certificate, key = tls.ensure(settings)
        arguments = [
            "--config", str(REPOSITORY / "webui/gunicorn.conf.py"), "--bind", f"127.0.0.1:{port}",
            "--certfile", str(certificate), "--keyfile", str(key), "webui:create_app()",
        ]  # fmt: skip
        process = nursery.server(arguments, environment(settings), tmp_path / "web.log")
        started.append(process)
        _until_it_answers(port, process, tmp_path / "web.log")
        return Site(f"https://127.0.0.1:{port}", settings, people, process)

    yield begin
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):  # stopped by its test
            for one in (process, *process.children(recursive=True)):  # at once: how it stops is the test of those that stop it
                one.kill()
            process.wait(20)
    catalog.close()


def _until_it_answers(port: int, process: psutil.Process, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.is_running():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"the web page did not start:\n{log.read_text()}")


Scheme = Literal["light", "dark"]


@pytest.fixture
def busy(serve: Callable[..., Site]) -> Site:
    """The web page on a busy morning; see tests/world.py."""
    site: Site = serve(world.busy)
    world.history(site.settings)
    packages.write(site.settings.packages)
    return site


@pytest.fixture
def browse(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """A new page in a browser of its own: `browse(site, width=390, scheme="dark")`. Fails the test when a page breaks a rule of its own policy."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(site: Site, *, width: int = 1280, height: int = 900, scheme: Scheme = "light", **options: Any) -> Page:
        context = chromium.new_context(
            base_url=site.url, ignore_https_errors=True, viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if "Content Security Policy" in message.text else None)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
