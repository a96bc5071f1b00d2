"""The front door for real: nginx and the web process, over a catalog of rows, and applications that only a test would write."""

import contextlib
import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookiejar import CookieJar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import psutil
import pytest

from appliance import catalog, layout
from appliance.catalog import (
    Account,
    Actor,
    Class,
    Event,
    Grant,
    Lease,
    Machine,
    MachineState,
    Seed,
    SeedState,
    Session,
    events,
    machines,
    now,
    options,
)
from appliance.catalog import seeds as seed_rows
from appliance.identity import passwords
from appliance.services import accounts, sessions, tokens
from appliance.settings import Settings, load
from appliance.supervisor import Appliance
from tests.integration.conftest import own_addresses
from tests.waiting import PATIENCE, until

PASSWORD = "correct horse battery"
DOMAIN = "dpe.test"  # below which machines have names, where a test has them have some; the certificate is good for that
OWN, OTHER, STARTING, SILENT, EMPTY = range(5)  # slots
TOSSED = (
    "__Host-Http-dpe=evil; Path=/; Secure",
    "__Host-Http-dpe=evil; Path=/; secure ;HttpOnly",
    "\t__Host-Http-dpe=evil; Path=/; Secure",
    "__HOST-dpe=evil; Path=/; Secure",
    "__Secure-dpe=evil; Path=/; Secure",
    "theirs=1; Path=/; Secure; SameSite=None",
)
PAGE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}  # what a browser says that asks for a page
SPEC = {"title": "S", "os": "debian-13", "size": {"vcpus": 1, "memory": 256, "disk": 2}, "application": {"port": 8080, "path": "/", "ready": "/"}}  # fmt: skip


