"""Updates fetched over https from a server that is real, and that misbehaves as servers do."""

import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from appliance.access import tls
from appliance.catalog import Event
from appliance.connect import AddressRefused
from appliance.errors import BadInput, Conflict, DpeError, Unavailable
from appliance.host.rpc.registry import Host
from appliance.host.updates import download, installation
from appliance.settings import Settings
from tests.fake_rauc import GOOD, FakeHost
from tests.hosted import used


class Shelf(http.server.BaseHTTPRequestHandler):
    """Has one file, which it can hand out from the middle on."""

    data: ClassVar[bytes] = GOOD
    mark: ClassVar[str] = '"v1"'
    cut: ClassVar[int] = 0  # bytes after which it hangs up
    status: ClassVar[int] = 0
    sized: ClassVar[bool] = True
    asked: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.asked.append(
            {"path": self.path, **{name: self.headers[name] for name in ("Range", "If-Range", "If-None-Match") if self.headers[name]}}
        )
        if self.status:
            self._answer(self.status, b"", {})
        elif self.path == "/moved":
            self._answer(302, b"", {"Location": "/dpe.raucb"})
        elif self.path == "/astray":
            self._answer(302, b"", {"Location": "http://127.0.0.1/dpe.raucb"})
        elif self.path == "/round":
            self._answer(302, b"", {"Location": "/round"})
        elif self.headers["If-None-Match"] == self.mark:
            self._answer(304, b"", {"ETag": self.mark})
        elif self.headers["Range"] and self.headers["If-Range"] == self.mark:
            begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            rest = self.data[begin:]
            self._answer(206, rest, {"ETag": self.mark, "Content-Range": f"bytes {begin}-{len(self.data) - 1}/{len(self.data)}"})
        else:
            self._answer(200, self.data, {"ETag": self.mark})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.sized:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.cut] if self.cut else body)
        self.close_connection = True

    def log_message(self, *_: object) -> None: ...


class Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None: ...  # somebody hung up, which is what these tests are about


