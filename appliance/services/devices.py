"""Programs that sign in without a browser of their own (RFC 8628): one asks and shows a code, a person approves that on a page, and the program is
given a token.

What is asked for lives in the memory of the web process, which is one, for ten minutes: no code is ever on a disk, and after a restart a program
asks again. An approval is good as long as the session that gave it.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from appliance import catalog
from appliance.catalog import Actor, EventKind, record
from appliance.errors import BadInput, NotFound, Unavailable
from appliance.identity import throttle
from appliance.services import sessions, tokens

LASTS = 600  # seconds
INTERVAL = 2  # seconds between two questions of a program
DAYS = 90  # that its token is good for
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # without vowels a code spells no word (RFC 8628, 6.1)
LENGTH = 8
MOST, EACH = 1000, 20  # programs that wait: at all, and from one address
GONE = ("There is no such code.", "It may be mistyped, used, or older than ten minutes: have the program show another one.")


class Waiting(Exception):
    """A program has no token yet; `error` says why in the words of RFC 8628, 3.5."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class Device:
    """A program that wants to sign in. Its device code is kept as a digest."""

    name: str
    scope: list[str]
    address: str
    user_code: str
    until: float
    asked_at: float = float("-inf")  # for its token, the last time
    denied: bool = False
    approved_by: Actor | None = None
    session_id: str = ""  # of whoever approved


_devices: dict[str, Device] = {}  # by the digest of the device code
_lock = threading.Lock()


def begin(name: str, scope: Sequence[str], address: str) -> tuple[str, Device]:
    """A program wants to sign in: its device code, and what is kept of it. Raises BadInput, and Unavailable when too many do."""
    name = " ".join(name.split())
    if not name or len(name) > 60:
        raise BadInput("A device needs a name of 1 to 60 characters.", "Say which program asks, and where.", field="client_name")
    code = secrets.token_urlsafe(32)
    made = Device(name, sorted(set(scope)), address, _user_code(), time.monotonic() + LASTS)
    network = throttle.network(address)
    with _lock:
        _forget_old()
        beside = sum(throttle.network(one.address) == network for one in _devices.values())
        if len(_devices) >= MOST or beside >= EACH:
            raise Unavailable("Too many devices wait to be approved.", "Try again in some minutes.")
        _devices[_digest(code)] = made
    return code, made


def find(actor: Actor, user_code: str) -> Device:
    """The program that shows this code, as its person typed it. Whoever guesses has to wait. Raises NotFound and NotAllowed."""
    names = throttle.of_device(actor.name, actor.address)
    throttle.check_free(*names)
    typed = "".join(letter for letter in user_code.upper() if letter in LETTERS)
    with _lock:
        _forget_old()
        found = next((one for one in _devices.values() if one.user_code == typed and not one.denied and one.approved_by is None), None)
    if found is None:
        throttle.failed(*names)
        raise NotFound(*GONE)
    return found


def approve(actor: Actor, session_id: str, user_code: str) -> Device:
    """Let the program that shows this code have a token of the actor's. Raises NotFound and NotAllowed."""
    found = find(actor, user_code)
    with _lock:
        if found.denied or found.approved_by is not None:
            raise NotFound(*GONE)  # somebody was faster
        found.approved_by, found.session_id = actor, session_id
    _note(actor, f"{actor.name} let {found.name}, at {found.address}, sign in as them.", found)
    return found


def deny(actor: Actor, user_code: str) -> Device:
    """Have the program that shows this code be told no. Raises NotFound and NotAllowed."""
    found = find(actor, user_code)
    found.denied = True
    _note(actor, f"{actor.name} did not let {found.name}, at {found.address}, sign in.", found)
    return found


def redeem(device_code: str) -> tuple[str, Device]:
    """The token of a program that was approved, once. Raises Waiting."""
    key, moment = _digest(device_code), time.monotonic()
    with _lock:
        _forget_old()
        found = _devices.get(key)
        if found is None:
            raise Waiting("expired_token")
        if found.denied:
            del _devices[key]
            raise Waiting("access_denied")
        early = moment - found.asked_at < INTERVAL - 0.5  # a network may have held up the one before
        found.asked_at = moment
        if found.approved_by is None:
            raise Waiting("slow_down" if early else "authorization_pending")
        del _devices[key]
    if not sessions.is_live(found.session_id):  # signed out, disabled, a password that had to be changed: it was taken back
        raise Waiting("access_denied")
    return tokens.create(found.approved_by, found.name, found.scope, DAYS), found


def shown(user_code: str) -> str:
    """A code as people read it: BCDF-GHJK."""
    return f"{user_code[: LENGTH // 2]}-{user_code[LENGTH // 2 :]}"


def _user_code() -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(LENGTH))


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _forget_old() -> None:
    moment = time.monotonic()
    for key in [key for key, one in _devices.items() if one.until < moment]:
        del _devices[key]


def _note(actor: Actor, text: str, device: Device) -> None:
    after = {"name": device.name, "address": device.address, "scope": device.scope, "approved": not device.denied}
    with catalog.write():
        record(EventKind.ACCOUNT_DEVICE, text, actor, object=f"account:{actor.name}", after=after)
