"""E-mail over the house's own server: one message to one person, in plain text.

A message is named after what it is about, so that one sent again, because nobody knows whether the server took it, is the same
message to whoever reads it.
"""

import contextlib
import email.policy
import hashlib
import re
import smtplib
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from appliance import connect
from appliance.catalog import now, options
from appliance.connect import AddressRefused
from appliance.errors import BadInput, DpeError, Unavailable
from appliance.identity import secrets
from appliance.outbound import address

PURPOSE = "mail"
LIMIT = 30.0  # seconds for the whole of one message
SECURITY = ("starttls", "tls", "none")
SUBJECT = 200  # characters

_ADDRESS = re.compile(r"[^\s@<>()\[\]\\,;:\"]{1,64}@[^\s@<>()\[\]\\,;:\"]{1,190}")


@dataclass(frozen=True)
class Server:
    """How mail leaves the house, and whose it is."""

    host: str
    port: int
    security: str  # starttls, tls, none
    authority: str  # PEM; empty means the authorities that the system trusts
    user: str  # empty means that the server asks nobody who they are
    sender: str

    def __str__(self) -> str:
        return f"{self.host} port {self.port}"


def check_address(text: str, field: str = "sender") -> str:
    """An e-mail address. Raises BadInput, about the field."""
    text = text.strip()
    with contextlib.suppress(ValueError, MessageError, IndexError):  # the library's parser stumbles over some
        if _ADDRESS.fullmatch(text) and text.isascii() and text.isprintable() and Address(addr_spec=text).addr_spec == text:
            return text
    raise BadInput(f"{text[:80]!r} is not an e-mail address.", "Write one like somebody@example.org.", field=field)


def server(values: Mapping[str, str]) -> Server:
    """What was entered, checked. Raises BadInput."""
    if values["security"] not in SECURITY:
        raise BadInput("Encryption is not one of the choices.", "Choose one.", field="security")
    user = values["user"].strip()
    if len(user) > 200 or not (user.isascii() and user.isprintable()):
        raise BadInput(
            "That cannot be the name of an account at the server.",
            "It is often the sender's address; accents cannot be used.",
            field="user",
        )
    return Server(
        connect.check_host(values["host"]),
        connect.check_port(values["port"], "Mail servers usually listen on 587 for StartTLS, on 465 for TLS and on 25 for neither."),
        values["security"],
        connect.check_authority(values["authority"]),
        user,
        check_address(values["sender"]),
    )


def current() -> tuple[Server, str] | None:
    """The server and the account's password; None while no mail is sent."""
    stored = options.get("mail")
    if not stored.get("on"):
        return None
    return Server(**stored["server"]), secrets.unseal(PURPOSE, stored["password"]) if stored["password"] else ""


def message(to: str, subject: str, text: str, *, sender: str, id: str) -> EmailMessage:
    """The message. What it is called comes from `id` and `to` alone. Raises BadInput for an address that is none."""
    made = EmailMessage(policy=email.policy.SMTP.clone(cte_type="7bit"))
    title = _line(options.get("title") or "DPE Appliance")
    made["From"] = Address(title, addr_spec=check_address(sender))
    made["To"] = Address(addr_spec=check_address(to, ""))
    made["Subject"] = _line(subject)[:SUBJECT]
    made["Date"] = format_datetime(now())
    name = hashlib.sha256(f"{id}\n{to}".encode()).hexdigest()[:40]
    made["Message-ID"] = f"<{name}@{sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content("".join(letter for letter in text if letter.isprintable() or letter in "\n\t").rstrip() + "\n")
    return made


def _line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _own_name(link: socket.socket) -> str:
    """What we greet the server with: many refuse a host's name that is no full one, so it is our address then."""
    name = socket.gethostname()
    if "." in name:
        return name
    own = link.getsockname()[0].partition("%")[0]
    return f"[IPv6:{own}]" if ":" in own else f"[{own}]"


class _Link(smtplib.SMTP):
    """The library's client over a connection that is open already."""

    def __init__(self, link: socket.socket, host: str) -> None:
        self._link = link
        super().__init__(host, local_hostname=_own_name(link))

    def _get_socket(self, *_: object) -> socket.socket:
        return self._link


def deliver(to: Server, password: str, made: EmailMessage, *, limit: float = LIMIT) -> None:
    """Hand the message to the server. Raises Unavailable when trying again later may help, and Refused when it does not."""
    end = time.monotonic() + limit
    try:
        link = connect.connect(to.host, to.port, limit / 2)
    except (OSError, UnicodeError) as error:
        raise connect.explain(error, to.host, to.port, connected=False) from error
    try:
        with link, connect.until_cut(link, end - time.monotonic()):
            _speak(link, to, password, made)
    except smtplib.SMTPException as error:
        raise _meaning(error, to, made["To"]) from error
    except OSError as error:
        raise connect.explain(error, to.host, to.port) from error


