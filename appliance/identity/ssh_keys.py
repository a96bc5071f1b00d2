"""Public SSH keys, as people paste them: the one place where they are checked, for forms, for the catalog and for machines."""

import re
from base64 import b64decode, b64encode
from collections.abc import Collection
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from appliance.errors import BadInput

TYPES = frozenset(
    {
        "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)  # fmt: skip
MAKE = "ssh-keygen -t ed25519"
MOST = 50  # keys of one person: all of them go into a machine in one message
LEAST_RSA = 3072  # bits; less is not as hard to break as everything else here (NIST SP 800-57, part 1)
LONGEST = 8000  # letters of a key
LONGEST_COMMENT = 200


def _key(line: str, field: str, *, least_rsa: int) -> str:
    """A line as it is kept: type, key and comment with one blank between them, and nothing that does not print. Raises BadInput."""
    kind, _, rest = line.partition(" ")
    blob, _, comment = rest.partition(" ")
    try:
        if kind not in TYPES or len(blob) > LONGEST:
            raise ValueError("it begins with no type of key that is known, or is far too long")
        key = load_ssh_public_key(f"{kind} {blob}".encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInput(
            f"This is not a public SSH key: {line[:40]}",
            "Paste the line from a file like id_ed25519.pub, one key a line.",
            field=field,
        ) from error
    if isinstance(key, RSAPublicKey) and key.key_size < least_rsa:
        raise BadInput(f"This RSA key has {key.key_size} bits, which is too few: {line[:40]}", f"Make another one: {MAKE}.", field=field)
    return f"{kind} {blob} {comment[:LONGEST_COMMENT]}".rstrip()


def _lines(text: str) -> list[str]:
    """What is not empty, with one blank wherever there were blanks, tabs or letters that do not print."""
    plain = (re.sub(r"\s+", " ", "".join(letter if letter.isprintable() else " " for letter in line)).strip() for line in text.splitlines())
    return [line for line in plain if line]


def parse(text: str, *, field: str = "ssh_keys", known: str = "") -> list[str]:
    """The keys of a form, one a line, as the catalog keeps them. Raises BadInput, naming the line, for what is no public key.

    `known` is what the catalog has already: that stays what it is, whatever is asked of new ones.
    """
    there = set(_lines(known))
    found = [line if line in there else _key(line, field, least_rsa=LEAST_RSA) for line in _lines(text)]
    demand_few(found, field=field)
    return found


def demand_few(found: Collection[str], *, field: str = "ssh_keys") -> None:
    """Raise BadInput when these are more than one person may have."""
    if len(found) > MOST:
        raise BadInput(
            f"These are {len(found)} keys, and one person may have {MOST}.", "Take out those that you do not use any more.", field=field
        )


def fingerprint(key: str) -> str:
    """As `ssh-keygen -l` shows it: SHA256: and 43 letters. `key` is type and base64 text."""
    digest = sha256(b64decode(key.split(" ")[1])).digest()
    return f"SHA256:{b64encode(digest).decode().rstrip('=')}"


def kind(key: str) -> str:
    """What kind of key it is, as ssh-keygen calls it: ed25519, ecdsa-sk, ..."""
    name = key.split(" ", 1)[0].partition("@")[0].removeprefix("sk-").removeprefix("ssh-").split("-")[0]
    return f"{name}-sk" if key.startswith("sk-") else name


def usable(text: str) -> list[str]:
    """The keys among what the catalog has of a person. What an older version let in and is no key is left out: it opens nothing in a
    machine, and is no reason for which its owner should have none."""
    found = []
    for line in _lines(text):
        try:
            found.append(_key(line, "", least_rsa=0))
        except BadInput:
            continue
    return found[:MOST]
