"""Reaching servers of others: in time, whatever their name server does, and why not in words that help."""

import contextlib
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance import connect

pytestmark = pytest.mark.cases

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(connect.socket, "getaddrinfo", lambda *_, **__: over.wait(10) and [])
    begun = time.monotonic()
    with pytest.raises(socket.gaierror) as caught:
        connect.connect("ldap.example.org", 389, 0.05)
    assert time.monotonic() - begun < 2
    assert connect.explain(caught.value, "ldap.example.org", 389).hint == "Check the name, and the appliance's own name server."
    over.set()


def _certificate(name: str, key: Key, issuer: str, signer: Key, *, usage: x509.ObjectIdentifier, ca: bool = False) -> bytes:
    moment = datetime.now(UTC)

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    made = (
        x509.CertificateBuilder(named(issuer), named(name), key.public_key(), 1, moment - timedelta(1), moment + timedelta(30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    if not ca:
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("bits", "authority_bits", "usage", "hint"),
    [
        (1024, 0, ExtendedKeyUsageOID.SERVER_AUTH, "Renew the server's certificate with a key of 2048 bits or more."),
        (0, 1024, ExtendedKeyUsageOID.SERVER_AUTH, "Renew the authority's certificate with a key of 2048 bits or more"),
        (0, 0, ExtendedKeyUsageOID.CLIENT_AUTH, "Renew the server's certificate as one for servers"),
    ],
)
def test_a_certificate_that_is_pasted_and_still_not_good_enough_says_what_is_wrong_with_it(
    tmp_path: Path, bits: int, authority_bits: int, usage: x509.ObjectIdentifier, hint: str
) -> None:
    def key(bits: int) -> Key:
        return rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())

    authority_key, server_key = key(authority_bits), key(bits)
    authority = _certificate("Office", authority_key, "Office", authority_key, usage=usage, ca=True)
    plain = serialization.NoEncryption()
    (tmp_path / "server.pem").write_bytes(
        _certificate("localhost", server_key, "Office", authority_key, usage=usage)
        + server_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.set_ciphers("DEFAULT@SECLEVEL=0")
    serving.load_cert_chain(tmp_path / "server.pem")
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, contextlib.suppress(OSError):
            serving.wrap_socket(theirs, server_side=True).recv(1)

    server = threading.Thread(target=serve)
    server.start()
    with ours, pytest.raises(ssl.SSLCertVerificationError) as caught:
        connect.trust(authority.decode()).wrap_socket(ours, server_hostname="localhost")
    server.join(10)
    assert connect.explain(caught.value, "localhost", 636).hint.startswith(hint)


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("UNSUPPORTED_PROTOCOL", "Let the server speak TLS 1.2 or newer."),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "Let the server speak TLS 1.2 or newer."),
        ("DH_KEY_TOO_SMALL", "Give the server Diffie-Hellman parameters of 2048 bits or more, or elliptic curves."),
        ("WRONG_VERSION_NUMBER", "Check port and encryption."),
    ],
)
def test_a_server_whose_tls_is_too_old_is_told_from_one_that_speaks_none(reason: str, hint: str) -> None:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    assert connect.explain(error, "localhost", 636).hint == hint
