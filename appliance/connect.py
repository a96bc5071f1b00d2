"""Connections to servers of others: found, reached, encrypted, their certificate checked, and cut when time is over; and why not, in words."""

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from appliance.errors import BadInput, DpeError, Unavailable

_resolving = threading.Semaphore(16)  # a name server that does not answer keeps a thread for half a minute, whatever the limit

NAME = re.compile(r"(?=.{1,253}$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


# What OpenSSL says of servers whose encryption is too old, and what to do there.
OLD = {
    "UNSUPPORTED_PROTOCOL": "Let the server speak TLS 1.2 or newer.",
    "TLSV1_ALERT_PROTOCOL_VERSION": "Let the server speak TLS 1.2 or newer.",
    "DH_KEY_TOO_SMALL": "Give the server Diffie-Hellman parameters of 2048 bits or more, or elliptic curves.",
    "WRONG_SIGNATURE_TYPE": "Renew the server's certificate, signed with SHA-256 or better.",
}


class AddressRefused(DpeError):
    """Somebody outside said no, or is not who they should be; trying again does not help. What may pass is Unavailable."""


def check_host(text: str, field: str = "host") -> str:
    """The name or address of a host. Raises BadInput, about the field."""
    text = text.strip()
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        if not NAME.fullmatch(text):
            raise BadInput(
                f"{text[:60]!r} is not a name or address of a host.", "Write one like server.example.org or 192.0.2.10.", field=field
            ) from None
        return text


def check_port(text: str, hint: str) -> int:
    """The number of a port. Raises BadInput, which says `hint`."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise BadInput(f"{text[:20]!r} is not a port.", hint, field="port")
    return int(text)


def check_authority(pem: str) -> str:
    """The certificates of an authority, as PEM; empty stays empty. Raises BadInput."""
    pem = pem.strip()
    try:
        if pem and not x509.load_pem_x509_certificates(pem.encode()):
            raise ValueError
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInput(
            "The authority's certificate cannot be read.", "Paste it whole, with its BEGIN and END lines.", field="authority"
        ) from error
    return pem


def trust(authority: str = "") -> ssl.SSLContext:
    """What checks a server's certificate: against the authority given as PEM, or those that the system trusts."""
    context = ssl.create_default_context(cadata=authority or None)
    # The same for every Python: an authority in the house need not know the newest rules, and a server's own certificate will do.
    context.verify_flags = (context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN) & ~ssl.VERIFY_X509_STRICT
    return context


def resolve(host: str, port: int, seconds: float, kind: int = socket.SOCK_STREAM) -> list[tuple[Any, ...]]:
    """What `getaddrinfo` says, which knows no limit of its own. Raises OSError, also when the name server takes longer than that."""
    late = socket.gaierror(socket.EAI_AGAIN, "the name server does not answer in time")
    answer: Future[list[tuple[Any, ...]]] = Future()

    def look() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=kind))
        except BaseException as error:
            answer.set_exception(error)
        finally:
            _resolving.release()

    if not _resolving.acquire(timeout=seconds):
        raise late
    threading.Thread(target=look, name="resolve", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise late from None


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """A connection; each of the host's addresses is given its share of the seconds. Raises OSError."""
    end = time.monotonic() + seconds
    addresses = list(dict.fromkeys(address[:2] for *_, address in resolve(host, port, seconds)))
    share = max(0.1, end - time.monotonic()) / len(addresses)
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection((str(address[0]), port), share)
    return socket.create_connection((str(addresses[-1][0]), port), share)


@contextlib.contextmanager
def until_cut(link: socket.socket, seconds: float) -> Iterator[None]:
    """What is done with the connection meanwhile ends in time, however slowly the other side trickles. Raises TimeoutError, late."""
    link.settimeout(None)
    handle, over = link.dup(), threading.Event()  # a second handle stays good while the first one is wrapped for TLS

    def cut() -> None:
        over.set()
        with contextlib.suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if over.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
        timer.join()
        handle.close()
    if over.is_set():
        raise TimeoutError  # what ended well may have been cut short


def certificate_of(host: str, port: int, name: str, seconds: float) -> bytes:
    """The certificate (DER) that whoever listens there shows to those who want this name, whatever it is. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connect(host, port, seconds) as link, until_cut(link, seconds), context.wrap_socket(link, server_hostname=name) as stream:
        return stream.getpeercert(binary_form=True) or b""


# -- a web server ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _explained(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explain(error, host, port) from error
    except http.client.HTTPException as error:
        raise Unavailable(f"{host}:{port} does not answer as a web server does.", "Check the address and the server's log.") from error


@dataclass(frozen=True)
class Reply:
    """What a web server answers; its body is yet to be read, which raises Unavailable and Refused as asking does."""

    response: http.client.HTTPResponse
    link: socket.socket
    host: str
    port: int

    @property
    def status(self) -> int:
        return self.response.status

    def header(self, name: str) -> str:
        """Empty when it is not there."""
        return self.response.headers.get(name) or ""

    def read(self, most: int) -> bytes:
        """The body, or so many bytes of it."""
        with _explained(self.host, self.port):
            said = self.response.read(most)
            if len(said) < most and self.response.length:
                raise ConnectionResetError  # less came than was announced
            return said

    def chunks(self, size: int, still: float) -> Iterator[bytes]:
        """The body piece by piece, each in so many seconds; it ends early where less comes than was announced."""
        with _explained(self.host, self.port), contextlib.suppress(http.client.HTTPException):
            self.link.settimeout(still)
            while piece := self.response.read1(size):
                yield piece


@contextlib.contextmanager
def exchange(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    authority: str = "",
    reach: float,
    whole: float | None = None,
) -> Iterator[Reply]:
    """Ask a web server at an address that was checked; no redirect is followed. `reach` is seconds for a connection, and for an answer
    where `whole`, seconds for all of it until the block ends, is not given.

    Raises Unavailable when trying again later may help, and Refused when it does not.
    """
    parts = urlsplit(url)
    secure, host = parts.scheme == "https", parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    end = time.monotonic() + (whole or 0)
    try:
        link = connect(host, port, reach)
    except (OSError, UnicodeError) as error:
        raise explain(error, host, port, connected=False) from error
    with contextlib.ExitStack() as stack:
        stack.enter_context(link)
        if whole is None:
            link.settimeout(reach)
        else:
            stack.enter_context(_whole(link, end - time.monotonic(), host, port))
        call = http.client.HTTPConnection(host, port)
        call.default_port = 443 if secure else 80  # or it would be named in the header Host
        stack.callback(call.close)
        with _explained(host, port):
            call.sock = stream = trust(authority).wrap_socket(link, server_hostname=host) if secure else link
            call.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, dict(headers))
            response = call.getresponse()
        stack.enter_context(response)
        yield Reply(response, stream, host, port)


@contextlib.contextmanager
def _whole(link: socket.socket, seconds: float, host: str, port: int) -> Iterator[None]:
    try:
        with until_cut(link, seconds):
            yield
    except TimeoutError as error:
        raise explain(error, host, port) from error


def explain(error: OSError | UnicodeError, host: str, port: int, *, connected: bool = True) -> DpeError:
    """What the error means and what to do; Unavailable when it may pass by itself, else Refused."""
    where = f"{host}:{port}"
    match error:
        case socket.gaierror() | UnicodeError():
            return Unavailable(f"There is no host called {host}.", "Check the name, and the appliance's own name server.")
        case ssl.SSLCertVerificationError():
            return AddressRefused(f"{where} shows a certificate that cannot be trusted: {error.verify_message.rstrip('.')}.", _mend(error))
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Unavailable(f"{where} hung up, or does not speak TLS.", "Check port and encryption, then look at the server's log.")
        case ssl.SSLError() if error.reason in OLD:
            return AddressRefused(f"{where} speaks only an old TLS: {error.reason}.", OLD[error.reason])
        case ssl.SSLError():
            return AddressRefused(f"{where} does not speak TLS: {error.reason or error}.", "Check port and encryption.")
        case TimeoutError() if connected:
            return Unavailable(f"{where} does not answer in time.", "Look at the server's load and log.")
        case TimeoutError():
            return Unavailable(f"{where} cannot be reached.", "Check the address, and that no firewall is in between.")
        case ConnectionRefusedError():
            return Unavailable(f"Nothing listens at {where}.", "Check the port, and that the server runs.")
        case ConnectionError():
            return Unavailable(f"{where} hung up.", "Look at the server's log.")
    return Unavailable(f"{where} cannot be reached: {error.strerror or error}.", "Check the address and the network.")


def _mend(error: ssl.SSLCertVerificationError) -> str:
    match error.verify_code:
        case 9 | 10:  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
            return "Renew the server's certificate, and check both clocks."
        case 62 | 64:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
            return "Name the server here as its certificate does."
        case 66:  # X509_V_ERR_EE_KEY_TOO_SMALL
            return "Renew the server's certificate with a key of 2048 bits or more."
        case 67:  # X509_V_ERR_CA_KEY_TOO_SMALL
            return (
                "Renew the authority's certificate with a key of 2048 bits or more, then the server's, and paste the authority's new one."
            )
        case 68:  # X509_V_ERR_CA_MD_TOO_WEAK
            return "Renew the certificates, signed with SHA-256 or better."
        case 26:  # X509_V_ERR_INVALID_PURPOSE
            return "Renew the server's certificate as one for servers (TLS web server authentication)."
    return "Paste the certificate of the authority that signed it."