class Application(BaseHTTPRequestHandler):
    """What runs in a machine and means no good."""

    protocol_version = "HTTP/1.1"
    more = threading.Event()

    def do_GET(self) -> None:
        match urlsplit(self.path).path:
            case "/cookies":
                self._answer(b"", [("Set-Cookie", cookie) for cookie in TOSSED])
            case "/tossed":
                beyond = [f"everywhere=1; Domain={DOMAIN}; Path=/; Secure", f"hidden=1; HttpOnly; domain = .{DOMAIN}"]
                self._answer(b"", [("Set-Cookie", cookie) for cookie in (*beyond, "__Host-Http-dpe-door=evil; Path=/; Secure; HttpOnly")])
            case "/greedy":
                self._answer(b"", [("Strict-Transport-Security", "max-age=99"), ("Clear-Site-Data", '"cookies"'), ("Alt-Svc", "clear")])
            case "/page":  # for a browser, which asks for nothing else then
                self._answer(b'<link rel="icon" href="data:,">', [("Content-Type", "text/html")])
            case "/inside":
                self._answer(b"mine", [("X-Accel-Redirect", "/_dpe/pages/down.html")])
            case "/stream":
                self._answer(b"", [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")], length=False)
                self.wfile.write(b"5\r\nfirst\r\n")
                assert self.more.wait(30)
                self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")
            case "/endless":
                self._answer(b"", [("Content-Length", str(1 << 40))], length=False)
                with contextlib.suppress(OSError):
                    while True:
                        self.wfile.write(bytes(1 << 16))
                self.close_connection = True
            case "/notebook":  # as Jupyter does: one of them for the server, named after the port, and one for its page's scripts
                kept = f"username-localhost-{self.headers['Host'].rpartition(':')[2]}"
                months = "Max-Age=2592000; Path=/"
                self._answer(
                    self.headers.get("Cookie", "").encode(),
                    [("Set-Cookie", f"{kept}={'x' * 330}; HttpOnly; {months}"), ("Set-Cookie", f"_xsrf={'y' * 90}; {months}")],
                )
            case "/echo":
                self._answer(b"", [("Upgrade", "websocket"), ("Connection", "Upgrade")], status=101, length=False)
                with contextlib.suppress(OSError):
                    while said := self.rfile.read(5):
                        self.wfile.write(said)
                self.close_connection = True
            case "/forbidden":
                self._answer(b"the application's own words", [], status=403)
            case "/ws":
                self._answer(b"", [("Upgrade", "websocket"), ("Connection", "Upgrade")], status=101, length=False)
                self.wfile.write(self.rfile.read(5)[::-1])
                self.close_connection = True
            case _:
                self._answer(json.dumps({"path": self.path, "headers": dict(self.headers.items())}).encode(), [])

    def do_POST(self) -> None:
        length = 0
        while chunk := self.rfile.read(min(1 << 20, int(self.headers["Content-Length"]) - length)):
            length += len(chunk)
        self._answer(str(length).encode(), [])

    def _answer(self, body: bytes, headers: list[tuple[str, str]], status: int = 200, *, length: bool = True) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


Slot = int | str | None  # where a browser goes: behind a port, below a name, or to the page


@dataclass
class Browser:
    """One that keeps the appliance's cookie, and sends it to every port, as browsers do; what it gets below a name goes there alone."""

    settings: Settings
    cookies: dict[str, str] = field(default_factory=dict)
    named: dict[str, dict[str, str]] = field(default_factory=dict)

    def origin(self, slot: Slot = None) -> str:
        if isinstance(slot, str):
            return f"https://{slot}.{DOMAIN}:{self.settings.https_port}"
        return f"https://localhost:{self.settings.https_port if slot is None else self.settings.app_port + slot}"

    def sent(self, slot: Slot = None) -> dict[str, str]:
        """The cookies that go there."""
        return self.named.setdefault(slot, {}) if isinstance(slot, str) else self.cookies

    def connect(self, slot: Slot = None) -> http.client.HTTPSConnection:
        to = urlsplit(self.origin(slot))
        assert to.hostname
        context = ssl.create_default_context(cafile=str(self.settings.tls / "appliance.crt"))
        return http.client.HTTPSConnection(to.hostname, to.port, timeout=30, context=context)

    def ask(self, path: str, slot: Slot = None, method: str = "GET", body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        connection = self.connect(slot)
        try:
            cookie = "; ".join(f"{name}={value}" for name, value in self.sent(slot).items())
            connection.request(method, path, body or None, {"Cookie": cookie, **(headers or {})})
            got = connection.getresponse()
            answer = Answer(got.status, got.headers, got.read())
        finally:
            connection.close()
        if not isinstance(slot, int):
            for kept in got.headers.get_all("Set-Cookie") or []:
                name, _, value = kept.partition(";")[0].partition("=")
                self.sent(slot)[name] = value
        return answer

    def sign_in(self, name: str) -> "Browser":
        token = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', self.ask("/sign-in").body)
        assert token
        form = urlencode({"name": name, "password": PASSWORD, "csrf_token": token[1].decode()}).encode()
        where = f"https://localhost:{self.settings.https_port}"
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": where, "Referer": f"{where}/sign-in"}
        assert self.ask("/sign-in", method="POST", body=form, headers=headers).status == 303
        return self


running: dict[Settings, Appliance] = {}


@pytest.fixture(scope="module")
def door() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="dpe-door-") as folder, own_addresses() as number:
        Path(folder).chmod(0o711)
        # The machines' addresses are on loopback, where the applications of this test can listen.
        settings = load(
            {},
            state=Path(folder) / "s",
            listen="127.0.0.1",
            https_port=18000 + number * 256,
            app_port=18001 + number * 256,
            slots=50,
            subnet=f"127.{64 + number}.0.0/16",
            names=f"*.{DOMAIN}",
        )
        layout.prepare(settings)
        catalog.open(settings.catalog)
        _fill()
        appliance = Appliance(settings)
        appliance.children = [child for child in appliance.children if child.name in ("web", "relay", "nginx")]
        servers = [ThreadingHTTPServer((settings.address(slot), 8080), Application) for slot in (OWN, OTHER)]
        for server in servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            appliance.start()
            running[settings] = appliance
            yield settings
        finally:
            for child in reversed(appliance.children):
                child.stop()
            appliance.close()
            for server in servers:
                server.shutdown()
                server.server_close()
            catalog.close()


def _fill() -> None:
    hashed = passwords.digest(PASSWORD)
    with catalog.write():
        options.put("setup_done", True)
        machine_class = Class.create(
            name="small", spec=SPEC, minimum=0, maximum=9, buffer=0, lease_minutes=60, extend_minutes=30, extensions=1, per_person=9
        )
        Class.create(
            name="notebook", spec=SPEC, minimum=0, maximum=99, buffer=0, lease_minutes=60, extend_minutes=30, extensions=1, per_person=9
        )
        seed_rows.promote(Seed.create(machine_class="notebook", version=1, state=SeedState.READY))
        seed_rows.promote(seed := Seed.create(machine_class="small", version=1, state=SeedState.READY))
        people = {name: Account.create(name=name, password=hashed) for name in ("ada", "bob", "admin", "eve")}
        Grant.create(role="owner", account=people["admin"])
        for slot, owner in {OWN: "ada", OTHER: "bob", STARTING: "ada", SILENT: "ada"}.items():
            machine = machines.create(machine_class, seed, str(uuid.uuid4()), slot)
            state = MachineState.ASSIGNED if slot == STARTING else MachineState.IN_USE
            machines.change(machine.id, [MachineState.PLANNED], state, owner=people[owner])
            Lease.create(machine=machine, account=people[owner], began_at=now(), ends_at=now() + timedelta(hours=1))


@pytest.fixture(scope="module")
def ada(door: Settings) -> Browser:
    return Browser(door).sign_in("ada")


@pytest.fixture(scope="module")
def bob(door: Settings) -> Browser:
    return Browser(door).sign_in("bob")


@pytest.fixture
def visitor(door: Settings) -> Browser:
    return Browser(door)


def test_the_owner_reaches_the_application_which_never_sees_our_cookie(ada: Browser, door: Settings) -> None:
    ada.cookies["_xsrf"] = "2|a|b=="
    assert "__Host-Http-dpe" in ada.cookies
    answer = ada.ask("/lab/tree/a%20b%2Fc?x=1&y=%2F", OWN)
    assert answer.status == 200
    seen = json.loads(answer.body)
    assert seen["path"] == "/lab/tree/a%20b%2Fc?x=1&y=%2F"
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert headers["cookie"] == "_xsrf=2|a|b=="
    assert headers["host"] == f"localhost:{door.app_port + OWN}"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert not [value for value in headers.values() if ada.cookies["__Host-Http-dpe"] in value]


def test_a_client_cannot_lie_about_where_it_comes_from(ada: Browser) -> None:
    lies = {"X-Forwarded-For": "8.8.8.8", "Forwarded": "for=8.8.8.8", "X-DPE-Port": "1", "X-DPE-Uri": "/x"}
    seen = json.loads(ada.ask("/", OWN, headers=lies).body)["headers"]
    assert seen["X-Forwarded-For"] == "127.0.0.1"
    assert "Forwarded" not in seen
    assert ada.ask("/", OTHER, headers={"X-DPE-Port": str(ada.settings.app_port + OWN)}).status == 403


@pytest.mark.metrics
def test_each_request_has_an_id_of_the_doors_own_and_a_program_reads_what_came_of_them(door: Settings, visitor: Browser) -> None:
    lie, admin = "f" * 32, Account.get(Account.name == "admin")
    token = tokens.create(Actor("admin", admin.id), "prometheus", ["metrics", "admin:read"], 1)
    before, sent = events.last_id(), {"Authorization": f"Bearer {token}"}
    answers = [
        visitor.ask("/api/v1/admin/events/check", method="POST", headers={**sent, "X-Request-ID": lie, "Content-Length": "0"})
        for _ in range(2)
    ]
    ids = [answer.headers["X-Request-ID"] or "" for answer in answers]
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in ids)
    assert len({*ids, lie}) == 3
    assert [event.data.get("request") for event in Event.select().where(Event.id > before).order_by(Event.id)] == ids
    visitor.ask("/", OWN)
    read = visitor.ask("/metrics", headers=sent)
    assert read.status == 200
    assert re.search(rb'dpe_door_checks_total\{outcome="sign_in"\} [1-9]', read.body)


def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back(visitor: Browser, door: Settings) -> None:
    answer = visitor.ask("/lab?x=1", OWN, headers=PAGE)
    assert answer.status == 302
    address = urlsplit(answer.headers["Location"])
    assert (address.scheme, address.netloc, address.path) == ("https", f"localhost:{door.https_port}", "/sign-in")
    assert parse_qs(address.query) == {"next": [f"https://localhost:{door.app_port + OWN}/lab?x=1"]}
    assert visitor.ask("/", OWN, headers={"Cookie": "__Host-Http-dpe=forged", **PAGE}).status == 302


@pytest.mark.parametrize(
    ("slot", "status", "words", "retries"),
    [
        (OTHER, 403, b"This is not your machine", False),
        (EMPTY, 403, b"There is no machine here", False),
        (STARTING, 403, b"The machine is getting ready", True),
        (SILENT, 502, b"The machine does not answer yet", True),
    ],
)
def test_a_page_says_why_not(ada: Browser, slot: int, status: int, words: bytes, retries: bool) -> None:
    for method in ("GET", "POST"):
        answer = ada.ask("/lab", slot, method, b"x" if method == "POST" else b"")
        assert answer.status == status
        assert words in answer.body
        assert (b'http-equiv="refresh"' in answer.body) == retries
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.i18n
def test_what_the_door_says_is_in_the_language_of_the_browser(ada: Browser, visitor: Browser) -> None:
    german = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
    assert b"Das ist nicht Ihre Maschine" in ada.ask("/lab", OTHER, headers=german).body
    assert b"Die Maschine antwortet noch nicht" in ada.ask("/lab", SILENT, headers=german).body
    assert b"This is not your machine" in ada.ask("/lab", OTHER, headers={"Accept-Language": "en,de;q=0.5"}).body
    told = visitor.ask("/api/contents/Untitled.ipynb", OWN, "PUT", b"{}", headers=german)
    assert json.loads(told.body)["message"].startswith("Sie sind bei der Appliance abgemeldet.")


def test_the_pages_link_leads_to_the_portal(ada: Browser, door: Settings) -> None:
    assert b'href="/_dpe/portal"' in ada.ask("/", OTHER).body
    answer = ada.ask("/_dpe/portal", OTHER)
    assert (answer.status, answer.headers["Location"]) == (302, f"https://localhost:{door.https_port}/")


def test_an_admin_gets_in_and_that_is_on_record(door: Settings) -> None:
    admin = Browser(door).sign_in("admin")
    assert [admin.ask("/", OTHER).status for _ in range(3)] == [200, 200, 200]
    entered = Event.select().where(Event.kind == "machine.entered", Event.actor == "admin")
    assert [event.machine_id for event in entered] == [Machine.get(Machine.slot == OTHER).id]


def test_what_the_application_answers_passes_as_it_is(ada: Browser) -> None:
    answer = ada.ask("/forbidden", OWN)
    assert (answer.status, answer.body) == (403, b"the application's own words")


def test_a_machine_cannot_set_a_cookie_of_ours(ada: Browser) -> None:
    set_by_machine = ada.ask("/cookies", OWN).headers.get_all("Set-Cookie") or []
    assert len(set_by_machine) == len(TOSSED)
    for cookie in set_by_machine:
        name, *attributes = (part.strip().lower() for part in cookie.split(";"))
        # A browser takes a prefixed cookie only with Secure.
        assert ("secure" in attributes) == name.startswith("theirs")


def test_a_machine_cannot_bind_the_host_nor_command_the_door(ada: Browser) -> None:
    answer = ada.ask("/greedy", OWN)
    assert answer.status == 200
    assert not {"strict-transport-security", "clear-site-data", "alt-svc"} & {name.lower() for name in answer.headers}
    assert ada.ask("/inside", OWN).body == b"mine"


FOREIGN: list[tuple[dict[str, str], bool]] = [
    ({}, True),
    ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Origin": "SELF"}, True),
    ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}, True),
    ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, True),
    ({"Origin": "SELF"}, True),
    ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Origin": "NEIGHBOUR"}, False),
    ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, False),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),
    ({"Origin": "NEIGHBOUR"}, False),
    ({"Origin": "https://localhost"}, False),
    ({"Origin": "null"}, False),
]


