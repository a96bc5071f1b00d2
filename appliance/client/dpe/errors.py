"""What can go wrong, each with the exit code that scripts see."""

from collections.abc import Mapping, Sequence
from typing import Any


class ClientError(Exception):
    """What went wrong, and what to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Refused(ClientError):
    """The appliance's answer was a problem (RFC 9457). `errors` has what is wrong with each field, `wait` in how many seconds to come back."""

    def __init__(self, status: int, message: str, hint: str = "", errors: Sequence[Mapping[str, Any]] = (), wait: int = 0) -> None:
        super().__init__(message, hint)
        self.status, self.errors, self.wait = status, errors, wait


class NotAllowed(Refused):
    """Nobody is signed in, or this account or token may not do that (401, 403)."""

    exit_code = 3


class NotFound(Refused):
    """There is no such thing, or it is out of reach (404)."""

    exit_code = 4


class Conflict(Refused):
    """It is in a state that does not allow this, or was changed meanwhile (409, 412)."""

    exit_code = 5


class Unreachable(ClientError):
    """The appliance does not answer, or cannot now."""

    exit_code = 6


class Untrusted(Unreachable):
    """Whatever answers has another certificate than the appliance."""


class TimedOut(ClientError):
    """What was waited for did not come in time."""

    exit_code = 7


BY_STATUS: Mapping[int, type[Refused]] = {401: NotAllowed, 403: NotAllowed, 404: NotFound, 409: Conflict, 412: Conflict}
