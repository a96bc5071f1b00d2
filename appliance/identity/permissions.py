"""What somebody may do, and how far."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from appliance.catalog import ENGINE, Actor, Grant, grants, now
from appliance.catalog.grants import HeldGrant, Location, Scope
from appliance.errors import NotAllowed, NotFound
from appliance.identity import roles

EVERYTHING = Scope(everything=True)


def _kind(held: HeldGrant) -> str | None:
    return roles.UNIT if held.unit is not None else roles.CLASS if held.class_name is not None else None


def _over(found: list[HeldGrant]) -> Scope:
    """All that these are held over."""
    if any(_kind(held) is None for held in found):
        return EVERYTHING
    units = {held.unit for held in found if held.unit is not None}
    return Scope(
        units=grants.below(units) if units else frozenset(), classes=frozenset(held.class_name for held in found if held.class_name)
    )


@dataclass(frozen=True)
class Permissions:
    """All that somebody holds at one moment."""

    held: tuple[HeldGrant, ...]

    def has(self, permission: str) -> bool:
        """Whether they hold the permission over anything at all."""
        return permission == roles.OWN or any(permission in roles.permissions(held.role, _kind(held)) for held in self.held)

    def reach(self, permission: str) -> Scope:
        """How far the permission goes."""
        return _over([held for held in self.held if permission in roles.permissions(held.role, _kind(held))])

    def reach_as(self, role: str) -> Scope:
        """How far they count as holding the role, by itself or by one that has all its permissions. Who is asked for a yes goes by it."""
        return _over([held for held in self.held if held.role in roles.counting_as(role)])

    def lasting(self, ends_at: datetime | None) -> "Permissions":
        """Those of them that last until then; None is for good."""
        return Permissions(tuple(held for held in self.held if held.ends_at is None or (ends_at is not None and ends_at <= held.ends_at)))


def of(actor: Actor) -> Permissions:
    """What the actor holds now; the engine holds everything."""
    if actor == ENGINE:
        return Permissions((HeldGrant("owner", None, None, None),))
    return of_account(actor.account_id) if actor.account_id is not None else Permissions(())


def of_account(account_id: int) -> Permissions:
    """What the account holds now."""
    return Permissions(tuple(grants.held_by(account_id)))


def scope_of(actor: Actor, permission: str) -> Scope:
    """How far the actor's permission goes, now."""
    return of(actor).reach(permission)


def may(actor: Actor, permission: str, kind: str, id: object) -> bool:
    """Whether the actor holds the permission over a thing; see catalog.grants.PLACES for the kinds."""
    place = grants.location_of(kind, id)
    return place is not None and scope_of(actor, permission).covers(place)


def owns(actor: Actor, account_id: int | None) -> bool:
    """Whether what belongs to this account (None: to nobody) is the actor's own; the engine owns nothing."""
    return account_id is not None and account_id == actor.account_id


def require(actor: Actor, permission: str, kind: str, id: object) -> Location:
    """Where the thing is. Raises NotFound when there is none, or none within reach: nobody learns which."""
    place = grants.location_of(kind, id)
    if place is None or not scope_of(actor, permission).covers(place):
        raise NotFound(f"There is no such {'org unit' if kind == 'unit' else kind}.", "It may be gone, or not yours to look after.")
    return place


def require_no_less(actor: Actor, account_id: int) -> None:
    """Raise NotAllowed when the account holds, now or later, what the actor does not.

    Whoever sets somebody's password can become them, and must not gain by that.
    """
    if actor.account_id == account_id:
        return
    require_holding(actor, grants.of_account(account_id), "They may do more than you.")


def require_holding(actor: Actor, wanted: Iterable[Grant], message: str) -> None:
    """Raise NotAllowed when the actor does not count as holding the role of one of the grants, as far and as long.

    The role, not only what it allows there: a role is also who is asked for a yes.
    """
    mine, moment = of(actor), now()
    for grant in wanted:
        if grant.role not in roles.ROLES or (grant.ends_at is not None and grant.ends_at <= moment):
            continue
        reach = mine.lasting(grant.ends_at).reach_as(grant.role)
        if not (reach.everything or grant.over_unit_id in reach.units or grant.over_class in reach.classes):
            title = roles.ROLES[grant.role].title
            raise NotAllowed(message, f"Only who is {title} over the same, as far and as long, or more than that, can pass on {title}.")
