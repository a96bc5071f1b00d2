"""The catalog in numbers, for monitoring: counted anew at each look, so that nothing has to be remembered or reset."""

from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.catalog.database import rows
from appliance.catalog.models import now, stamp

WAITS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)  # seconds, upper ends of buckets
CREATIONS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)


@dataclass
class Histogram:
    """How many were no longer than each of the `bounds` and longer than the one before, the last ones longer than all; and the sum of all, in seconds."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, bucket: int, count: int, total: float) -> None:
        self.counts[bucket] += count
        self.total += total


class Claims(NamedTuple):
    """Requests for machines, by class and by whether they were met at once; and how long those took that were granted, by class."""

    asked: dict[tuple[str, bool], int]
    waits: dict[str, Histogram]


def _bucket(bounds: tuple[float, ...]) -> str:
    """The number of the bucket that `seconds` is in."""
    return " + ".join(f"(seconds > {bound:g})" for bound in bounds)


def _between(begin: str, end: str) -> str:
    return f"max(0, (julianday({end}) - julianday({begin})) * 86400)"


def claims() -> Claims:
    """All requests there ever were."""
    found = Claims({}, {})
    for name, hit, bucket, count, total in rows(
        f"""
        SELECT class_name, hit, {_bucket(WAITS)} AS bucket, count(*), coalesce(sum(seconds), 0)
        FROM (SELECT class_name, hit, {_between("created_at", "granted_at")} AS seconds FROM request WHERE hit IS NOT NULL)
        GROUP BY class_name, hit, bucket
        """  # noqa: S608 - constants
    ):
        found.asked[name, bool(hit)] = found.asked.get((name, bool(hit)), 0) + count
        if bucket is not None:  # else nobody got it yet, or never will
            found.waits.setdefault(name, Histogram(WAITS)).add(bucket, count, total)
    return found


def creations() -> dict[tuple[str, str], Histogram]:
    """How long it took from planning a machine until it waited in the buffer, by class and whether it was forked or booted."""
    found: dict[tuple[str, str], Histogram] = {}
    for name, origin, bucket, count, total in rows(
        f"""
        SELECT class_name, origin, {_bucket(CREATIONS)} AS bucket, count(*), sum(seconds)
        FROM (SELECT class_name, origin, {_between("created_at", "ready_at")} AS seconds FROM machine WHERE ready_at IS NOT NULL)
        GROUP BY class_name, origin, bucket
        """  # noqa: S608 - constants
    ):
        found.setdefault((name, origin), Histogram(CREATIONS)).add(bucket, count, total)
    return found


def leases() -> dict[str, int]:
    """Leases that have not ended, by class."""
    return dict(
        rows(
            "SELECT class_name, count(*) FROM lease JOIN machine ON machine.id = lease.machine_id WHERE lease.ended_at IS NULL GROUP BY class_name"
        )
    )


def run_states() -> dict[tuple[str, str], int]:
    """Runs that are remembered, by kind and state."""
    return {(kind, state): count for kind, state, count in rows("SELECT kind, state, count(*) FROM run GROUP BY kind, state")}


def seed_states() -> dict[tuple[str, str], int]:
    """Versions of seeds, by class and state."""
    return {(name, state): count for name, state, count in rows("SELECT class_name, state, count(*) FROM seed GROUP BY class_name, state")}


class Policy(NamedTuple):
    """What counts of a class's policy, and whether it is offered."""

    minimum: int
    maximum: int
    buffer: int
    enabled: bool


def policies() -> dict[str, Policy]:
    """The policies of all classes."""
    return {name: Policy(*found) for name, *found in rows("SELECT name, minimum, maximum, buffer, enabled FROM class")}


class Sizes(NamedTuple):
    """How much there is of what grows; `bytes` is the catalog's file."""

    accounts: int
    sessions: int
    consoles: int
    work_items: int
    events: int
    bytes: int


def sizes() -> Sizes:
    """Counted at this moment."""
    return Sizes(
        *rows(
            """
            SELECT (SELECT count(*) FROM account WHERE disabled = 0), (SELECT count(*) FROM session WHERE expires_at > ?),
                (SELECT count(*) FROM console_session), (SELECT count(*) FROM work_item WHERE state = 'open'),
                (SELECT coalesce(max(id), 0) FROM event),
                (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size())
            """,
            (stamp(now()),),
        )[0]
    )
