"""Groups as a list shows them: with how many people are in each itself."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from peewee import JOIN, fn

from appliance.catalog import grants, listing
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window
from appliance.catalog.models import Group, Member, OrgUnit


@dataclass(frozen=True)
class GroupRow:
    """A group, with its org unit joined, and how many people are in it itself."""

    group: Group
    members: int

    @property
    def id(self) -> int:
        found: int = self.group.id
        return found


SORTS: dict[str, Any] = {
    "group": listing.text_of(Group.name),
    "about": listing.text_of(Group.about),
    "unit": listing.text_of(OrgUnit.name),
    "members": fn.COALESCE(Member.select(fn.COUNT(Member.account)).where(Member.group == Group.id), 0),
}


def list_groups(window: Window, reach: Scope, ids: Iterable[int] | None = None, *, text: str = "") -> Page[GroupRow]:
    """Groups within reach, with how many there are."""
    query = listing.narrowed(
        Group.select(Group, OrgUnit).join(OrgUnit, JOIN.LEFT_OUTER),
        listing.has(text, Group.name, Group.about),
        Group.id.in_(list(ids)) if ids is not None else None,
        listing.within(reach, unit=Group.org_unit),
    )
    found, counts = listing.page(query, Group.id, SORTS, window, count=True), dict(grants.member_counts())
    return replace(found, rows=[GroupRow(group, counts.get(group.id, 0)) for group in found.rows])
