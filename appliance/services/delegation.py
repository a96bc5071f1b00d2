"""Giving and taking away roles and quotas, and why somebody may do something.

Nobody gives more than they hold, further than they hold it, or for longer; nor to people, or over things, that they do not look after.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance import catalog
from appliance.catalog import Account, Actor, Class, EventKind, Grant, Group, Member, Nesting, OrgUnit, Quota, grants, now, record, timezone
from appliance.catalog.grants import Location, Scope
from appliance.errors import BadInput, Conflict, DpeError, NotAllowed, NotFound
from appliance.identity import permissions as powers
from appliance.identity import roles
from appliance.services import search

HOLDERS: dict[str, tuple[str, type[Account] | type[Group] | type[OrgUnit]]] = {
    "account": ("account", Account),
    "group": ("group", Group),
    "unit": ("org_unit", OrgUnit),
}
LIMITS = {"machines": 100_000, "vcpus": 1_000_000, "memory": 1_000_000_000, "disk": 1_000_000_000, "lease_minutes": 5_256_000}


@dataclass(frozen=True)
class Holder:
    """Who is given something: an account, a group or an org unit."""

    kind: str
    id: int

    @property
    def column(self) -> dict[str, int]:
        return {HOLDERS[self.kind][0]: self.id}


def holder_of(thing: Grant | Quota) -> tuple[Holder, str]:
    """Whose a grant or quota is, and their name."""
    for kind, (column, _) in HOLDERS.items():
        if getattr(thing, f"{column}_id") is not None:
            return Holder(kind, getattr(thing, f"{column}_id")), getattr(thing, column).name
    raise AssertionError("the schema keeps one of them filled")


def find_holder(actor: Actor, kind: str, name: str) -> Holder:
    """Somebody by name (an org unit by its id). Raises BadInput when there is nobody of that name within the actor's reach."""
    if kind not in HOLDERS:
        raise BadInput("It has to be a person, a group or an org unit.", "Choose one.", field="kind")
    model: Any = HOLDERS[kind][1]
    if kind == "unit":
        found = model.get_or_none(model.id == int(name)) if name.isascii() and name.isdigit() and len(name) < 18 else None
    else:
        found = model.get_or_none(model.name == name.strip())
    if found is None or not powers.may(actor, "people.read", kind, found.id):
        what, field = ("org unit", "unit") if kind == "unit" else (kind, "name")
        hint = "Choose one." if kind == "unit" else search.like(powers.of(actor), name, kind)
        raise BadInput(f"There is no {what} {name[:60]}.", hint, field=field)
    return Holder(kind, found.id)


def over(grant: Grant) -> str:
    """Over what a grant is, in words."""
    if grant.over_unit is not None:
        return f"the org unit {grant.over_unit.name}"
    return f"the class {grant.over_class}" if grant.over_class is not None else "the appliance"


@dataclass(frozen=True)
class Givable:
    """What somebody may give in some way or other: roles, and what over; together they may still be more than they hold."""

    roles: list[str]
    everything: bool
    units: frozenset[int]
    classes: frozenset[str]

    def covers(self, *, unit: int | None = None, class_name: str | None = None) -> bool:
        """Whether one of the roles may be given over this org unit or class."""
        return self.everything or unit in self.units or class_name in self.classes


def givable(actor: Actor) -> Givable:
    """The roles that the actor holds, by itself or by one that has all its permissions, and all that they are held over."""
    mine = powers.of(actor)
    reaches = {role: reach for role in roles.ROLES if (reach := mine.reach_as(role))}
    return Givable(
        list(reaches),
        any(reach.everything for reach in reaches.values()),
        frozenset(unit for reach in reaches.values() for unit in reach.units),
        frozenset(name for reach in reaches.values() for name in reach.classes),
    )


def give(
    actor: Actor,
    role: str,
    holder: Holder,
    *,
    over_unit: int | None = None,
    over_class: str | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    limits: dict[str, int | None] | None = None,
) -> Grant:
    """Give a role over an org unit, a class or, with neither, the appliance; `limits` are a quota for each who gets it.

    Raises NotFound, BadInput, Conflict, and NotAllowed when it is more than the actor may give.
    """
    if role not in roles.ROLES:
        raise BadInput("There is no such role.", "Choose one.", field="role")
    if ends_at is not None and ends_at <= max(now(), starts_at or now()):
        raise BadInput("It would end before it begins.", "Choose a later day.", field="ends")
    kind = roles.UNIT if over_unit is not None else roles.CLASS if over_class is not None else None
    if over_unit is not None and over_class is not None:
        raise BadInput("A grant is over an org unit or over a class.", "Give it twice.")
    if not roles.permissions(role, kind):
        raise BadInput(
            f"{roles.ROLES[role].title} over {'an org unit' if kind == roles.UNIT else 'a class'} would allow nothing.",
            "Give it to the unit's people, over the appliance or a class, instead.",
            field="over",
        )
    with catalog.write():
        held_by = powers.require(actor, "people.read", holder.kind, holder.id)
        grant = Grant(role=role, **holder.column, over_unit=over_unit, over_class=over_class)
        grant.starts_at, grant.ends_at, grant.given_by_id = starts_at, ends_at, actor.account_id
        _demand_scope(actor, grant, held_by)
        powers.require_holding(actor, [grant], "That is more than you hold yourself.")  # before anybody learns what there is further away
        if over_unit is not None and OrgUnit.get_or_none(OrgUnit.id == over_unit) is None:
            raise NotFound("There is no such org unit.")
        if over_class is not None and Class.get_or_none(Class.name == over_class) is None:
            raise NotFound("There is no such class.")
        same = (Grant.role == role) & (Grant.over_unit == over_unit) & (Grant.over_class == over_class) & Grant.ends_at.is_null()
        if Grant.select().where(same, *[getattr(Grant, column) == id for column, id in holder.column.items()]).count():
            raise Conflict("They hold that already.", "Nothing needs to be done.")
        grant.save()
        if limits and any(value is not None for value in limits.values()):
            Quota.create(grant=grant.id, **holder.column, each=True, class_name=over_class, **_checked(limits))
        title, name = roles.ROLES[role].title, holder_of(grant)[1]
        record(
            EventKind.GRANT_GIVEN, f"{actor.name} made {name} {title} over {over(grant)}.", actor,
            object=f"{holder.kind}:{name}", after=_described(grant),
        )  # fmt: skip
    return grant


