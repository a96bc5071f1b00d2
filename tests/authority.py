"""Certificates as authorities give them, made in memory: a root, an intermediate, and what they sign."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


@dataclass(frozen=True)
class Signed:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    def sign(
        self,
        common: str,
        *,
        key: Any = None,
        names: tuple[str, ...] = (),
        ca: bool = False,
        begins: dt.datetime = NOW - DAY,
        ends: dt.datetime = NOW + 90 * DAY,
        purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.SERVER_AUTH,
    ) -> "Signed":
        """One below this one."""
        return _made(common, key or ec.generate_private_key(ec.SECP256R1()), self, names, ca, begins, ends, purpose)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def key_pem(self, passphrase: bytes = b"", form: Any = serialization.PrivateFormat.PKCS8) -> bytes:
        how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        encoded: bytes = self.key.private_bytes(serialization.Encoding.PEM, form, how)
        return encoded


def root(common: str = "House Root") -> Signed:
    return _made(common, ec.generate_private_key(ec.SECP384R1()), None, (), True, NOW - DAY, NOW + 3650 * DAY, None)


def _made(
    common: str,
    key: Any,
    by: Signed | None,
    names: tuple[str, ...],
    ca: bool,
    begins: dt.datetime,
    ends: dt.datetime,
    purpose: x509.ObjectIdentifier | None,
) -> Signed:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common))
        .issuer_name(by.certificate.subject if by else name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
    if not ca and purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return Signed(builder.sign(by.key if by else key, hashes.SHA256()), key)
