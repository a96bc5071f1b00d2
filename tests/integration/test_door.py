"""The front door for real: nginx and the web process, over a catalog of rows, and applications that only a test would write."""

import http.client
import json
import re
import socket
import ssl
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from appliance import catalog, layout
from appliance.catalog import Account, Class, Event, Grant, Lease, Machine, MachineState, Seed, SeedState, machines, now, options
from appliance.catalog import seeds as seed_rows
from appliance.foreground import Appliance
from appliance.people import passwords
from appliance.settings import Settings, load

PASSWORD = "correct horse battery"
OWN, OTHER, STARTING, SILENT, EMPTY = range(5)  # slots
TOSSED = (
    "__Host-dpe=evil; Path=/; Secure",
    "__Host-dpe=evil; Path=/; secure ;HttpOnly",
    "\t__Host-dpe=evil; Path=/; Secure",
    "__HOST-dpe=evil; Path=/; Secure",
    "__Secure-dpe=evil; Path=/; Secure",
    "theirs=1; Path=/; Secure; SameSite=None",
)
SPEC = {"title": "S", "os": "debian-13", "size": {"vcpus": 1, "memory": 256, "disk": 2}, "application": {"port": 8080, "path": "/", "ready": "/"}}  # fmt: skip


class Application(BaseHTTPRequestHandler):
    """What runs in a machine and means no good."""

    protocol_version = "HTTP/1.1"
    more = threading.Event()

    def do_GET(self) -> None:
        match urlsplit(self.path).path:
            case "/cookies":
                self._answer(b"", [("Set-Cookie", cookie) for cookie in TOSSED])
            case "/greedy":
                self._answer(b"", [("Strict-Transport-Security", "max-age=99"), ("Clear-Site-Data", '"cookies"'), ("Alt-Svc", "clear")])
            case "/inside":
                self._answer(b"mine", [("X-Accel-Redirect", "/_dpe/pages/down.html")])
            case "/stream":
                self._answer(b"", [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")], length=False)
                self.wfile.write(b"5\r\nfirst\r\n")
                assert self.more.wait(30)
                self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")
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


@dataclass
class Browser:
    """One that keeps the appliance's cookie, and sends it to every port, as browsers do."""

    settings: Settings
    cookies: dict[str, str] = field(default_factory=dict)

    def connect(self, slot: int | None = None) -> http.client.HTTPSConnection:
        port = self.settings.https_port if slot is None else self.settings.app_port + slot
        context = ssl.create_default_context(cafile=str(self.settings.tls / "appliance.crt"))
        return http.client.HTTPSConnection("localhost", port, timeout=30, context=context)

    def ask(self, path: str, slot: int | None = None, method: str = "GET", body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:  # fmt: skip
        connection = self.connect(slot)
        try:
            cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            connection.request(method, path, body or None, {"Cookie": cookie, **(headers or {})})
            got = connection.getresponse()
            answer = Answer(got.status, got.headers, got.read())
        finally:
            connection.close()
        if slot is None:
            for kept in got.headers.get_all("Set-Cookie") or []:
                name, _, value = kept.partition(";")[0].partition("=")
                self.cookies[name] = value
        return answer

    def sign_in(self, name: str) -> "Browser":
        token = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', self.ask("/sign-in").body)
        assert token
        form = urlencode({"name": name, "password": PASSWORD, "csrf_token": token[1].decode()}).encode()
        where = f"https://localhost:{self.settings.https_port}"
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": where, "Referer": f"{where}/sign-in"}
        assert self.ask("/sign-in", method="POST", body=form, headers=headers).status == 303
        return self


@pytest.fixture(scope="module")
def door() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="dpe-door-") as folder:
        Path(folder).chmod(0o711)
        # The machines' addresses are on loopback, where the applications of this test can listen.
        settings = load(
            {}, state=Path(folder) / "s", listen="127.0.0.1", https_port=17443, app_port=17500, slots=50, subnet="127.77.0.0/16"
        )
        layout.prepare(settings)
        catalog.open(settings.catalog)
        _fill()
        appliance = Appliance(settings)
        appliance.children = [child for child in appliance.children if child.name in ("web", "nginx")]
        servers = [ThreadingHTTPServer((settings.address(slot), 8080), Application) for slot in (OWN, OTHER)]
        for server in servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            appliance.start()
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
        klass = Class.create(
            name="small", spec=SPEC, minimum=0, maximum=9, buffer=0, lease_minutes=60, extend_minutes=30, extensions=1, per_person=9
        )
        seed_rows.promote(seed := Seed.create(klass="small", version=1, state=SeedState.READY))
        people = {name: Account.create(name=name, password=hashed) for name in ("ada", "bob", "admin")}
        Grant.create(role="owner", account=people["admin"])
        for slot, owner in {OWN: "ada", OTHER: "bob", STARTING: "ada", SILENT: "ada"}.items():
            machine = machines.create(klass, seed, str(uuid.uuid4()), slot)
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
    assert "__Host-dpe" in ada.cookies
    answer = ada.ask("/lab/tree/a%20b%2Fc?x=1&y=%2F", OWN)
    assert answer.status == 200
    seen = json.loads(answer.body)
    assert seen["path"] == "/lab/tree/a%20b%2Fc?x=1&y=%2F"
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert headers["cookie"] == "_xsrf=2|a|b=="
    assert headers["host"] == f"localhost:{door.app_port + OWN}"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert not [value for value in headers.values() if ada.cookies["__Host-dpe"] in value]


def test_a_client_cannot_lie_about_where_it_comes_from(ada: Browser) -> None:
    lies = {"X-Forwarded-For": "8.8.8.8", "Forwarded": "for=8.8.8.8", "X-DPE-Port": "1", "X-DPE-Uri": "/x"}
    seen = json.loads(ada.ask("/", OWN, headers=lies).body)["headers"]
    assert seen["X-Forwarded-For"] == "127.0.0.1"
    assert "Forwarded" not in seen
    assert ada.ask("/", OTHER, headers={"X-DPE-Port": str(ada.settings.app_port + OWN)}).status == 403


def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back(visitor: Browser, door: Settings) -> None:
    answer = visitor.ask("/lab?x=1", OWN)
    assert answer.status == 302
    address = urlsplit(answer.headers["Location"])
    assert (address.scheme, address.netloc, address.path) == ("https", f"localhost:{door.https_port}", "/sign-in")
    assert parse_qs(address.query) == {"next": [f"https://localhost:{door.app_port + OWN}/lab?x=1"]}
    assert visitor.ask("/", OWN, headers={"Cookie": "__Host-dpe=forged"}).status == 302


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


def _raw(browser: Browser, slot: int, **headers: str) -> ssl.SSLSocket:
    connection = browser.connect(slot)
    connection.connect()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    head = {"Host": f"localhost:{browser.settings.app_port + slot}", "Cookie": cookie, **headers}
    lines = ["GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    connection.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
    sock: ssl.SSLSocket = connection.sock
    connection.sock = None
    return sock


def test_websockets_pass_for_the_owner_alone(ada: Browser, bob: Browser, door: Settings) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    origin = f"https://localhost:{door.app_port + OWN}"
    with _raw(ada, OWN, Origin=origin, **upgrade) as sock, sock.makefile("rb") as stream:
        assert b"101" in stream.readline()
        while stream.readline().strip():
            pass
        sock.sendall(b"hello")
        assert stream.read(5) == b"olleh"
    with _raw(bob, OWN, Origin=origin, **upgrade) as sock, sock.makefile("rb") as stream:
        assert b"403" in stream.readline()
    with _raw(ada, OWN, Origin="https://elsewhere.test", **upgrade) as sock, sock.makefile("rb") as stream:
        assert b"403" in stream.readline()


def test_streams_are_not_held_back(ada: Browser) -> None:
    connection = ada.connect(OWN)
    Application.more.clear()
    connection.request("GET", "/stream", headers={"Cookie": f"__Host-dpe={ada.cookies['__Host-dpe']}"})
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
    assert visitor.ask("/", door.slots - 1).status == 302
    with pytest.raises(ConnectionRefusedError):
        visitor.ask("/", door.slots)
