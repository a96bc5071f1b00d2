"""The appliance as an authority for SSH: it signs host keys of machines, so that nobody is asked whether they know one, and for minutes keys of
people.

Its keys are made from the appliance's own secret: they are kept nowhere, and go with a backup. One signs machines and another people.
"""

import re
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHCertificate,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_public_identity,
    load_ssh_public_key,
)

from appliance.errors import BadInput
from appliance.identity import secrets

HOSTS, PEOPLE, SERVER = "ssh authority", "ssh authority of people", "ssh server"  # what its keys are for
GOOD_FOR = timedelta(days=366)  # longer than anybody holds a machine
MINUTES = timedelta(minutes=10)
SLACK = timedelta(hours=1)  # by which the clock of whoever looks may be behind


def _key(purpose: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(secrets.derived(purpose))


def _public(purpose: str) -> str:
    """Type and base64 text."""
    return _key(purpose).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def user_authority() -> str:
    """The public key by which certificates of people are known: type and base64 text."""
    return _public(PEOPLE)


def server_key(moment: datetime) -> tuple[str, str]:
    """The host key of the appliance's own SSH server, as a file has it, and its certificate. Whatever it is called, it is known by that."""
    key = _key(SERVER)
    builder: Any = _builder(key.public_key(), SSHCertificateType.HOST, b"dpe", moment, GOOD_FOR)
    certificate = builder.valid_for_all_principals().sign(_key(HOSTS))
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(), certificate.public_bytes().decode() + "\n"


def name_of(account_id: int) -> str:
    """The principal of a person's certificate. A number is given once, a name may be again."""
    return f"account-{account_id}"


def sign_user(key: str, account_id: int, moment: datetime) -> str:
    """A certificate for somebody's public key, a line: for ten minutes it opens connections through the appliance, and nothing else."""
    public = load_ssh_public_key(" ".join(key.split(" ", 2)[:2]).encode())
    name = name_of(account_id).encode()
    builder = _builder(public, SSHCertificateType.USER, name, moment, MINUTES).valid_principals([name])
    return builder.add_extension(b"permit-port-forwarding", b"").sign(_key(PEOPLE)).public_bytes().decode()


def principal(certificate: str, moment: datetime) -> int | None:
    """Whose a certificate of ours is that is good now: the account's number; None for anything else."""
    try:
        found = load_ssh_public_identity(certificate.encode())
        if not isinstance(found, SSHCertificate) or found.type is not SSHCertificateType.USER:
            return None
        found.verify_cert_signature()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        return None
    ours = found.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() == user_authority()
    name = re.fullmatch(rb"account-(\d+)", found.valid_principals[0]) if len(found.valid_principals) == 1 else None
    return int(name[1]) if ours and name and found.valid_after <= moment.timestamp() < found.valid_before else None


def _builder(key: Any, kind: SSHCertificateType, id: bytes, moment: datetime, good_for: timedelta) -> SSHCertificateBuilder:
    builder = SSHCertificateBuilder().public_key(key).type(kind).key_id(id)
    return builder.valid_after(int((moment - SLACK).timestamp())).valid_before(int((moment + good_for).timestamp()))


def known_hosts(patterns: list[str]) -> str:
    """The line for a file known_hosts with which whatever has one of these names is known (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    assert all(re.fullmatch(r"[\w.*?:\[\]-]+", one, re.ASCII) for one in patterns)
    return f"@cert-authority {','.join(patterns)} {_public(HOSTS)}"


def sign_host(key: str, names: list[str], moment: datetime) -> str:
    """A certificate for a machine's host key, a line as in a file like ssh_host_ed25519_key-cert.pub; it says that it has these names.

    `key` comes out of the machine: it may be anything. Raises BadInput for what is no Ed25519 key.
    """
    try:
        public = load_ssh_public_key(key.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInput("The machine's host key is none.") from error
    if not isinstance(public, Ed25519PublicKey):
        raise BadInput("The machine's host key is of another kind.")
    builder = _builder(public, SSHCertificateType.HOST, names[0].encode(), moment, GOOD_FOR)
    return builder.valid_principals([name.encode() for name in names]).sign(_key(HOSTS)).public_bytes().decode()
