"""Whole objects, put by whoever says how they are to be: grants, quotas, policies, members of groups. The same once more changes nothing.

Grants and quotas have ids that stay when they are made anew: `user:account:17:class:notebook` is the role user, held by account 17, over a class;
`class_manager:group:3:unit:4`, `owner:account:1:appliance`; `group:3:together:all` is a quota of a group, `account:17:each:class:notebook` one of each
person for a class.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance import catalog
from appliance.catalog import Account, Actor, Grant, Member, Quota, doorbell, policies, record
from appliance.errors import BadInput, NotFound
from appliance.identity import permissions, roles
from appliance.scenario import policy
from appliance.scenario.calendar import OneOff, Window
from appliance.scenario.policy import Form
from appliance.scenario.rule import Rule
from appliance.services import classes, delegation, org_units
from appliance.services.delegation import Holder
from appliance.yamlfile import Part

NO_GRANT = ("There is no such grant.", "An id is like user:account:17:class:notebook, user:group:3:unit:1 or owner:account:1:appliance.")
NO_QUOTA = ("There is no such quota.", "An id is like account:17:each:all or group:3:together:class:notebook.")
Limits = Mapping[str, int | None]


@dataclass(frozen=True)
class GrantId:
    """What makes a grant this one: the role, who holds it, and over what; with neither unit nor class, the appliance."""

    role: str
    holder: Holder
    over_unit: int | None = None
    over_class: str | None = None

    def __str__(self) -> str:
        over = "appliance" if self.over_unit is None and self.over_class is None else f"unit:{self.over_unit}"
        return f"{self.role}:{self.holder.kind}:{self.holder.id}:{over if self.over_class is None else f'class:{self.over_class}'}"


@dataclass(frozen=True)
class QuotaId:
    """What makes a quota this one: of whom, of each or of all together, and of which class (None: of all)."""

    holder: Holder
    each: bool
    class_name: str | None = None

    def __str__(self) -> str:
        whose = f"{self.holder.kind}:{self.holder.id}:{'each' if self.each else 'together'}"
        return f"{whose}:all" if self.class_name is None else f"{whose}:class:{self.class_name}"


def id_of_grant(grant: Grant) -> GrantId:
    return GrantId(grant.role, delegation.holder_of(grant)[0], grant.over_unit_id, grant.over_class)


def id_of_quota(quota: Quota) -> QuotaId:
    return QuotaId(delegation.holder_of(quota)[0], quota.each, quota.class_name)


def _number(text: str) -> int:
    """A row's number; 0, which no row has, for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def grant_id(text: str) -> GrantId:
    """Raises NotFound for what is no id."""
    role, kind, id, scope, what = (*text.split(":", 4), "", "", "", "", "")[:5]
    if role in roles.ROLES and kind in delegation.HOLDERS and (scope in ("unit", "class") or (scope == "appliance" and not what)):
        found = GrantId(role, Holder(kind, _number(id)), _number(what) if scope == "unit" else None, what if scope == "class" else None)
        if str(found) == text:
            return found
    raise NotFound(*NO_GRANT)


def quota_id(text: str) -> QuotaId:
    """Raises NotFound for what is no id."""
    kind, id, whose, scope, what = (*text.split(":", 4), "", "", "", "", "")[:5]
    if kind in delegation.HOLDERS and whose in ("each", "together") and scope in ("all", "class"):
        found = QuotaId(Holder(kind, _number(id)), whose == "each", what if scope == "class" else None)
        if str(found) == text:
            return found
    raise NotFound(*NO_QUOTA)


# -- grants ------------------------------------------------------------------------------------------


def grants_of(actor: Actor, id: GrantId) -> list[Grant]:
    """The grants with this id that the actor may see, newest first; several, when one was given for several times."""
    return [grant for grant in delegation.visible(actor) if id_of_grant(grant) == id]


def limits_of(thing: Grant | Quota) -> dict[str, int | None]:
    """The limits of a quota, or of the one that a grant brings to each who has it."""
    quota = thing if isinstance(thing, Quota) else Quota.get_or_none(Quota.grant == thing.id)
    return {name: getattr(quota, name) if quota else None for name in delegation.LIMITS}


def put_grant(actor: Actor, id: GrantId, *, starts_at: datetime | None, ends_at: datetime | None, limits: Limits) -> bool:
    """Have the grant be so; returns whether anything changed. Raises what giving and taking away raise."""
    wanted = {name: limits.get(name) for name in delegation.LIMITS}
    with catalog.write():
        there = grants_of(actor, id)
        if len(there) == 1 and (there[0].starts_at, there[0].ends_at) == (starts_at, ends_at) and limits_of(there[0]) == wanted:
            return False
        delegation.take_away(actor, [grant.id for grant in there])
        delegation.give(
            actor,
            id.role,
            id.holder,
            over_unit=id.over_unit,
            over_class=id.over_class,
            starts_at=starts_at,
            ends_at=ends_at,
            limits=wanted,
        )
    return True


