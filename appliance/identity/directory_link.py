"""Connections to directory servers: encrypted, checked, bounded in time, the next server when one is away.

Dialling and TLS are ours, because the library's handshake waits for ever and says of a bad certificate
only that something failed. Referrals are never followed: whoever can name another server would see the
passwords that people type here.
"""

import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ldap
from cryptography import x509
from ldap.ldapobject import SimpleLDAPObject

from appliance import connect
from appliance.bulkhead import Breaker
from appliance.errors import BadInput, DpeError, NotAllowed, Unavailable
from appliance.identity.directory_config import Config, address

CONNECT = 3.0  # seconds until a server counts as away
ANSWER = 30.0  # seconds until it answers one question, which may be a page of a large group
SHUN = 60.0  # seconds for which a server that was away is asked last
REST = 10.0  # seconds for which nobody who signs in waits for servers that are all away

# What Active Directory means by "invalid credentials" when it does not mind the password; a wrong one is told apart from none of these.
AD_REASONS = {
    "52f": ("A rule of the directory keeps your account from signing in here.", "Ask your admin what your account may be used for."),
    "530": ("Your account may sign in only at certain hours.", "Try again then, or ask your admin to change the hours."),
    "531": ("Your account may sign in only at certain computers.", "Ask your admin to allow the directory server's for your account."),
    "532": ("Your password has expired.", "Change it on a computer of your network, then sign in here."),
    "533": ("Your account is disabled in the directory.", "Ask your admin."),
    "534": ("Your account lacks the right to sign in this way.", "Ask your admin to allow your account to log on at the directory server."),
    "568": ("Your account is in more groups than the directory can handle.", "Ask your admin to take it out of some."),
    "569": ("Your account lacks the right to sign in this way.", "Ask your admin to allow your account to log on over the network."),
    "701": ("Your account in the directory has expired.", "Ask your admin."),
    "773": ("You have to choose a new password first.", "Change it on a computer of your network, then sign in here."),
    "775": (
        "Your account is locked in the directory for a while, after wrong passwords.",
        "Wait some minutes, or ask your admin to unlock it.",
    ),
}


class DirectoryRefused(NotAllowed):
    """The server said no to a name and password, and not why."""


@dataclass(frozen=True)
class Limit:
    """How long to wait: `end` (of time.monotonic(), seconds) for all together, and `answer` seconds for each answer."""

    end: float = float("inf")
    answer: float = ANSWER

    @classmethod
    def within(cls, seconds: float, answer: float = ANSWER) -> "Limit":
        return cls(time.monotonic() + seconds, answer)

    def left(self, most: float | None = None) -> float:
        """Seconds for the next answer, at most `most`. Raises Unavailable when time is over."""
        left = min(self.end - time.monotonic(), self.answer if most is None else most)
        if left <= 0:
            raise Unavailable("The directory took too long to answer.", "Look at the load of its servers, and at the network.")
        return left


NO_LIMIT = Limit()
breaker = Breaker(REST)  # of servers, as they are written in the configuration


def all_away(config: Config) -> bool:
    """Whether every server was found away a moment ago, so that asking again would only keep people waiting."""
    return all(breaker.is_open(server) for server in config.servers)


def _order(config: Config) -> list[str]:
    """The servers in the order given, those that were away a moment ago last."""
    return sorted(config.servers, key=lambda server: breaker.failed_within(server, SHUN))


# RFC 4511, 4.14: the extended request for StartTLS as message 1, always these bytes; and how an answer begins that says yes.
STARTTLS = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
STARTTLS_YES = re.compile(rb"^\x30.{1,5}?\x02\x01\x01\x78.{1,5}?\x0a\x01\x00", re.DOTALL)


def open_link(config: Config, server: str, limit: Limit) -> socket.socket:
    """A connection to one server, encrypted and its certificate checked as configured; every step ends in time. Raises Unavailable."""
    host, port = address(config, server)
    try:
        link = connect.connect(host, port, limit.left(CONNECT))
    except (OSError, UnicodeError) as error:
        raise _away_because(connect.explain(error, host, port, connected=False)) from error
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # questions are small, and each is waited for
    try:
        return link if config.encryption == "none" else _encrypt(link, config, host, port, limit.left(CONNECT))
    except BaseException:
        link.close()
        raise


