"""Secrets of others that have to be told again, like a server's password: sealed in the catalog, with a key that lies outside it."""

import hmac
from base64 import urlsafe_b64encode
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.errors import Unavailable

_key = b""


def open(file: Path) -> None:
    """Take this process's key from the file: the appliance's own secret, from which every purpose gets a key of its own."""
    global _key
    _key = file.read_bytes()


def derived(purpose: str) -> bytes:
    """The key for a purpose: 32 bytes, always the same."""
    if not _key:
        raise RuntimeError("no key: call secrets.open() when the process starts")
    return HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(_key)


def _box(purpose: str) -> Fernet:
    return Fernet(urlsafe_b64encode(derived(purpose)))


def mark(purpose: str, text: str) -> str:
    """What only this appliance can put to the text, always the same: 43 letters that may stand in an address."""
    return urlsafe_b64encode(hmac.digest(derived(purpose), text.encode(), "sha256")).decode().rstrip("=")


def seal(purpose: str, text: str) -> str:
    """The text as it may lie in the catalog; only this appliance can open it, and only for the same purpose."""
    return _box(purpose).encrypt(text.encode()).decode()


def unseal(purpose: str, sealed: str) -> str:
    """What was sealed. Raises Unavailable when it was sealed by another appliance."""
    try:
        return _box(purpose).decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise Unavailable("A stored password cannot be opened any more.", "Enter it again.") from error
