"""Who holds which role over what, and where things are: asked at every request, so written as SQL."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import SQL

from appliance.catalog.database import rows
from appliance.catalog.models import Grant, now, stamp

# What an account is part of: its org units up to the top, and its groups with those around them.
HOLDERS = """
    WITH RECURSIVE
    unit (id) AS (
        SELECT org_unit_id FROM account WHERE id = ?1
        UNION SELECT org_unit.parent_id FROM org_unit JOIN unit ON unit.id = org_unit.id WHERE org_unit.parent_id IS NOT NULL),
    team (id) AS (
        SELECT group_id FROM member WHERE account_id = ?1
        UNION SELECT nesting.outer_id FROM nesting JOIN team ON team.id = nesting.inner_id)
"""
THEIRS = "(account_id = ?1 OR group_id IN team OR org_unit_id IN unit)"


@dataclass(frozen=True)
class HeldGrant:
    """A grant as it counts for somebody: a role over a unit with all below it, over a class, or with neither over the appliance."""

    role: str
    unit: int | None
    class_name: str | None
    ends_at: datetime | None


def held_by(account_id: int) -> list[HeldGrant]:
    """What the account holds at this moment, by itself, through its groups and through its org units; over a class is over its recipes, too."""
    found = rows(
        f"""{HOLDERS},
        held (role, over_unit_id, over_class, ends_at) AS (
            SELECT role, over_unit_id, over_class, ends_at FROM permit
            WHERE {THEIRS} AND (starts_at IS NULL OR starts_at <= ?2) AND (ends_at IS NULL OR ends_at > ?2))
        SELECT * FROM held UNION ALL SELECT role, over_unit_id, recipe.class_name, ends_at FROM held JOIN recipe ON recipe.base = held.over_class
        """,  # noqa: S608 - both are constants
        (account_id, stamp(now())),
    )
    return [HeldGrant(role, unit, class_name, datetime.fromisoformat(ends) if ends else None) for role, unit, class_name, ends in found]


def holders(roles: Iterable[str], unit: int | None, class_name: str | None) -> list[int]:
    """The accounts that may sign in and hold one of the roles over the org unit, over the class, or over everything, now."""
    return [row[0] for row in rows(*holders_sql(roles, unit, class_name))]


def holders_sql(roles: Iterable[str], unit: int | None, class_name: str | None) -> tuple[str, tuple[Any, ...]]:
    """How that is asked, and of what, for whoever has a connection of their own."""
    chosen = list(roles)
    sql = f"""
        WITH RECURSIVE
        above (id) AS (
            SELECT ?2 WHERE ?2 IS NOT NULL
            UNION SELECT org_unit.parent_id FROM org_unit JOIN above ON above.id = org_unit.id WHERE org_unit.parent_id IS NOT NULL),
        held (account_id, group_id, org_unit_id) AS (
            SELECT account_id, group_id, org_unit_id FROM permit
            WHERE role IN ({", ".join(f"?{4 + number}" for number in range(len(chosen)))})
              AND (starts_at IS NULL OR starts_at <= ?1) AND (ends_at IS NULL OR ends_at > ?1)
              AND ((over_unit_id IS NULL AND over_class IS NULL) OR over_unit_id IN above OR over_class = ?3
                   OR over_class = (SELECT base FROM recipe WHERE class_name = ?3))),
        team (id) AS (
            SELECT group_id FROM held WHERE group_id IS NOT NULL
            UNION SELECT nesting.inner_id FROM nesting JOIN team ON team.id = nesting.outer_id),
        unit (id) AS (
            SELECT org_unit_id FROM held WHERE org_unit_id IS NOT NULL
            UNION SELECT org_unit.id FROM org_unit JOIN unit ON unit.id = org_unit.parent_id)
        SELECT id FROM account WHERE disabled = 0 AND (id IN (SELECT account_id FROM held)
            OR id IN (SELECT member.account_id FROM member JOIN team ON team.id = member.group_id) OR org_unit_id IN unit)
        ORDER BY id
        """  # noqa: S608 - numbers of parameters
    return sql, (stamp(now()), unit, class_name, *chosen)


def roles_of(account_ids: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """The names of the roles that each of these accounts holds now over anything: by itself, through its groups and its org units."""
    found = rows(
        """
        WITH RECURSIVE
        chosen (id) AS (SELECT value FROM json_each(?1)),
        unit (account_id, id) AS (
            SELECT account.id, org_unit_id FROM account JOIN chosen ON chosen.id = account.id
            UNION SELECT unit.account_id, org_unit.parent_id FROM unit JOIN org_unit ON org_unit.id = unit.id
            WHERE org_unit.parent_id IS NOT NULL),
        team (account_id, id) AS (
            SELECT account_id, group_id FROM member JOIN chosen ON chosen.id = member.account_id
            UNION SELECT team.account_id, nesting.outer_id FROM team JOIN nesting ON nesting.inner_id = team.id),
        held (account_id, permit_id) AS (
            SELECT account_id, permit.id FROM permit JOIN chosen ON chosen.id = permit.account_id
            UNION SELECT team.account_id, permit.id FROM permit JOIN team ON team.id = permit.group_id
            UNION SELECT unit.account_id, permit.id FROM permit JOIN unit ON unit.id = permit.org_unit_id)
        SELECT DISTINCT held.account_id, role FROM held JOIN permit ON permit.id = held.permit_id
        WHERE (starts_at IS NULL OR starts_at <= ?2) AND (ends_at IS NULL OR ends_at > ?2) ORDER BY role
        """,
        (json.dumps(list(account_ids)), stamp(now())),
    )
    roles: dict[int, tuple[str, ...]] = {}
    for account_id, role in found:
        roles[account_id] = (*roles.get(account_id, ()), role)
    return roles


def bearers(role: str) -> SQL:
    """The ids of the accounts that hold the role now over anything, as a part of a query."""
    at = stamp(now())
    sql = """(
        WITH RECURSIVE
        held (account_id, group_id, org_unit_id) AS (
            SELECT account_id, group_id, org_unit_id FROM permit
            WHERE role = ? AND (starts_at IS NULL OR starts_at <= ?) AND (ends_at IS NULL OR ends_at > ?)),
        team (id) AS (
            SELECT group_id FROM held WHERE group_id IS NOT NULL
            UNION SELECT nesting.inner_id FROM nesting JOIN team ON team.id = nesting.outer_id),
        unit (id) AS (
            SELECT org_unit_id FROM held WHERE org_unit_id IS NOT NULL
            UNION SELECT org_unit.id FROM org_unit JOIN unit ON unit.id = org_unit.parent_id)
        SELECT account_id FROM held WHERE account_id IS NOT NULL
        UNION SELECT member.account_id FROM member JOIN team ON team.id = member.group_id
        UNION SELECT account.id FROM account JOIN unit ON unit.id = account.org_unit_id)"""
    return SQL(sql, [role, at, at])


def groups_of(account_id: int) -> list[int]:
    """The groups that the account is in, directly or through another."""
    return [row[0] for row in rows(f"{HOLDERS} SELECT id FROM team", (account_id,))]  # noqa: S608 - a constant


def units_of(account_id: int) -> list[int]:
    """The org units that the account is in, up to the top."""
    return [row[0] for row in rows(f"{HOLDERS} SELECT id FROM unit", (account_id,))]  # noqa: S608 - a constant


def of_account(account_id: int) -> list[Grant]:
    """Every grant that counts for the account, now, earlier or later."""
    ids = [row[0] for row in rows(f"{HOLDERS} SELECT id FROM permit WHERE {THEIRS}", (account_id,))]  # noqa: S608 - constants
    return list(Grant.select().where(Grant.id.in_(ids)).order_by(Grant.id))


def below(units: Iterable[int]) -> frozenset[int]:
    """These org units and all below them."""
    found: set[int] = set(units)
    fresh = found
    while fresh:
        places = ", ".join("?" * len(fresh))
        fresh = {row[0] for row in rows(f"SELECT id FROM org_unit WHERE parent_id IN ({places})", tuple(fresh))} - found  # noqa: S608
        found |= fresh
    return frozenset(found)


@dataclass(frozen=True)
class Location:
    """Where a thing is: the org units and classes it belongs to, and whose own it is."""

    units: frozenset[int] = frozenset()
    classes: frozenset[str] = frozenset()
    account_id: int | None = None


@dataclass(frozen=True)
class Scope:
    """How far a permission goes: over everything, or over these org units and these classes."""

    everything: bool = False
    units: frozenset[int] = frozenset()
    classes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.everything or bool(self.units) or bool(self.classes)

    def covers(self, place: Location) -> bool:
        return self.everything or bool(self.units & place.units) or bool(self.classes & place.classes)


# For each kind of thing: its org unit, its class and its owner; of a grant and a quota, also where they reach.
PLACES = {
    "machine": """SELECT account.org_unit_id, machine.class_name, machine.owner_id FROM machine
                  LEFT JOIN account ON account.id = machine.owner_id WHERE machine.id = ?""",
    "class": "SELECT NULL, name, NULL FROM class WHERE name = ?",
    "seed": "SELECT NULL, class_name, NULL FROM seed WHERE id = ?",
    "account": "SELECT org_unit_id, NULL, id FROM account WHERE id = ?",
    "unit": "SELECT id, NULL, NULL FROM org_unit WHERE id = ?",
    "group": "SELECT org_unit_id, NULL, NULL FROM people_group WHERE id = ?",
    "request": """SELECT account.org_unit_id, request.class_name, request.account_id FROM request
                  JOIN account ON account.id = request.account_id WHERE request.id = ?""",
    "run": """SELECT account.org_unit_id, run.class_name, run.account_id FROM run
              LEFT JOIN account ON account.id = run.account_id WHERE run.id = ?""",
    "disk": """SELECT account.org_unit_id, data_disk.class_name, data_disk.account_id FROM data_disk
               LEFT JOIN account ON account.id = data_disk.account_id WHERE data_disk.id = ?""",
    "kept": """SELECT account.org_unit_id, kept_disk.class_name, kept_disk.account_id FROM kept_disk
               LEFT JOIN account ON account.id = kept_disk.account_id WHERE kept_disk.id = ?""",
    "grant": """SELECT coalesce(account.org_unit_id, people_group.org_unit_id, permit.org_unit_id), permit.over_class, NULL, permit.over_unit_id
                FROM permit LEFT JOIN account ON account.id = permit.account_id LEFT JOIN people_group ON people_group.id = permit.group_id
                WHERE permit.id = ?""",
    "quota": """SELECT coalesce(account.org_unit_id, people_group.org_unit_id, quota.org_unit_id), NULL, NULL
                FROM quota LEFT JOIN account ON account.id = quota.account_id LEFT JOIN people_group ON people_group.id = quota.group_id
                WHERE quota.id = ?""",
}


def location_of(kind: str, id: Any) -> Location | None:
    """Where a thing of one of the kinds in PLACES is; None when there is none."""
    found = rows(PLACES[kind], (id,))
    if not found:
        return None
    unit, class_name, account_id, *more = found[0]
    return Location(frozenset(u for u in (unit, *more) if u is not None), frozenset([class_name] if class_name else []), account_id)


def owners() -> set[int]:
    """The accounts that hold everything for good by a grant of their own, and can sign in without a directory: they have set a password."""
    return {
        row[0]
        for row in rows(
            """
            SELECT account.id FROM permit JOIN account ON account.id = permit.account_id
            WHERE permit.role = 'owner' AND permit.over_unit_id IS NULL AND permit.over_class IS NULL AND permit.ends_at IS NULL
              AND (permit.starts_at IS NULL OR permit.starts_at <= ?) AND account.disabled = 0 AND account.directory_id IS NULL AND account.password <> ''
            """,
            (stamp(now()),),
        )
    }


def carried(kind: str, id: int) -> list[Grant]:
    """The grants that somebody gets by coming into a unit or a group: its own, and those of what is around it."""
    around = {
        "unit": """WITH RECURSIVE around (id) AS (SELECT ? UNION
                   SELECT org_unit.parent_id FROM org_unit JOIN around ON around.id = org_unit.id WHERE org_unit.parent_id IS NOT NULL)
                   SELECT permit.id FROM permit JOIN around ON around.id = permit.org_unit_id""",
        "group": """WITH RECURSIVE around (id) AS (SELECT ? UNION
                    SELECT nesting.outer_id FROM nesting JOIN around ON around.id = nesting.inner_id)
                    SELECT permit.id FROM permit JOIN around ON around.id = permit.group_id""",
    }
    ids = [row[0] for row in rows(around[kind], (id,))]
    return list(Grant.select().where(Grant.id.in_(ids)))


def inner_groups(group_id: int) -> set[int]:
    """The group and all groups in it, at any depth."""
    found = rows(
        "WITH RECURSIVE inside (id) AS (SELECT ? UNION SELECT nesting.inner_id FROM nesting JOIN inside ON inside.id = nesting.outer_id) SELECT id FROM inside",
        (group_id,),
    )
    return {row[0] for row in found}


def groups_by_unit() -> dict[int, int]:
    """How many groups each org unit looks after itself; units without any are not in it."""
    return dict(rows("SELECT org_unit_id, count(*) FROM people_group GROUP BY org_unit_id"))


def member_counts(reach: Scope) -> dict[int, int]:
    """Groups with the number of their own members within reach; a group without any is not in it."""
    return dict(
        rows(
            """
            SELECT group_id, count(*) FROM member JOIN account ON account.id = member.account_id
            WHERE ?1 OR org_unit_id IN (SELECT value FROM json_each(?2)) GROUP BY group_id
            """,
            (int(reach.everything), json.dumps(sorted(reach.units))),
        )
    )
