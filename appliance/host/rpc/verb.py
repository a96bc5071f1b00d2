"""What a verb of dpe-host is: a name, the model of its arguments and the type of its result, declared once for both sides of the socket.

A *quick* verb answers at once; a *long* one is an operation, which the daemon runs beside and keeps record of. Either side checks what it
sends and what it gets, strictly: text is never taken for a number.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from appliance.errors import BadInput, DpeError, Unavailable

VERSIONS = (
    "The web page and dpe-host may be of different versions, as for a moment during an update; if it stays so, restart the appliance."
)


def _words(error: ValidationError) -> tuple[str, str, Exception | None]:
    """Where the first fault is, what it is, and what a validator of ours raised, if one did."""
    first = error.errors(include_url=False, include_input=False)[0]
    return ".".join(map(str, first["loc"])), first["msg"], first.get("ctx", {}).get("error")


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        where, message, cause = _words(error)
        if isinstance(cause, DpeError):
            raise cause from None
        raise BadInput(f"{where or 'The arguments'}: {message}.", "Mend it and try again.", field=where.rpartition(".")[2]) from None


class Arguments(BaseModel):
    """The arguments of a verb. Raises BadInput for what does not fit, whoever makes it."""

    model_config = ConfigDict(extra="forbid", str_max_length=64 << 10, hide_input_in_errors=True)

    def __init__(self, /, **given: Any) -> None:
        with _in_words():
            super().__init__(**given)

    # Else pydantic would read JSON by way of this, and take its texts for texts where they stand for times.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate(cls, obj: Any, **how: Any) -> Self:
        with _in_words():
            return super().model_validate(obj, **how)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **how: Any) -> Self:
        with _in_words():
            return super().model_validate_json(json_data, **how)


class Nothing(Arguments):
    """The arguments of a verb that takes none."""


class Result(BaseModel):
    """What a verb answers. Fields that a newer peer adds are left out."""

    model_config = ConfigDict(hide_input_in_errors=True)


A = TypeVar("A", bound=Arguments)
R = TypeVar("R")


class _Declared(Generic[A, R]):
    def __init__(self, name: str, arguments: type[A], result: type[R], *, title: str = "", root: bool = False) -> None:
        self.name = name
        self.title = title or name
        self.arguments = arguments
        self.result = result
        self.root = root
        self._results: TypeAdapter[R] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def results(self) -> TypeAdapter[R]:
        """Checks results; made when it is first needed."""
        if self._results is None:
            self._results = TypeAdapter(self.result)
        return self._results

    def read(self, given: JsonValue) -> A:
        """The arguments that came over the socket. Raises BadInput."""
        return self.arguments.model_validate_json(json.dumps(given), strict=True)

    def pack(self, result: R) -> JsonValue:
        """A result as JSON has it. Raises ValidationError for what is none of this verb's."""
        packed: JsonValue = self.results.dump_python(self.results.validate_python(result), mode="json")
        return packed

    def unpack(self, said: JsonValue) -> R:
        """The result that came over the socket. Raises Unavailable for one that this version does not understand."""
        try:
            return self.results.validate_json(json.dumps(said), strict=True)
        except ValidationError as error:
            where, message, _ = _words(error)
            raise Unavailable(f"dpe-host answered {self.name} otherwise than expected: {where}: {message}.", VERSIONS) from error


class Verb(_Declared[A, R]):
    """A quick verb. `title` is what a person calls it; one that is for `root` is not for the web process."""


class LongVerb(_Declared[A, R]):
    """A long verb: an operation, whose title it is; the result is that of the operation."""
