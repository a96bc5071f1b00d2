"""Passwords: Argon2id with the library's defaults (RFC 9106, low-memory profile), and what a good one is."""

import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from appliance.errors import BadInput

# Letters and digits that cannot be taken for one another on paper.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
SHORTEST = 10
LONGEST = 1024

_hasher = PasswordHasher()
_quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
# Verified against when the account does not exist, so that the answer takes as long as for one that does: of a password that nobody kept,
# made once with the hasher's parameters, as each process of the appliance would spend its time on another one at its start.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$vVOA3H9kySUbP1NmR4tj+w$Q1yqfM7YJmS6Ei3NusnzhV4zT7FMAz7PdDOS1fS6bPo"


def check(password: str) -> str:
    """The password itself. Raises BadInput for one that is too short or too long."""
    if len(password) < SHORTEST:
        raise BadInput(
            f"The password is too short: it needs at least {SHORTEST} characters.",
            "A few words in a row are easy to remember.",
            field="password",
        )
    if len(password) > LONGEST:
        raise BadInput(f"The password is longer than {LONGEST} characters.", "Use a shorter one.", field="password")
    return password


def digest(password: str) -> str:
    """The hash to store. Raises what check() raises."""
    return _hasher.hash(check(password))


def generate() -> tuple[str, str]:
    """A password that nobody can guess, and its hash, made at little cost: 79 random bits need no slowing down of who tries them all."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(16))
    password = "-".join(letters[at : at + 4] for at in range(0, 16, 4))
    return password, _quick.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Whether the password is the one that was hashed; takes the same time when there is no hash at all."""
    try:
        return _hasher.verify(stored or _NOBODY, password[:LONGEST]) and bool(stored)
    except (VerificationError, InvalidHashError):
        return False
