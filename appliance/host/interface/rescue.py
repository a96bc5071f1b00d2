"""What helps when the appliance does not come up: who may sign in then, copies of the catalog, and the support bundle."""

from types import NoneType
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from appliance.host.rpc.verb import Arguments, LongVerb, Nothing, Verb

COPY = r"\d{8}-\d{6}"  # the name of a copy of the catalog


@dataclass(frozen=True)
class Copy:
    """A copy of the catalog: when it was made (ISO 8601, UTC) and its size in bytes."""

    name: str
    at: str
    bytes: int


class Which(Arguments):
    name: Annotated[str, Field(pattern=f"^{COPY}$")]


KEEP_OWNERS = Verb("rescue.keep", Nothing, NoneType)
CATALOG_STATE = Verb("catalog.state", Nothing, str)  # why it cannot be used; empty when it can
CATALOG_COPIES = Verb("catalog.copies", Nothing, list[Copy])
PUT_BACK = LongVerb("catalog.put_back", Which, str, title="Putting a copy of the catalog back")  # where the one that was there lies now
BUNDLE = LongVerb("support.bundle", Nothing, str, title="Support bundle")  # the name of its file