@pytest.mark.parametrize(("headers", "passes"), FOREIGN)
@pytest.mark.parametrize("slot", [OWN, None])
def test_no_page_of_another_port_acts_in_the_persons_name(
    ada: Browser, door: Settings, slot: int | None, headers: dict[str, str], passes: bool
) -> None:
    port, neighbour = (door.https_port, door.app_port) if slot is None else (door.app_port + slot, door.app_port + OTHER)
    origins = {"SELF": f"https://localhost:{port}", "NEIGHBOUR": f"https://localhost:{neighbour}"}
    answer = ada.ask("/", slot, headers={name: origins.get(value, value) for name, value in headers.items()})
    assert answer.status == (200 if passes else 403)


def raw(browser: Browser, slot: Slot, path: str = "/ws", **headers: str) -> ssl.SSLSocket:
    connection = browser.connect(slot)
    connection.connect()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.sent(slot).items())
    head = {"Host": urlsplit(browser.origin(slot)).netloc, "Cookie": cookie, **headers}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    connection.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
    sock: ssl.SSLSocket = connection.sock
    connection.sock = None
    return sock


def test_websockets_pass_for_the_owner_alone(ada: Browser, bob: Browser, door: Settings) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    origin = f"https://localhost:{door.app_port + OWN}"
    with raw(ada, OWN, Origin=origin, **upgrade) as sock, sock.makefile("rb") as stream:
        assert b"101" in stream.readline()
        while stream.readline().strip():
            pass
        sock.sendall(b"hello")
        assert stream.read(5) == b"olleh"
    with raw(bob, OWN, Origin=origin, **upgrade) as sock, sock.makefile("rb") as stream:
        assert b"403" in stream.readline()
    with raw(ada, OWN, Origin="https://elsewhere.test", **upgrade) as sock, sock.makefile("rb") as stream:
        assert b"403" in stream.readline()