def _encrypt(link: socket.socket, config: Config, host: str, port: int, seconds: float) -> ssl.SSLSocket:
    try:
        with connect.until_cut(link, seconds):
            if config.encryption == "starttls":
                link.sendall(STARTTLS)
                if not STARTTLS_YES.match(answer := link.recv(4096)):
                    heard = "offers no StartTLS" if answer else "hangs up when it is asked for StartTLS"
                    hint = "Choose LDAPS with its own port, usually 636, or give the server a certificate."
                    raise Unavailable(f"{host}:{port} {heard}.", hint)
            return connect.trust(config.authority).wrap_socket(link, server_hostname=host)
    except OSError as error:
        raise _away_because(connect.explain(error, host, port)) from error


def _away_because(problem: DpeError) -> Unavailable:
    """A server that cannot be trusted is passed over like one that is away: the next may be better."""
    return Unavailable(problem.message, problem.hint)


def certificate_until(config: Config, server: str, limit: Limit) -> datetime | None:
    """Until when the server's certificate is good; None without encryption. Raises Unavailable."""
    with open_link(config, server, limit) as link:
        if not isinstance(link, ssl.SSLSocket):
            return None
        return x509.load_der_x509_certificate(link.getpeercert(binary_form=True) or b"").not_valid_after_utc


def _relay(encrypted: ssl.SSLSocket, plain: socket.socket) -> None:
    """Carry what the library says in plain to the server, and back, until one of them hangs up."""
    poll = select.poll()
    poll.register(encrypted, select.POLLIN)
    poll.register(plain, select.POLLIN)
    with encrypted, plain:
        try:
            while True:
                ready = [encrypted.fileno()] if encrypted.pending() else [handle for handle, _ in poll.poll()]
                if encrypted.fileno() in ready:
                    encrypted.setblocking(False)  # what arrived may be TLS's own, with nothing in it for us
                    try:
                        answer = encrypted.recv(65536)
                    except ssl.SSLWantReadError:
                        answer = None
                    if answer == b"":
                        return
                    plain.sendall(answer or b"")
                if plain.fileno() in ready:
                    if not (question := plain.recv(65536)):
                        return
                    encrypted.settimeout(ANSWER)
                    encrypted.sendall(question)
        except OSError:
            return


class Link(SimpleLDAPObject):  # type: ignore[misc]
    """The library's connection, and how long to wait for it."""

    limit: Limit

    def give(self, most: float | None = None) -> float:
        """Set how long the next answer may take, and return that. Raises Unavailable when time is over."""
        seconds = self.limit.left(most)
        self.set_option(ldap.OPT_TIMEOUT, seconds)
        return seconds


def _open(config: Config, server: str, limit: Limit) -> Link:
    """The library on a connection to one server. Raises Unavailable."""
    link = open_link(config, server, limit)
    if isinstance(link, ssl.SSLSocket):
        ours, theirs = socket.socketpair()
        threading.Thread(target=_relay, args=(link, ours), name="directory", daemon=True).start()
        link = theirs
    link.setblocking(True)
    library = Link("ldap://directory", fileno=link.fileno())  # an already open connection: the name is not used
    link.detach()
    library.limit = limit
    library.protocol_version = ldap.VERSION3
    library.set_option(ldap.OPT_REFERRALS, 0)
    return library


