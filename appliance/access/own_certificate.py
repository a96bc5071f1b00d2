"""A certificate of the admin's own, from whatever files an authority gave: read, sorted, and checked before anybody is served with it.

Certificates, chain and key come as PEM, DER, PKCS #7 or PKCS #12, in any order. Nothing here says or keeps what is in a key.
"""

import contextlib
import ipaddress
import itertools
import re
import ssl
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.errors import BadInput

RSA_BITS = 2048  # browsers refuse less
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)  # what browsers know
_WEAK = ("md5", "sha1")
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_KEYS = (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"ENCRYPTED PRIVATE KEY", b"DSA PRIVATE KEY")

Certificates = Sequence[x509.Certificate]


@dataclass(frozen=True)
class OwnCertificate:
    """What can be served: `leaf` first, then what leads to its authority, and the key that belongs to it."""

    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    def pem(self) -> bytes:
        """All of it in one file, as nginx takes it: replaced as a whole, so that it always fits together."""
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (self.leaf, *self.chain)) + self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def authorities() -> list[x509.Certificate]:
    """Those that the system trusts."""
    found = []
    with warnings.catch_warnings(action="ignore"):  # some are older than the rules
        for one in ssl.create_default_context().get_ca_certs(binary_form=True):
            with contextlib.suppress(ValueError):
                found.append(x509.load_der_x509_certificate(one))
    return found


def check_own(
    files: Sequence[bytes],
    passphrase: str,
    *,
    host: str,
    other_name: bool = False,
    private_authority: bool = False,
    trusted: Certificates,
    now: datetime,
) -> OwnCertificate:
    """The certificate in these files. Raises BadInput with what is wrong and what to do.

    `host` is the name or address by which it has to be found, unless the admin says that it is for another (`other_name`). What does not
    lead to one of `trusted`, or to a root that is among the files, is refused, unless the admin says that browsers know the authority
    that is missing (`private_authority`).
    """
    certificates, keys = _read(files, passphrase)
    if not certificates:
        raise BadInput(
            "There is no certificate in what was sent.", "Choose the file that your authority gave you, often .crt, .pem or .pfx."
        )
    if not keys:
        raise BadInput(
            "The private key is missing.",
            "Choose the key that was made with the request for the certificate, often .key, or a .pfx with both.",
        )
    leaf, key = _pair(certificates, keys)
    _check_leaf(leaf, now)
    if not (other_name or covers(leaf, host)):
        raise BadInput(
            f"The certificate is not for {host}, where you are now: it is for {', '.join(names(leaf))}.",
            "Use one that has this name, open the page at the name that it has, or say below that it is for another name.",
        )
    chain = _chain(leaf, certificates, trusted, private_authority=private_authority)
    for one in chain:
        _check_valid(one, now)
        _check_signature(one)
    return OwnCertificate(leaf, tuple(chain), key)


# -- reading -----------------------------------------------------------------------------------------


def _read(files: Sequence[bytes], passphrase: str) -> tuple[list[x509.Certificate], list[PrivateKeyTypes]]:
    """Every certificate and key in the files, each once."""
    certificates: dict[bytes, x509.Certificate] = {}
    keys: dict[bytes, PrivateKeyTypes] = {}
    for content in files:
        for found in _objects(content, passphrase.encode() or None):
            if isinstance(found, x509.Certificate):
                certificates[found.public_bytes(serialization.Encoding.DER)] = found
            else:
                keys[_public(found.public_key())] = found
    return list(certificates.values()), list(keys.values())


