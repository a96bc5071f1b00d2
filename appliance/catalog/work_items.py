"""What waits for people: found for whoever may decide it, and decided by one of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from peewee import JOIN

from appliance.catalog.database import rows
from appliance.catalog.models import Account, Class, Run, WorkItem, WorkItemState, now, stamp


@dataclass(frozen=True)
class Over:
    """Over what somebody counts as holding these roles: org units, a class or, with neither, everything."""

    roles: frozenset[str]
    units: frozenset[int] | None = None
    class_name: str | None = None


@dataclass(frozen=True)
class Rights:
    """What somebody may decide: what is put before them, what is asked of roles that they hold, or, an owner, all there is."""

    account_id: int
    owner: bool
    over: tuple[Over, ...]


def _allowed(rights: Rights) -> tuple[str, list[object]]:
    """The condition on work_item, and on account as whoever asks."""
    if rights.owner:
        return "1", []
    either, values = ["work_item.account_id = ?"], [rights.account_id]  # type: list[str], list[object]
    for over in rights.over:
        roles = _places(over.roles)
        asked = f"(work_item.role IN ({roles}) OR (work_item.escalated_at IS NOT NULL AND work_item.escalate_role IN ({roles})))"
        values += [*over.roles, *over.roles]
        if over.units is not None:
            asked += f" AND account.org_unit_id IN ({_places(over.units)})"
            values += over.units
        elif over.class_name is not None:
            asked += " AND work_item.class_name = ?"
            values.append(over.class_name)
        either.append(f"({asked})")
    # Nobody says yes to what they ask for themselves.
    return f"({' OR '.join(either)}) AND (work_item.kind <> 'approval' OR work_item.requester_id IS NOT ?)", [*values, rights.account_id]


def _places(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)


def count(rights: Rights) -> int:
    """How much waits for them."""
    allowed, values = _allowed(rights)
    sql = f"SELECT count(*) FROM work_item LEFT JOIN account ON account.id = work_item.requester_id WHERE work_item.state = 'open' AND {allowed}"  # noqa: S608
    return int(rows(sql, values)[0][0])


def open_for(rights: Rights, *, limit: int = 200) -> list[WorkItem]:
    """What waits for them, oldest first, each with `.requester`, `.machine_class` and `.run`."""
    allowed, values = _allowed(rights)
    sql = f"""SELECT work_item.id FROM work_item LEFT JOIN account ON account.id = work_item.requester_id
              WHERE work_item.state = 'open' AND {allowed} ORDER BY work_item.id LIMIT ?"""  # noqa: S608
    return _with_ids(row[0] for row in rows(sql, [*values, limit]))


def over_for(rights: Rights, *, limit: int = 30) -> list[WorkItem]:
    """What waited for them and does not any more, the latest first."""
    allowed, values = _allowed(rights)
    sql = f"""SELECT work_item.id FROM work_item LEFT JOIN account ON account.id = work_item.requester_id
              WHERE work_item.state <> 'open' AND work_item.decided_at > ? AND {allowed} ORDER BY work_item.decided_at DESC LIMIT ?"""  # noqa: S608
    return _with_ids([row[0] for row in rows(sql, [stamp(now() - timedelta(days=30)), *values, limit])])[::-1]


def known_to(rights: Rights, id: int) -> WorkItem | None:
    """The to-do, open or not, if it is or was theirs to decide."""
    allowed, values = _allowed(rights)
    sql = (
        f"SELECT work_item.id FROM work_item LEFT JOIN account ON account.id = work_item.requester_id WHERE work_item.id = ? AND {allowed}"  # noqa: S608
    )
    found = _with_ids(row[0] for row in rows(sql, [id, *values]))
    return found[0] if found else None


def _with_ids(ids: Iterable[int]) -> list[WorkItem]:
    wanted = list(ids)
    if not wanted:
        return []
    query = (
        WorkItem.select(WorkItem, Run, Account, Class)
        .join_from(WorkItem, Run)
        .join_from(WorkItem, Account, JOIN.LEFT_OUTER, on=(WorkItem.requester == Account.id))
    )
    found = {work_item.id: work_item for work_item in query.join_from(WorkItem, Class, JOIN.LEFT_OUTER).where(WorkItem.id.in_(wanted))}
    return [found[id] for id in wanted]


def decide(id: int, state: WorkItemState, by: str, comment: str) -> bool:
    """Say what became of it, if nobody did before; call it inside `write()`."""
    found = rows(
        "UPDATE work_item SET state = ?, decided_at = ?, decided_by = ?, comment = ? WHERE id = ? AND state = 'open' RETURNING id",
        (state.value, stamp(now()), by, comment, id),
    )
    return bool(found)


def of_run(run_id: int) -> dict[int, WorkItem]:
    """What a run put before people, by the number of the step."""
    return {work_item.number: work_item for work_item in WorkItem.select().where(WorkItem.run == run_id)}


class Asked(NamedTuple):
    """Of whom something is asked: the same for many to-dos. The account is None when it cannot sign in any more."""

    kind: str
    role: str
    account_id: int | None
    requester_id: int | None
    unit: int | None
    class_name: str | None


def unheard() -> dict[Asked, list[int]]:
    """Open to-dos that were not escalated, ids by whom they are put before."""
    found: dict[Asked, list[int]] = {}
    for id, *asked in rows(
        """
        SELECT work_item.id, kind, role, CASE WHEN named.disabled = 0 THEN named.id END, requester_id, asker.org_unit_id, class_name FROM work_item
        LEFT JOIN account AS asker ON asker.id = requester_id LEFT JOIN account AS named ON named.id = work_item.account_id
        WHERE state = 'open' AND escalated_at IS NULL
        """
    ):
        found.setdefault(Asked(*asked), []).append(id)
    return found
