"""Public SSH keys, as people paste them: the one place where they are checked, for forms, for the catalog and for machines."""

import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from appliance.errors import BadInput

TYPES = frozenset(
    {
        "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)  # fmt: skip
MOST = 50  # keys of one person: all of them go into a machine in one message
LONGEST = 8000  # letters of a key
LONGEST_COMMENT = 200


def _key(line: str) -> str:
    """A line as it is kept: type, key and comment with one blank between them, and nothing that does not print. Raises BadInput."""
    kind, _, rest = line.partition(" ")
    blob, _, comment = rest.partition(" ")
    try:
        if kind not in TYPES or len(blob) > LONGEST:
            raise ValueError("it begins with no type of key that is known, or is far too long")
        load_ssh_public_key(f"{kind} {blob}".encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInput(
            f"This is not a public SSH key: {line[:40]}",
            "Paste the line from a file like id_ed25519.pub, one key a line.",
            field="ssh_keys",
        ) from error
    return f"{kind} {blob} {comment[:LONGEST_COMMENT]}".rstrip()


def _lines(text: str) -> list[str]:
    """What is not empty, with one blank wherever there were blanks, tabs or letters that do not print."""
    plain = (re.sub(r"\s+", " ", "".join(letter if letter.isprintable() else " " for letter in line)).strip() for line in text.splitlines())
    return [line for line in plain if line]


def parse(text: str) -> str:
    """The keys of a form, one a line, as the catalog keeps them. Raises BadInput, naming the line, for what is no public key."""
    found = [_key(line) for line in _lines(text)]
    if len(found) > MOST:
        raise BadInput(
            f"These are {len(found)} keys, and one person may have {MOST}.",
            "Take out those that you do not use any more.",
            field="ssh_keys",
        )
    return "\n".join(found)


def usable(text: str) -> list[str]:
    """The keys among what the catalog has of a person. What an older version let in and is no key is left out: it opens nothing in a
    machine, and is no reason for which its owner should have none."""
    found = []
    for line in _lines(text):
        try:
            found.append(_key(line))
        except BadInput:
            continue
    return found[:MOST]