def delete_grant(actor: Actor, id: GrantId) -> None:
    """Revoke it. Raises NotFound, and what taking away raises."""
    with catalog.write():
        if not (there := grants_of(actor, id)):
            raise NotFound(*NO_GRANT)
        delegation.take_away(actor, [grant.id for grant in there])


# -- quotas ------------------------------------------------------------------------------------------


def get_quota(actor: Actor, id: QuotaId) -> Quota:
    """The quota with this id; not one that a grant brings. Raises NotFound."""
    for quota in delegation.quotas(actor):
        if quota.grant_id is None and id_of_quota(quota) == id:
            return quota
    raise NotFound(*NO_QUOTA)


def put_quota(actor: Actor, id: QuotaId, limits: Limits) -> bool:
    """Have the quota be so; returns whether anything changed."""
    wanted = {name: limits.get(name) for name in delegation.LIMITS}
    with catalog.write():
        try:
            if limits_of(get_quota(actor, id)) == wanted:
                return False
        except NotFound:
            pass
        delegation.set_quota(actor, id.holder, wanted, each=id.each, class_name=id.class_name)
    return True


def delete_quota(actor: Actor, id: QuotaId) -> None:
    """Remove it. Raises NotFound and NotAllowed."""
    with catalog.write():
        delegation.remove_quota(actor, get_quota(actor, id).id)


# -- policies ----------------------------------------------------------------------------------------


def put_policy(actor: Actor, name: str, values: Mapping[str, Any]) -> list[str]:
    """Have an admin's values of a class's policy be these, and the scenario say all others; returns what changed, by name. Raises BadInput and NotFound."""
    fields = policy.fields()
    for key, value in values.items():
        if key not in fields:
            raise BadInput(f"A policy has no {key[:60]}.", f"It has {', '.join(fields)}.", field=key[:60])
        classes.check_value(fields[key], value)
    given = {key: _items(MODELS[key], value) if key in MODELS else value for key, value in values.items()}
    with catalog.write():
        machine_class = classes.get_class(name)
        before = policies.values(machine_class)
        wanted = {**policies.effective(machine_class.spec, given), **given}
        changed = [key for key in wanted if wanted[key] != before[key]]
        if not changed:
            return []
        classes.check_fit(machine_class, before, wanted)
        policies.put(machine_class, given)
        for form in Form:
            if of_form := [key for key in changed if fields[key].editable.form is form]:
                record(
                    classes.RECORDED[form],
                    classes.told(actor, name, form),
                    actor,
                    class_name=name,
                    before={key: before[key] for key in of_form},
                    after={key: wanted[key] for key in of_form},
                )
    doorbell.ring()
    return sorted(changed)


MODELS: Mapping[str, type[Part]] = {"windows": Window, "one_offs": OneOff, "rules": Rule}


def _items(model: type[Part], value: list[Any]) -> list[dict[str, Any]]:
    """Windows, one-offs or rules as the catalog has them."""
    return [classes.read_item(model, one).model_dump(mode="json") for one in value]


# -- groups ------------------------------------------------------------------------------------------


def members_of(actor: Actor, id: int) -> tuple[list[str], list[int]]:
    """Who is in a group itself, of those within the actor's reach: accounts by name, groups by id."""
    reach = permissions.scope_of(actor, "people.read")
    people = Account.select(Account.name, Account.org_unit).join(Member).where(Member.group == id).order_by(Account.name)
    known = [account.name for account in people if reach.everything or account.org_unit_id in reach.units]
    return known, sorted(group.id for group in org_units.around(actor, id)[0])


def put_members(actor: Actor, id: int, accounts: Iterable[str], groups: Iterable[int]) -> bool:
    """Have just these of those within the actor's reach be in a group, all or none; returns whether anything changed. Raises what adding and taking
    out raise."""
    wanted, inner = set(accounts), set(groups)
    with catalog.write():
        people, nested = members_of(actor, id)
        if (set(people), set(nested)) == (wanted, inner):
            return False
        if new := sorted(wanted - set(people)):
            try:
                org_units.add_members(actor, id, new)
            except BadInput as error:
                error.field = "accounts"  # as it is called here
                raise
        if gone := set(people) - wanted:
            org_units.remove_members(actor, id, [one.id for one in Account.select().where(Account.name.in_(sorted(gone)))])
        for one in sorted(set(nested) - inner):
            org_units.unnest(actor, id, one)
        for one in sorted(inner - set(nested)):
            org_units.nest(actor, id, one)
    return True
