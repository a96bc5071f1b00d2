"""Connections to servers of others: found, reached, encrypted, their certificate checked, and cut when time is over; and why not, in words."""

import contextlib
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

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


class Refused(DpeError):
    """Somebody outside said no, or is not who they should be; trying again does not help. What may pass is Unavailable."""


def check_host(text: str) -> str:
    """The name or address of a host. Raises BadInput."""
    text = text.strip()
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        if not NAME.fullmatch(text):
            raise BadInput(
                f"{text[:60]!r} is not a name or address of a host.", "Write one like server.example.org or 192.0.2.10."
            ) from None
        return text


def check_port(text: str, hint: str) -> int:
    """The number of a port. Raises BadInput, which says `hint`."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise BadInput(f"{text[:20]!r} is not a port.", hint)
    return int(text)


def check_authority(pem: str) -> str:
    """The certificates of an authority, as PEM; empty stays empty. Raises BadInput."""
    pem = pem.strip()
    try:
        if pem and not x509.load_pem_x509_certificates(pem.encode()):
            raise ValueError
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInput("The authority's certificate cannot be read.", "Paste it whole, with its BEGIN and END lines.") from error
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


def explain(error: OSError | UnicodeError, host: str, port: int, *, connected: bool = True) -> DpeError:
    """What the error means and what to do; Unavailable when it may pass by itself, else Refused."""
    where = f"{host}:{port}"
    match error:
        case socket.gaierror() | UnicodeError():
            return Unavailable(f"There is no host called {host}.", "Check the name, and the appliance's own name server.")
        case ssl.SSLCertVerificationError():
            return Refused(f"{where} shows a certificate that cannot be trusted: {error.verify_message.rstrip('.')}.", _mend(error))
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Unavailable(f"{where} hung up, or does not speak TLS.", "Check port and encryption, then look at the server's log.")
        case ssl.SSLError() if error.reason in OLD:
            return Refused(f"{where} speaks only an old TLS: {error.reason}.", OLD[error.reason])
        case ssl.SSLError():
            return Refused(f"{where} does not speak TLS: {error.reason or error}.", "Check port and encryption.")
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
