"""A certificate of one's own, from whatever an authority gave: what is accepted, how it is sorted, and what is said of the rest."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.access import own_certificate
from appliance.errors import BadInput
from tests.authority import DAY, NOW, Signed, root

pytestmark = pytest.mark.cases

HOST = "dpe.example.org"
ROOT = root()
MIDDLE = ROOT.sign("House Middle", ca=True)
LEAF = MIDDLE.sign("dpe", names=(HOST, "dpe"))
OTHER = root("Another Root")


def check(
    *files: bytes, passphrase: str = "", host: str = HOST, trusted: tuple[Signed, ...] = (ROOT,), **more: Any
) -> own_certificate.OwnCertificate:
    return own_certificate.check_own(files, passphrase, host=host, trusted=[one.certificate for one in trusted], now=NOW, **more)


def bundle(passphrase: bytes, *more: Signed) -> bytes:
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return pkcs12.serialize_key_and_certificates(b"dpe", LEAF.key, LEAF.certificate, [one.certificate for one in more], how)


@pytest.mark.parametrize(
    ("files", "passphrase"),
    [
        ([LEAF.pem, MIDDLE.pem, LEAF.key_pem()], ""),
        ([MIDDLE.pem + LEAF.pem, LEAF.key_pem()], ""),  # the intermediate first
        ([LEAF.key_pem() + OTHER.pem + ROOT.pem + LEAF.pem + MIDDLE.pem], ""),  # all in one, with what does not belong to it
        ([LEAF.pem + MIDDLE.pem, LEAF.key_pem(b"correct horse")], "correct horse"),
        ([LEAF.pem + MIDDLE.pem, LEAF.key_pem(b"correct horse", serialization.PrivateFormat.TraditionalOpenSSL)], "correct horse"),
        ([LEAF.pem + MIDDLE.pem, b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + LEAF.key_pem()], ""),
        ([LEAF.der, MIDDLE.der, LEAF.key_pem()], ""),
        ([LEAF.der, pkcs7.serialize_certificates([MIDDLE.certificate], serialization.Encoding.DER), LEAF.key_pem()], ""),
        ([pkcs7.serialize_certificates([MIDDLE.certificate, LEAF.certificate], serialization.Encoding.PEM), LEAF.key_pem()], ""),
        ([bundle(b"correct horse", MIDDLE, ROOT)], "correct horse"),
        ([bundle(b"", MIDDLE)], ""),
        ([bundle(b"correct horse"), MIDDLE.pem], "correct horse"),
    ],
)
def test_any_form_and_order_becomes_leaf_chain_and_key(files: list[bytes], passphrase: str, tmp_path: Path) -> None:
    found = check(*files, passphrase=passphrase)
    assert (found.leaf, found.chain) == (LEAF.certificate, (MIDDLE.certificate,))
    whole = tmp_path / "own.pem"
    whole.write_bytes(found.pem())
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(whole)
    assert x509.load_pem_x509_certificates(found.pem()) == [LEAF.certificate, MIDDLE.certificate]


def test_a_root_that_is_sent_along_is_as_good_as_a_known_one() -> None:
    assert check(LEAF.pem, ROOT.pem + MIDDLE.pem, LEAF.key_pem(), trusted=()).chain == (MIDDLE.certificate,)


def test_an_rsa_key_and_a_renewed_certificate_for_the_same_key() -> None:
    key = rsa.generate_private_key(65537, 2048)
    old, new = (MIDDLE.sign("dpe", key=key, names=(HOST,), ends=NOW + days * DAY) for days in (3, 90))
    assert check(old.pem + new.pem, MIDDLE.pem, new.key_pem()).leaf == new.certificate


def weak(key: Any) -> list[bytes]:
    leaf = MIDDLE.sign("dpe", key=key, names=(HOST,))
    return [leaf.pem, MIDDLE.pem, leaf.key_pem()]


def leaf(**changes: Any) -> list[bytes]:
    made = MIDDLE.sign("dpe", **{"names": (HOST,), **changes})
    return [made.pem, MIDDLE.pem, made.key_pem()]


FAR = ROOT.sign("Old Middle", ca=True, ends=NOW - DAY / 2)
BELOW_OLD = FAR.sign("dpe", names=(HOST,))


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("files", "passphrase", "said"),
    [
        ([LEAF.pem, LEAF.key_pem()], "", "chain is incomplete: dpe.example.org was issued by House Middle, whose certificate is missing"),
        ([LEAF.pem + ROOT.pem, LEAF.key_pem()], "", "chain is incomplete"),  # a wrong intermediate
        ([LEAF.pem + root("House Middle").pem, LEAF.key_pem()], "", "chain is incomplete"),  # of the right name, with another key
        ([LEAF.pem, MIDDLE.pem, MIDDLE.sign("x").key_pem()], "", "key does not belong to the certificate of dpe.example.org"),
        ([LEAF.pem, MIDDLE.pem], "", "private key is missing"),
        ([LEAF.key_pem()], "", "no certificate"),
        ([LEAF.pem + MIDDLE.pem, LEAF.key_pem(b"correct horse")], "", "encrypted, and its passphrase is missing"),
        ([LEAF.pem + MIDDLE.pem, LEAF.key_pem(b"correct horse")], "wrong", "passphrase does not open the key"),
        ([bundle(b"correct horse", MIDDLE)], "", "passphrase is missing"),
        ([bundle(b"correct horse", MIDDLE)], "wrong", "passphrase does not open it"),
        ([b"nonsense"], "", "neither a certificate nor a key"),
        ([b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"], "", "calls itself certificate cannot be read"),
        ([b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"], "", "a request for a certificate"),
        ([b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"], "", "a key for SSH"),
        (leaf(names=()), "", "no name that browsers look at"),
        (leaf(begins=NOW - 9 * DAY, ends=NOW - DAY), "", "dpe.example.org expired on"),
        (leaf(begins=NOW + DAY), "", "not valid before"),
        (leaf(purpose=ExtendedKeyUsageOID.CLIENT_AUTH), "", "not for servers"),
        ([BELOW_OLD.pem, FAR.pem, BELOW_OLD.key_pem()], "", "Old Middle expired on"),
        ([MIDDLE.pem, MIDDLE.key_pem()], "", "certificate of an authority"),
        (weak(rsa.generate_private_key(65537, 1024)), "", "too weak: RSA of 1024 bits"),
        (weak(ec.generate_private_key(ec.SECP256K1())), "", "do not know the key's curve"),
        (weak(ed25519.Ed25519PrivateKey.generate()), "", "do not know this kind of key"),
    ],
)
def test_what_cannot_be_used_is_told_what_is_wrong_with_it(files: list[bytes], passphrase: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        check(*files, passphrase=passphrase)
    assert caught.value.hint


@pytest.mark.badinput
def test_the_chain_of_a_private_authority_is_taken_only_when_the_admin_says_so() -> None:
    with pytest.raises(BadInput, match="chain is incomplete: House Middle was issued by House Root") as caught:
        check(LEAF.pem, MIDDLE.pem, LEAF.key_pem(), trusted=(OTHER,))
    assert "say so below" in caught.value.hint
    assert check(LEAF.pem, MIDDLE.pem, LEAF.key_pem(), trusted=(OTHER,), private_authority=True).chain == (MIDDLE.certificate,)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("names", "host", "good"),
    [
        (("dpe.example.org",), "dpe.example.org", True),
        (("DPE.example.org",), "dpe.Example.org", True),
        (("*.example.org",), "dpe.example.org", True),
        (("*.example.org",), "a.dpe.example.org", False),
        (("*.example.org",), "example.org", False),
        (("dpe.example.org",), "192.0.2.1", False),
        (("other.example.org",), "dpe.example.org", False),
    ],
)
def test_the_name_has_to_fit_unless_the_admin_says_that_it_is_for_another(names: tuple[str, ...], host: str, good: bool) -> None:
    files = leaf(names=names)
    if not good:
        with pytest.raises(BadInput, match=f"not for {host}, where you are now: it is for "):
            check(*files, host=host)
    assert check(*files, host=host, other_name=not good).leaf


def test_the_system_has_authorities() -> None:
    assert len(own_certificate.authorities()) > 50
