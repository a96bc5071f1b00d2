"""The catalog in numbers, for monitoring. What only grows is counted on from the look before, so that a look costs no more the more there ever was; the
first one of a process counts all, and nothing has to be kept.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from appliance.catalog import database, demand
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


def _bucket(bounds: tuple[float, ...]) -> str:
    """The number of the bucket that `seconds` is in."""
    return " + ".join(f"(seconds > {bound:g})" for bound in bounds)


def _between(begin: str, end: str) -> str:
    return f"max(0, (julianday({end}) - julianday({begin})) * 86400)"


class Tally:
    """The rows of a table that have come to rest, each counted once, by `sums`: a query that groups those that are `{chosen}`.

    `open` is a query of the numbers of rows that may still change, by an index of nothing else; each of them is counted when it is no longer among them.
    """

    def __init__(self, table: str, number: str, open: str, sums: str) -> None:
        among = f"{number} IN (SELECT value FROM json_each(?1))"  # noqa: S608 - constants
        new = f"{number} > ?2 AND {number} <= ?3 AND NOT {among}"
        self._newest = f"SELECT coalesce(max({number}), 0) FROM {table}"  # noqa: S608
        self._open, self._new, self._at_rest = open, sums.format(chosen=new), sums.format(chosen=among)
        self.last = 0
        self._were_open: set[int] = set()

    def more(self) -> Iterator[tuple[Any, ...]]:
        """What `sums` has of the rows that came to rest since the last time."""
        [(newest,)] = rows(self._newest)  # first: a row that comes meanwhile is left for the next time
        open = {number for (number,) in rows(self._open)}
        found = rows(self._new, (json.dumps(sorted(open)), self.last, newest)) if newest > self.last else []
        if at_rest := self._were_open - open:
            found += rows(self._at_rest, (json.dumps(sorted(at_rest)),))
        self.last, self._were_open = newest, {number for number in open if number <= newest}
        return iter(found)


class Counted:
    """What the catalog was found to hold so far, of what only grows.

    `claims` are requests for machines, by class and by whether they were met at once; `waits` how long those took that were granted, by class. `creations`
    are how long it took from planning a machine until it waited in the buffer, by class and whether it was forked or booted. `runs` are those that ended,
    by kind and how.
    """

    def __init__(self) -> None:
        self.claims: dict[tuple[str, bool], int] = {}
        self.waits: dict[str, Histogram] = {}
        self.creations: dict[tuple[str, str], Histogram] = {}
        self.runs: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self._granted = Tally(
            "request", "id",
            """
            SELECT id FROM request INDEXED BY request_waiting WHERE state = 'waiting'
            UNION ALL SELECT id FROM request INDEXED BY request_pending WHERE state = 'pending'
            """,
            f"""
            SELECT class_name, {_bucket(WAITS)} AS bucket, count(*), sum(seconds)
            FROM (SELECT class_name, {_between("created_at", "granted_at")} AS seconds FROM request WHERE granted_at IS NOT NULL AND {{chosen}})
            GROUP BY class_name, bucket
            """,  # noqa: S608 - constants
        )  # fmt: skip
        self._made = Tally(
            "machine", "number",
            "SELECT number FROM machine INDEXED BY machine_alive WHERE state <> 'retired' AND ready_at IS NULL",
            f"""
            SELECT class_name, origin, {_bucket(CREATIONS)} AS bucket, count(*), sum(seconds)
            FROM (SELECT class_name, origin, {_between("created_at", "ready_at")} AS seconds FROM machine WHERE ready_at IS NOT NULL AND {{chosen}})
            GROUP BY class_name, origin, bucket
            """,  # noqa: S608 - constants
        )  # fmt: skip
        self._ended = Tally(
            "run", "id",
            "SELECT id FROM run INDEXED BY run_live WHERE ended_at IS NULL",
            "SELECT kind, state, count(*) FROM run WHERE ended_at IS NOT NULL AND {chosen} GROUP BY kind, state",
        )  # fmt: skip

    def count(self) -> "Counted":
        """Count what came since the last time; returns itself."""
        with self._lock:
            before = self._granted.last
            for name, bucket, count, total in self._granted.more():
                self.waits.setdefault(name, Histogram(WAITS)).add(bucket, count, total)
            more = demand.asked_between(before, self._granted.last) if self._granted.last > before else {}
            for name, asked in more.items():
                for hit, count in ((True, asked.hits), (False, asked.misses)):
                    if count:
                        self.claims[name, hit] = self.claims.get((name, hit), 0) + count
            for name, origin, bucket, count, total in self._made.more():
                self.creations.setdefault((name, origin), Histogram(CREATIONS)).add(bucket, count, total)
            for kind, state, count in self._ended.more():
                self.runs[kind, state] = self.runs.get((kind, state), 0) + count
        return self


@lru_cache(maxsize=1)
def _counted(_catalog: str) -> Counted:
    return Counted()


def counted() -> Counted:
    """All of this that there ever was in the catalog that is open; what is deleted of it later stays counted."""
    return _counted(str(database.db.database)).count()


def leases() -> dict[str, int]:
    """Leases that have not ended, by class."""
    return dict(
        rows(
            "SELECT class_name, count(*) FROM lease CROSS JOIN machine ON machine.id = lease.machine_id WHERE lease.ended_at IS NULL GROUP BY class_name"
        )
    )


def run_states() -> dict[tuple[str, str], int]:
    """Runs that have not ended, by kind and state."""
    found = rows("SELECT kind, state, count(*) FROM run WHERE ended_at IS NULL GROUP BY kind, state")
    return {(kind, state): count for kind, state, count in found}


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
