"""When machines were used last, where somebody wants to know: others cost no write."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from appliance.catalog.database import rows
from appliance.catalog.models import stamp

ONCE_IN = timedelta(minutes=1)  # that the last use of a machine is written at most
NEAR_END = timedelta(minutes=15)  # before the end of a lease, from when on it counts whether the machine is busy


@dataclass(frozen=True)
class Watched:
    """A machine that could be idle: runs for its owner `since`, with nothing under way that the appliance does to it."""

    lease_id: int
    machine_id: str
    since: datetime
    busy_at: datetime | None
    warned_at: datetime | None
    ends_at: datetime
    idle_minutes: int
    grace_minutes: int
    then: str  # reclaim or suspend


_AT_REST = """lease.ended_at IS NULL AND machine.state = 'in_use'
    AND NOT EXISTS (SELECT 1 FROM run WHERE run.machine_id = machine.id AND run.ended_at IS NULL)"""


def watched() -> list[Watched]:
    """Every machine that may be judged now."""
    found = rows(
        f"""
        SELECT lease.id, machine.id, max(lease.began_at, machine.state_since), busy_at, idle_warned_at, ends_at, idle_minutes, idle_grace, idle_then
        FROM lease JOIN machine ON machine.id = lease.machine_id JOIN class ON class.name = machine.class_name
        WHERE idle_minutes > 0 AND {_AT_REST} ORDER BY machine.number
        """  # noqa: S608 - a constant
    )
    return [
        Watched(lease, machine, datetime.fromisoformat(since), _time(busy), _time(warned), datetime.fromisoformat(ends), *rest)
        for lease, machine, since, busy, warned, ends, *rest in found
    ]


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def note_usage(ids: Iterable[str], at: datetime) -> None:
    """These machines were used; whoever was warned need not be any more. Call it inside `write()`.

    It is kept for classes that look for idle machines and, near the end of a lease, for those that keep busy ones."""
    rows(
        """
        UPDATE lease SET busy_at = ?1, idle_warned_at = NULL
        WHERE ended_at IS NULL AND machine_id IN (SELECT value FROM json_each(?2)) AND (busy_at IS NULL OR busy_at <= ?3 OR idle_warned_at IS NOT NULL)
          AND (SELECT idle_minutes > 0 OR (busy_grace > 0 AND lease.ends_at <= ?4)
               FROM machine JOIN class ON class.name = machine.class_name WHERE machine.id = lease.machine_id)
        RETURNING id
        """,
        (stamp(at), json.dumps(list(ids)), stamp(at - ONCE_IN), stamp(at + NEAR_END)),
    )


class Ending(NamedTuple):
    """A lease that may have to be announced; the times before its end are in minutes, 0 for none."""

    id: int
    began_at: datetime
    ends_at: datetime
    warned_at: datetime | None
    first: int
    last: int


def ending(moment: datetime) -> list[Ending]:
    """The leases whose end is so near that a class's warnings could be due."""
    (longest,) = rows("SELECT max(max(warn_first, warn_last)) FROM class")
    found = rows(
        """
        SELECT lease.id, began_at, ends_at, warned_at, warn_first, warn_last
        FROM lease JOIN machine ON machine.id = lease.machine_id JOIN class ON class.name = machine.class_name
        WHERE ended_at IS NULL AND kept_until IS NULL AND ends_at <= ? AND (warn_first > 0 OR warn_last > 0) ORDER BY ends_at
        """,
        (stamp(moment + timedelta(minutes=longest[0] or 0)),),
    )
    return [
        Ending(id, datetime.fromisoformat(began), datetime.fromisoformat(ends), _time(warned), first, last)
        for id, began, ends, warned, first, last in found
    ]


def unopened(moment: datetime) -> list[tuple[str, int]]:
    """Machines that were never opened within the time that their class gives: ids, and that time in minutes."""
    found = rows(
        f"""
        SELECT machine.id, connect_minutes, max(lease.began_at, machine.state_since)
        FROM lease JOIN machine ON machine.id = lease.machine_id JOIN class ON class.name = machine.class_name
        WHERE connect_minutes > 0 AND opened_at IS NULL AND {_AT_REST} ORDER BY machine.number
        """  # noqa: S608 - a constant
    )
    return [(id, minutes) for id, minutes, since in found if moment - datetime.fromisoformat(since) >= timedelta(minutes=minutes)]
