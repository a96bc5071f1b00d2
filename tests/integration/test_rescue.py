"""The way from an appliance that does not answer to one that does: real nginx, dpe-host, supervisor and rescue page, and a web process that cannot start."""

import http.client
import re
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest

from appliance import catalog, layout
from appliance.catalog import Account, Grant, options
from appliance.host.backup import catalog_copies
from appliance.host.system import processes
from appliance.identity import passwords
from appliance.settings import Settings, load
from appliance.supervisor import Appliance
from tests.waiting import until

PASSWORD = "correct horse battery"
ENDS = 60  # seconds in which anything here must happen


class Browser:
    """Keeps cookies and the last form's token; one connection a request."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.context = ssl.create_default_context(cafile=str(settings.tls / "appliance.crt"))
        self.cookies: dict[str, str] = {}
        self.token = ""

    def ask(self, path: str, data: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Status, where it leads to, and text."""
        connection = http.client.HTTPSConnection("localhost", self.settings.https_port, context=self.context, timeout=20)
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = None
        if data is not None:
            body = urlencode({"csrf_token": self.token, **data})
            where = f"https://localhost:{self.settings.https_port}"
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": where, "Referer": where + path}
        try:
            connection.request("GET" if data is None else "POST", path, body, {**sent, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        for kept in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = kept.partition(";")[0].partition("=")
            self.cookies[name] = value
        if found := re.search(r'name="csrf_token"[^>]*value="([^"]+)"', text):
            self.token = found[1]
        return answer.status, answer.headers.get("Location", ""), text

    def sign_in(self) -> "Browser":
        self.ask("/rescue/sign-in")
        assert self.ask("/rescue/sign-in", {"name": "admin", "password": PASSWORD})[0] == 303
        self.ask("/rescue/")
        return self


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    """All but libvirt and the engine, supervised as in `make run`."""
    with tempfile.TemporaryDirectory(prefix="dpe-rescue-") as folder:
        Path(folder).chmod(0o711)
        settings = load({}, state=Path(folder) / "s", listen="127.0.0.1", https_port=17643, app_port=17700, slots=5)
        layout.prepare(settings)
        catalog.open(settings.catalog)
        with catalog.write():
            options.put("setup_done", True)
            Grant.create(role="owner", account=Account.create(name="admin", password=passwords.digest(PASSWORD)))
        catalog.close()
        appliance = Appliance(settings)
        appliance.children = [child for child in appliance.children if child.name in ("host", "rescue", "web", "nginx")]
        watching = threading.Thread(target=appliance.watch)
        try:
            appliance.start()
            watching.start()
            yield appliance
        finally:
            appliance.stopping.set()
            watching.join()
            for child in reversed(appliance.children):
                child.stop()
            appliance.close()


def child(appliance: Appliance, name: str) -> object:
    return next(child for child in appliance.children if child.name == name)


def test_from_the_page_that_is_down_to_one_that_is_back(appliance: Appliance) -> None:
    browser, web = Browser(appliance.settings), child(appliance, "web")
    assert browser.ask("/")[0] == 303
    good, web.command = web.command, ["sh", "-c", "echo ImportError: no module named nothing; exit 3"]  # type: ignore[attr-defined]
    web.stop()  # type: ignore[attr-defined]

    begun = time.monotonic()
    until(lambda: browser.ask("/")[0] == 502)
    status, _, text = browser.ask("/account")
    assert time.monotonic() - begun < 20  # nobody waits until nginx loses patience
    assert status == 502
    assert "The appliance is not answering" in text
    link = re.search(r'<a href="(/rescue/)"', text)
    assert link
    status, where, _ = browser.ask(link[1])
    assert (status, where) == (303, "/rescue/sign-in")
    browser.sign_in()

    until(lambda: "web does not run (ended with status 3)." in browser.ask("/rescue/")[2])
    assert "ImportError: no module named nothing" in browser.ask("/rescue/logs?source=web&level=error")[2]
    web.command = good  # type: ignore[attr-defined]
    assert browser.ask("/rescue/repair/part", {"choice": "web"})[0] == 303
    until(lambda: browser.ask("/")[0] == 303)
    until(lambda: "Everything that can be seen from here works." in browser.ask("/rescue/")[2])


def test_a_catalog_that_is_no_database_is_replaced_by_its_copy(appliance: Appliance) -> None:
    settings = appliance.settings
    until(lambda: catalog_copies.everything(settings))  # dpe-host makes the first by itself
    for ending in ("", "-wal", "-shm"):
        settings.catalog.with_name(settings.catalog.name + ending).unlink(missing_ok=True)
    settings.catalog.write_bytes(b"no database" * 1000)
    processes.restart(settings, "web")
    browser = Browser(settings)
    until(lambda: browser.ask("/")[0] == 502)
    browser.sign_in()
    assert "Restore a copy" in browser.ask("/rescue/")[2]
    _, operation, _ = browser.ask("/rescue/repair/catalog", {"choice": catalog_copies.everything(settings)[0].name})
    until(lambda: "Done." in browser.ask(operation)[2])
    until(lambda: browser.ask("/")[:2] == (303, "/sign-in"))
    catalog.open(settings.catalog)
    assert [account.name for account in Account.select()] == ["admin"]
    catalog.close()


def test_the_rescue_page_is_nobody_and_nobodys_page_reaches_it(appliance: Appliance) -> None:
    supervisor = psutil.Process()
    serving = next(one for one in supervisor.children(recursive=True) if one.cmdline()[1:3] == ["-m", "webui.rescue"])
    assert serving.username() == layout.RESCUE
    browser = Browser(appliance.settings)
    browser.sign_in()
    for headers in ({"Origin": "https://localhost:17701"}, {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}):
        assert browser.ask("/rescue/", headers=headers)[0] == 403
    assert Browser(appliance.settings).ask("/rescue")[1].endswith("/rescue/")
    assert browser.ask("/rescue/static/css/app.css")[0] == 200
