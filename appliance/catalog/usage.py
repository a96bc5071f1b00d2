"""When machines were used last, for the classes that want to know: others cost no write."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance.catalog.database import rows
from appliance.catalog.models import stamp

ONCE_IN = timedelta(minutes=1)  # that the last use of a machine is written at most


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


def note(ids: Iterable[str], at: datetime) -> None:
    """These machines were used; whoever was warned need not be any more. Call it inside `write()`."""
    rows(
        """
        UPDATE lease SET busy_at = ?1, idle_warned_at = NULL
        WHERE ended_at IS NULL AND machine_id IN (SELECT value FROM json_each(?2)) AND (busy_at IS NULL OR busy_at <= ?3 OR idle_warned_at IS NOT NULL)
          AND (SELECT idle_minutes FROM machine JOIN class ON class.name = machine.class_name WHERE machine.id = lease.machine_id) > 0
        RETURNING id
        """,
        (stamp(at), json.dumps(list(ids)), stamp(at - ONCE_IN)),
    )


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
