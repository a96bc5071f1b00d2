"""The keys that sign updates: a certificate authority, whose certificate is in every image, and the key that it vouches for."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance import durable
from appliance.errors import BadInput

CA, CA_KEY, CERTIFICATE, KEY = "ca.pem", "ca.key", "signing.pem", "signing.key"
# A server whose clock was lost must still take an update, and one that stood in a cupboard for years, too.
BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)


def ensure(folder: Path) -> None:
    """Make the keys if there are none. Raises BadInput when only some are there."""
    there = [(folder / name).exists() for name in (CA, CERTIFICATE, KEY)]
    if all(there):
        return
    if any(there):
        raise BadInput(f"{folder} lacks one of {CA}, {CERTIFICATE} and {KEY}.", "Put it there, or name another folder with KEYS=.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("DPE Appliance updates", ca_key, "DPE Appliance updates", ca_key, authority=True)
    signing = _certificate("DPE Appliance builds", key, "DPE Appliance updates", ca_key, authority=False)
    durable.write(folder / CA_KEY, _pem(ca_key))
    durable.write(folder / KEY, _pem(key))
    durable.write(folder / CERTIFICATE, signing.public_bytes(serialization.Encoding.PEM), mode=0o644)
    durable.write(folder / CA, ca.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, *, authority: bool
) -> x509.Certificate:
    usage = {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(END)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage, **dict.fromkeys(others, False)), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
