"""How backups, certificate and updates stand, as dpe-host writes it down by itself: for pages, of which none waits for dpe-host to answer."""

from pydantic import AwareDatetime, Field

from appliance.host.rpc.verb import Result


class Backups(Result):
    """Whether it is said where they go (`set_up`), whether somebody wrote the recovery key down, whether they lie on a disk of the appliance's
    own data, and why one should not count on them, or on their restore, in a sentence each or empty."""

    set_up: bool = False
    noted: bool = False
    same_disk: bool = False
    problem: str = ""
    restore_problem: str = ""


class Certificate(Result):
    """When the admin's own ends, which nobody else renews; None for the appliance's. `problem`: why theirs cannot be served. `names` are those
    of the one that is served."""

    ends: AwareDatetime | None = None
    problem: str = ""
    names: list[str] = Field(default_factory=list)


class Updates(Result):
    """The versions that wait to be written, and to be started; and why the last one was gone back from, empty once another one ran."""

    staged: str = ""
    written: str = ""
    failed: str = ""


class Conditions(Result):
    """All of it; what could not be told is None."""

    backups: Backups | None = None
    certificate: Certificate | None = None
    updates: Updates | None = None