def _speak(link: socket.socket, to: Server, password: str, made: EmailMessage) -> None:
    if to.security == "tls":
        link = connect.trust(to.authority).wrap_socket(link, server_hostname=to.host)
    smtp = _Link(link, to.host)
    try:
        if to.security == "starttls":
            smtp.starttls(context=connect.trust(to.authority))
        if to.user:
            smtp.login(to.user, password)
        # Not send_message(), which puts a > before a line that begins with From.
        smtp.sendmail(to.sender, [made["To"].addresses[0].addr_spec], made.as_bytes())
        with contextlib.suppress(smtplib.SMTPException, OSError):
            smtp.quit()  # the server has the message; how it says goodbye changes nothing
    finally:
        smtp.close()


def _meaning(error: smtplib.SMTPException, to: Server, whom: str) -> DpeError:
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return Unavailable(f"{to} hung up.", "Look at the server's log; it may want another port or encryption.")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return AddressRefused(*_lacking(error, to))
    code, said = _said(error)
    kind = Unavailable if 400 <= code < 500 else AddressRefused
    quoted = f" It says “{said}”." if said else ""
    match error:
        case smtplib.SMTPAuthenticationError():
            return kind(
                f"{to} does not take the name {to.user} and its password.{quoted}",
                "Check both; some servers want a password of its own for programs.",
            )
        case smtplib.SMTPSenderRefused():
            return kind(
                f"{to} does not send mail from {to.sender}.{quoted}", "Enter a name and password, or a sender that this server sends for."
            )
        case smtplib.SMTPRecipientsRefused():
            return kind(
                f"{to} does not take mail for {whom}.{quoted}",
                "Check the address; a server that is to pass mail on may want a name and password.",
            )
        case smtplib.SMTPConnectError() | smtplib.SMTPHeloError():
            return kind(f"{to} does not talk to this appliance.{quoted}", "Look at the server's log.")
        case smtplib.SMTPDataError():
            return kind(f"{to} does not take the message.{quoted}", "Look at the server's log.")
    return kind(f"{to} says no.{quoted}", "Look at the server's log.")


def _lacking(error: smtplib.SMTPNotSupportedError, to: Server) -> tuple[str, str]:
    if "STARTTLS" in str(error):
        return f"{to} offers no StartTLS.", "Choose TLS with its own port, usually 465, or give the server a certificate."
    more = " without encryption" if to.security == "none" else ""
    return f"{to} asks nobody who they are{more}.", "Leave name and password empty, or choose StartTLS and port 587."


def _said(error: smtplib.SMTPException) -> tuple[int, str]:
    code, text = getattr(error, "smtp_code", 0), getattr(error, "smtp_error", b"")
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
    shown = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return int(code), _line(f"{code} {shown}")[:200] if code else ""


def send(to: str, subject: str, text: str, *, id: str) -> None:
    """Send to one address. Raises Refused, BadInput and Unavailable; only after the last it helps to try again."""
    using = current()
    if using is None:
        raise AddressRefused("E-mail is not set up.", "An admin does that under Settings, E-mail.")
    to_server, password = using
    deliver(to_server, password, message(to, subject, text, sender=to_server.sender, id=id))


@dataclass(frozen=True)
class Sent:
    """What came of telling people: who was written to, and for whom it went wrong and why."""

    to: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    why: str = ""  # why nobody was

    def __str__(self) -> str:
        if self.why:
            return self.why
        parts = [f"Sent to {', '.join(self.to)}."] if self.to else []
        return " ".join([*parts, *self.refused.values()])


def mail_about(to: Iterable[str], subject: str, text: str, *, id: str, path: str = "/") -> Sent:
    """Write to each of them, with a link to the page, if one is named, under the text. Empty addresses are those of people without one.

    What is refused for good is in the answer. Raises Unavailable when the server is away; said again under the same `id`,
    the messages are the same ones.
    """
    if current() is None:
        return Sent(why="Not sent: e-mail is not set up.")
    wanted = list(dict.fromkeys(one.strip() for one in to if one.strip()))
    if not wanted:
        return Sent(why="Not sent: nobody has an e-mail address.")
    link = address.link(path) if path else ""
    sent, refused = [], {}
    for one in wanted:
        try:
            send(one, subject, f"{text.rstrip()}\n\n{link}" if link else text, id=id)
            sent.append(one)
        except Unavailable:
            raise
        except DpeError as error:
            refused[one] = str(error)
    return Sent(sent, refused)