@contextmanager
def opened(config: Config, bind_dn: str, password: str, server: str = "", limit: Limit = NO_LIMIT) -> Iterator[Any]:
    """A connection, bound, to the first server that is there (or to the one named); whatever is asked there ends within the limit.

    Raises Unavailable when none is, with the reason of each, and NotAllowed for a wrong name or password: no other server is asked
    then, because each try counts towards locking the account.
    """
    link: Link | None = None
    reasons: list[DpeError] = []
    for candidate in [server] if server else _order(config):
        if reasons and time.monotonic() >= limit.end:
            break
        try:
            link = _open(config, candidate, limit)
            link.give(CONNECT)
            link.simple_bind_s(bind_dn, password if bind_dn else "")
            break
        except Unavailable as error:
            reasons.append(error)
        except ldap.LDAPError as error:
            if link is not None:
                link.unbind_s()
                link = None
            problem = explain(error, config, candidate)
            if not isinstance(problem, Unavailable):
                breaker.worked(candidate)
                raise problem from error
            reasons.append(problem)
        breaker.failed(candidate)
    if link is None:
        if len(reasons) == 1:
            raise reasons[0]
        raise Unavailable("No directory server can be used: " + " ".join(reason.message for reason in reasons), reasons[0].hint)
    with _answering(config, candidate):
        try:
            yield link
        finally:
            link.unbind_s()


@contextmanager
def _answering(config: Config, server: str) -> Iterator[None]:
    """Remember whether a server answers: one that takes binds and no questions is no better than one that is away."""
    try:
        yield
    except Unavailable:
        breaker.failed(server)
        raise
    except ldap.LDAPError as error:
        problem = explain(error, config, server)
        (breaker.failed if isinstance(problem, Unavailable) else breaker.worked)(server)
        raise problem from error
    except DpeError:
        breaker.worked(server)
        raise
    breaker.worked(server)


def explain(error: ldap.LDAPError, config: Config, server: str) -> DpeError:
    """What the library's error means, and what to do."""
    host, port = address(config, server)
    where = f"{host}:{port}"
    details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    said = " ".join(str(details.get(key, "")) for key in ("desc", "info")).strip() or type(error).__name__
    match error:
        case ldap.INVALID_CREDENTIALS():
            reason = re.search(r"\bdata ([0-9a-f]+)\b", said)
            if reason and reason[1] in AD_REASONS:
                return NotAllowed(*AD_REASONS[reason[1]])
            return DirectoryRefused("The directory does not take this name and password.", "Check both.")
        case ldap.CONSTRAINT_VIOLATION():  # 389 Directory Server's way to say it
            return NotAllowed(*AD_REASONS["775"])
        case ldap.REFERRAL():
            return BadInput(
                f"{where} does not hold this place and points to another server.", "Name that server here; referrals are not followed."
            )
        case ldap.NO_SUCH_OBJECT():
            return BadInput(f"{where} has no place {config.base}.", "Check the search base, and that the reading account may see it.")
        case ldap.INVALID_DN_SYNTAX():
            return BadInput(f"{where} does not understand a name given to it: {said}.", "Check the search base and the reading account.")
        case ldap.FILTER_ERROR():
            return BadInput("One of the filters is not written as filters are.", "Check its brackets, or leave it empty for the usual one.")
        case (
            ldap.INSUFFICIENT_ACCESS()
            | ldap.STRONG_AUTH_REQUIRED()
            | ldap.CONFIDENTIALITY_REQUIRED()
            | ldap.INAPPROPRIATE_AUTH()
            | ldap.UNWILLING_TO_PERFORM()
        ):
            return BadInput(f"{where} refuses: {said}.", "Give a reading account that may search, and use encryption.")
        case ldap.SIZELIMIT_EXCEEDED() | ldap.ADMINLIMIT_EXCEEDED() | ldap.UNAVAILABLE_CRITICAL_EXTENSION():
            return BadInput(f"{where} does not let this account read everything: {said}.", "Raise the account's limit for paged results.")
        case ldap.TIMEOUT():
            return Unavailable(f"{where} took too long to answer.", "Look at the server's load, and at the network.")
        case ldap.SERVER_DOWN() | ldap.CONNECT_ERROR():
            return Unavailable(f"{where} hung up.", "Look at the server's log.")
    return Unavailable(f"{where} does not answer as it should: {said}.", "Look at the server's log.")
