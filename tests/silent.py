"""Servers that take what is said to them and answer late or never, on loopback: half dead domain controllers, mail servers, backup targets."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.slapd import SUFFIX

Talk = Callable[[socket.socket], None]


@dataclass
class Server:
    """One that listens; `asked` counts the connections that came."""

    port: int
    asked: int = 0
    held: list[socket.socket] = field(default_factory=list)

    def hang_up(self) -> None:
        """End what was held open until now."""
        while self.held:
            with suppress(OSError), self.held.pop() as line:
                line.shutdown(socket.SHUT_RDWR)


@contextmanager
def listening(talk: Talk = lambda _: None) -> Iterator[Server]:
    """A server that has `talk` speak at each connection, and then holds it open in silence, until the end."""

    def speak(line: socket.socket) -> None:
        with suppress(OSError):
            talk(line)

    def accept() -> None:
        with suppress(OSError):
            while True:
                line, _ = server.accept()
                here.held.append(line)
                here.asked += 1
                threading.Thread(target=speak, args=(line,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        here = Server(server.getsockname()[1])
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield here
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join(5)
            here.hang_up()


def ldap(*, person: bytes | None = None, reason: bytes = b"") -> Talk:
    """A directory that takes the reading account's bind. It answers a search with `person`'s entry, or never when there is none,
    and their bind with "invalid credentials" and `reason`, as Active Directory says it."""

    def talk(line: socket.socket) -> None:
        while said := line.recv(65536):
            at = 2 if said[1] < 128 else 2 + (said[1] & 127)
            id, kind = said[at + 2], said[at + 3]
            if kind == 0x60 and b"reader" in said:
                line.sendall(_message(id, _result(0x61, 0)))
            elif kind == 0x60:
                line.sendall(_message(id, _result(0x61, 49, reason)))
            elif kind == 0x63 and person is not None:
                values = {b"objectGUID": b"0123456789abcdef", b"sAMAccountName": person, b"cn": person, b"userAccountControl": b"512"}
                listed = b"".join(_tagged(0x30, _tagged(4, name) + _tagged(0x31, _tagged(4, value))) for name, value in values.items())
                entry = _tagged(0x64, _tagged(4, b"cn=" + person + b"," + SUFFIX.encode()) + _tagged(0x30, listed))
                line.sendall(_message(id, entry) + _message(id, _result(0x65, 0)))
            elif kind == 0x63:
                return

    return talk


def ad_reason(data: str) -> bytes:
    """How Active Directory words why it refuses a bind."""
    return f"80090308: LdapErr: DSID-0C090446, comment: AcceptSecurityContext error, data {data}, v4563\0".encode()


def _tagged(tag: int, body: bytes) -> bytes:
    size = len(body)
    return bytes([tag]) + (bytes([size]) if size < 128 else bytes([0x82, size >> 8, size & 255])) + body


def _message(id: int, operation: bytes) -> bytes:
    return _tagged(0x30, _tagged(2, bytes([id])) + operation)


def _result(tag: int, code: int, said: bytes = b"") -> bytes:
    return _tagged(tag, _tagged(0x0A, bytes([code])) + _tagged(4, b"") + _tagged(4, said))
