"""A real SMTP server on loopback, and servers that do what they should not."""

import email.policy
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

PASSWORD = "correct horse"


@dataclass
class Post:
    """A post office: what it took, and what it is to say."""

    taken: list[EmailMessage] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    greeted: list[str] = field(default_factory=list)
    to_recipient: str = ""
    to_sender: str = ""
    to_data: str = ""
    port: int = 0

    async def handle_MAIL(self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        self.greeted.append(session.host_name or "")
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.to_sender or "250 OK"

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:
        envelope.rcpt_tos.append(address)
        return self.to_recipient or "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self.to_data:
            return self.to_data
        assert isinstance(envelope.content, bytes)
        self.taken.append(message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 Taken"

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        self.logins.append(data.login.decode())
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


class _Controller(Controller):
    """The library knocks at the port that it was told, which is any free one."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def office(**options: Any) -> Iterator[Post]:
    """A real SMTP server on loopback."""
    post = Post()
    controller = _Controller(post, hostname="127.0.0.1", port=0, authenticator=post.authenticate, **options)
    controller.start()
    post.port = controller.port
    yield post
    controller.stop()


@contextmanager
def listener(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does with each connection what the function does; its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []

    def run() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            open_ones.append(connection)
            try:
                serve(connection)
            except OSError:
                continue

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for one in open_ones:
        one.close()
    thread.join(10)