def _demand_scope(actor: Actor, grant: Grant, held_by: Location) -> None:
    """Grants are managed by who looks after what they are over, or after those who hold them."""
    about = Location(frozenset({grant.over_unit_id} - {None}), frozenset({grant.over_class} - {None}))  # type: ignore[arg-type]
    manage = powers.scope_of(actor, "grants.manage")
    if not (manage.covers(about) or manage.covers(held_by)):
        raise NotAllowed("That is outside of what you look after.", "Ask the one who does.")


def _described(grant: Grant) -> dict[str, Any]:
    days = {key: timezone.timestamp(value) for key in ("starts_at", "ends_at") if (value := getattr(grant, key)) is not None}
    return {"role": grant.role, "over": over(grant), **days}


def take_away(actor: Actor, ids: list[int]) -> int:
    """Take grants away, all or none. Raises NotAllowed for one that the actor could not have given, Conflict for the last owner's."""
    with catalog.write():
        for id in ids:
            grant = Grant.get_or_none(Grant.id == id)
            place = grants.location_of("grant", id)
            if grant is None or place is None or not powers.scope_of(actor, "grants.read").covers(place):
                raise NotFound("There is no such grant any more.", "Reload the page.")
            holder, name = holder_of(grant)
            _demand_scope(actor, grant, place)
            powers.require_holding(actor, [grant], "That is more than you hold yourself, so not yours to take away.")
            before, title, words = _described(grant), roles.ROLES[grant.role].title, over(grant)
            grant.delete_instance()
            if grant.role == "owner" and not grants.owners():
                raise Conflict("This is the only owner of the appliance.", "Make another local account an owner first.")
            record(
                EventKind.GRANT_TAKEN,
                f"{name} is no longer {title} over {words}, by {actor.name}.",
                actor,
                object=f"{holder.kind}:{name}",
                before=before,
            )
    return len(ids)


def visible(actor: Actor) -> list[Grant]:
    """The grants that the actor may see, newest first."""
    reach = powers.scope_of(actor, "grants.read")
    found = list(Grant.select().order_by(Grant.id.desc()))
    return found if reach.everything else [grant for grant in found if (at := grants.location_of("grant", grant.id)) and reach.covers(at)]


@dataclass(frozen=True)
class Reason:
    """One grant that counts for somebody: how it comes to them, link by link, and whether it counts now."""

    grant: Grant
    chain: list[str]
    state: str  # now, later, over
    permissions: frozenset[str]


def why(actor: Actor, account: Account, permission: str = "") -> list[Reason]:
    """Everything that the account is given, or what gives it one permission; what counts now comes first. Groups out of reach have no name."""
    moment, found, reach = now(), [], powers.scope_of(actor, "people.read")
    for grant in grants.of_account(account.id):
        kind = roles.UNIT if grant.over_unit_id is not None else roles.CLASS if grant.over_class is not None else None
        allowed = roles.permissions(grant.role, kind)
        if permission and permission not in allowed:
            continue
        state = "over" if grant.ends_at and grant.ends_at <= moment else "later" if grant.starts_at and grant.starts_at > moment else "now"
        found.append(Reason(grant, [account.full_name or account.name, *_links(account, grant, reach)], state, allowed))
    return sorted(found, key=lambda reason: ("now", "later", "over").index(reason.state))


def _called(group: Group, reach: Scope) -> str:
    return f"group {group.name}" if reach.everything or group.org_unit_id in reach.units else "a group elsewhere"


def _unit(unit: OrgUnit) -> str:
    return f"org unit {unit.name}"


