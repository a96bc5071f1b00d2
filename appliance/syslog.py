"""Events sent on to a syslog receiver (RFC 5424), each at least once and in their order.

How far one got is kept in the catalog, and moves only when the receiver has it. Over TCP (octet counting, RFC 6587) a
connection carries one batch: we say that we are done, and the receiver closing in turn tells that it read all of it.
UDP has no such answer; there only a receiver that is known to be away stops the position.
"""

import contextlib
import itertools
import json
import logging
import socket
import time
from dataclasses import dataclass
from datetime import timedelta

from appliance import catalog, connect
from appliance.catalog import Event, EventKind, Level, events, options, record

log = logging.getLogger(__name__)

AT_ONCE = {"tcp": 500, "udp": 50}  # events a batch; what is too much for a UDP receiver is lost in silence
TIMEOUT = 10.0  # seconds for each answer of the receiver
SHORTEST, LONGEST = timedelta(seconds=1), timedelta(minutes=1)  # between two tries
LARGEST = 8192  # bytes of a line; receivers must take 2048, and good ones take this
FACILITY = 13  # log audit
SEVERITY = {Level.ERROR: 3, Level.WARNING: 4, Level.INFO: 6}
# The number that RFC 5612 sets aside for what has none of its own.
ELEMENT = "dpe@32473"


@dataclass(frozen=True)
class Receiver:
    """Where events go."""

    host: str
    port: int
    transport: str  # tcp, udp

    def __str__(self) -> str:
        return f"{self.host} port {self.port} ({self.transport.upper()})"


def receiver() -> Receiver | None:
    """Where the admin wants events sent to; None for nowhere."""
    chosen = options.get("syslog")
    return Receiver(**chosen) if chosen else None


def line(event: Event, host: str) -> bytes:
    """The event as a syslog message."""
    facts: dict[str, object] = {
        "id": event.id,
        "actor": event.actor,
        "address": event.address,
        "object": event.object,
        "class": event.class_name,
        "hash": event.hash,
    }
    if event.data:
        facts["data"] = json.dumps(event.data, separators=(",", ":"))
    header = f"<{FACILITY * 8 + SEVERITY[event.level]}>1 {event.at:%Y-%m-%dT%H:%M:%S.%f}Z {_name(host, 255)} dpe - {_name(event.kind, 32)} "
    made = _message(header, facts, event.message)
    if len(made) > LARGEST:
        facts.pop("data", None)
        made = _message(header, facts, event.message)
    return made if len(made) <= LARGEST else made[:LARGEST].decode(errors="ignore").encode()


def _message(header: str, facts: dict[str, object], message: str) -> bytes:
    said = " ".join(f'{name}="{_escaped(str(value))}"' for name, value in facts.items() if value not in (None, ""))
    # The byte order mark says that the text is UTF-8.
    return f"{header}[{ELEMENT} {said}] \ufeff{_flat(message)}".encode()


def _flat(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _escaped(text: str) -> str:
    return _flat(text).replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _name(text: str, longest: int) -> str:
    return "".join(letter if "!" <= letter <= "~" else "-" for letter in text)[:longest] or "-"


def send(to: Receiver, lines: list[bytes]) -> None:
    """Send the lines. Raises OSError unless the receiver has them, as far as that can be told."""
    kind = socket.SOCK_DGRAM if to.transport == "udp" else socket.SOCK_STREAM
    family, *_, address = connect.resolve(to.host, to.port, TIMEOUT, kind)[0]
    with socket.socket(family, kind) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(address)
        if to.transport == "udp":
            for one in lines:
                connection.send(one)
            _raise_refusal(connection)
            return
        connection.sendall(b"".join(b"%d %s" % (len(one), one) for one in lines))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass


def _raise_refusal(connection: socket.socket) -> None:
    """Raise what the receiver's host answered, if it did: nobody listens there."""
    connection.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        connection.recv(1)


class Forwarder:
    """Sends what is new, and remembers when to try again."""

    def __init__(self, host: str = "") -> None:
        self.host = host or socket.gethostname()
        self._pause = SHORTEST
        self._retry_at = 0.0

    def wanted(self) -> bool:
        """Whether there is something to send, and now is the time to."""
        return time.monotonic() >= self._retry_at and receiver() is not None and events.last_id() > options.get("syslog_position")

    def forward(self) -> None:
        """Send everything that was not sent yet. A receiver that is away is tried again later."""
        while (to := receiver()) is not None:
            count = AT_ONCE[to.transport]
            batch = list(itertools.islice(events.every(after=options.get("syslog_position"), batch_size=count), count))
            if not batch:
                break
            try:
                send(to, [line(event, self.host) for event in batch])
            except (OSError, UnicodeError) as error:  # a name that cannot be one is the latter
                self._away(to, error)
                break
            self._arrived(to, batch[-1].id)

    def _arrived(self, to: Receiver, position: int) -> None:
        self._pause, self._retry_at = SHORTEST, 0.0
        with catalog.write():
            options.put("syslog_position", position)
            if options.get("syslog_problem"):
                options.put("syslog_problem", "")
                record(EventKind.AUDIT_FORWARDING, f"Events go to {to} again; those that waited are sent.")

    def _away(self, to: Receiver, error: Exception) -> None:
        self._retry_at = time.monotonic() + self._pause.total_seconds()
        self._pause = min(self._pause * 2, LONGEST)
        problem = f"{to} does not take events: {getattr(error, 'strerror', None) or error}."
        log.warning("%s", problem)
        with catalog.write():
            if not options.get("syslog_problem"):
                record(EventKind.AUDIT_FORWARDING, f"{problem} They wait until it does.", level=Level.WARNING)
            if options.get("syslog_problem") != problem:
                options.put("syslog_problem", problem)


def waiting() -> int:
    """How many events the receiver does not have yet."""
    count: int = max(0, events.last_id() - options.get("syslog_position"))
    return count