def _public(key: object) -> bytes:
    """What two keys have in common when they belong together."""
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def _objects(content: bytes, passphrase: bytes | None) -> Iterator[x509.Certificate | PrivateKeyTypes]:
    blocks = list(_BLOCK.finditer(content))
    if not blocks:
        yield from _binary(content, passphrase)
    for block in blocks:
        kind, text = block[1], block[0]
        try:
            if kind in (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"):
                yield x509.load_pem_x509_certificate(text)
            elif kind == b"PKCS7":
                yield from pkcs7.load_pem_pkcs7_certificates(text)
            elif kind in _KEYS:
                yield _key(text, passphrase)
            elif kind == b"OPENSSH PRIVATE KEY":
                raise BadInput("That is a key for SSH.", "Choose the key that was made with the request for the certificate.")
            elif kind.endswith(b"CERTIFICATE REQUEST"):
                raise BadInput(
                    "That is a request for a certificate, which an authority has to sign.", "Choose the certificate that came back from it."
                )
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BadInput(f"A part that calls itself {kind.decode().lower()} cannot be read.", "Ask for the file again.") from error


def _key(text: bytes, passphrase: bytes | None, *, pem: bool = True) -> PrivateKeyTypes:
    load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    try:
        return load(text, password=None)
    except TypeError:  # it is encrypted
        pass
    if passphrase is None:
        raise BadInput("The key is encrypted, and its passphrase is missing.", "Enter the passphrase below.", field="passphrase")
    try:
        return load(text, password=passphrase)
    except ValueError as error:
        raise BadInput("The passphrase does not open the key.", "Enter it again, or choose another key.", field="passphrase") from error


def _binary(content: bytes, passphrase: bytes | None) -> Iterator[x509.Certificate | PrivateKeyTypes]:
    """What is no text: each format in turn, as none says what it is."""
    with contextlib.suppress(ValueError, UnsupportedAlgorithm):
        yield x509.load_der_x509_certificate(content)
        return
    with contextlib.suppress(ValueError, UnsupportedAlgorithm):
        yield from pkcs7.load_der_pkcs7_certificates(content)
        return
    with contextlib.suppress(ValueError, UnsupportedAlgorithm):
        yield _key(content, passphrase, pem=False)
        return
    bundle = _bundle(content, passphrase)
    if bundle.key is not None:
        yield bundle.key
    for one in (bundle.cert, *bundle.additional_certs):
        if one is not None:
            yield one.certificate


def _bundle(content: bytes, passphrase: bytes | None) -> pkcs12.PKCS12KeyAndCertificates:
    refused: ValueError | None = None
    # Some programs mean nothing, and others an empty one, when none was given.
    for word in dict.fromkeys((passphrase, b"") if passphrase is None else (passphrase,)):
        try:
            return pkcs12.load_pkcs12(content, word)
        except UnsupportedAlgorithm as error:
            raise BadInput("The PKCS #12 file is encrypted in a way that is not known here.", "Export it again, with AES.") from error
        except ValueError as error:
            refused = error
    if "password" in str(refused).lower():
        said = "does not open it" if passphrase else "is missing"
        raise BadInput(
            f"The file seems to be PKCS #12, and its passphrase {said}.", "Enter the passphrase below.", field="passphrase"
        ) from refused
    raise BadInput(
        "A file is neither a certificate nor a key.", "PEM, DER, PKCS #7 (.p7b) and PKCS #12 (.pfx, .p12) can be read."
    ) from refused


# -- checking ----------------------------------------------------------------------------------------


def _pair(
    certificates: Certificates, keys: Sequence[PrivateKeyTypes]
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]:
    """The certificate that belongs to the key; a renewed one has the same key, so it is the one that is good the longest."""
    known = {_public(key.public_key()): key for key in keys}
    fitting = [(one, known[public]) for one in certificates if (public := _public(one.public_key())) in known]
    if not fitting:
        ends = [one for one in certificates if not _is_authority(one)] or certificates
        raise BadInput(
            f"The key does not belong to the certificate of {', '.join(_called(one) for one in ends)}.",
            "Choose the key that was made with the request for this certificate.",
        )
    leaf, key = max(fitting, key=lambda found: found[0].not_valid_after_utc)
    return leaf, _strong(key)


def _strong(key: PrivateKeyTypes) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size >= RSA_BITS:
            return key
        said = f"The key is too weak: RSA of {key.key_size} bits."
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        if isinstance(key.curve, CURVES):
            return key
        said = f"Browsers do not know the key's curve, {key.curve.name}."
    else:
        said = "Browsers do not know this kind of key."
    raise BadInput(said, f"Have a certificate made for a key of P-256 or P-384, or RSA of {RSA_BITS} bits or more.")


def _check_leaf(leaf: x509.Certificate, now: datetime) -> None:
    _check_valid(leaf, now)
    _check_signature(leaf)
    if _is_authority(leaf) and not _is_own_issuer(leaf):
        raise BadInput(
            f"{_called(leaf)} is the certificate of an authority, not of a server.", "Choose the one that was made for this server."
        )
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        purposes = None
    if purposes is not None and not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(purposes):
        raise BadInput("The certificate is not for servers.", "Have one made for a web server (server authentication).")
    if not names(leaf):
        raise BadInput(
            "The certificate has no name that browsers look at (subject alternative name).",
            "Have one made that has this server's name there.",
        )


def _check_valid(one: x509.Certificate, now: datetime) -> None:
    if one.not_valid_after_utc < now:
        raise BadInput(f"The certificate of {_called(one)} expired on {one.not_valid_after_utc:%Y-%m-%d}.", "Have a new one made.")
    if one.not_valid_before_utc > now + timedelta(minutes=5):
        raise BadInput(
            f"The certificate of {_called(one)} is not valid before {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC.",
            "Wait until then, or set this server's clock if it is wrong.",
        )


def _check_signature(one: x509.Certificate) -> None:
    algorithm = one.signature_hash_algorithm
    if algorithm is not None and algorithm.name in _WEAK:
        raise BadInput(
            f"The certificate of {_called(one)} is signed with {algorithm.name.upper()}, which browsers refuse.", "Have a new one made."
        )


def _chain(leaf: x509.Certificate, certificates: Certificates, trusted: Certificates, *, private_authority: bool) -> list[x509.Certificate]:
    """What leads from the leaf to its authority, in order, without the root, which browsers have; what else was sent is left out."""
    chain: list[x509.Certificate] = []
    last = leaf
    while not _is_own_issuer(last):
        if any(_issued(last, root) for root in trusted):
            return chain
        above = [one for one in certificates if one not in (leaf, *chain) and _is_authority(one) and _issued(last, one)]
        if not above:
            break
        last = max(above, key=lambda one: (not _is_own_issuer(one), one.not_valid_after_utc))
        if _is_own_issuer(last):
            return chain
        chain.append(last)
    if private_authority:
        return chain
    if last is leaf and _is_own_issuer(leaf):
        raise BadInput(
            "The certificate is signed by itself, so browsers warn of it as of the appliance's own.",
            "Use one from an authority, or say below that your browsers know it.",
        )
    raise BadInput(
        f"The chain is incomplete: {_called(last)} was issued by {_issuer(last)}, whose certificate is missing.",
        "Add the intermediate certificates that your authority offers with it. If your browsers know that authority already, as in a house"
        " with one of its own, say so below.",
    )


def _issued(one: x509.Certificate, by: x509.Certificate) -> bool:
    if one.issuer != by.subject:
        return False
    try:
        one.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_own_issuer(one: x509.Certificate) -> bool:
    return _issued(one, one)


def _is_authority(one: x509.Certificate) -> bool:
    try:
        return one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


# -- telling -----------------------------------------------------------------------------------------


def names(leaf: x509.Certificate) -> list[str]:
    """The names and addresses that it is for."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def covers(leaf: x509.Certificate, host: str) -> bool:
    """Whether a browser takes it for this name or address."""
    return are_for(names(leaf), host)


def are_for(names: Iterable[str], host: str) -> bool:
    """Whether a certificate with these names is good for this name or address. A star stands for one part of a name, the first."""
    try:
        return str(ipaddress.ip_address(host.strip("[]"))) in names
    except ValueError:
        pass
    host = host.lower().rstrip(".")
    wild = f"*.{host.partition('.')[2]}"
    return any(name.lower() in (host, wild) for name in names)


def _called(one: x509.Certificate) -> str:
    found = itertools.chain(names(one), (str(part.value) for part in one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)))
    return next(found, "") or one.subject.rfc4514_string() or "one without a name"


def _issuer(one: x509.Certificate) -> str:
    common = one.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else one.issuer.rfc4514_string()


def about(chain: Certificates) -> dict[str, object]:
    """What a page shows of a certificate and what comes with it: names, times (ISO), issuer, key, fingerprint and the chain's names."""
    leaf = chain[0]
    key = leaf.public_key()
    kind = ""
    if isinstance(key, rsa.RSAPublicKey):
        kind = f"RSA, {key.key_size} bits"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        kind = f"EC, P-{key.key_size}" if isinstance(key.curve, CURVES) else f"EC, {key.curve.name}"
    return {
        "names": names(leaf),
        "begins": leaf.not_valid_before_utc.isoformat(),
        "ends": leaf.not_valid_after_utc.isoformat(),
        "issuer": _issuer(leaf),
        "key": kind,
        "chain": [_called(one) for one in chain[1:]],
    }
