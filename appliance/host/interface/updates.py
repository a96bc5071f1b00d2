"""Updates of the bootable image: what is here, what is on its way, and when the restart is."""

from types import NoneType

from pydantic import AwareDatetime, Field

from appliance.host.interface.system import Image
from appliance.host.rpc.verb import Arguments, LongVerb, Nothing, Result, Verb


class Staged(Result):
    """A bundle that was taken in and found right, waiting to be installed."""

    version: str
    built: str
    signed_by: str
    size: int
    system_size: int
    by: str
    at: AwareDatetime


class Installed(Result):
    """What is written to the other slot and was not booted yet."""

    version: str
    slot: str
    by: str
    at: AwareDatetime


class Plan(Result):
    """A restart to come, into the other slot."""

    version: str
    at: AwareDatetime
    by: str
    back: bool


class Switch(Result):
    """A switch that was begun: the slot in it is on trial at its next start. `catalog` is the version of the catalog it was begun with."""

    before: str
    version: str
    slot: str
    by: str
    at: AwareDatetime
    back: bool
    catalog: int
    makes: bool = False  # whether machines could be made


class Past(Result):
    """A switch that has ended; `outcome` is updated, rolled back or went back."""

    before: str
    version: str
    outcome: str
    at: AwareDatetime
    by: str
    reason: str = ""
    catalog_of: AwareDatetime | None = None  # the time of the copy that was put in place


class Memory(Result):
    """Everything that is remembered of updates; `versions` says which is in which slot."""

    versions: dict[str, str] = Field(default_factory=dict)
    ran: str = ""  # the slot that was booted last
    staged: Staged | None = None
    installed: Installed | None = None
    plan: Plan | None = None
    past: list[Past] = Field(default_factory=list)


class Slot(Result):
    """One of the two places for a system; `good` is None where nobody knows."""

    name: str
    booted: bool
    good: bool | None
    version: str


class Back(Result):
    """What going back leads to; `catalog_of` is the time of the catalog that comes with it, None where nothing is lost."""

    version: str
    catalog_of: AwareDatetime | None


class Status(Memory):
    """How it stands; outside of the bootable image only that there is no `image`. `free` is bytes; `problem`: why the slots are not known."""

    image: Image | None = None
    slots: list[Slot] = Field(default_factory=list)
    problem: str = ""
    back: Back | None = None
    trial: Switch | None = None
    free: int = 0


class Source(Result):
    """Where updates are fetched from, and what came of the last look, in words; empty means nowhere. `daily` looks there by itself."""

    address: str = ""
    authority: str = ""
    daily: bool = False
    looked_at: AwareDatetime | None = None
    found: str = ""


class Sent(Arguments):
    """A file that the web process wrote to `uploads`."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}\.raucb$")


class Install(Arguments):
    version: str
    older: bool = False


class At(Arguments):
    at: AwareDatetime


class From(Arguments):
    address: str
    authority: str
    daily: bool


class Written(Result):
    version: str


class Fetched(Result):
    """What was found, in words; the version is None where there was nothing new."""

    found: str
    version: str | None


STATUS = Verb("update.status", Nothing, Status)
INSPECT = Verb("update.inspect", Sent, Staged)
DISCARD = Verb("update.discard", Nothing, NoneType)
INSTALL = LongVerb("update.install", Install, Written, title="Writing the update")
RESTART = Verb("update.restart", At, Plan)
BACK = Verb("update.back", At, Plan)
STAY = Verb("update.stay", Nothing, NoneType)
SOURCE = Verb("update.address", Nothing, Source)
SET_SOURCE = Verb("update.source", From, NoneType)
FETCH = LongVerb("update.fetch", Nothing, Fetched, title="Fetching an update")
