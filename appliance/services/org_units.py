"""Org units and groups: where people are, and who is given the same.

Coming into a unit or a group gives what it carries, so whoever brings somebody in must hold all of that.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from appliance import catalog
from appliance.catalog import ROOT, Account, Actor, EventKind, Group, Member, Nesting, OrgUnit, accounts, grants, listing, record
from appliance.catalog.listing import Page, Value, Window
from appliance.errors import BadInput, Conflict, NotFound
from appliance.identity import names, permissions
from appliance.language import Written
from appliance.services import search

TOO_MIGHTY = "They would come to hold more than you do."
FOLLOWED = "The directory says where this is.", "Change it in the directory; it is followed here."


@dataclass(frozen=True)
class Branch:
    """An org unit as a line of the tree: `path` is its name with those above it; `people` and `groups` are those in it, not below."""

    unit: OrgUnit
    depth: int
    path: str
    people: int
    groups: int

    @property
    def id(self) -> int:
        found: int = self.unit.id
        return found

    @property
    def place(self) -> str:
        """What the lines of the tree are sorted by; the unit that everybody is in comes first."""
        return "" if self.id == ROOT else self.path.replace(" / ", "\t").casefold()


SORTS: dict[str, Callable[[Branch], Value]] = {
    "unit": lambda branch: branch.place,
    "people": lambda branch: branch.people,
    "groups": lambda branch: branch.groups,
}


def tree(actor: Actor, permission: str = "people.read") -> list[Branch]:
    """The org units within reach, each below the one it belongs to."""
    reach = permissions.scope_of(actor, permission)
    below: dict[int | None, list[OrgUnit]] = {}
    counts, groups = accounts.by_unit(), grants.groups_by_unit()
    for unit in OrgUnit.select().order_by(OrgUnit.name):
        below.setdefault(unit.parent_id, []).append(unit)
    lines: list[Branch] = []

    def walk(parent: int | None, depth: int, path: str) -> None:
        for unit in below.get(parent, ()):
            name = Written(f"{path} / {unit.name}" if path and parent != ROOT else unit.name)
            shown = reach.everything or unit.id in reach.units
            if shown:
                lines.append(Branch(unit, depth, name, counts.get(unit.id, 0), groups.get(unit.id, 0)))
            walk(unit.id, depth + shown, name)

    walk(None, 0, "")
    return lines


def list_units(actor: Actor, window: Window, ids: Iterable[int] | None = None, *, text: str = "") -> Page[Branch]:
    """Org units within reach, with how many there are. Raises KeyError for a column that cannot be sorted by."""
    wanted = None if ids is None else set(ids)
    found = [line for line in tree(actor) if (wanted is None or line.id in wanted) and text.casefold() in line.path.casefold()]
    return listing.page_of(found, lambda line: line.id, SORTS, window)


def unit(id: int) -> OrgUnit:
    """The org unit. Raises NotFound."""
    found: OrgUnit | None = OrgUnit.get_or_none(OrgUnit.id == id)
    if found is None:
        raise NotFound("There is no such org unit.")
    return found


def group(id: int) -> Group:
    """The group. Raises NotFound."""
    found: Group | None = Group.get_or_none(Group.id == id)
    if found is None:
        raise NotFound("There is no such group.")
    return found


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > 100 or not name.isprintable():
        raise BadInput("A name of 1 to 100 characters is needed.", "Write one.", field="name")
    return name


def demand_free(actor: Actor, kind: str, name: str, taken: Account | Group | OrgUnit | None, message: str) -> None:
    """Raise Conflict when something has the name, with the message for who may see that thing. Names are the whole appliance's: whoever may not
    is told as much as of a reserved name, that they cannot use it."""
    if taken is not None and permissions.may(actor, "people.read", kind, taken.id):
        raise Conflict(message, "Pick another name.", field="name")
    if taken is not None or (kind == "account" and name.lower() in names.RESERVED):
        raise Conflict(f"The name {name} cannot be used.", "Pick another name.", field="name")


def _free(actor: Actor, parent_id: int, name: str, but: int | None = None) -> None:
    taken = OrgUnit.get_or_none(OrgUnit.parent == parent_id, OrgUnit.name == name, OrgUnit.id != but)
    demand_free(actor, "unit", name, taken, f"There is already an org unit {name} there.")


def _local(thing: OrgUnit | Group) -> None:
    if thing.directory_id is not None:
        raise Conflict(*FOLLOWED)


def create_unit(actor: Actor, parent_id: int, name: str) -> OrgUnit:
    """A new org unit below another. Raises NotFound, BadInput or Conflict."""
    name = _name(name)
    with catalog.write():
        permissions.require(actor, "people.manage", "unit", parent_id)
        _free(actor, parent_id, name)
        made = OrgUnit.create(parent=parent_id, name=name)
        record(EventKind.ORG_UNIT_CREATED, f"{actor.name} made the org unit {name}.", actor, object=f"unit:{name}")
    return made


def change_unit(actor: Actor, id: int, *, name: str, parent_id: int | None) -> None:
    """Rename an org unit, or put it below another. Raises Conflict when that would close a circle."""
    name = _name(name)
    with catalog.write():
        permissions.require(actor, "people.manage", "unit", id)
        found = unit(id)
        _local(found)
        before = {"name": found.name, "parent": found.parent_id}
        if id != ROOT and parent_id is not None and parent_id != found.parent_id:
            permissions.require(actor, "people.manage", "unit", parent_id)
            if parent_id in grants.below([id]):
                raise Conflict(f"{found.name} cannot be put below itself.", "Choose another place.", field="parent")
            permissions.require_holding(actor, grants.carried("unit", parent_id), TOO_MIGHTY)
            found.parent = parent_id
        if found.parent_id is not None:
            _free(actor, found.parent_id, name, id)
        found.name = name
        found.save()
        after = {"name": name, "parent": found.parent_id}
        record(
            EventKind.ORG_UNIT_CHANGED,
            f"{actor.name} changed the org unit {name}.",
            actor,
            object=f"unit:{name}",
            before=before,
            after=after,
        )


def remove_unit(actor: Actor, id: int) -> None:
    """Remove an org unit that nothing is in. Raises Conflict when something is."""
    with catalog.write():
        permissions.require(actor, "people.manage", "unit", id)
        found = unit(id)
        _local(found)
        if id == ROOT:
            raise Conflict("This is the unit that everybody is in.", "It can be renamed.")
        inside = Account.select().where(Account.org_unit == id).count() + Group.select().where(Group.org_unit == id).count()
        if inside or OrgUnit.select().where(OrgUnit.parent == id).count():
            raise Conflict(f"{found.name} is not empty.", "Move its people, groups and units elsewhere first.")
        permissions.require_holding(actor, grants.carried("unit", id), "What this unit holds is not yours to take away.")
        found.delete_instance()
        record(EventKind.ORG_UNIT_REMOVED, f"{actor.name} removed the org unit {found.name}.", actor, object=f"unit:{found.name}")


def demand_unit(actor: Actor, unit_id: int) -> None:
    """Raise NotFound or NotAllowed when the actor may not bring people into the unit."""
    permissions.require(actor, "people.manage", "unit", unit_id)
    permissions.require_holding(actor, grants.carried("unit", unit_id), TOO_MIGHTY)


def move_people(actor: Actor, ids: Iterable[int], unit_id: int) -> int:
    """Put accounts into a unit, all or none; returns how many were moved."""
    with catalog.write():
        demand_unit(actor, unit_id)
        to, moved = unit(unit_id), 0
        for id in ids:
            permissions.require(actor, "people.manage", "account", id)
            permissions.require_no_less(actor, id)
            account = Account.get_by_id(id)
            if account.directory_id is not None:
                raise Conflict(f"The directory says where {account.name} is.", "Move them in the directory; it is followed here.")
            if account.org_unit_id == unit_id:
                continue
            before = {"org_unit": account.org_unit.name}
            account.org_unit = to
            account.save(only=[Account.org_unit])
            record(
                EventKind.ACCOUNT_MOVED, f"{actor.name} moved {account.name} to {to.name}.", actor,
                account_id=id, object=f"account:{account.name}", before=before, after={"org_unit": to.name},
            )  # fmt: skip
            moved += 1
    return moved


def groups(actor: Actor) -> list[tuple[Group, int]]:
    """The groups within reach, by name, with the number of their own members within reach."""
    reach = permissions.scope_of(actor, "people.read")
    counts = grants.member_counts(reach)
    return [
        (found, counts.get(found.id, 0))
        for found in Group.select().order_by(Group.name)
        if reach.everything or found.org_unit_id in reach.units
    ]


def around(actor: Actor, id: int) -> tuple[list[Group], list[Group]]:
    """The groups within reach that are in the group itself, and those that it is in itself, by name."""
    reach = permissions.scope_of(actor, "people.read")
    inner = Group.select().join(Nesting, on=(Nesting.inner == Group.id)).where(Nesting.outer == id).order_by(Group.name)
    outer = Group.select().join(Nesting, on=(Nesting.outer == Group.id)).where(Nesting.inner == id).order_by(Group.name)
    known = [[group for group in found if reach.everything or group.org_unit_id in reach.units] for found in (inner, outer)]
    return known[0], known[1]


def groups_of(actor: Actor, account_id: int) -> list[Group]:
    """The groups within reach that somebody is in, directly or through another, by name."""
    reach = permissions.scope_of(actor, "people.read")
    found = Group.select().where(Group.id.in_(grants.groups_of(account_id))).order_by(Group.name)
    return [group for group in found if reach.everything or group.org_unit_id in reach.units]


def create_group(actor: Actor, name: str, about: str, unit_id: int) -> Group:
    """A new group, looked after by whoever looks after the unit. Raises NotFound, BadInput or Conflict."""
    name = _name(name)
    with catalog.write():
        permissions.require(actor, "people.manage", "unit", unit_id)
        demand_free(actor, "group", name, Group.get_or_none(Group.name == name), f"There is already a group {name}.")
        made = Group.create(name=name, about=about.strip()[:300], org_unit=unit_id)
        record(EventKind.GROUP_CREATED, f"{actor.name} made the group {name}.", actor, object=f"group:{name}")
    return made


def remove_group(actor: Actor, id: int) -> None:
    """Remove a group; its members stay, what it held is gone."""
    with catalog.write():
        permissions.require(actor, "people.manage", "group", id)
        found = group(id)
        _local(found)
        permissions.require_holding(actor, grants.carried("group", id), "What this group holds is not yours to take away.")
        found.delete_instance()
        record(EventKind.GROUP_REMOVED, f"{actor.name} removed the group {found.name}.", actor, object=f"group:{found.name}")


def add_members(actor: Actor, id: int, people: Iterable[str]) -> int:
    """Bring accounts, by name, into a group, all or none; returns how many are new in it. Raises BadInput naming who is not there."""
    with catalog.write():
        permissions.require(actor, "people.manage", "group", id)
        found = group(id)
        _local(found)
        permissions.require_holding(actor, grants.carried("group", id), TOO_MIGHTY)
        reach, added = permissions.scope_of(actor, "people.read"), 0
        for name in people:
            account = Account.get_or_none(Account.name == name)
            if account is None or not (reach.everything or account.org_unit_id in reach.units):
                hint = search.like(permissions.of(actor), name)
                raise BadInput(f"There is no account {name}.", f"{hint} Nobody was added.", field="names")
            added += Member.insert(group=id, account=account.id).on_conflict_ignore().as_rowcount().execute()
            record(
                EventKind.GROUP_JOINED,
                f"{actor.name} put {account.name} into {found.name}.",
                actor,
                account_id=account.id,
                object=f"group:{found.name}",
            )
    return added


def remove_members(actor: Actor, id: int, account_ids: Iterable[int]) -> None:
    """Take accounts out of a group: those within reach."""
    with catalog.write():
        permissions.require(actor, "people.manage", "group", id)
        found = group(id)
        _local(found)
        permissions.require_holding(actor, grants.carried("group", id), "What this group holds is not yours to take away.")
        for account_id in account_ids:
            permissions.require(actor, "people.read", "account", account_id)
            if Member.delete().where(Member.group == id, Member.account == account_id).execute():
                record(
                    EventKind.GROUP_LEFT,
                    f"{actor.name} took somebody out of {found.name}.",
                    actor,
                    account_id=account_id,
                    object=f"group:{found.name}",
                )


def nest(actor: Actor, outer_id: int, inner_id: int) -> None:
    """Put a group into a group. Raises Conflict when that would close a circle."""
    with catalog.write():
        permissions.require(actor, "people.manage", "group", outer_id)
        permissions.require(actor, "people.read", "group", inner_id)
        outer, inner = group(outer_id), group(inner_id)
        _local(outer)
        if outer_id in grants.inner_groups(inner_id):
            raise Conflict(f"{inner.name} contains {outer.name} already.", "Groups cannot contain each other in a circle.")
        permissions.require_holding(actor, grants.carried("group", outer_id), TOO_MIGHTY)
        Nesting.insert(outer=outer_id, inner=inner_id).on_conflict_ignore().execute()
        record(EventKind.GROUP_JOINED, f"{actor.name} put the group {inner.name} into {outer.name}.", actor, object=f"group:{outer.name}")


def unnest(actor: Actor, outer_id: int, inner_id: int) -> None:
    """Take a group out of a group."""
    with catalog.write():
        permissions.require(actor, "people.manage", "group", outer_id)
        outer = group(outer_id)
        _local(outer)
        permissions.require_holding(actor, grants.carried("group", outer_id), "What this group holds is not yours to take away.")
        Nesting.delete().where(Nesting.outer == outer_id, Nesting.inner == inner_id).execute()
        record(EventKind.GROUP_LEFT, f"{actor.name} took a group out of {outer.name}.", actor, object=f"group:{outer.name}")