def _links(account: Account, grant: Grant, reach: Scope) -> list[str]:
    if grant.org_unit_id is not None:
        at, links = account.org_unit, [_unit(account.org_unit)]
        while at.id != grant.org_unit_id:
            at = at.parent
            links.append(_unit(at))
        return links
    if grant.group_id is None:
        return []
    ways = {member.group_id: [_called(member.group, reach)] for member in Member.select().where(Member.account == account.id)}
    fresh = list(ways)
    while grant.group_id not in ways:
        around = list(Nesting.select().where(Nesting.inner.in_(fresh)))
        fresh = [nesting.outer_id for nesting in around if nesting.outer_id not in ways]
        for nesting in around:
            ways.setdefault(nesting.outer_id, [*ways[nesting.inner_id], _called(nesting.outer, reach)])
    return ways[grant.group_id]


def _checked(limits: dict[str, int | None]) -> dict[str, int | None]:
    for name, value in limits.items():
        if value is not None and not 0 <= value <= LIMITS[name]:
            raise BadInput(f"{name.replace('_', ' ').capitalize()} cannot be {value}.", f"It is between 0 and {LIMITS[name]}.", field=name)
    if limits.get("lease_minutes") == 0:
        raise BadInput("A lease of no length is no lease.", "Set machines to 0 instead.", field="lease_minutes")
    return limits


def quotas(actor: Actor) -> list[Quota]:
    """The quotas of those whom the actor may see, newest first."""
    reach = powers.scope_of(actor, "people.read")
    found = list(Quota.select().order_by(Quota.id.desc()))
    return found if reach.everything else [quota for quota in found if (at := grants.location_of("quota", quota.id)) and reach.covers(at)]


def quotas_of(actor: Actor, account_id: int) -> list[Quota]:
    """The quotas within reach that count for an account: its own, and those of its groups and org units."""
    mine = (Quota.account == account_id) | Quota.group.in_(grants.groups_of(account_id)) | Quota.org_unit.in_(grants.units_of(account_id))
    reach = powers.scope_of(actor, "people.read")
    found = Quota.select().where(mine).order_by(Quota.id)
    return [quota for quota in found if (at := grants.location_of("quota", quota.id)) and reach.covers(at)]


def _demand_unbound(actor: Actor, holder: Holder) -> None:
    """Whom a quota binds does not set it, unless nobody is above them."""
    place = powers.require(actor, "quotas.manage", holder.kind, holder.id)
    reach = powers.scope_of(actor, "quotas.manage")
    if reach.everything:
        return
    tops = [
        held.unit for held in powers.of(actor).held if held.unit is not None and "quotas.manage" in roles.permissions(held.role, roles.UNIT)
    ]
    above = set(tops) - grants.below(_children(tops))
    if place.account_id == actor.account_id or (holder.kind == "unit" and holder.id in above):
        raise NotAllowed("This quota binds you, or all that you look after.", "Ask somebody above you.")


def may_bind(actor: Actor, holder: Holder) -> bool:
    """Whether the actor may set a quota of these."""
    try:
        _demand_unbound(actor, holder)
    except DpeError:
        return False
    return True


def _children(units: list[int]) -> list[int]:
    return [unit.id for unit in OrgUnit.select(OrgUnit.id).where(OrgUnit.parent.in_(units))]


def _knows_class(actor: Actor, name: str) -> bool:
    """Whether there is such a class, and the actor may use its machines or see it."""
    place = Location(classes=frozenset({name}))
    known = any(powers.scope_of(actor, permission).covers(place) for permission in ("machines.use", "classes.read"))
    return known and Class.get_or_none(Class.name == name) is not None


def set_quota(actor: Actor, holder: Holder, limits: dict[str, int | None], *, each: bool, class_name: str | None = None) -> Quota:
    """Limit an account, each person in a group or unit, or all of them together; replaces an earlier one of the same kind.

    Memory is MiB, disk GiB. Raises NotFound, BadInput or NotAllowed.
    """
    limits = _checked(limits)
    if all(value is None for value in limits.values()):
        raise BadInput("A quota without a limit limits nothing.", "Fill in at least one number.", field="machines")
    with catalog.write():
        _demand_unbound(actor, holder)
        if class_name is not None and not _knows_class(actor, class_name):
            raise NotFound("There is no such class.")
        mine = [getattr(Quota, column) == id for column, id in holder.column.items()]
        Quota.delete().where(Quota.grant.is_null(), Quota.each == each, Quota.class_name == class_name, *mine).execute()
        made = Quota.create(**holder.column, each=each, class_name=class_name, **limits)
        name = holder_of(made)[1]
        record(
            EventKind.QUOTA_SET,
            f"{actor.name} set a quota of {name}.",
            actor,
            object=f"{holder.kind}:{name}",
            after={**limits, "each": each},
        )
    return made


def remove_quota(actor: Actor, id: int) -> None:
    """Remove a quota."""
    with catalog.write():
        quota = Quota.get_or_none(Quota.id == id)
        if quota is None:
            raise NotFound("There is no such quota any more.", "Reload the page.")
        holder, name = holder_of(quota)
        _demand_unbound(actor, holder)
        quota.delete_instance()
        record(EventKind.QUOTA_REMOVED, f"{actor.name} removed a quota of {name}.", actor, object=f"{holder.kind}:{name}")
