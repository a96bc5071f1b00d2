"""Who asks for machines, and what there is of them: what is read of classes over time."""

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

from appliance.catalog.database import rows
from appliance.catalog.models import stamp


class Waiting(NamedTuple):
    """Machines that people wait for, and since when the first of them does."""

    machines: int
    since: datetime


class Asked(NamedTuple):
    """Requests that were met at once, and those that had to wait."""

    hits: int = 0
    misses: int = 0


class Miss(NamedTuple):
    """A request that had to wait: since when, and until when (None: it was not granted, or not yet)."""

    asked: datetime
    granted: datetime | None


def classes_of_machines() -> dict[str, str]:
    """The class of every machine that is not retired, by the machine's id."""
    return dict(rows("SELECT id, class_name FROM machine WHERE state <> 'retired'"))


def class_names() -> list[str]:
    """All classes."""
    return [row[0] for row in rows("SELECT name FROM class")]


def waiting() -> dict[str, Waiting]:
    """Who waits, by class; classes for which nobody does are not in it."""
    found = rows("SELECT class_name, count(*), min(created_at) FROM request WHERE state = 'waiting' GROUP BY class_name")
    return {name: Waiting(count, datetime.fromisoformat(since)) for name, count, since in found}


def last_request() -> int:
    """The number of the last request; 0 when there is none."""
    last: int = rows("SELECT coalesce(max(id), 0) FROM request")[0][0]
    return last


def asked_between(after: int, last: int) -> dict[str, Asked]:
    """The requests with numbers above `after` up to `last`, by class."""
    found: dict[str, dict[bool, int]] = defaultdict(dict)
    for name, hit, count in rows(
        "SELECT class_name, hit, count(*) FROM request WHERE id > ? AND id <= ? AND hit IS NOT NULL GROUP BY class_name, hit", (after, last)
    ):
        found[name][bool(hit)] = count
    return {name: Asked(counts.get(True, 0), counts.get(False, 0)) for name, counts in found.items()}


def arrivals(class_name: str, since: datetime) -> list[datetime]:
    """When people asked for machines of a class, since an instant, in order; once for each machine."""
    found = rows(
        "SELECT created_at FROM request WHERE class_name = ? AND created_at >= ? AND hit IS NOT NULL ORDER BY created_at",
        (class_name, stamp(since)),
    )
    return [datetime.fromisoformat(at) for (at,) in found]


def first_request(class_name: str) -> datetime | None:
    """When somebody asked for a machine of the class for the first time."""
    at = rows("SELECT min(created_at) FROM request WHERE class_name = ? AND hit IS NOT NULL", (class_name,))[0][0]
    return datetime.fromisoformat(at) if at else None


def misses(class_name: str, limit: int) -> list[Miss]:
    """The last requests for machines of a class that had to wait, the latest first."""
    found = rows(
        "SELECT created_at, granted_at FROM request WHERE class_name = ? AND hit = 0 ORDER BY created_at DESC LIMIT ?", (class_name, limit)
    )
    return [Miss(datetime.fromisoformat(at), datetime.fromisoformat(granted) if granted else None) for at, granted in found]


def handed_out(class_name: str, since: datetime) -> int:
    """How many machines of a class people were given since an instant."""
    count: int = rows("SELECT count(*) FROM request WHERE class_name = ? AND granted_at >= ?", (class_name, stamp(since)))[0][0]
    return count
