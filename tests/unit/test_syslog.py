"""Events sent on to a syslog receiver: what a line says, and that none is lost while the receiver is away."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from appliance import catalog, syslog
from appliance.catalog import Actor, Event, Level, events, options, record
from appliance.settings import Settings


class Receiver:
    """A syslog receiver on loopback, TCP with octet counting. It can be told to hang up in the middle of a batch."""

    def __init__(self, port: int = 0) -> None:
        self.lines: list[bytes] = []
        self.hang_up_after: int | None = None
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                if self.hang_up_after is not None:
                    stream.read(self.hang_up_after)
                    self.hang_up_after = None
                    continue
                while digits := _until_space(stream.read):
                    self.lines.append(stream.read(int(digits)))

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed before
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    @property
    def ids(self) -> list[int]:
        return [int(found[1]) for line in self.lines if (found := re.search(rb'id="(\d+)"', line))]


def _until_space(read: Callable[[int], bytes]) -> bytes:
    found = b""
    while (letter := read(1)) not in (b" ", b""):
        found += letter
    return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def to(port: int, transport: str = "tcp") -> None:
    with catalog.write():
        options.put("syslog", {"host": "127.0.0.1", "port": port, "transport": transport})


def happen(count: int) -> None:
    with catalog.write():
        for number in range(count):
            record("support.bundle", f"Event {number} happened.", Actor("ada", 7, "192.0.2.1"), object="account:ada")


@pytest.fixture
def forwarder(opened: Settings) -> syslog.Forwarder:
    return syslog.Forwarder("appliance.test")


def event(**values: object) -> Event:
    defaults = {
        "id": 3,
        "at": datetime(2026, 3, 1, 9, 30, 0, 250000, UTC),
        "kind": "sign_in",
        "message": "ada signed in.",
        "actor": "ada",
        "hash": "ab",
    }
    return Event(**{**defaults, **values})


def test_a_line_is_what_the_rfc_wants() -> None:
    made = syslog.line(event(address="192.0.2.1", object="account:ada", level=Level.WARNING), "appliance.test")
    assert made.decode() == (
        "<108>1 2026-03-01T09:30:00.250000Z appliance.test dpe - sign_in "
        '[dpe@32473 id="3" actor="ada" address="192.0.2.1" object="account:ada" hash="ab"] \ufeffada signed in.'
    )


@pytest.mark.badinput
def test_nothing_in_an_event_can_make_a_second_line_or_a_false_fact() -> None:
    made = syslog.line(event(actor='x"] y="', message="One.\n<108>1 two\r\0", kind="a b\n", data={"k": "]\\"}), "bad host\n").decode()
    assert "\n" not in made
    assert "\0" not in made
    assert r'actor="x\"\] y=\""' in made
    assert made.startswith("<110>1 2026-03-01T09:30:00.250000Z bad-host- dpe - a-b- [")
    assert made.endswith("One. <108>1 two  ")


@pytest.mark.badinput
@pytest.mark.parametrize("values", [{"message": "ü" * 9000}, {"data": {"before": "x" * 1_000_000}}])
def test_a_large_event_still_fits(values: dict[str, object]) -> None:
    made = syslog.line(event(**values), "h")
    assert len(made) <= syslog.LARGEST
    assert b'id="3"' in made
    made.decode()


def test_all_events_arrive_once_and_in_order(forwarder: syslog.Forwarder, receiver: Receiver) -> None:
    happen(1200)
    assert not forwarder.wanted()
    to(receiver.port)
    assert forwarder.wanted()
    forwarder.forward()
    assert receiver.ids == list(range(1, 1201))
    assert syslog.waiting() == 0
    assert not forwarder.wanted()
    happen(1)
    forwarder.forward()
    assert receiver.ids[-1] == 1201
    assert len(receiver.lines) == 1201


def test_none_is_lost_while_the_receiver_is_away(forwarder: syslog.Forwarder, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    to(receiver.port)
    happen(5)
    forwarder.forward()
    receiver.close()
    happen(5)
    forwarder.forward()
    assert syslog.waiting() == 6, "five, and the one that says that the receiver is away"
    assert "does not take events" in options.get("syslog_problem")
    assert not forwarder.wanted(), "it is tried again later, not at once"
    forwarder.forward()
    assert Event.select().where(Event.kind == "audit.forwarding").count() == 1, "it is said once"
    back = Receiver(receiver.port)
    another = syslog.Forwarder("appliance.test")  # as after a restart
    another.forward()
    assert back.ids == [6, 7, 8, 9, 10, 11, 12]
    assert [row.kind for row in events.list_events(limit=1)] == ["audit.forwarding"]
    assert options.get("syslog_problem") == ""
    assert syslog.waiting() == 0
    back.close()


def test_a_receiver_that_hangs_up_in_the_middle_gets_the_batch_again(forwarder: syslog.Forwarder, receiver: Receiver) -> None:
    to(receiver.port)
    happen(400)
    receiver.hang_up_after = 700
    forwarder.forward()
    assert options.get("syslog_position") == 0
    syslog.Forwarder("appliance.test").forward()
    assert sorted(set(receiver.ids)) == list(range(1, events.last_id() + 1))


def test_udp(forwarder: syslog.Forwarder) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(5)
        to(listening.getsockname()[1], "udp")
        happen(60)
        forwarder.forward()
        lines = [listening.recv(65535) for _ in range(60)]
    assert [int(re.search(rb'id="(\d+)"', line)[1]) for line in lines] == list(range(1, 61))  # type: ignore[index]
    happen(1)
    forwarder.forward()
    assert syslog.waiting() == 2, "a closed port stops the position"


@pytest.mark.badinput
@pytest.mark.parametrize("host", ["x" * 70, "", "a..b"])
def test_a_receiver_that_cannot_be_is_a_problem_and_no_crash(forwarder: syslog.Forwarder, host: str) -> None:
    with catalog.write():
        options.put("syslog", {"host": host, "port": 1, "transport": "tcp"})
    happen(1)
    forwarder.forward()
    assert "does not take events" in options.get("syslog_problem")
    assert syslog.waiting() == 2
