"""What crosses the socket: one line of JSON there, and one back."""

from pydantic import BaseModel, ConfigDict, JsonValue

from appliance import errors

ERRORS = {kind.__name__: kind for kind in (errors.BadInput, errors.NotFound, errors.NotAllowed, errors.Conflict, errors.Unavailable)}
LONGEST_QUESTION = 1 << 20  # bytes
LONGEST_ANSWER = 8 << 20


class Question(BaseModel):
    """A verb by name, and its arguments; `by` is the name of an account or of a part of the appliance."""

    model_config = ConfigDict(hide_input_in_errors=True)

    verb: str
    args: dict[str, JsonValue]
    by: str = ""


class Begun(BaseModel):
    """What a long verb answers: the id of its operation."""

    operation: str


class Answer(BaseModel):
    """A result, or an error in words: `kind` is its class, one of ERRORS where the caller can do something about it, `field` what it is about."""

    model_config = ConfigDict(hide_input_in_errors=True)

    result: JsonValue = None
    error: str | None = None
    hint: str = ""
    kind: str = ""
    field: str = ""

    @classmethod
    def of(cls, error: errors.DpeError) -> "Answer":
        kind = next((name for name, known in ERRORS.items() if isinstance(error, known)), "DpeError")
        return cls(error=error.message, hint=error.hint, kind=kind, field=error.field)

    def check(self) -> JsonValue:
        """The result. Raises the DpeError that the verb raised."""
        if self.error is not None:
            raise ERRORS.get(self.kind, errors.DpeError)(self.error, self.hint, field=self.field)
        return self.result

    def line(self) -> bytes:
        """As it is sent: an error without a result, a result without an error."""
        left_out = {"result"} if self.error is not None else {"error", "hint", "kind", "field"}
        return self.model_dump_json(exclude=left_out).encode() + b"\n"
