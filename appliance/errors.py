"""The errors the product raises on purpose; anything else is a bug."""


class DpeError(Exception):
    """What went wrong, in `message`, and what the person can do about it, in `hint`; `field` is the name of what was entered, if it is about that."""

    def __init__(self, message: str, hint: str = "", *, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class BadInput(DpeError):
    """The person gave something that cannot be used; nothing was changed."""


class NotFound(DpeError):
    """No such object, or none that this person may know of."""


class NotAllowed(DpeError):
    """The person is known, and may not do this."""


class Conflict(DpeError):
    """The object changed, or is in a state that does not allow this."""


class Unavailable(DpeError):
    """Something outside (hypervisor, disk, network) is not there now; trying again later may work."""


class CommandFailed(DpeError):
    """A command ended with a non-zero status; `output` holds the tail of what it said."""

    def __init__(self, message: str, hint: str = "", *, status: int, output: str) -> None:
        super().__init__(message, hint)
        self.status = status
        self.output = output
