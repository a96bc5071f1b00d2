"""Who is let into the rescue page: an owner by password and one-time code, before set-up whoever has the setup code.

What was tried is counted in memory, and in a file as long as one can be written, so that neither a restart nor a full disk forgives it.
"""

import contextlib
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from appliance import durable
from appliance.catalog.rescue_owners import Keys, Owner
from appliance.errors import DpeError, NotAllowed
from appliance.host.console import rescue
from appliance.host.interface.rescue import KEEP_OWNERS
from appliance.host.rpc.client import Client
from appliance.identity import passwords, throttle, totp
from appliance.identity.throttle import Tried
from appliance.settings import Settings

LENGTH = 3600.0  # seconds that somebody stays signed in
MOST = 2000  # names that are remembered
SETUP = "setup code"  # who is signed in by it


def _tried(failures: int, until: str, at: str) -> Tried:
    return Tried(int(failures), datetime.fromisoformat(until), datetime.fromisoformat(at))


@dataclass
class SignIn:
    """One for the process; safe to use from several threads."""

    settings: Settings
    memory: Path | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _tried: dict[str, Tried] = field(default_factory=dict)
    _used: dict[str, int] = field(default_factory=dict)  # the last time step whose code each owner used
    _spent: set[str] = field(default_factory=set)  # digests of recovery codes
    _sessions: dict[str, tuple[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            said = json.loads(self.memory.read_text() if self.memory else "{}")
            self._tried = {name: _tried(**tried) for name, tried in said["tried"].items()}
            self._used, self._spent = dict(said["used"]), set(said["spent"])

    def keys(self) -> Keys:
        """Who may sign in: as the catalog says now, or said when it could last be read."""
        with contextlib.suppress(DpeError):
            Client(self.settings, "rescue", patience=5).call(KEEP_OWNERS)
        return rescue.kept(self.settings)

    def sign_in(self, name: str, password: str, code: str, address: str) -> str:
        """Returns the token of a session. Raises NotAllowed, with one message whatever did not fit."""
        names = throttle.of_guess(name, address)
        with self._lock:  # one password at a time: a hash takes 64 MiB
            self._check(names)
            owner = next((one for one in self.keys().owners if one.name == name), None)
            if not passwords.matches(owner.password if owner else None, password) or owner is None or not self._fits(owner, code):
                self._failed(names)
                raise NotAllowed(
                    "That does not fit.", "Check name, password and one-time code; after a few failures you have to wait a little."
                )
            return self._open(owner.name, names)

    def sign_in_by_setup_code(self, code: str, address: str) -> str:
        """As long as there is no owner. Raises NotAllowed."""
        names = throttle.of_setup(address)
        with self._lock:
            self._check(names)
            keys = self.keys()
            said = hashlib.sha256(code.upper().replace("-", "").replace(" ", "").encode()).hexdigest()
            if keys.owners or not keys.setup_code or not secrets.compare_digest(said, keys.setup_code):
                self._failed(names)
                raise NotAllowed("That is not the setup code.", "It is shown on the appliance's own screen.", field="setup_code")
            return self._open(SETUP, names)

    def who(self, token: str) -> str:
        """Who is signed in with this token; empty when nobody is."""
        name, until = self._sessions.get(token, ("", 0.0))
        return name if until > time.monotonic() else ""

    def end(self, token: str) -> None:
        """Sign out."""
        self._sessions.pop(token, None)

    def _fits(self, owner: Owner, code: str) -> bool:
        if not owner.secret:
            return True
        step = totp.matching_step(owner.secret, code, datetime.now(UTC), max(owner.step, self._used.get(owner.name, 0)))
        if step is not None:
            self._used[owner.name] = step
            return True
        digest = totp.digest(code)
        if digest in owner.recovery and digest not in self._spent:
            self._spent.add(digest)
            return True
        return False

    def _open(self, name: str, names: tuple[str, ...]) -> str:
        first = self._tried.pop(names[0], None)
        for one in names[1:]:
            if first is not None and one in self._tried:
                self._tried[one] = self._tried[one].without(first.failures, one)
        self._remember()
        token, now = secrets.token_urlsafe(32), time.monotonic()
        self._sessions = {one: held for one, held in self._sessions.items() if held[1] > now}
        self._sessions[token] = (name, now + LENGTH)
        return token

    def _check(self, names: tuple[str, ...]) -> None:
        throttle.refuse((self._tried[name] for name in names if name in self._tried), datetime.now(UTC))

    def _failed(self, names: tuple[str, ...]) -> None:
        moment = datetime.now(UTC)
        for name in names:
            self._tried[name] = self._tried.get(name, Tried(0, moment, moment)).again(moment, name)
        if len(self._tried) > MOST:  # the oldest go
            for name in sorted(self._tried, key=lambda one: self._tried[one].at)[: len(self._tried) - MOST]:
                del self._tried[name]
        self._remember()

    def _remember(self) -> None:
        if self.memory is None:
            return
        tried = {
            name: {"failures": one.failures, "until": one.until.isoformat(), "at": one.at.isoformat()} for name, one in self._tried.items()
        }
        said = {"tried": tried, "used": self._used, "spent": sorted(self._spent)}
        with contextlib.suppress(OSError):
            durable.write(self.memory, json.dumps(said))
