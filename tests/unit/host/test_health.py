"""What is looked at after an update, each thing as it is when it is not well."""

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance import catalog
from appliance.access import tls
from appliance.catalog import Class, Engine, now, options, smoke_tests
from appliance.errors import Unavailable
from appliance.host.interface.updates import Switch
from appliance.host.updates import health
from appliance.settings import Settings
from tests.fake_rauc import FakeHost
from tests.unit.conftest import small_class


class Door(http.server.BaseHTTPRequestHandler):
    """A front door that answers as it is told."""

    answer = (200, b"ok\n")

    def do_GET(self) -> None:
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def door(opened: Settings) -> Iterator[Settings]:
    certificate, key = tls.ensure(opened)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield replace(opened, https_port=server.server_address[1])
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def look(door: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Look at everything, impatiently; the engine has just ticked. `look(makes=True)` when machines could be made before."""
    for name, seconds in (("STARTS", 0.1), ("PROOF", 0.3), ("PAUSE", 0.02)):
        monkeypatch.setattr(health, name, seconds)
    since = now() - timedelta(seconds=5)

    def go(*, makes: bool = False) -> None:
        trial = Switch(
            before="1", version="2", slot="B", by="grace", at=datetime.now(UTC), back=False, catalog=1, makes=makes
        )  # fmt: skip
        health.Health(door, trial, since).check()

    engine()
    return go


def engine(*, problem: str = "", ago: float = 0) -> None:
    with catalog.write():
        Engine.insert(
            id=1, seen_at=now() - timedelta(seconds=ago), hypervisor_ok=not problem, hypervisor_problem=problem, host={}
        ).on_conflict_replace().execute()  # fmt: skip


def test_everything_is_well(look: Callable[..., None]) -> None:
    look()
    look(makes=True)  # there is no class to try


@pytest.mark.parametrize(("answer", "words"), [((502, b"down"), "answers 502"), ((200, b"<html>"), "answers 200")])
def test_a_web_page_that_does_not_come(
    look: Callable[..., None], monkeypatch: pytest.MonkeyPatch, answer: tuple[int, bytes], words: str
) -> None:
    monkeypatch.setattr(Door, "answer", answer)
    with pytest.raises(Unavailable, match=words):
        look()


def test_nobody_at_the_door(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "STARTS", 0.0)
    trial = Switch(before="1", version="2", slot="B", by="x", at=datetime.now(UTC), back=False, catalog=1)
    with pytest.raises(Unavailable, match="does not answer"):
        health.Health(replace(opened, https_port=1), trial, now()).check()


def test_an_engine_that_has_not_ticked_since(look: Callable[..., None]) -> None:
    engine(ago=60)
    with pytest.raises(Unavailable, match="engine does not run"):
        look()


def test_a_hypervisor_that_is_away(look: Callable[..., None]) -> None:
    engine(problem="libvirtd does not answer")
    with pytest.raises(Unavailable, match="libvirtd does not answer"):
        look()


def test_a_catalog_that_is_damaged(look: Callable[..., None], door: Settings) -> None:
    catalog.close()
    data = bytearray(door.catalog.read_bytes())
    data[0:16] = b"no catalog at al"
    for name in ("-wal", "-shm"):
        door.catalog.with_name("catalog.db" + name).unlink(missing_ok=True)
    door.catalog.write_bytes(data)
    with pytest.raises(Unavailable, match="catalog"):
        look()


def set_up() -> Class:
    with catalog.write():
        options.put("setup_done", True)
    return small_class()


def test_the_engine_is_asked_for_a_machine(look: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    set_up()
    seen: list[str] = []
    ask = smoke_tests.ask_for_test

    def answered(problem: str) -> Callable[[str], None]:
        def asked(id: str) -> None:
            ask(id)
            seen.append(id)
            assert smoke_tests.asked() == id
            smoke_tests.note_outcome(id, problem)
            assert smoke_tests.asked() is None

        return asked

    monkeypatch.setattr(smoke_tests, "ask_for_test", answered(""))
    look(makes=True)
    assert len(seen) == 1
    assert options.get("proof") == {}
    monkeypatch.setattr(smoke_tests, "ask_for_test", answered("The agent does not answer."))
    with pytest.raises(Unavailable, match="The agent does not answer"):
        look(makes=True)
    look(makes=False)  # nothing could be made before: that it cannot now is no fault of the update
    assert len(seen) == 2


def test_a_machine_that_never_comes(look: Callable[..., None]) -> None:
    set_up()
    with pytest.raises(Unavailable, match="No machine was made in time"):
        look(makes=True)
    assert options.get("proof") == {}


def test_nothing_on_trial_is_nothing_to_do(opened: Settings, fake_host: FakeHost) -> None:
    assert health.judge(opened, now())
    assert fake_host.asked == []