def test_streams_are_not_held_back(ada: Browser) -> None:
    connection = ada.connect(OWN)
    Application.more.clear()
    connection.request("GET", "/stream", headers={"Cookie": f"__Host-Http-dpe={ada.cookies['__Host-Http-dpe']}"})
    answer = connection.getresponse()
    assert answer.read(5) == b"first"  # the application waits, and still this is here
    Application.more.set()
    assert answer.read() == b"second"
    connection.close()


def test_a_large_upload_passes(ada: Browser) -> None:
    body = b"x" * (40 << 20)
    assert ada.ask("/upload", OWN, "POST", body).body == str(len(body)).encode()
    assert ada.ask("/", None, "POST", body).status == 413


def test_the_doors_own_question_cannot_be_asked_from_outside(ada: Browser) -> None:
    assert ada.ask("/door/check").status == 404
    assert b"mine" not in ada.ask("/_dpe/door", OWN).body
    assert ada.ask("/_dpe/door", OWN).status == 404
    assert ada.ask("/_dpe/pages/down.html").status == 404


def test_static_files_are_nginxs_own_and_kept_by_browsers(visitor: Browser, door: Settings) -> None:
    page = visitor.ask("/sign-in")
    assets = set(re.findall(rb'(?:href|src)="(/static/[^"]+)"', page.body))
    assert assets
    kept = []
    for asset in assets:
        answer = visitor.ask(asset.decode(), headers={"Accept-Encoding": "gzip"})
        assert answer.status == 200, asset
        kept.append(answer.headers["Cache-Control"])
        assert "application/octet-stream" not in answer.headers["Content-Type"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if asset.partition(b"?")[0].endswith((b".css", b".js")) and len(answer.body) > 2000:
            assert answer.headers["Content-Encoding"] == "gzip"
    assert any("immutable" in value for value in kept)
    assert visitor.ask("/static/../__init__.py").status in (400, 404)
    assert visitor.ask("/static/%2e%2e/__init__.py").status in (400, 404)


def test_old_protocols_are_refused_and_http2_is_spoken(door: Settings) -> None:
    context = ssl.create_default_context(cafile=str(door.tls / "appliance.crt"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", door.https_port)) as raw, context.wrap_socket(raw, server_hostname="localhost") as tls:
        assert tls.selected_alpn_protocol() == "h2"
        assert tls.version() == "TLSv1.3"
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", door.https_port)) as raw, pytest.raises((ssl.SSLError, ValueError)):
        context.wrap_socket(raw, server_hostname="localhost")


@pytest.mark.parametrize("slot", [None, OWN])
def test_plain_http_is_sent_to_https(door: Settings, slot: int | None) -> None:
    port = door.https_port if slot is None else door.app_port + slot
    connection = http.client.HTTPConnection("localhost", port, timeout=30)
    connection.request("GET", "/x?y=1")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (302, f"https://localhost:{port}/x?y=1")
    connection.close()


def test_every_door_is_open_and_none_beyond(door: Settings, visitor: Browser) -> None:
    assert visitor.ask("/", door.slots - 1, headers=PAGE).status == 302
    assert visitor.ask("/", door.doors[1].stop - 1 - door.app_port, headers=PAGE).status == 302
    with pytest.raises(ConnectionRefusedError):
        visitor.ask("/", door.doors[1].stop - door.app_port)


# -- rights that end --------------------------------------------------------------------------------


@contextlib.contextmanager
def held(door: Settings, name: str) -> Iterator[Machine]:
    """A machine of somebody's own, with an application in it, for one test."""
    with catalog.write():
        machine_class, seed, account = Class.get_by_id("small"), seed_rows.promoted("small"), Account.get(Account.name == name)
        assert seed is not None
        (slot,) = machines.next_slots(1, door.slots)
        machine = machines.create(machine_class, seed, str(uuid.uuid4()), slot)
        machines.change(machine.id, [MachineState.PLANNED], MachineState.IN_USE, owner=account)
        Lease.create(machine=machine, account=account, began_at=now(), ends_at=now() + timedelta(hours=1))
    server = ThreadingHTTPServer((door.address(slot), 8080), Application)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield machine
    finally:
        server.shutdown()
        server.server_close()
        with catalog.write():
            machines.end_lease(machine.id, "released")
            machines.change(machine.id, machines.LIVE, MachineState.RETIRED)


def websocket(browser: Browser, machine: Machine, slot: Slot = None) -> ssl.SSLSocket:
    slot = slot or machine.door
    sock = raw(browser, slot, "/echo", Origin=browser.origin(slot), Upgrade="websocket", Connection="Upgrade")
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    assert b" 101 " in head
    assert lives(sock)
    return sock


def lives(sock: ssl.SSLSocket) -> bool:
    sock.sendall(b"hello")
    return sock.recv(5) == b"hello"


def ends_within(sock: ssl.SSLSocket, seconds: float) -> bool:
    """Whether the other side ends this connection; what still comes meanwhile is read."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            if not sock.recv(1 << 16):
                return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False


def _session() -> Session:
    found: Session = Session.select().order_by(Session.created_at.desc()).first()
    return found


def account_id(name: str) -> int:
    id: int = Account.get(Account.name == name).id
    return id


def _sign_out(browser: Browser, machine: Machine) -> None:
    token = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', browser.ask("/account").body)
    assert token
    where = f"https://localhost:{browser.settings.https_port}"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": where, "Referer": f"{where}/account"}
    assert (
        browser.ask("/sign-out", method="POST", body=urlencode({"csrf_token": token[1].decode()}).encode(), headers=headers).status == 303
    )


def _disable(browser: Browser, machine: Machine) -> None:
    accounts.disable(admin(), account_id("eve"))


def _reset_password(browser: Browser, machine: Machine) -> None:
    accounts.set_password(admin(), account_id("eve"), PASSWORD)
    with catalog.write():
        Account.update(must_change=False).where(Account.id == account_id("eve")).execute()  # as if she had chosen it


def _end_session(browser: Browser, machine: Machine) -> None:
    sessions.end_of(admin(), account_id("eve"), _session().id)


def _run_out(browser: Browser, machine: Machine) -> None:
    with catalog.write():
        Session.update(expires_at=now()).where(Session.id == _session().id).execute()


def _delete_account(browser: Browser, machine: Machine) -> None:
    """What its deletion comes to: the rows of its sessions go with the account's."""
    with catalog.write():
        Session.delete().where(Session.account == account_id("eve")).execute()


def _hand_over(browser: Browser, machine: Machine) -> None:
    with catalog.write():
        Machine.update(owner=account_id("bob")).where(Machine.id == machine.id).execute()


def _give_back(browser: Browser, machine: Machine) -> None:
    with catalog.write():
        machines.change(machine.id, machines.LIVE, MachineState.RECLAIMING)
        machines.end_lease(machine.id, "expired")


def admin() -> Actor:
    return Actor("admin", account_id("admin"), "127.0.0.1")


ENDS = [_sign_out, _disable, _reset_password, _end_session, _run_out, _delete_account, _hand_over, _give_back]


@pytest.mark.revoked
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__.strip("_"))
def test_what_is_open_ends_with_the_right_to_it(door: Settings, end: Callable[[Browser, Machine], None]) -> None:
    """Within two seconds, for a WebSocket and for a download alike; what others have open goes on."""
    with held(door, "eve") as machine, held(door, "bob") as other:
        witness = websocket(Browser(door).sign_in("bob"), other)
        eve = Browser(door).sign_in("eve")
        socket, download = websocket(eve, machine), raw(eve, machine.door, "/endless")
        assert download.recv(1 << 10)
        try:
            end(eve, machine)
            begun = time.monotonic()
            assert ends_within(socket, 2.0)
            assert ends_within(download, 2.0 - (time.monotonic() - begun))
            assert eve.ask("/", machine.door, headers=PAGE).status in (302, 403)
            assert lives(witness)
        finally:
            for one in (socket, download, witness):
                one.close()
            with catalog.write():
                Account.update(disabled=False).where(Account.name == "eve").execute()


@pytest.mark.revoked
def test_an_admins_look_ends_with_the_grant(door: Settings) -> None:
    with held(door, "bob") as machine:
        with catalog.write():
            grant = Grant.create(role="owner", account=account_id("eve"))
        own, theirs = websocket(Browser(door).sign_in("bob"), machine), websocket(Browser(door).sign_in("eve"), machine)
        with catalog.write():
            grant.delete_instance()
        assert ends_within(theirs, 2.0)
        assert lives(own)
        own.close()
        theirs.close()


@pytest.mark.revoked
def test_one_browser_of_two_is_cut(door: Settings) -> None:
    with held(door, "eve") as machine:
        kept = websocket(Browser(door).sign_in("eve"), machine)
        keeps = _session().id
        cut = websocket(Browser(door).sign_in("eve"), machine)
        sessions.end_others(Actor("eve", account_id("eve"), ""), keeps)
        assert ends_within(cut, 2.0)
        assert lives(kept)
        kept.close()
        cut.close()


@pytest.mark.cases
@pytest.mark.revoked
def test_a_reload_cuts_nothing_and_what_it_leaves_behind_can_still_be_cut(door: Settings) -> None:
    nginx_master = next(child for child in running[door].children if child.name == "nginx")
    with held(door, "eve") as machine:
        browser = Browser(door).sign_in("eve")
        sock = websocket(browser, machine)
        before = workers(nginx_master)
        nginx_master.signal(signal.SIGHUP)
        until(lambda: workers(nginx_master) - before)
        assert not ends_within(sock, 2.5)  # it was two seconds that an old worker had
        sock.settimeout(30)
        assert lives(sock)
        assert workers(nginx_master) & before
        sessions.end_of(admin(), account_id("eve"), _session().id)
        assert ends_within(sock, 2.0)
        sock.close()


def workers(master: Any) -> set[int]:
    return {child.pid for child in psutil.Process(master.process.pid).children(recursive=True) if child.username() == "www-data"}


@pytest.mark.cases
def test_work_in_a_machine_keeps_its_person_signed_in(door: Settings) -> None:
    """Nothing but what goes over the WebSocket: the session goes on, as the browser does not ask for anything else."""
    with held(door, "eve") as machine:
        sock = websocket(Browser(door).sign_in("eve"), machine)
        short = now() + timedelta(minutes=5)
        session = _session()
        with catalog.write():
            Session.update(expires_at=short, seen_at=now() - timedelta(hours=11)).where(Session.id == session.id).execute()
        deadline = time.monotonic() + PATIENCE
        while Session.get_by_id(session.id).expires_at <= short:
            assert time.monotonic() < deadline
            assert lives(sock)
            time.sleep(0.1)
        sock.close()


# -- what is not signed in, and what is too much -----------------------------------------------------


@pytest.mark.cases
def test_what_a_page_asks_for_by_itself_is_told_in_a_sentence(visitor: Browser) -> None:
    for headers in ({"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}, {"Accept": "application/json"}, {}):
        answer = visitor.ask("/api/contents/Untitled.ipynb", OWN, "PUT", b"{}", headers=headers)
        assert (answer.status, answer.headers["Location"]) == (401, None)
        assert answer.headers["Content-Type"] == "application/json"
        assert "Open this machine in another tab and sign in there" in json.loads(answer.body)["message"]


@pytest.mark.cases
def test_a_form_of_an_application_is_kept_by_the_browser(visitor: Browser) -> None:
    """A redirect would have it forgotten; a page of status 401 can be reloaded, which sends it again."""
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    answer = visitor.ask("/save", OWN, "POST", b"x=1", headers=headers)
    assert (answer.status, answer.headers["Location"]) == (401, None)
    assert b"You are signed out" in answer.body
    assert b"reload it" in answer.body
    assert b'<a href="/" target="_blank"' in answer.body, "where signing in leads back to this machine, by port and by name"


@pytest.mark.hostile
def test_cookies_of_forty_notebooks_lock_nobody_out(ada: Browser, door: Settings) -> None:
    cookies = {f"username-localhost-{port}": "2|1:0|10:1795912393|24:" + "x" * 330 for port in range(10600, 10640)}
    cookie = "; ".join(f"{name}={value}" for name, value in {**cookies, **ada.cookies}.items())
    assert len(cookie) > 14_000
    assert ada.ask("/", headers={"Cookie": cookie}).status == 200
    assert ada.ask("/", OWN, headers={"Cookie": cookie}).status == 200
    back = "; ".join([f"__Host-Http-dpe={ada.cookies['__Host-Http-dpe']}", *(f"{name}={value}" for name, value in cookies.items())])
    assert ada.ask("/", headers={"Cookie": back}).status == 200
    twice = f"__Host-Http-dpe=forged; {back}"
    assert ada.ask("/", headers={"Cookie": twice}).status == 303  # nobody knows whose the right one is


@pytest.mark.hostile
@pytest.mark.parametrize("slot", [OWN, None])
@pytest.mark.parametrize(
    ("path", "headers", "status", "words"),
    [
        ("/", {"Cookie": "a=" + "x" * 50_000}, 431, b"There were too many cookies"),
        ("/", {"Cookie": "a=" + "x" * 70_000}, 431, b"There were too many cookies"),
        ("/" + "x" * 70_000, {}, 414, b"That address is too long"),
        ("/", {"Host": "a b"}, 400, b"could not read that"),
    ],
)
def test_what_is_too_much_is_answered_in_our_words(
    door: Settings, slot: int | None, path: str, headers: dict[str, str], status: int, words: bytes
) -> None:
    answer = Browser(door).ask(path, slot, headers=headers)
    assert answer.status == status
    assert words in answer.body
    assert b"nginx" not in answer.body
    assert b"gunicorn" not in answer.body
    assert answer.headers["Clear-Site-Data"] == ('"cookies"' if status == 431 else None)


@pytest.mark.hostile
def test_what_passes_nginx_is_never_too_much_for_what_is_behind(ada: Browser) -> None:
    """Long addresses, long headers and many of them, below the bounds that are answered above."""
    many = {f"X-Padding-{number}": "x" for number in range(900)}
    for slot in (None, OWN):
        # The standard library's server, which stands for a machine here, takes lines of 64 KiB.
        for path, headers in (("/?x=" + "x" * 60_000, {}), ("/", {"X-Long": "x" * 60_000})):
            assert ada.ask(path, slot, headers={**PAGE, **headers}).status == 200
    assert ada.ask("/", headers={**PAGE, **many}).status == 200


@pytest.mark.hostile
@pytest.mark.parametrize("slot", [None, OWN])
def test_over_http2_many_cookies_are_no_trouble_and_too_many_are_answered_in_our_words(door: Settings, slot: int | None) -> None:
    """There, browsers send every cookie as a header of its own. What a full browser sends is in tests/browser."""

    def ask(count: int) -> bytes:
        port = door.https_port if slot is None else door.app_port + slot
        crumbs = [word for number in range(count) for word in ("-H", f"Cookie: a{number}={'x' * 4000}")]
        command = ["curl", "-s", "--http2", "--cacert", str(door.tls / "appliance.crt"), "-H", "Accept: text/html", *crumbs]
        return subprocess.run([*command, "-w", "%{http_version} %{http_code}", f"https://localhost:{port}/"], capture_output=True).stdout

    assert re.search(rb"2 30[23]$", ask(11))
    said = ask(13)
    assert said.endswith(b"2 431")
    assert b"There were too many cookies" in said


# -- sixty machines in one browser ----------------------------------------------------------------------


class Jar:
    """A browser's cookies, by the standard library's rules: which know no ports, as browsers' do."""

    def __init__(self, door: Settings) -> None:
        self.door, self.jar = door, CookieJar()
        context = ssl.create_default_context(cafile=str(door.tls / "appliance.crt"))
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(self.jar)
        )

    def ask(self, path: str, slot: Slot = None, form: dict[str, str] | None = None) -> tuple[int, str]:
        where = Browser(self.door).origin(slot)
        if form is not None:
            found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.ask(form.pop("on", "/"))[1])
            assert found
            form["csrf_token"] = found[1]
        body = urlencode(form).encode() if form is not None else None
        asked = urllib.request.Request(
            where + path, body, {"Origin": where, "Accept": "text/html", **PAGE, "Sec-Fetch-Site": "same-origin"}
        )
        try:
            with self.opener.open(asked, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def sixty(door: Settings, slot_of: Callable[[Machine], Slot]) -> tuple[set[Slot], Jar]:
    """Sixty machines got, opened and given back in one browser, each with no more cookies than the second one; where they were, and the
    browser. The engine's part is done by the test."""
    browser = Jar(door)
    assert browser.ask("/sign-in", form={"on": "/sign-in", "name": "eve", "password": PASSWORD})[0] == 200
    seed, slots, sent = seed_rows.promoted("notebook"), set[Slot](), list[int]()
    assert seed is not None
    for _ in range(60):
        with catalog.write():
            (free,) = machines.next_slots(1, door.slots)
            made = machines.create(Class.get_by_id("notebook"), seed, str(uuid.uuid4()), free)
            machines.change(made.id, [MachineState.PLANNED], MachineState.READY)
        assert browser.ask("/request", form={"class": "notebook"})[0] == 200
        machine = Machine.get_by_id(made.number)
        assert (machine.state, machine.owner.name) == (MachineState.ASSIGNED, "eve")
        with catalog.write():
            machines.change(made.id, [MachineState.ASSIGNED], MachineState.IN_USE)
        slot = slot_of(machine)
        with _application(door.address(free)):
            assert browser.ask("/notebook", slot)[0] == 200
            status, saw = browser.ask("/notebook", slot)
        assert status == 200
        # The machine's own, by the name that it gave it, and none of the machines before.
        port = urlsplit(Browser(door).origin(slot)).port
        assert sorted(pair.partition("=")[0] for pair in saw.split("; ")) == ["_xsrf", f"username-localhost-{port}"]
        slots.add(slot)
        host = urlsplit(Browser(door).origin(slot)).hostname
        sent.append(
            sum(len(one.name) + len(one.value or "") for one in browser.jar if one.domain.partition(".local")[0] in ("localhost", host))
        )
        assert browser.ask(f"/machines/{made.id}/release", form={})[0] == 200
        with catalog.write():
            machines.change(made.id, machines.LIVE, MachineState.RETIRED)
    assert sent[-1] <= sent[1] + 64  # the session's own varies a little
    return slots, browser


@pytest.mark.hostile
@pytest.mark.cookies
def test_sixty_machines_in_one_browser(door: Settings) -> None:
    """Portal and application open as on the first day; tests/integration/test_names.py does the same by names."""
    slots, _ = sixty(door, lambda machine: machine.door)
    assert len(slots) == 1


@contextlib.contextmanager
def _application(address: str) -> Iterator[None]:
    server = ThreadingHTTPServer((address, 8080), Application)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