@pytest.fixture
def shelf(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    certificate, key = tls.ensure(opened)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Quiet(("127.0.0.1", 0), Shelf)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    for name in ("data", "mark", "cut", "status", "sized"):
        monkeypatch.setattr(Shelf, name, getattr(Shelf, name))
    monkeypatch.setattr(Shelf, "asked", [])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ask(fake_host: FakeHost, opened: Settings, shelf: int) -> Callable[..., Any]:
    """Use a verb; the address is set. `ask("update.fetch")`."""

    def use(name: str, host: Host | None = None, **args: Any) -> Any:
        return used(name, host or Host(opened, "grace"), **args)

    authority = (opened.tls / "appliance.crt").read_text()
    use("update.source", address=f"https://127.0.0.1:{shelf}/dpe.raucb", authority=authority, daily=False)
    return use


def test_a_new_one_is_fetched_checked_and_told(ask: Callable[..., Any], opened: Settings) -> None:
    said = ask("update.fetch")
    assert said["version"] == "1.3.0"
    assert installation.bundle_file(opened).read_bytes() == GOOD
    assert installation.memory(opened).staged is not None
    assert not (opened.updates / "fetched.part").exists()
    looked = ask("update.address")
    assert looked["found"] == "Version 1.3.0."
    assert datetime.now(UTC) - datetime.fromisoformat(looked["looked_at"]) < timedelta(minutes=1)
    assert Event.select().where(Event.kind == "update.fetched").count() == 1


def test_the_same_one_is_not_fetched_twice(ask: Callable[..., Any]) -> None:
    ask("update.fetch")
    assert ask("update.fetch") == {"found": "Nothing new.", "version": None}
    assert Shelf.asked[-1]["If-None-Match"] == '"v1"'
    Shelf.mark = '"v2"'
    assert ask("update.fetch")["version"] == "1.3.0"


def test_what_was_cut_off_goes_on_from_there(ask: Callable[..., Any], opened: Settings) -> None:
    Shelf.cut = 20000
    with pytest.raises(Unavailable, match="hung up after"):
        ask("update.fetch")
    assert (opened.updates / "fetched.part").stat().st_size == 20000
    Shelf.cut = 0
    assert ask("update.fetch")["version"] == "1.3.0"
    assert Shelf.asked[-1] == {"path": "/dpe.raucb", "Range": "bytes=20000-", "If-Range": '"v1"'}
    assert installation.bundle_file(opened).read_bytes() == GOOD


def test_what_was_cut_off_and_has_changed_since_is_fetched_anew(ask: Callable[..., Any], opened: Settings) -> None:
    Shelf.cut = 20000
    with pytest.raises(Unavailable):
        ask("update.fetch")
    Shelf.cut, Shelf.mark = 0, '"v2"'
    assert ask("update.fetch")["version"] == "1.3.0"
    assert installation.bundle_file(opened).read_bytes() == GOOD


def test_it_can_be_cancelled(ask: Callable[..., Any], opened: Settings) -> None:
    host = Host(opened, "grace")
    host.cancelled.set()
    with pytest.raises(Conflict, match="cancelled"):
        ask("update.fetch", host)
    assert installation.memory(opened).staged is None


def test_it_follows_over_https_alone(ask: Callable[..., Any], opened: Settings, shelf: int) -> None:
    authority = (opened.tls / "appliance.crt").read_text()
    for path, error in (("moved", None), ("astray", BadInput), ("round", AddressRefused)):
        ask("update.source", address=f"https://127.0.0.1:{shelf}/{path}", authority=authority, daily=False)
        if error is None:
            assert ask("update.fetch")["version"] == "1.3.0"
        else:
            with pytest.raises(error):
                ask("update.fetch")


@pytest.mark.parametrize(("status", "error"), [(404, AddressRefused), (500, Unavailable), (503, Unavailable)])
def test_a_server_that_says_no(ask: Callable[..., Any], status: int, error: type[DpeError]) -> None:
    Shelf.status = status
    with pytest.raises(error, match=f"answers {status}"):
        ask("update.fetch")
    assert str(status) in ask("update.address")["found"]


def test_a_server_that_does_not_say_how_much_it_is(ask: Callable[..., Any]) -> None:
    Shelf.sized = False
    with pytest.raises(AddressRefused, match="how large"):
        ask("update.fetch")


def test_what_is_no_good_update_is_refused_and_not_fetched_from_its_middle(ask: Callable[..., Any], opened: Settings) -> None:
    Shelf.data = GOOD[:9000]
    for _ in range(2):
        with pytest.raises(BadInput, match="only a part of one"):
            ask("update.fetch")
        assert "Range" not in Shelf.asked[-1]
    assert installation.memory(opened).staged is None


def test_a_certificate_that_nobody_knows_is_refused(ask: Callable[..., Any], shelf: int) -> None:
    ask("update.source", address=f"https://127.0.0.1:{shelf}/dpe.raucb", authority="", daily=False)
    with pytest.raises(AddressRefused, match="cannot be trusted"):
        ask("update.fetch")


def test_nobody_there(ask: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ask("update.source", address=f"https://127.0.0.1:{taken.getsockname()[1]}/x", authority="", daily=False)
        with pytest.raises(Unavailable, match="Nothing listens"):
            ask("update.fetch")


@pytest.mark.badinput
def test_no_address_nothing_to_fetch(ask: Callable[..., Any]) -> None:
    ask("update.source", address=" ", authority="", daily=False)
    with pytest.raises(BadInput, match="Nobody said where"):
        ask("update.fetch")
    with pytest.raises(BadInput, match="without an address"):
        ask("update.source", address="", authority="", daily=True)
    with pytest.raises(BadInput, match="authority"):
        ask("update.source", address="https://a/x", authority="nonsense", daily=False)


def test_it_looks_by_itself_only_where_that_was_switched_on(
    ask: Callable[..., Any], opened: Settings, shelf: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    monkeypatch.setattr(download.Client, "begin", lambda _self, verb: begun.append(verb.name))
    download.look_daily(opened)
    assert begun == []
    authority = (opened.tls / "appliance.crt").read_text()
    ask("update.source", address=f"https://127.0.0.1:{shelf}/dpe.raucb", authority=authority, daily=True)
    download.look_daily(opened)
    assert begun == ["update.fetch"]
    ask("update.fetch")
    download.look_daily(opened)
    assert begun == ["update.fetch"]  # not before a day has passed
