"""The appliance as an authority for SSH: it signs host keys of machines, so that nobody is asked whether they know one.

Its key is made from the appliance's own secret: it is kept nowhere, and goes with a backup.
"""

import re
from datetime import datetime, timedelta

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_public_key,
)

from appliance.errors import BadInput
from appliance.identity import secrets

GOOD_FOR = timedelta(days=366)  # longer than anybody holds a machine
SLACK = timedelta(hours=1)  # by which the clock of whoever looks may be behind


def _key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(secrets.derived("ssh authority"))


def public_key() -> str:
    """Its public key: type and base64 text."""
    return _key().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def known_hosts(patterns: list[str]) -> str:
    """The line for a file known_hosts with which whatever has one of these names is known (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    assert all(re.fullmatch(r"[\w.*?:\[\]-]+", one, re.ASCII) for one in patterns)
    return f"@cert-authority {','.join(patterns)} {public_key()}"


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
    certificate = (
        SSHCertificateBuilder()
        .public_key(public)
        .type(SSHCertificateType.HOST)
        .key_id(names[0].encode())
        .valid_principals([name.encode() for name in names])
        .valid_after(int((moment - SLACK).timestamp()))
        .valid_before(int((moment + GOOD_FOR).timestamp()))
        .sign(_key())
    )
    return certificate.public_bytes().decode()
