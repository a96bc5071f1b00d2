"""Groups as a list shows them: with how many people within reach are in each itself."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from peewee import JOIN, fn

from appliance.catalog import grants, listing
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window
from appliance.catalog.models import Account, Group, Member, OrgUnit


@dataclass(frozen=True)
class GroupRow:
    """A group, with its org unit joined, and how many people within reach are in it itself."""

    group: Group
    members: int

    @property
    def id(self) -> int:
        found: int = self.group.id
        return found


def _members(reach: Scope) -> Any:
    """How many people within reach are in a group itself, as a part of a query."""
    inside = listing.narrowed(
        Member.select(fn.COUNT(Member.account)).join(Account), Member.group == Group.id, listing.within(reach, unit=Account.org_unit)
    )
    return fn.COALESCE(inside, 0)


SORTS: dict[str, Any] = {
    "group": listing.text_of(Group.name),
    "about": listing.text_of(Group.about),
    "unit": listing.text_of(OrgUnit.name),
    "members": _members(Scope(everything=True)),
}


def list_groups(window: Window, reach: Scope, ids: Iterable[int] | None = None, *, text: str = "") -> Page[GroupRow]:
    """Groups within reach, with how many there are."""
    query = listing.narrowed(
        Group.select(Group, OrgUnit).join(OrgUnit, JOIN.LEFT_OUTER),
        listing.has(text, Group.name, Group.about),
        Group.id.in_(list(ids)) if ids is not None else None,
        listing.within(reach, unit=Group.org_unit),
    )
    found = listing.page(query, Group.id, {**SORTS, "members": _members(reach)}, window, count=True)
    counts = grants.member_counts(reach)
    return replace(found, rows=[GroupRow(group, counts.get(group.id, 0)) for group in found.rows])
