"""What limits a claim, and how much of it is used: part of every claim, so written as SQL."""

from dataclasses import dataclass

from appliance.catalog.database import rows
from appliance.catalog.grants import HOLDERS, THEIRS
from appliance.catalog.models import now, stamp


@dataclass(frozen=True)
class Size:
    """What a machine takes: memory in MiB, disk in GiB."""

    vcpus: int
    memory: int
    disk: int


@dataclass(frozen=True)
class Bound:
    """One quota as it counts for somebody: the kind and id of whose it is, and for each of them or for all together."""

    kind: str  # account, group or unit
    id: int
    each: bool
    class_name: str | None
    machines: int | None
    vcpus: int | None
    memory: int | None
    disk: int | None
    lease_minutes: int | None


def bounds(account_id: int, class_name: str) -> list[Bound]:
    """All quotas that count for the account when it asks for a machine of the class."""
    found = rows(
        f"""{HOLDERS}
        SELECT CASE WHEN account_id IS NOT NULL THEN 'account' WHEN group_id IS NOT NULL THEN 'group' ELSE 'unit' END,
               coalesce(account_id, group_id, org_unit_id), each, class_name, machines, vcpus, memory, disk, lease_minutes
        FROM quota WHERE {THEIRS} AND (class_name IS NULL OR class_name = ?2 OR class_name = (SELECT base FROM recipe WHERE class_name = ?2))
          AND (permit_id IS NULL OR EXISTS (SELECT 1 FROM permit WHERE permit.id = quota.permit_id
               AND (starts_at IS NULL OR starts_at <= ?3) AND (ends_at IS NULL OR ends_at > ?3)))
        """,  # noqa: S608 - both are constants
        (account_id, class_name, stamp(now())),
    )
    return [Bound(kind, id, bool(each), *rest) for kind, id, each, *rest in found]


MEMBERS = {
    "account": "SELECT ?1",
    "group": """WITH RECURSIVE inside (id) AS (SELECT ?1 UNION SELECT nesting.inner_id FROM nesting JOIN inside ON inside.id = nesting.outer_id)
                SELECT account_id FROM member WHERE group_id IN inside""",
    "unit": """WITH RECURSIVE inside (id) AS (SELECT ?1 UNION SELECT org_unit.id FROM org_unit JOIN inside ON inside.id = org_unit.parent_id)
               SELECT id FROM account WHERE org_unit_id IN inside""",
}


def used(kind: str, id: int, class_name: str | None) -> tuple[int, int, int, int]:
    """Machines, processors, memory (MiB) and disk (GiB, data disks with them) that an account, or all in a group or unit, hold or wait for."""
    found = rows(
        f"""
        WITH whose (id) AS ({MEMBERS[kind]}),
        coming (account_id, class_name) AS (
            SELECT account_id, class_name FROM request WHERE state IN ('waiting', 'pending') AND account_id IN whose
            UNION ALL SELECT machine.owner_id, machine.class_name FROM lease JOIN machine ON machine.id = lease.machine_id
            WHERE lease.ended_at IS NULL AND lease.account_id IN whose AND machine.state = 'assigned'
              AND NOT EXISTS (SELECT 1 FROM data_disk WHERE data_disk.machine_id = machine.id))
        SELECT coalesce(sum(machines), 0), coalesce(sum(vcpus), 0), coalesce(sum(memory), 0), coalesce(sum(disk), 0) FROM (
            SELECT 1 AS machines, vcpus, memory, disk, class_name FROM lease JOIN machine ON machine.id = lease.machine_id
            WHERE lease.ended_at IS NULL AND lease.account_id IN whose
            UNION ALL
            SELECT 1, json_extract(spec, '$.size.vcpus'), json_extract(spec, '$.size.memory'), json_extract(spec, '$.size.disk'), class.name
            FROM request JOIN class ON class.name = request.class_name
            WHERE request.state IN ('waiting', 'pending') AND request.account_id IN whose
            UNION ALL
            SELECT 0, 0, 0, size, class_name FROM data_disk WHERE account_id IN whose
            UNION ALL
            SELECT 0, 0, 0, class.data_disk * max(0, count(*) - {FREE}), class.name
            FROM coming JOIN class ON class.name = coming.class_name WHERE class.data_disk > 0 GROUP BY coming.account_id, class.name)
        WHERE ?2 IS NULL OR class_name = ?2 OR class_name IN (SELECT class_name FROM recipe WHERE base = ?2)
        """,  # noqa: S608 - constants
        (id, class_name),
    )[0]
    return found[0], found[1], found[2], found[3]


# The data disks that wait for a machine of the person's.
FREE = """(SELECT count(*) FROM data_disk WHERE data_disk.account_id = coming.account_id AND data_disk.class_name = coming.class_name
           AND data_disk.machine_id IS NULL AND data_disk.state IN ('new', 'ready'))"""


def data_of_next(account_id: int, class_name: str) -> int:
    """GiB of the data disk that would be made for the account's next machine of the class; 0 when one waits for it, or there is none."""
    found = rows(
        f"""
        WITH coming (account_id, class_name) AS (SELECT ?1, ?2)
        SELECT iif({FREE} > (SELECT count(*) FROM request WHERE account_id = ?1 AND class_name = ?2 AND state IN ('waiting', 'pending')),
                   0, data_disk)
        FROM class, coming WHERE class.name = ?2
        """,  # noqa: S608 - a constant
        (account_id, class_name),
    )
    return int(found[0][0]) if found else 0
