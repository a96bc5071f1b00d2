"""How the other processes ask `dpe-host`: one connection, one JSON line there, one back.

The socket is owned by root and the group of the web process. Who may ask for what is decided by the services, before; but the web process may have
been taken over, so every argument is checked there again, and what it never needs (a new password of an owner) is answered to root alone.
"""

import socket
from dataclasses import dataclass
from typing import Any, overload

from pydantic import JsonValue, ValidationError

from appliance import errors
from appliance.bulkhead import Bulkhead
from appliance.host.interface import operations
from appliance.host.interface.operations import Operation
from appliance.host.rpc.verb import VERSIONS, A, Arguments, LongVerb, Nothing, R, Verb
from appliance.host.rpc.wire import LONGEST_ANSWER, Answer, Begun, Question
from appliance.settings import Settings

PATIENCE = 45.0  # seconds for a quick verb; the front door waits for 60
HOST = "dpe-host"
PLACES = Bulkhead("asking dpe-host", 6, line=6, patience=5)


@dataclass(frozen=True)
class Client:
    """Asks as `by`, the name of an account or of a part of the appliance."""

    settings: Settings
    by: str = ""
    patience: float = PATIENCE
    places: Bulkhead = PLACES  # others for a verb that waits for a server of others, whom they are named after in `whom`
    whom: str = HOST

    @overload
    def call(self, verb: Verb[Nothing, R]) -> R: ...
    @overload
    def call(self, verb: Verb[A, R], args: A) -> R: ...
    def call(self, verb: Verb[Any, R], args: Arguments | None = None) -> R:
        """Use a quick verb; returns its result. Raises the DpeError that it raised, and Unavailable."""
        return verb.unpack(self.send(verb.name, _sent(args)))

    @overload
    def begin(self, verb: LongVerb[Nothing, R]) -> str: ...
    @overload
    def begin(self, verb: LongVerb[A, R], args: A) -> str: ...
    def begin(self, verb: LongVerb[Any, R], args: Arguments | None = None) -> str:
        """Have a long verb begun; returns the id of its operation. Raises Conflict while another operation runs, and Unavailable."""
        said = self.send(verb.name, _sent(args))
        try:
            return Begun.model_validate(said, strict=True).operation
        except ValidationError as error:
            raise errors.Unavailable(f"dpe-host began no operation when it was asked for {verb.name}.", VERSIONS) from error

    def send(self, verb: str, args: dict[str, JsonValue]) -> JsonValue:
        """Ask by the verb's name, and return what came back. `call` and `begin` are for those that are declared."""
        with self.places.wait(self.whom):
            answer = self._answer(Question(verb=verb, args=args, by=self.by))
            if self.whom != HOST:
                return answer.check()
        return answer.check()  # a verb that failed is no dpe-host that did not answer

    def _answer(self, question: Question) -> Answer:
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(self.patience)
                line.connect(str(self.settings.host_socket))
                line.sendall(question.model_dump_json().encode() + b"\n")
                with line.makefile("rb") as reader:
                    said = reader.readline(LONGEST_ANSWER)
            return Answer.model_validate_json(said)
        except (OSError, ValidationError) as error:
            why = "it hung up" if isinstance(error, ValidationError) else error
            raise errors.Unavailable(
                f"The part of the appliance that takes care of this server (dpe-host) does not answer: {why}.",
                "It is started again by itself; try again in a moment. If that does not help, restart the appliance.",
            ) from error

    def operations(self) -> list[Operation]:
        """Operations that are remembered, the newest first."""
        return self.call(operations.OPERATIONS)

    def operation(self, id: str) -> Operation:
        """Raises NotFound."""
        return self.call(operations.OPERATION, operations.Which(id=id))


def _sent(args: Arguments | None) -> dict[str, JsonValue]:
    return args.model_dump(mode="json") if args is not None else {}
