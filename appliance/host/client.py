"""How the other processes ask `dpe-host`: one connection, one JSON line there, one back.

The socket is owned by root and the group of the web process. Who may ask for what is decided by the services, before; but the web process may have
been taken over, so every argument is checked here again, and what it never needs (a new password of an owner) is answered to root alone.
"""

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance import errors
from appliance.bulkhead import Bulkhead
from appliance.settings import Settings

if TYPE_CHECKING:
    from appliance.host.tasks import Task  # which needs what is large, and the screen's menu, which is there all the time, does not

ERRORS = {kind.__name__: kind for kind in (errors.BadInput, errors.NotFound, errors.NotAllowed, errors.Conflict, errors.Unavailable)}
PATIENCE = 45.0  # seconds for a quick verb; the front door waits for 60
HOST = "dpe-host"
LONGEST = 8 << 20  # bytes of an answer
PLACES = Bulkhead("asking dpe-host", 6, line=6, patience=5)


def _result(answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise ERRORS.get(answer["kind"], errors.DpeError)(answer["error"], answer["hint"])
    return answer["result"]


@dataclass(frozen=True)
class Client:
    """Asks as `by`, the name of an account or of a part of the appliance."""

    settings: Settings
    by: str = ""
    patience: float = PATIENCE
    places: Bulkhead = PLACES  # others for a verb that waits for a server of others, whom they are named after in `whom`
    whom: str = HOST

    def ask(self, verb: str, **args: Any) -> Any:
        """Use a verb; returns its result, or {"task": id} for a long one. Raises the DpeError that it raised, and Unavailable."""
        with self.places.wait(self.whom):
            answer = self._answer(verb, args)
            if self.whom != HOST:
                return _result(answer)
        return _result(answer)  # a verb that failed is no dpe-host that did not answer

    def _answer(self, verb: str, args: dict[str, Any]) -> dict[str, Any]:
        question = json.dumps({"verb": verb, "args": args, "by": self.by}).encode() + b"\n"
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(self.patience)
                line.connect(str(self.settings.host_socket))
                line.sendall(question)
                with line.makefile("rb") as reader:
                    said = reader.readline(LONGEST)
            return dict(json.loads(said))
        except (OSError, ValueError) as error:
            raise errors.Unavailable(
                f"The part of the appliance that takes care of this server (dpe-host) does not answer: {error}.",
                "It is started again by itself; try again in a moment. If that does not help, restart the appliance.",
            ) from error

    def tasks(self) -> "list[Task]":
        """Tasks that are remembered, the newest first."""
        from appliance.host.tasks import Task

        return [Task(**each) for each in self.ask("tasks")]

    def task(self, id: str) -> "Task":
        """Raises NotFound."""
        from appliance.host.tasks import Task

        return Task(**self.ask("task", id=id))
