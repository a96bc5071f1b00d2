"""The front door's certificate: the admin's own, or one that the appliance signs for itself.

The admin's own are `own.crt` (with its chain) and `own.key` in the state directory's `tls`; they win. One that came over the page
is `own.pem`, with its chain and key in one file, checked by `own.py` before it got there. Else `appliance.crt` and `appliance.key` are made at first start, and again before they run out.
"""

import ipaddress
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance import durable
from appliance.errors import BadInput
from appliance.settings import Settings

LIFE = timedelta(days=397)  # the longest that every browser accepts
RENEW = timedelta(days=30)


def ensure(settings: Settings, now: datetime | None = None) -> tuple[Path, Path]:
    """The paths of certificate and key to serve, made or renewed if need be.

    Raises BadInput when the admin's own pair cannot be served.
    """
    now = now or datetime.now(UTC)
    own, sent = _put_there(settings), settings.tls / "own.pem"
    if all(file.exists() for file in own) or (any(file.exists() for file in own) and not sent.exists()):
        _check_own(*own, now)
        return own
    if sent.exists() and not complaint(settings):
        return sent, sent
    certificate, key = settings.tls / "appliance.crt", settings.tls / "appliance.key"
    if not (key.exists() and certificate.exists() and _serves(certificate, settings, now)):
        _make(certificate, key, settings, now)
    return certificate, key


def _put_there(settings: Settings) -> tuple[Path, Path]:
    """Where an admin with a shell puts certificate and key."""
    return settings.tls / "own.crt", settings.tls / "own.key"


def served(settings: Settings) -> Path:
    """The certificate that is served; nothing is made for it."""
    put, sent = _put_there(settings)[0], settings.tls / "own.pem"
    return put if put.exists() else sent if sent.exists() and not complaint(settings) else settings.tls / "appliance.crt"


def complaint(settings: Settings) -> str:
    """Why the certificate that came over the page cannot be served, and ours is in its place; empty when it can, or there is none.

    One that has expired is served on: browsers let an admin pass who looks at it, and the page to replace it is behind it.
    """
    sent = settings.tls / "own.pem"
    if not sent.exists():
        return ""
    try:
        _read_own(sent, sent)
    except BadInput as error:
        return error.message
    return ""


def use_own(settings: Settings, pem: bytes) -> None:
    """Serve this certificate with its chain and key, as `own.Own.pem` gives it; whoever runs nginx sees that the file has changed."""
    durable.write(settings.tls / "own.pem", pem, mode=0o600)
    for file in _put_there(settings):
        file.unlink(missing_ok=True)


def forget_own(settings: Settings) -> None:
    """Serve ours again."""
    for file in (settings.tls / "own.pem", *reversed(_put_there(settings))):
        file.unlink(missing_ok=True)


def add_names(settings: Settings, names: list[str]) -> str:
    """Have the certificate that we sign ourselves carry these names or addresses, too; the key stays. Returns the one that it replaced,
    PEM, or nothing when there was none to replace: it is the admin's own, or has them already."""
    certificate, key = ensure(settings)
    if certificate.name != "appliance.crt":
        return ""
    before = certificate.read_bytes()
    alternative = x509.load_pem_x509_certificate(before).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    wanted = [_name(name) for name in names]
    if set(wanted) <= set(alternative):
        return ""
    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    every = list(dict.fromkeys([*alternative, *wanted]))
    durable.write(certificate, _sign(private, every, datetime.now(UTC)), mode=0o644)
    return before.decode()


def put_back(settings: Settings, before: str) -> None:
    """Serve again what `add_names` replaced."""
    durable.write(settings.tls / "appliance.crt", before, mode=0o644)


def fingerprint(certificate: Path) -> str:
    """The SHA-256 fingerprint as browsers show it: AB:CD:..."""
    return x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(hashes.SHA256()).hex(":").upper()


def _check_own(certificate: Path, key: Path, now: datetime) -> None:
    leaf = _read_own(certificate, key)
    if leaf.not_valid_after_utc < now:
        raise BadInput(f"Your own TLS certificate {certificate} expired on {leaf.not_valid_after_utc:%Y-%m-%d}.", _hint(certificate))


def _hint(certificate: Path) -> str:
    return f"Put a PEM certificate with its chain and its unencrypted key there, or remove both files from {certificate.parent}."


def _read_own(certificate: Path, key: Path) -> x509.Certificate:
    """The certificate, when it can be read and belongs to the key. Raises BadInput."""
    hint = _hint(certificate)
    try:
        leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadInput(f"Your own TLS certificate {certificate} or its key {key.name} cannot be read: {error}.", hint) from error
    if private.public_key() != leaf.public_key():
        raise BadInput(f"Your own TLS certificate {certificate} does not belong to the key {key.name} beside it.", hint)
    return leaf


def _serves(certificate: Path, settings: Settings, now: datetime) -> bool:
    """Whether our certificate is good for a while and has every name asked for in the settings."""
    try:
        made = x509.load_pem_x509_certificate(certificate.read_bytes())
    except ValueError:
        return False
    names = set(made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    return made.not_valid_after_utc - RENEW > now and set(_asked(settings)) <= names


def _asked(settings: Settings) -> list[x509.GeneralName]:
    return [_name(text) for part in settings.names.split(",") if (text := part.strip())]


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return x509.DNSName(text.encode("idna").decode().lower())
    except UnicodeError as error:
        raise BadInput(
            f"The setting names has {text!r}, which is no host name.", "Write names and addresses separated by commas."
        ) from error


def _names(settings: Settings) -> list[x509.GeneralName]:
    host = socket.gethostname()
    names = [host, socket.getfqdn(), f"{host.partition('.')[0]}.local", "localhost", "127.0.0.1", "::1"]
    for addresses in psutil.net_if_addrs().values():
        names += [found.address for found in addresses if found.family is socket.AF_INET]
    # A host may call itself by what is no name at all; that is no reason to have no certificate.
    usable = [
        _name(name) for name in names if name.isascii() and 0 < len(name) < 254 and not name.startswith((".", "-")) and ".." not in name
    ]
    return list(dict.fromkeys(usable + _asked(settings)))


def own_names(settings: Settings) -> set[str]:
    """The names and addresses that this host has itself, as far as it knows."""
    return {str(name.value).lower() for name in _names(settings)}


def _make(certificate: Path, key: Path, settings: Settings, now: datetime) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # Certificate last: a start cut off in between finds no certificate, and makes both again.
    certificate.unlink(missing_ok=True)
    durable.write(key, pem)
    durable.write(certificate, _sign(private, _names(settings), now), mode=0o644)


def _sign(private: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName], now: datetime) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "DPE Appliance")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of small networks differ
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)
