"""Long verbs that run or ran: what they are called, how far they are, and what came of them."""

from dataclasses import field
from datetime import datetime
from types import NoneType
from typing import Any

from pydantic import JsonValue
from pydantic.dataclasses import dataclass

from appliance.host.rpc.verb import Arguments, LongVerb, Nothing, R, Verb

RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"


@dataclass
class Operation:
    """One use of a long verb. Times are ISO 8601, UTC; progress is per cent, or None when not known; `result` is as the verb declares it."""

    id: str
    verb: str
    title: str
    by: str
    state: str
    begun_at: str
    ended_at: str = ""
    progress: int | None = None
    said: list[str] = field(default_factory=list)
    error: str = ""
    hint: str = ""
    result: JsonValue = None

    @property
    def line(self) -> str:
        """What it does now, or did last."""
        return self.said[-1] if self.said else ""

    @property
    def began(self) -> datetime:
        return datetime.fromisoformat(self.begun_at)

    @property
    def ended(self) -> datetime | None:
        return datetime.fromisoformat(self.ended_at) if self.ended_at else None

    def outcome(self, verb: LongVerb[Any, R]) -> R | None:
        """What came of it, if it is an operation of this verb that is done."""
        return verb.unpack(self.result) if self.verb == verb.name and self.state == DONE else None


class Which(Arguments):
    id: str


OPERATIONS = Verb("operations", Nothing, list[Operation])
OPERATION = Verb("operation", Which, Operation)
CANCEL = Verb("operation.cancel", Nothing, NoneType)
