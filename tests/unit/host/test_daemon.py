"""dpe-host over its real socket."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import NoneType
from typing import Any

import pytest

from appliance import layout
from appliance.errors import BadInput, Conflict, DpeError, NotFound, Unavailable
from appliance.host.interface.operations import CANCEL
from appliance.host.interface.system import IMAGE
from appliance.host.rpc import operations
from appliance.host.rpc.client import Client
from appliance.host.rpc.daemon import Server
from appliance.host.rpc.registry import Host
from appliance.host.rpc.verb import Arguments, LongVerb, Nothing, Verb
from appliance.settings import Settings, load
from tests.hosted import Wire, do_instead, serving


class Count(Arguments):
    upto: int


COUNT = LongVerb("test.count", Count, int, title="Counting")
BROKEN = Verb("test.broken", Nothing, NoneType)
REFUSED = Verb("test.refused", Nothing, NoneType)
CRASH = LongVerb("test.crash", Nothing, NoneType)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = load({}, state=tmp_path / "s")
    layout.prepare(found)
    return found


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    with serving(settings) as made:
        yield made


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A long verb `test.count`, which goes on when this event is set, and quick ones that fail."""
    event = threading.Event()

    def count(args: Count, host: Host) -> int:
        for number in range(args.upto):
            host.tell(f"at {number}", 100 * number // args.upto)
        assert event.wait(10)
        if host.cancelled.is_set():
            raise Conflict("It was cancelled.", "Begin again.")
        return args.upto

    def broken(args: Nothing, host: Host) -> None:
        raise ZeroDivisionError("hidden detail")

    def refused(args: Nothing, host: Host) -> None:
        raise Conflict(f"Not now, {host.by}.", "Later.")

    do_instead(monkeypatch, COUNT, count)
    do_instead(monkeypatch, BROKEN, broken)
    do_instead(monkeypatch, REFUSED, refused)
    do_instead(monkeypatch, CRASH, broken)
    return event


def ended(client: Client, server: Server, id: str) -> operations.Operation:
    assert server.operations.wait(10)
    return client.operation(id)


def test_a_long_verb_is_a_task_that_tells_how_far_it_is(server: Server, go: threading.Event) -> None:
    client = Client(server.settings, "grace")
    id = client.begin(COUNT, Count(upto=4))
    with pytest.raises(Conflict, match="Counting is still going on, begun by grace"):
        client.begin(COUNT, Count(upto=1))
    go.set()
    operation = ended(client, server, id)
    assert (operation.state, operation.result, operation.by, operation.said[-1], operation.progress) == (
        operations.DONE,
        4,
        "grace",
        "at 3",
        75,
    )
    assert operation.ended_at >= operation.begun_at
    assert [one.id for one in client.operations()] == [id]


def test_a_task_is_cancelled_and_says_so(server: Server, go: threading.Event) -> None:
    client = Client(server.settings)
    id = client.begin(COUNT, Count(upto=1))
    client.call(CANCEL)
    go.set()
    operation = ended(client, server, id)
    assert (operation.state, operation.error, operation.hint) == (operations.FAILED, "It was cancelled.", "Begin again.")
    with pytest.raises(Conflict, match="Nothing is going on"):
        client.call(CANCEL)


def test_what_was_cut_off_says_so_at_the_next_start(settings: Settings) -> None:
    operations.folder(settings).mkdir()
    left = operations.Operation("1", "test.count", "Counting", "grace", operations.RUNNING, "2026-11-21T10:00:00+00:00", said=["at 1"])
    (operations.folder(settings) / "1.json").write_text(json.dumps(asdict(left)))
    with Server(settings) as server:
        operation = operations.get_operation(settings, "1")
        assert (operation.state, operation.said) == (operations.INTERRUPTED, ["at 1"])
        assert "lost power" in operation.error
        assert server.operations.current is None


def test_only_the_last_tasks_are_remembered(server: Server, go: threading.Event) -> None:
    go.set()
    client = Client(server.settings)
    for _ in range(operations.KEPT + 3):
        client.begin(COUNT, Count(upto=0))
        assert server.operations.wait(10)
    assert len(client.operations()) == operations.KEPT


def test_errors_arrive_as_they_were_raised(server: Server, go: threading.Event) -> None:
    client = Client(server.settings, "ada")
    with pytest.raises(Conflict, match=r"Not now, ada\. Later\."):
        client.call(REFUSED)
    with pytest.raises(DpeError, match="an error of the appliance itself") as caught:
        client.call(BROKEN)
    assert "hidden" not in str(caught.value)
    id = client.begin(CRASH)
    assert "hidden" not in ended(client, server, id).error
    with pytest.raises(NotFound):
        client.operation("no such")


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("verb", "args", "error"),
    [
        ("nothing", {}, NotFound),
        ("test.count", {}, BadInput),
        ("test.count", {"upto": "many"}, BadInput),
        ("test.count", {"upto": 1, "more": 2}, BadInput),
        ("test.count", {"upto": None}, BadInput),
    ],
)
def test_what_cannot_be_used_is_refused(
    server: Server, go: threading.Event, verb: str, args: dict[str, Any], error: type[DpeError]
) -> None:
    with pytest.raises(error):
        Wire(server.settings).ask(verb, **args)
    assert operations.everything(server.settings) == []


@pytest.mark.badinput
@pytest.mark.parametrize("question", [b"", b"x\n", b"[]\n", b'{"verb": 1}\n', b"\xff\n", b'{"verb": ["a"], "args": 3}\n'])
def test_nonsense_on_the_socket_does_no_harm(server: Server, question: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(str(server.settings.host_socket))
        line.sendall(question)
        line.shutdown(socket.SHUT_WR)
        said = line.makefile("rb").read()
    assert not question or "error" in json.loads(said)
    assert Client(server.settings).call(IMAGE).root is None


def test_a_damaged_record_is_left_out(server: Server) -> None:
    (operations.folder(server.settings) / "x.json").write_text("{")
    (operations.folder(server.settings) / "y.json").write_text('{"id": "y"}')
    assert Client(server.settings).operations() == []


def test_nobody_else_may_ask(server: Server) -> None:
    mode = server.settings.host_socket.stat().st_mode
    assert mode & 0o007 == 0
    server.shutdown()
    server.server_close()
    with pytest.raises(Unavailable, match="does not answer"):
        Client(server.settings).call(IMAGE)
