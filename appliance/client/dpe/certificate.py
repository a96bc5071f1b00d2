"""The appliance's certificate. Where computers do not know its issuer it is pinned: the first look is compared by people, by its fingerprint, and from
then on that certificate and no other is let be the appliance's.
"""

import hashlib
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

from dpe.errors import Untrusted


class _Socket(ssl.SSLSocket):
    """A connection that ends in its handshake unless the other side has just the pinned certificate."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT002 - as ssl has it
        super().do_handshake(block)
        _check(self)


class _Object(ssl.SSLObject):
    """The same for asyncio."""

    def do_handshake(self) -> None:
        super().do_handshake()
        _check(self)


def _check(connection: ssl.SSLSocket | ssl.SSLObject) -> None:
    context = connection.context
    assert isinstance(context, Pinned)
    if connection.getpeercert(binary_form=True) != context.leaf:
        raise ssl.SSLCertVerificationError("it is not the pinned certificate")


class Pinned(ssl.SSLContext):
    """Trusts one certificate. Its name counts for nothing, as no other certificate is let in, not even one that it has signed."""

    leaf: bytes

    def __new__(cls, pem: str) -> "Pinned":
        self = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        self.check_hostname = False
        self.verify_mode = ssl.CERT_REQUIRED
        self.minimum_version = ssl.TLSVersion.TLSv1_2
        self.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it may be signed by an issuer that nobody here knows
        self.load_verify_locations(cadata=pem)
        self.leaf = ssl.PEM_cert_to_DER_cert(pem)
        self.sslsocket_class, self.sslobject_class = _Socket, _Object
        return self

    def __init__(self, pem: str) -> None:
        pass


def context(pem: str) -> ssl.SSLContext:
    """What connections are made with: the pinned certificate or, without one, those that this computer trusts."""
    return Pinned(pem) if pem else ssl.create_default_context()


def fetch(address: str, timeout: float = 10) -> str:
    """The certificate of whatever answers at the address, unverified, as PEM. Raises OSError."""
    host, port = _place(address)
    return ssl.get_server_certificate((host, port), timeout=timeout)


def is_trusted(address: str, timeout: float = 10) -> bool:
    """Whether this computer trusts the certificate there by itself. Raises OSError when nothing answers."""
    host, port = _place(address)
    with socket.create_connection((host, port), timeout) as raw:
        try:
            with ssl.create_default_context().wrap_socket(raw, server_hostname=host):
                return True
        except ssl.SSLCertVerificationError:
            return False


def pinned(address: str, fingerprint: str) -> str:
    """The certificate at the address, as PEM, if its fingerprint is this one. Raises Untrusted and OSError."""
    pem = fetch(address)
    if plain(fingerprint) != plain(fingerprint_of(pem)):
        raise Untrusted(
            f"{address} has a certificate with the fingerprint {fingerprint_of(pem)}.",
            "That is not the one that was given: do not go on before you know why.",
        )
    return pem


def fingerprint_of(pem: str) -> str:
    """The SHA-256 fingerprint as browsers and the appliance show it: AB:CD:..."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def plain(fingerprint: str) -> str:
    """A fingerprint for comparing, however it was written."""
    return fingerprint.replace(":", "").replace(" ", "").removeprefix("sha256").lower()


def _place(address: str) -> tuple[str, int]:
    parts: Any = urlsplit(address)
    return parts.hostname or "", parts.port or 443
