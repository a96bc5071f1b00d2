"""One-time codes as every authenticator app makes them (RFC 6238: SHA-1, six digits, thirty seconds), and codes for when the phone is gone."""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote, urlencode

from appliance.identity.passwords import ALPHABET

SECONDS = 30
DIGITS = 6
DRIFT = 1  # steps that a phone's clock may be off, either way
RECOVERY = 10  # codes


def new_secret() -> str:
    """160 random bits, in base32."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def code(secret: str, step: int) -> str:
    """The code of a time step, which is a number of half minutes since 1970."""
    mac = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), "sha1")
    at = mac[-1] & 15
    number = int.from_bytes(mac[at : at + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def step_at(moment: datetime) -> int:
    """The time step of a moment."""
    return int(moment.timestamp()) // SECONDS


def matching_step(secret: str, entered: str, moment: datetime, after: int) -> int | None:
    """The step whose code was entered, if it is one of about now and later than `after`: no code is good twice."""
    entered, here = plain(entered), step_at(moment)
    steps = [step for step in range(here - DRIFT, here + DRIFT + 1) if hmac.compare_digest(code(secret, step).encode(), entered.encode())]
    if after > here + DRIFT:  # it was used while the clock was ahead, and says nothing of now
        after = 0
    return next((step for step in steps if step > after), None)


def plain(entered: str) -> str:
    """A code without what people put between its parts."""
    return "".join(letter for letter in entered.lower() if letter.isalnum())


def address(secret: str, account: str, issuer: str) -> str:
    """What the square picture says: an otpauth address, which an authenticator app understands."""
    issuer = issuer.replace(":", " ")
    return f"otpauth://totp/{quote(f'{issuer}:{account}')}?{urlencode({'secret': secret, 'issuer': issuer}, quote_via=quote)}"


def recovery_codes() -> list[str]:
    """New codes of about 50 bits, each good once."""
    return [f"{letters[:5]}-{letters[5:]}" for letters in ("".join(secrets.choice(ALPHABET) for _ in range(10)) for _ in range(RECOVERY))]


def digest(recovery_code: str) -> str:
    """What is kept of a recovery code. It is long and random, so that a plain hash will do."""
    return hashlib.sha256(plain(recovery_code).encode()).hexdigest()
