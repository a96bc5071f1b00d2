"""Who may decide what waits for people.

It is for the account that it is put before, or for whoever holds its role over the org unit of whoever asks, over the class, or over
everything. A role counts as another when it has all its permissions. Once it is escalated, it is for whoever holds that role as well.
An owner of the appliance may always decide, and is asked when nobody else can, so that nothing waits for somebody who has gone. Nobody but an owner says yes or no to what
they ask for themselves.
"""

from appliance.catalog import WorkItem, grants
from appliance.catalog.work_items import Asked, Over, Rights
from appliance.identity import permissions
from appliance.identity.roles import ROLES, counting_as

OWNER = "owner"


def having(role: str, unit: int | None, class_name: str | None) -> list[int]:
    """The accounts that count as holding the role over an org unit, a class, or everything: one answer for whoever asks for a role."""
    return grants.holders(counting_as(role), unit, class_name)


def rights(account_id: int, held: permissions.Permissions) -> Rights:
    """What somebody who holds this may decide."""
    over: dict[tuple[int | None, str | None], frozenset[str]] = {}
    for one in held.held:
        covered = frozenset(name for name in ROLES if one.role in counting_as(name))
        # Nobody is asked as a user, which nearly everybody is.
        over[one.unit, one.class_name] = over.get((one.unit, one.class_name), frozenset()) | covered - {"user"}
    found = tuple(
        Over(roles, None if unit is None else grants.below([unit]), class_name)
        for (unit, class_name), roles in over.items()
        if roles
    )  # fmt: skip
    return Rights(account_id, OWNER in over.get((None, None), ()), found)


def holders(asked: Asked) -> list[int]:
    """The accounts that are asked: none, when they have gone or nobody holds the role. Owners are left in peace as long as others do."""
    if asked.account_id is not None:
        found = {asked.account_id}
    else:
        found = set(having(asked.role, asked.unit, asked.class_name))
        if asked.role != OWNER:
            found -= set(owners()) - set(grants.holders(counting_as(asked.role) - {OWNER}, asked.unit, asked.class_name))
    if asked.kind == "approval" and asked.requester_id in found and asked.requester_id not in owners():
        found.discard(asked.requester_id)
    return sorted(found)


def owners() -> list[int]:
    """The accounts that hold everything."""
    return having(OWNER, None, None)


def of_todo(todo: WorkItem) -> list[int]:
    """The accounts that a to-do is put before now; when there are none, all owners."""
    first = whom(todo)
    escalated = todo.escalated_at is not None and todo.escalate_role
    more = holders(first._replace(role=todo.escalate_role, account_id=None)) if escalated else []
    return sorted({*holders(first), *more}) or owners()


def whom(todo: WorkItem) -> Asked:
    """Of whom a to-do is asked, as things stand now."""
    asker, named = todo.requester, todo.account
    account_id = None if named is None or named.disabled else todo.account_id
    return Asked(todo.kind, todo.role, account_id, todo.requester_id, None if asker is None else asker.org_unit_id, todo.class_name)
