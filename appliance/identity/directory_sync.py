"""Bringing a directory's people, groups and org units into the catalog. What has not changed is not written."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from appliance.catalog import ROOT, Account, Actor, EventKind, Grant, Group, Member, Nesting, OrgUnit, Quota, Session, record, write
from appliance.errors import Conflict
from appliance.identity.directory import Person
from appliance.identity.directory_tree import Tree

BATCH = 100  # changes in one short transaction
PAUSE = 0.01  # seconds between two of them
UNKNOWN = "!"  # in place of a password's hash: none begins like that
DIRECTORY = Actor("directory")
NOUNS = {"account": "the account", "group": "the group", "unit": "the org unit"}

Item = TypeVar("Item")


class TooMany(Conflict):
    """More than half of all people would have to go; `going` is how many."""

    def __init__(self, going: int, of: int) -> None:
        super().__init__(
            f"The directory no longer has {going} of {of} people, so nothing was changed.",
            "Is the search base or a filter wrong? If they are really gone, synchronise all the same.",
        )
        self.going = going


def apply(tree: Tree, *, force: bool = False) -> dict[str, int]:
    """Make the catalog's directory people, groups and org units those of the tree; returns what there is and what changed.

    Raises TooMany, having changed nothing, when more than half of all people would go, unless `force`.
    """
    active = [id for id, row in _ours(Account).items() if not row.disabled]
    going = sum(id not in tree.people and id not in tree.spared for id in active)
    if not force and going > len(active) // 2 and (going > 2 or not tree.people):
        raise TooMany(going, len(active))
    changes = Counter(people=len(tree.people), groups=len(tree.groups), units=len(tree.units), added=0, changed=0, removed=0)
    units = _write_units(tree, changes)
    _write_people(tree, units, changes)
    _write_groups(tree, units, changes)
    _remove_units(tree, changes)
    return dict(changes)


def _ours(kind: type[Any]) -> dict[str, Any]:
    """The rows that came from the directory, by their id there."""
    return {row.directory_id: row for row in kind.select().where(kind.directory_id.is_null(False))}


def _local_names(kind: type[Any]) -> set[str]:
    return {row.name.lower() for row in kind.select(kind.name).where(kind.directory_id.is_null())}


def _note(kind: EventKind, message: str, object: str, **data: Any) -> None:
    record(kind, message, DIRECTORY, object=object, **data)


def _differences(row: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if getattr(row, name) != value}


def _update(kind: str, row: Any, wanted: dict[str, Any], changes: Counter[str]) -> None:
    """Set what differs, with an event that says what it was before; nothing when nothing differs."""
    changed = _differences(row, wanted)
    if not changed:
        return
    before = {name: getattr(row, name) for name in changed}
    type(row).update(wanted).where(type(row).id == row.id).execute()  # all of it: the name may have been set aside
    _note(
        EventKind(f"{kind}.changed"), f"The directory changed {NOUNS[kind]} {row.name}.", f"{kind}:{row.name}", before=before, after=changed
    )
    changes["changed"] += 1


def _set_aside(rows: Iterable[Any]) -> None:
    """Give rows that get another name one that nobody has, so that two can change names with each other."""
    for row in rows:
        type(row).update(name=row.directory_id).where(type(row).id == row.id).execute()


def _write_units(tree: Tree, changes: Counter[str]) -> dict[str, int]:
    """Bring the org units in; returns the row of each by its id in the directory."""
    with write():
        known = _ours(OrgUnit)
        taken = {(row.parent_id, row.name.lower()) for row in OrgUnit.select().where(OrgUnit.directory_id.is_null())}
        rows, wanted = {id: row.id for id, row in known.items()}, {}
        for unit in tree.units.values():  # from the top down
            parent = rows.get(unit.parent, ROOT)
            name = unit.name if (parent, unit.name.lower()) not in taken else f"{unit.name} ({unit.dn})"
            taken.add((parent, name.lower()))
            wanted[unit.id] = {"name": name, "parent_id": parent}
            if unit.id not in known:
                # Under a name that nobody has, until those that have its own now are renamed.
                rows[unit.id] = OrgUnit.insert(name=unit.id, parent=parent, directory_id=unit.id).execute()
                _note(EventKind.UNIT_CREATED, f"The directory brought the org unit {name}.", f"unit:{name}")
                changes["added"] += 1
        _set_aside(row for id, row in known.items() if id in wanted and _differences(row, wanted[id]))
        for id, values in wanted.items():
            if id in known:
                _update("unit", known[id], values, changes)
            else:
                OrgUnit.update(values).where(OrgUnit.id == rows[id]).execute()
    return rows


def _remove_units(tree: Tree, changes: Counter[str]) -> None:
    """Take away org units that are gone, from the bottom up; one that rights or quotas refer to is kept, empty."""
    with write():
        gone = [row for row in OrgUnit.select().where(OrgUnit.directory_id.is_null(False)) if row.directory_id not in tree.units]
        gone = [row for row in gone if row.directory_id not in tree.spared]
        while removable := [row for row in gone if not OrgUnit.select().where(OrgUnit.parent == row.id).exists()]:
            gone = [row for row in gone if row not in removable]
            for row in removable:
                for kind in (Account, Group):
                    kind.update(org_unit=row.parent_id).where(kind.org_unit == row.id).execute()
                if _is_named(org_unit=row.id) or Grant.select().where(Grant.over_unit == row.id).exists():
                    tree.problems.append(
                        f"The org unit {row.name} is gone from the directory. It is kept, empty, because grants or quotas name it."
                    )
                    continue
                row.delete_instance()
                _note(EventKind.UNIT_DELETED, f"The directory no longer has the org unit {row.name}.", f"unit:{row.name}")
                changes["removed"] += 1


def _is_named(**whom: int) -> bool:
    """Whether a grant or a quota is for this group or org unit."""
    return any(kind.select().filter(**whom).exists() for kind in (Grant, Quota))


def _write_people(tree: Tree, units: dict[str, int], changes: Counter[str]) -> None:
    known = _ours(Account)
    local = _local_names(Account)
    for somebody in list(tree.people.values()):
        if somebody.name.lower() in local:
            tree.problems.append(f"{somebody.dn} is left out: there is a local account called {somebody.name}.")
            tree.spared.add(somebody.id)
            del tree.people[somebody.id]
    wanted = {somebody.id: _account(somebody, units.get(tree.homes[somebody.id], ROOT)) for somebody in tree.people.values()}
    stays = [row for id, row in known.items() if id in wanted]
    gone = [row for id, row in known.items() if id not in wanted and id not in tree.spared]
    renamed = [row for row in stays if row.name != wanted[row.directory_id]["name"]]
    with write():
        # Whoever comes after somebody of the same name is somebody else, and must not find their machines.
        names = {somebody.name.lower() for somebody in tree.people.values()}
        for row in gone:
            if row.name.lower() in names:
                _update("account", row, {"name": f"{row.name}~{row.id}"}, changes)
        _set_aside(renamed)
        for row in renamed:
            _update("account", row, wanted[row.directory_id], changes)
    others = [row for row in stays if row not in renamed and _differences(row, wanted[row.directory_id])]
    _in_batches(others, lambda row: _update("account", row, wanted[row.directory_id], changes))
    _in_batches(
        [somebody for somebody in tree.people.values() if somebody.id not in known], lambda new: _insert(new, wanted[new.id], changes)
    )
    off = [row for row in stays if tree.people[row.directory_id].disabled] + gone
    _in_batches([row for row in off if not row.disabled], lambda row: _lock(row, changes))
    back = [row for row in stays if not tree.people[row.directory_id].disabled]
    _in_batches([row for row in back if row.directory_off], lambda row: _unlock(row, changes))


def _in_batches(work: list[Item], do: Callable[[Item], None]) -> None:
    """Do something to each, in transactions so short that whoever wants a machine does not notice."""
    for some in _slices(work):
        with write():
            for item in some:
                do(item)
        time.sleep(PAUSE)  # or another process, which has to poll for its turn, would hardly get one


def _slices(work: list[Item]) -> Iterator[list[Item]]:
    for first in range(0, len(work), BATCH):
        yield work[first : first + BATCH]


def _account(somebody: Person, unit: int) -> dict[str, Any]:
    """What of an account the directory decides."""
    return {"name": somebody.name, "full_name": somebody.full_name, "email": somebody.mail, "dn": somebody.dn, "org_unit_id": unit}


def _insert(somebody: Person, values: dict[str, Any], changes: Counter[str]) -> None:
    off = somebody.disabled
    id: int = Account.insert(**values, directory_id=somebody.id, password=UNKNOWN, disabled=off, directory_off=off).execute()
    record(
        EventKind.ACCOUNT_CREATED,
        f"The directory brought the account {somebody.name}.",
        DIRECTORY,
        account_id=id,
        object=f"account:{somebody.name}",
    )
    changes["added"] += 1


def _lock(row: Account, changes: Counter[str]) -> None:
    """The directory lets them in no more, so neither do we."""
    Account.update(disabled=True, directory_off=True).where(Account.id == row.id).execute()
    Session.delete().where(Session.account == row.id).execute()
    record(
        EventKind.ACCOUNT_DISABLED,
        f"The directory no longer lets {row.name} in.",
        DIRECTORY,
        account_id=row.id,
        object=f"account:{row.name}",
    )
    changes["removed"] += 1


def _unlock(row: Account, changes: Counter[str]) -> None:
    Account.update(disabled=False, directory_off=False).where(Account.id == row.id).execute()
    record(
        EventKind.ACCOUNT_ENABLED, f"The directory lets {row.name} in again.", DIRECTORY, account_id=row.id, object=f"account:{row.name}"
    )
    changes["changed"] += 1


def admit(somebody: Person) -> Account | None:
    """The account of somebody whose password the directory took: theirs, or a new one for whoever has not been synchronised yet.

    None when a local account has their name.
    """
    with write():
        account: Account | None = Account.get_or_none(Account.directory_id == somebody.id)
        if account is None and Account.get_or_none(Account.name == somebody.name) is None:
            _insert(somebody, _account(somebody, ROOT), Counter())
            account = Account.get(Account.directory_id == somebody.id)
        elif account is not None and account.directory_off:
            _unlock(account, Counter())
            account.disabled = False
    return account


def _write_groups(tree: Tree, units: dict[str, int], changes: Counter[str]) -> None:
    with write():
        known = _ours(Group)
        taken = _local_names(Group)
        wanted = {}
        for found in tree.groups.values():
            name = found.name if found.name.lower() not in taken else f"{found.name} ({found.dn})"
            taken.add(name.lower())
            wanted[found.id] = {"name": name, "org_unit_id": units.get(found.home, ROOT)}
        for id, row in known.items():
            if id not in wanted and id not in tree.spared:
                _forget(tree, row, row.name.lower() in taken, changes)
        _set_aside(row for id, row in known.items() if id in wanted and row.name != wanted[id]["name"])
        for id, values in wanted.items():
            if id in known:
                _update("group", known[id], values, changes)
            else:
                Group.insert(**values, directory_id=id).execute()
                _note(EventKind.GROUP_CREATED, f"The directory brought the group {values['name']}.", f"group:{values['name']}")
                changes["added"] += 1
    _write_members(tree, changes)
    _write_nestings(tree, changes)


def _forget(tree: Tree, row: Group, is_in_the_way: bool, changes: Counter[str]) -> None:  # noqa: FBT001
    """Take away a group that is gone; one that rights or quotas refer to is kept, and has nobody in it."""
    if not _is_named(group=row.id):
        row.delete_instance()
        _note(EventKind.GROUP_DELETED, f"The directory no longer has the group {row.name}.", f"group:{row.name}")
        changes["removed"] += 1
        return
    tree.problems.append(f"The group {row.name} is gone from the directory. It is kept, empty, because grants or quotas name it.")
    if is_in_the_way:
        _update("group", row, {"name": f"{row.name}~{row.id}"}, changes)


def _write_members(tree: Tree, changes: Counter[str]) -> None:
    """Who is in the directory's groups; local accounts that an admin put there stay."""
    accounts = _ours(Account)
    names = {row.id: row.name for row in accounts.values()}
    spared = {accounts[id].id for id in tree.spared if id in accounts}
    before: dict[int, set[int]] = defaultdict(set)
    for member in Member.select():
        if member.account_id in names:
            before[member.group_id].add(member.account_id)
    work = []
    for id, row in _ours(Group).items():
        if id not in tree.spared:
            found = tree.groups[id].people if id in tree.groups else frozenset()
            wanted = {accounts[person].id for person in found if person in accounts}
            come, leave = wanted - before[row.id], before[row.id] - wanted - spared
            if come or leave:
                work.append((row, come, leave))

    def change(item: tuple[Group, set[int], set[int]]) -> None:
        row, come, leave = item
        Member.delete().where(Member.group == row.id, Member.account.in_(leave)).execute()
        for some in _slices(sorted(come)):
            Member.insert_many([{"group": row.id, "account": account} for account in some]).execute()
        message = f"The directory changed who is in the group {row.name}: {len(come)} came, {len(leave)} left."
        came, left = (sorted(names[id] for id in ids) for ids in (come, leave))
        _note(EventKind.GROUP_MEMBERS, message, f"group:{row.name}", came=came, left=left)
        changes["changed"] += 1

    _in_batches(work, change)


def _write_nestings(tree: Tree, changes: Counter[str]) -> None:
    rows = {id: row.id for id, row in _ours(Group).items()}
    ours = set(rows.values())
    wanted = {(rows[found.id], rows[inner]) for found in tree.groups.values() for inner in found.groups}
    before = {(nesting.outer_id, nesting.inner_id) for nesting in Nesting.select()}
    come, leave = wanted - before, {pair for pair in before - wanted if ours.issuperset(pair)}
    if not come and not leave:
        return
    with write():
        for outer, inner in leave:
            Nesting.delete().where(Nesting.outer == outer, Nesting.inner == inner).execute()
        for outer, inner in come:
            Nesting.insert(outer=outer, inner=inner).execute()
        _note(EventKind.GROUP_MEMBERS, f"The directory changed which groups are in which: {len(come)} came, {len(leave)} left.", "group:")
    changes["changed"] += len(come) + len(leave)
