"""What admins do, below /api/v1/admin/: over the same services, lists and permissions as the pages. Grants, quotas, policies and members are put whole."""

from base64 import b64encode
from collections.abc import Container, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar

from flask import request, url_for
from flask_login import current_user
from pydantic import AfterValidator, AwareDatetime, Base64Bytes, BeforeValidator, Field, RootModel
from pydantic_core import PydanticCustomError

from appliance import catalog
from appliance.catalog import ROOT, Account, Grant, Job, Machine, OrgUnit, Quota, Seed
from appliance.catalog import events as event_rows
from appliance.catalog import machines as machine_rows
from appliance.catalog import scenarios as scenario_rows
from appliance.errors import NotFound
from appliance.scenario.applications import Entry
from appliance.scenario.tree import PACKED
from appliance.services import (
    accounts,
    applications,
    audit,
    classes,
    declared,
    delegation,
    importing,
    job_queue,
    machines,
    moves,
    offboarding,
    org_units,
    overview,
    own_applications,
    packages,
    password_links,
    rates,
    seeds,
)
from webui import forms
from webui.admin.accounts import ACCOUNTS
from webui.admin.events import EVENTS
from webui.admin.groups import GROUPS
from webui.admin.machines import MACHINES
from webui.admin.seeds import SEEDS
from webui.api import schemas
from webui.api.mine import _run, _time
from webui.api.operation import Body, blueprint, operation, page_of
from webui.guard import actor, needs
from webui.runs import RUNS
from webui.upload import takes_file_of

Answer = Mapping[str, Any] | tuple[Mapping[str, Any], int] | tuple[Mapping[str, Any], int, dict[str, str]]
Name = Annotated[str, Field(min_length=1, max_length=100)]
RowId = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
CHANGED = {200: schemas.Changed}


def _changed(fields: Iterable[str] = (), *, changed: bool = False) -> schemas.Changed:
    found = list(fields)
    return {"changed": changed or bool(found), "fields": found}


# -- machines ----------------------------------------------------------------------------------------


def _machine(machine: Machine) -> schemas.AdminMachine:
    lease = machine_rows.lease_of(machine.id)
    return {
        "id": machine.id,
        "name": machine.name,
        "class": machine.class_name,
        "state": machine.state.value,
        "owner": machine.owner.name if machine.owner else None,
        "seed": machine.seed_id,
        "vcpus": machine.vcpus,
        "memory": machine.memory,
        "memory_start": machine.memory_start,
        "memory_most": machine.memory_start + machine.memory_room,
        "disk": machine.disk,
        "problem": machine.problem,
        "created_at": _time(machine.created_at),
        "state_since": _time(machine.state_since),
        "lease_ends_at": _time(lease.ends_at if lease else None),
    }


@blueprint.get("/admin/machines")
@needs("machines.read")
@operation("admin:read", {200: schemas.AdminMachines}, listing=MACHINES)
def admin_machines() -> Answer:
    """Machines of everybody, within reach."""
    return page_of(MACHINES, _machine)


@blueprint.get("/admin/machines/<id>")
@needs("machines.read", machine="id")
@operation("admin:read", {200: schemas.AdminMachine})
def admin_machine(id: str) -> Answer:
    """One of them."""
    return _machine(machines.get_machine(actor(), id))


@blueprint.post("/admin/machines/<id>/<verb>")
@needs("machines.manage", machine="id")
@operation("admin:machines", {202: schemas.Moved}, verbs=moves.PLAIN)
def admin_move(id: str, verb: str) -> Answer:
    """Stop, start, suspend, resume or reprovision somebody's machine; 409 when its state does not allow it."""
    if verb not in moves.PLAIN:
        raise NotFound(f"A machine cannot be told to {verb[:40]!r}.", f"It can be told to {', '.join(moves.PLAIN)}.")
    return {"run": moves.plain(actor(), id, verb), "state": machines.get_machine(actor(), id).state.value}, 202


class RatesBody(Body):
    """How fast one machine is at most; what is null or left out is its class's, 0 is no limit."""

    network_in: int | None = None
    network_out: int | None = None
    disk_rate: int | None = None
    disk_iops: int | None = None


@blueprint.get("/admin/machines/<id>/rates")
@needs("machines.read", machine="id")
@operation("admin:read", {200: schemas.MachineRates})
def admin_rates(id: str) -> Answer:
    """How fast somebody's machine is at most: Mbit/s to and from it, MiB and operations a second on its disks; 0: no limit."""
    found = rates.of_machine(machines.get_machine(actor(), id))
    return {"own": found.own, "counts": found.counts, "in_force": found.in_force, "problem": found.problem}


@blueprint.put("/admin/machines/<id>/rates")
@needs("machines.manage", machine="id")
@operation("admin:machines", CHANGED, takes=RatesBody, guarded_by="api.admin_rates", example={"network_in": 20, "network_out": 20})
def put_rates(id: str) -> Answer:
    """Have these be in force for somebody's machine, within seconds; what is left out is its class's."""
    return _changed(changed=rates.change(actor(), id, forms.read(RatesBody).model_dump()))


@blueprint.post("/admin/machines/<id>/extend")
@needs("machines.manage", machine="id")
@operation("admin:machines", {200: schemas.Lease})
def admin_extend(id: str) -> Answer:
    """Somebody's lease, once more."""
    return {"lease_ends_at": _time(machines.extend(actor(), id))}


@blueprint.post("/admin/machines/<id>/reclaim")
@needs("machines.manage", machine="id")
@operation("admin:machines", {202: schemas.State}, confirms=True)
def admin_reclaim(id: str) -> Answer:
    """Take a machine from whoever holds it, and destroy it."""
    machines.release(actor(), id)
    return {"state": "reclaiming"}, 202


# -- accounts ----------------------------------------------------------------------------------------


class AccountDetails(Body):
    """Who it is; what is left out is empty."""

    full_name: str = Field("", max_length=100)
    email: str = Field("", max_length=200)
    ssh_keys: str = Field("", max_length=20_000, description="Public keys, one a line.")


class NewAccount(AccountDetails):
    name: str = Field(min_length=1, max_length=64, description="Letters, digits, dots, dashes and underscores; it stays.")
    password: str = Field(
        "", max_length=1000, description="It is changed first of all. Without one nobody signs in before they are invited."
    )
    org_unit: RowId = ROOT


class Invitation(Body):
    by: Annotated[str, Field(pattern="^(mail|link)$", description="mail: to the account's address; link: in the answer, to hand over.")] = (
        "mail"
    )


class Deletion(Body):
    """What becomes of data disks and of retained disks: keep (as nobody's), hand over, or delete. Nothing sent keeps both."""

    disks: Annotated[str, Field(pattern="^(keep|hand over|delete)$")] = "keep"
    retained: Annotated[str, Field(pattern="^(keep|hand over|delete)$")] = "keep"
    to: str = Field("", max_length=64, description="The name of the account that gets what is handed over.")


class NewPassword(Body):
    password: str = Field(min_length=1, max_length=1000)


class AccountIds(Body):
    accounts: list[RowId] = Field(max_length=1000)


def _account(account: Account) -> schemas.Account:
    return {
        "id": account.id,
        "name": account.name,
        "full_name": account.full_name,
        "email": account.email,
        "ssh_keys": accounts.ssh_keys_text(account.id),
        "org_unit": account.org_unit_id,
        "enabled": not account.disabled,
        "from_directory": account.directory_id is not None,
        "created_at": _time(account.created_at),
    }


@blueprint.get("/admin/accounts")
@needs("people.read")
@operation("admin:read", {200: schemas.Accounts}, listing=ACCOUNTS)
def account_list() -> Answer:
    """Accounts within reach."""

    def line(row: Any) -> schemas.AccountLine:
        return {**_account(row.account), "roles": list(row.roles), "machines": row.machines, "seen_at": _time(row.seen_at)}

    return page_of(ACCOUNTS, line)


@blueprint.post("/admin/accounts")
@needs("people.manage")
@operation(
    "admin:people", {201: schemas.Account}, takes=NewAccount, creates=True,
    example={"name": "emmy", "password": "correct horse battery", "full_name": "Emmy Noether"},
)  # fmt: skip
def new_account() -> Answer:
    """Create an account; 409 when there is one of that name."""
    asked = forms.read(NewAccount)
    made = accounts.create(actor(), **asked.model_dump(exclude={"org_unit"}), org_unit_id=asked.org_unit)
    return _account(made), 201, {"Location": url_for("api.account", id=made.id)}


@blueprint.get("/admin/accounts/<int:id>")
@needs("people.read", account="id")
@operation("admin:read", {200: schemas.Account})
def account(id: int) -> Answer:
    """One of them."""
    return _account(accounts.get_account(id))


@blueprint.put("/admin/accounts/<int:id>")
@needs("people.manage", account="id")
@operation(
    "admin:people",
    CHANGED,
    takes=AccountDetails,
    guarded_by="api.account",
    example={"full_name": "Ada Lovelace", "email": "ada@example.org"},
)
def put_account(id: int) -> Answer:
    """Have an account's details be these."""
    wanted = forms.read(AccountDetails).model_dump()
    with catalog.write():
        before = dict(_account(accounts.get_account(id)))
        accounts.update(actor(), id, **wanted)
        after = dict(_account(accounts.get_account(id)))
        return _changed([name for name in wanted if after[name] != before[name]])


@blueprint.post("/admin/accounts/<int:id>/enable")
@needs("people.manage", account="id")
@operation("admin:people", {200: schemas.Account}, confirms=True)
def enable_account(id: int) -> Answer:
    """Let somebody sign in again."""
    accounts.enable(actor(), id)
    return _account(accounts.get_account(id))


@blueprint.post("/admin/accounts/<int:id>/disable")
@needs("people.manage", account="id")
@operation("admin:people", {200: schemas.Account}, confirms=True)
def disable_account(id: int) -> Answer:
    """Sign somebody out, and let them in no more. Machines they hold stay until their leases end."""
    accounts.disable(actor(), id)
    return _account(accounts.get_account(id))


@blueprint.post("/admin/accounts/<int:id>/password")
@needs("people.manage", account="id")
@operation("admin:people", {200: schemas.Account}, takes=NewPassword, confirms=True, example={"password": "correct horse battery"})
def set_password(id: int) -> Answer:
    """Set somebody's password; all their browsers are signed out."""
    accounts.set_password(actor(), id, forms.read(NewPassword).password)
    return _account(accounts.get_account(id))


@blueprint.post("/admin/accounts/<int:id>/invite")
@needs("people.manage", account="id")
@operation("admin:people", {200: schemas.Invited}, takes=Invitation, confirms=True, example={"by": "link"})
def invite_account(id: int) -> Answer:
    """Have somebody choose a password by a link, which is good once; an older one is not any more. 409 when no mail reaches them."""
    made = password_links.invite(actor(), id, by_mail=forms.read(Invitation).by == "mail", here=request.host_url)
    return {"link": made.link or None, "mailed_to": None if made.link else made.account.email, "expires_at": _time(made.expires_at)}


@blueprint.delete("/admin/accounts/<int:id>/invite")
@needs("people.manage", account="id")
@operation("admin:people", {204: None})
def withdraw_invitation(id: int) -> Answer:
    """Have somebody's link be worth nothing; 409 when there is none."""
    password_links.withdraw(actor(), id)
    return {}, 204


@blueprint.post("/admin/accounts/<int:id>/delete")
@needs("people.manage", account="id")
@operation("admin:people", {204: None}, takes=Deletion, confirms=True, example={"disks": "delete"})
def delete_account(id: int) -> Answer:
    """Delete an account: machines are reclaimed, requests cancelled, and disks become what is said. 409 for the last owner, and a directory's."""
    offboarding.delete(actor(), id, offboarding.Plan(**forms.read(Deletion).model_dump()))
    return {}, 204


class Table(Body):
    """Accounts as a table (CSV, its first line names the columns name, full_name, email, password). With `dry_run` it is only looked at."""

    table: str
    org_unit: RowId = ROOT
    dry_run: bool = Field(False, strict=True)


@blueprint.post("/admin/accounts/import")
@needs("people.manage")
@operation(
    "admin:people", {200: schemas.ImportedAccounts}, takes=Table, example={"table": "name,full_name\nlise,Lise Meitner", "dry_run": True}
)
def import_accounts() -> Answer:
    """Create an account for everybody in a table, all or none; what is wrong is in errors, line by line.

    Who has no password there is invited. Links of invitations are told only here, so the answer is kept for no idempotency key: the same table once more
    is refused, as its names are taken.
    """
    asked = forms.read(Table)
    data = asked.table.encode()
    if asked.dry_run:
        org_units.demand_unit(actor(), asked.org_unit)
        return {"count": len(importing.read(actor(), data)), "accounts": []}
    made = importing.people(actor(), data, asked.org_unit, here=request.host_url)
    lines = [{"id": one.account.id, "name": one.name, "has_password": one.has_password, "link": one.link or None} for one in made]
    return {"count": len(made), "accounts": lines}


# -- groups and org units ------------------------------------------------------------------------------


class NewGroup(Body):
    name: Name
    description: str = Field("", max_length=300)
    org_unit: RowId = ROOT


class Members(Body):
    """All who are in a group itself: accounts by name, groups by id."""

    accounts: list[Name] = Field(max_length=10_000)
    groups: list[RowId] = Field([], max_length=1000)


class UnitDetails(Body):
    name: Name
    parent: RowId | None = Field(None, description="An org unit; of the top one null.")


def _group(id: int) -> schemas.Group:
    group = org_units.group(id)
    people, inner = declared.members_of(actor(), id)
    return {
        "id": group.id,
        "name": group.name,
        "description": group.about,
        "org_unit": group.org_unit_id,
        "from_directory": group.directory_id is not None,
        "accounts": people,
        "groups": inner,
    }


@blueprint.get("/admin/groups")
@needs("people.read")
@operation("admin:read", {200: schemas.Groups}, listing=GROUPS)
def group_list() -> Answer:
    """Groups within reach, with how many people are in each itself."""

    def line(row: Any) -> schemas.GroupLine:
        group = row.group
        return {
            "id": group.id,
            "name": group.name,
            "description": group.about,
            "org_unit": group.org_unit_id,
            "from_directory": group.directory_id is not None,
            "members": row.members,
        }

    return page_of(GROUPS, line)


@blueprint.post("/admin/groups")
@needs("people.manage")
@operation(
    "admin:people",
    {201: schemas.Group},
    takes=NewGroup,
    creates=True,
    example={"name": "physicists"},
)
def new_group() -> Answer:
    """Create a group."""
    asked = forms.read(NewGroup)
    made = org_units.create_group(actor(), asked.name, asked.description, asked.org_unit)
    return _group(made.id), 201, {"Location": url_for("api.group", id=made.id)}


@blueprint.get("/admin/groups/<int:id>")
@needs("people.read", group="id")
@operation("admin:read", {200: schemas.Group})
def group(id: int) -> Answer:
    """One of them, with its members."""
    return _group(id)


@blueprint.put("/admin/groups/<int:id>/members")
@needs("people.manage", group="id")
@operation("admin:people", CHANGED, takes=Members, guarded_by="api.group", example={"accounts": ["ada", "mary"]})
def put_members(id: int) -> Answer:
    """Have just these be in a group; the ETag is the group's."""
    asked = forms.read(Members)
    return _changed(changed=declared.put_members(actor(), id, asked.accounts, asked.groups))


@blueprint.delete("/admin/groups/<int:id>")
@needs("people.manage", group="id")
@operation("admin:people", {204: None}, guarded_by="api.group")
def delete_group(id: int) -> Answer:
    """Remove a group; its members lose what they have through it."""
    org_units.remove_group(actor(), id)
    return {}, 204


def _unit(unit: OrgUnit) -> schemas.OrgUnit:
    return {"id": unit.id, "name": unit.name, "parent": unit.parent_id, "from_directory": unit.directory_id is not None}


@blueprint.get("/admin/org-units")
@needs("people.read")
@operation("admin:read", {200: schemas.OrgUnits})
def unit_list() -> Answer:
    """The org units within reach, each after its parent."""
    return {"items": [_unit(line.unit) for line in org_units.tree(actor())]}


@blueprint.post("/admin/org-units")
@needs("people.manage")
@operation(
    "admin:people",
    {201: schemas.OrgUnit},
    takes=UnitDetails,
    creates=True,
    example={"name": "Library"},
)
def new_unit() -> Answer:
    """Create an org unit; without a parent below the top one."""
    asked = forms.read(UnitDetails)
    made = org_units.create_unit(actor(), ROOT if asked.parent is None else asked.parent, asked.name)
    return _unit(made), 201, {"Location": url_for("api.unit", id=made.id)}


@blueprint.get("/admin/org-units/<int:id>")
@needs("people.read", unit="id")
@operation("admin:read", {200: schemas.OrgUnit})
def unit(id: int) -> Answer:
    """One of them."""
    return _unit(org_units.unit(id))


@blueprint.put("/admin/org-units/<int:id>")
@needs("people.manage", unit="id")
@operation("admin:people", CHANGED, takes=UnitDetails, guarded_by="api.unit", example={"name": "Science", "parent": 1})
def put_unit(id: int) -> Answer:
    """Have an org unit be called so, and be there."""
    asked = forms.read(UnitDetails)
    with catalog.write():
        before = org_units.unit(id)
        if (before.name, before.parent_id) == (asked.name, asked.parent):
            return _changed()
        org_units.change_unit(actor(), id, name=asked.name, parent_id=asked.parent)
    return _changed(changed=True)


@blueprint.delete("/admin/org-units/<int:id>")
@needs("people.manage", unit="id")
@operation("admin:people", {204: None}, guarded_by="api.unit")
def delete_unit(id: int) -> Answer:
    """Remove an org unit that is empty."""
    org_units.remove_unit(actor(), id)
    return {}, 204


@blueprint.post("/admin/org-units/<int:id>/accounts")
@needs("people.manage", unit="id")
@operation("admin:people", CHANGED, takes=AccountIds, example={"accounts": [2]})
def move_accounts(id: int) -> Answer:
    """Move accounts into an org unit, all or none."""
    return _changed(changed=org_units.move_people(actor(), forms.read(AccountIds).accounts, id) > 0)


# -- grants and quotas -----------------------------------------------------------------------------------


def _utc(moment: datetime) -> datetime:
    if not 2000 <= moment.year < 9000:
        raise PydanticCustomError("moment", "it is not of our time.")
    return moment.replace(microsecond=0)


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise PydanticCustomError("moment", "it is not a time.")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_utc)]
Limit = Annotated[int, Field(strict=True, ge=0, le=10**9)] | None


class LimitsBody(Body):
    """How much at once; null, or left out, is no limit."""

    machines: Limit = None
    vcpus: Limit = None
    memory: Limit = Field(None, description="MiB")
    disk: Limit = Field(None, description="GiB")
    lease_minutes: Limit = None


class GrantTerms(Body):
    """From when and until when a grant counts, and how much each who has it may have."""

    CALLED: ClassVar = {"ends": "ends_at", **{name: f"limits/{name}" for name in LimitsBody.model_fields}}

    starts_at: Moment | None = None
    ends_at: Moment | None = None
    limits: LimitsBody = LimitsBody()


def _holder(thing: Grant | Quota) -> schemas.Holder:
    holder, name = delegation.holder_of(thing)
    return {"kind": holder.kind, "id": holder.id, "name": name}


def _limits(thing: Grant | Quota) -> schemas.Limits:
    found = declared.limits_of(thing)
    return {
        "machines": found["machines"],
        "vcpus": found["vcpus"],
        "memory": found["memory"],
        "disk": found["disk"],
        "lease_minutes": found["lease_minutes"],
    }


def _grant(grant: Grant) -> schemas.Grant:
    return {
        "id": str(declared.id_of_grant(grant)),
        "role": grant.role,
        "holder": _holder(grant),
        "over_unit": grant.over_unit_id,
        "over_class": grant.over_class,
        "starts_at": _time(grant.starts_at),
        "ends_at": _time(grant.ends_at),
        "limits": _limits(grant),
    }


@blueprint.get("/admin/grants")
@needs("grants.read")
@operation("admin:read", {200: schemas.Grants})
def grant_list() -> Answer:
    """Grants within reach, newest first."""
    return {"items": [_grant(one) for one in delegation.visible(actor())]}


@blueprint.get("/admin/grants/<id>")
@needs("grants.read")
@operation("admin:read", {200: schemas.Grant})
def grant(id: str) -> Answer:
    """One of them. An id is like user:account:17:class:notebook, user:group:3:unit:1 or owner:account:1:appliance."""
    found = declared.grants_of(actor(), declared.grant_id(id))
    if not found:
        raise NotFound(*declared.NO_GRANT)
    return _grant(found[0])


@blueprint.put("/admin/grants/<id>")
@needs("grants.manage")
@operation("admin:people", CHANGED, takes=GrantTerms, guarded_by="api.grant", confirms=True, example={"ends_at": "2100-12-31T00:00:00Z"})
def put_grant(id: str) -> Answer:
    """Have a grant be there, with these terms."""
    terms = forms.read(GrantTerms)
    limits = terms.limits.model_dump()
    return _changed(
        changed=declared.put_grant(actor(), declared.grant_id(id), starts_at=terms.starts_at, ends_at=terms.ends_at, limits=limits)
    )


@blueprint.delete("/admin/grants/<id>")
@needs("grants.manage")
@operation("admin:people", {204: None}, guarded_by="api.grant", confirms=True)
def delete_grant(id: str) -> Answer:
    """Revoke a grant."""
    declared.delete_grant(actor(), declared.grant_id(id))
    return {}, 204


def _quota(quota: Quota) -> schemas.Quota:
    return {
        "id": str(declared.id_of_quota(quota)),
        "holder": _holder(quota),
        "each": quota.each,
        "class_name": quota.class_name,
        "limits": _limits(quota),
    }


@blueprint.get("/admin/quotas")
@needs("people.read")
@operation("admin:read", {200: schemas.Quotas})
def quota_list() -> Answer:
    """Quotas within reach, newest first, without those that a grant brings."""
    return {"items": [_quota(one) for one in delegation.quotas(actor()) if one.grant_id is None]}


@blueprint.get("/admin/quotas/<id>")
@needs("people.read")
@operation("admin:read", {200: schemas.Quota})
def quota(id: str) -> Answer:
    """One of them. An id is like account:17:each:all or group:3:together:class:notebook."""
    return _quota(declared.get_quota(actor(), declared.quota_id(id)))


@blueprint.put("/admin/quotas/<id>")
@needs("quotas.manage")
@operation("admin:people", CHANGED, takes=LimitsBody, guarded_by="api.quota", example={"machines": 6})
def put_quota(id: str) -> Answer:
    """Have a quota be there, with these limits."""
    return _changed(changed=declared.put_quota(actor(), declared.quota_id(id), forms.read(LimitsBody).model_dump()))


@blueprint.delete("/admin/quotas/<id>")
@needs("quotas.manage")
@operation("admin:people", {204: None}, guarded_by="api.quota")
def delete_quota(id: str) -> Answer:
    """Remove a quota."""
    declared.delete_quota(actor(), declared.quota_id(id))
    return {}, 204


# -- classes ---------------------------------------------------------------------------------------------


class PolicyBody(RootModel[dict[str, Any]]):
    """Values of a policy by name, windows and one-offs among them; what is left out is the scenario's."""


@blueprint.get("/admin/classes")
@needs("classes.read")
@operation("admin:read", {200: schemas.AdminClasses})
def admin_classes() -> Answer:
    """Classes within reach, with their pools and seeds."""
    return {"items": [_class(one) for one in overview.pools(current_user.powers.reach("classes.read"))]}


def _class(pools: overview.Pools) -> schemas.AdminClass:
    found = pools.machine_class
    return {
        "name": found.name,
        "title": found.spec["title"],
        "enabled": found.enabled,
        "problem": found.problem,
        "creation": pools.creation,
        "buffer": pools.buffer,
        "production": pools.production,
        "failed": pools.failed,
        "waiting": pools.waiting,
        "seed": pools.seed.id if pools.seed else None,
        "building": pools.building.id if pools.building else None,
    }


@blueprint.get("/admin/classes/<name>/policy")
@needs("classes.read", class_="name")
@operation("admin:read", {200: schemas.PolicyValues})
def admin_policy(name: str) -> Answer:
    """What an admin changed of a class's policy, as PUT takes it, and what counts."""
    found = classes.policy_of(classes.get_class(name))
    return {
        "values": {one.field.name: one.value for one in found if one.changed},
        "counts": {one.field.name: one.value for one in found},
    }


@blueprint.put("/admin/classes/<name>/policy")
@needs("classes.manage", class_="name")
@operation("admin:classes", CHANGED, takes=PolicyBody, guarded_by="api.admin_policy", example={"buffer": 4})
def put_policy(name: str) -> Answer:
    """Have an admin's values be these: all others are the scenario's."""
    return _changed(declared.put_policy(actor(), name, forms.sent()))


@blueprint.post("/admin/classes/<name>/enable")
@needs("classes.manage", class_="name")
@operation("admin:classes", {200: schemas.State})
def enable_class(name: str) -> Answer:
    """Offer a class."""
    classes.set_enabled(actor(), name, enabled=True)
    return {"state": "enabled"}


@blueprint.post("/admin/classes/<name>/disable")
@needs("classes.manage", class_="name")
@operation("admin:classes", {200: schemas.State})
def disable_class(name: str) -> Answer:
    """Withdraw a class; machines that are held stay, the buffer goes."""
    classes.set_enabled(actor(), name, enabled=False)
    return {"state": "disabled"}


@blueprint.post("/admin/classes/<name>/retry")
@needs("classes.manage", class_="name")
@operation("admin:classes", {202: schemas.State})
def retry_class(name: str) -> Answer:
    """Try again to refill a class whose machines failed to come up."""
    classes.retry(actor(), name)
    return {"state": "asked"}, 202


@blueprint.post("/admin/classes/<name>/fork-again")
@needs("classes.manage", class_="name")
@operation("admin:classes", {202: schemas.State})
def fork_again(name: str) -> Answer:
    """Take another snapshot of a class whose machines could not be forked."""
    classes.try_fork_again(actor(), name)
    return {"state": "asked"}, 202


# -- jobs ------------------------------------------------------------------------------------------------


class JobBody(Body):
    """A command as a list of words, run beside `files` (text by name) so many times; a try that fails is made again, up to `tries`."""

    run: list[str]
    name: str = ""
    files: dict[str, str] = Field(default_factory=dict)
    seconds: int = 3600
    tries: int = 3
    times: int = 1


def _job(job: Job) -> schemas.Job:
    return {
        "id": job.id,
        "class": job.class_name,
        "name": job.name,
        "number": job.number,
        "run": job.run,
        "state": job.state.value,
        "try": job.attempt,
        "tries": job.tries,
        "seconds": job.seconds,
        "status": job.status,
        "output": job.output,
        "problem": job.problem,
        "machine": job.machine_id,
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "ended_at": _time(job.ended_at),
    }


@blueprint.get("/admin/classes/<name>/jobs")
@needs("classes.read", class_="name")
@operation("admin:read", {200: schemas.Jobs})
def job_list(name: str) -> Answer:
    """The last hundred jobs of a class, latest first, each with the last 2,000 characters of its output."""
    return {"items": [_job(one) for one in job_queue.latest(classes.get_class(name))]}


@blueprint.post("/admin/classes/<name>/jobs")
@needs("classes.manage", class_="name")
@operation(
    "admin:classes",
    {202: schemas.JobIds},
    takes=JobBody,
    example={"run": ["./render"], "files": {"render": "…"}, "times": 10},
)
def submit_jobs(name: str) -> Answer:
    """Have machines of a class that works on jobs run a command, so many times."""
    said = forms.read(JobBody)
    ids = job_queue.submit(
        actor(), name, said.run, title=said.name, files=said.files, seconds=said.seconds, tries=said.tries, times=said.times
    )
    return {"jobs": ids}, 202


@blueprint.get("/admin/classes/<name>/jobs/<int:id>")
@needs("classes.read", class_="name")
@operation("admin:read", {200: schemas.Job})
def one_job(name: str, id: int) -> Answer:
    """One job, with its result."""
    return _job(job_queue.get(name, id))


@blueprint.post("/admin/classes/<name>/jobs/<int:id>/cancel")
@needs("classes.manage", class_="name")
@operation("admin:classes", {200: schemas.State})
def cancel_job(name: str, id: int) -> Answer:
    """Take a job that waits out of the queue."""
    job_queue.cancel(actor(), name, id)
    return {"state": "cancelled"}


@blueprint.post("/admin/classes/<name>/jobs/<int:id>/retry")
@needs("classes.manage", class_="name")
@operation("admin:classes", {202: schemas.State})
def retry_job(name: str, id: int) -> Answer:
    """Have a dead or cancelled job tried once more."""
    job_queue.again(actor(), name, id)
    return {"state": "queued"}, 202


# -- seeds -----------------------------------------------------------------------------------------------


def _seed(seed: Seed) -> schemas.Seed:
    return {
        "id": seed.id,
        "class": seed.class_name,
        "version": seed.version,
        "state": seed.state.value,
        "promoted": seed.promoted,
        "task": seed.task,
        "problem": seed.problem,
        "hint": seed.hint,
        "created_at": _time(seed.created_at),
        "started_at": _time(seed.started_at),
        "ended_at": _time(seed.ended_at),
    }


SEED = {"seed": {"id": "$response.body#/id"}}


@blueprint.get("/admin/seeds")
@needs("seeds.read")
@operation("admin:read", {200: schemas.Seeds}, listing=SEEDS)
def seed_list() -> Answer:
    """Seeds of the classes within reach."""
    return page_of(SEEDS, _seed)


@blueprint.get("/admin/seeds/<int:id>")
@needs("seeds.read", seed="id")
@operation("admin:read", {200: schemas.Seed})
def seed(id: int) -> Answer:
    """One of them."""
    return _seed(seeds.get_seed(id))


@blueprint.post("/admin/classes/<name>/build")
@needs("seeds.manage", class_="name")
@operation("admin:seeds", {202: schemas.Seed}, creates=True, links=SEED)
def build_seed(name: str) -> Answer:
    """Build a new version of a class's seed; 409 while one is being built."""
    made = seeds.build(name, actor())
    return _seed(made), 202, {"Location": url_for("api.seed", id=made.id)}


@blueprint.post("/admin/classes/<name>/use-shipped")
@needs("seeds.manage", class_="name")
@operation("admin:seeds", {202: schemas.Seed}, creates=True, links=SEED)
def use_shipped(name: str) -> Answer:
    """Have the seed that came with the appliance be a new version."""
    made = seeds.use_shipped(name, actor())
    return _seed(made), 202, {"Location": url_for("api.seed", id=made.id)}


@blueprint.post("/admin/seeds/<int:id>/promote")
@needs("seeds.manage", seed="id")
@operation("admin:seeds", {200: schemas.Seed})
def promote_seed(id: int) -> Answer:
    """Have new machines be made from this version; the buffer is replaced gradually."""
    seeds.promote(id, actor())
    return _seed(seeds.get_seed(id))


@blueprint.post("/admin/seeds/<int:id>/cancel")
@needs("seeds.manage", seed="id")
@operation("admin:seeds", {202: schemas.Seed})
def cancel_seed(id: int) -> Answer:
    """Stop the building of a seed."""
    seeds.cancel(id, actor())
    return _seed(seeds.get_seed(id)), 202


@blueprint.delete("/admin/seeds/<int:id>")
@needs("seeds.manage", seed="id")
@operation("admin:seeds", {204: None})
def delete_seed(id: int) -> Answer:
    """Delete a seed's files: there is no going back to this version."""
    seeds.remove(id, actor())
    return {}, 204


# -- applications ----------------------------------------------------------------------------------------


@blueprint.get("/admin/applications")
@needs("classes.read")
@operation("admin:read", {200: schemas.Applications})
def application_list() -> Answer:
    """The catalogue of applications: what machines of a class can have, and what is decided about each."""
    withdrawn = applications.withdrawn()
    return {"items": [_application(one, withdrawn) for one in applications.entries()]}


class SentApplication(Body):
    """A zip of a folder with application.yml and tasks/main.yml. `name`: its short name, if not the folder's; `build`: the seeds of classes that have it."""

    CALLED: ClassVar = {"file": "zip"}

    zip: Base64Bytes = Field(max_length=PACKED)
    name: str = Field("", max_length=31)
    build: bool = Field(False, strict=True)


@blueprint.post("/admin/applications")
@needs("scenario.manage")
@takes_file_of(PACKED // 3 * 4)
@operation(
    "admin:classes",
    {201: schemas.Taken},
    takes=SentApplication,
    confirms=True,
    example={"zip": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==", "name": "wiki"},
)
def upload_application() -> Answer:
    """Take an application into the scenario, or another version of one that it brings. It is checked as a whole, with file and line, and kept or refused."""
    asked = forms.read(SentApplication)
    name = own_applications.add(actor(), asked.zip, asked.name, build=asked.build)
    return {"name": name, "version": scenario_rows.number()}, 201


@blueprint.get("/admin/applications/<name>/zip")
@needs("classes.read")
@operation("admin:read", {200: schemas.Zip})
def download_application(name: str) -> Answer:
    """An application as a zip that can be sent again, in Base64."""
    return {"name": name, "zip": b64encode(own_applications.download(name)).decode()}


@blueprint.post("/admin/applications/<name>/withdraw")
@needs("scenario.manage")
@operation("admin:classes", {200: schemas.State})
def withdraw_application(name: str) -> Answer:
    """Offer an application to no class that does not have it."""
    own_applications.withdraw(actor(), name, withdrawn=True)
    return {"state": "withdrawn"}


@blueprint.post("/admin/applications/<name>/offer")
@needs("scenario.manage")
@operation("admin:classes", {200: schemas.State})
def offer_application(name: str) -> Answer:
    """Offer an application again that was withdrawn."""
    own_applications.withdraw(actor(), name, withdrawn=False)
    return {"state": "offered"}


@blueprint.delete("/admin/applications/<name>")
@needs("scenario.manage")
@operation("admin:classes", {204: None}, confirms=True)
def remove_application(name: str) -> Answer:
    """Take an application out of the scenario that no class has; versions before still have it."""
    own_applications.remove(actor(), name, seen=scenario_rows.number())
    return {}, 204


def _application(one: Entry, withdrawn: Container[str]) -> schemas.Application:
    about = one.manifest
    return {
        "name": one.name,
        "title": about.title,
        "description": about.description,
        "licence": about.licence,
        "releases": list(about.releases),
        "memory": about.needs.memory,
        "disk": about.needs.disk,
        "port": about.web.port if about.web else None,
        "packages": about.packages,
        "own": one.is_own,
        "withdrawn": one.name in withdrawn,
        "options": [
            {
                "name": name,
                "type": option.type,
                "title": option.title,
                "description": option.description,
                "default": option.default,
                "minimum": option.minimum,
                "maximum": option.maximum,
                "choices": list(option.choices),
            }
            for name, option in about.options.items()
        ],
    }


# -- packages --------------------------------------------------------------------------------------------


def _package(one: packages.Brought | packages.Detail) -> schemas.Package:
    found, brings = one.package, one.estimate
    return {
        "name": found.name,
        "version": found.version,
        "section": found.section,
        "summary": found.summary,
        "base": found.base,
        "size": found.size,
        "installed": found.installed,
        "brings": {"packages": list(brings.packages), "size": brings.size, "installed": brings.installed},
    }


@blueprint.get("/admin/packages")
@needs("seeds.read")
@operation("admin:read", {200: schemas.Packages}, query={"release": str, "q": str})
def package_list() -> Answer:
    """Debian packages of a release, the newest unless one is named, that the words of `q` find: the best 20, with what each brings (bytes)."""
    asked = packages.release(request.args.get("release") or packages.releases()[0].os)
    total, found = packages.search(asked.os, request.args.get("q", "")) if asked.count else (0, [])
    return {"release": asked.os, "read_at": _time(asked.read_at), "total": total, "items": [_package(one) for one in found]}


@blueprint.get("/admin/packages/<release>/<name>")
@needs("seeds.read")
@operation("admin:read", {200: schemas.PackageDetail})
def package(release: str, name: str) -> Answer:
    """One of them."""
    found = packages.detail(release, name)
    return {**_package(found), "description": found.description, "classes": found.classes}


@blueprint.post("/admin/packages/<release>/refresh")
@needs("seeds.manage")
@operation("admin:seeds", {202: schemas.State})
def refresh_packages(release: str) -> Answer:
    """Have the package index of a release read anew from the mirror."""
    packages.refresh(actor(), release)
    return {"state": "asked"}, 202


# -- runs, events, what needs somebody ---------------------------------------------------------------------


@blueprint.get("/admin/runs")
@needs("machines.read")
@operation("admin:read", {200: schemas.RunPage}, listing=RUNS)
def admin_runs() -> Answer:
    """Runs of all machines within reach; /runs/{id} has one of them, and its verbs."""
    return page_of(RUNS, _run)


@blueprint.get("/admin/events")
@needs("events.read")
@operation("admin:read", {200: schemas.Events}, listing=EVENTS)
def event_list() -> Answer:
    """What happened."""
    return page_of(EVENTS, event_rows.described)


@blueprint.post("/admin/events/check")
@needs("events.read")
@operation("admin:read", {200: schemas.Check})
def check_events() -> Answer:
    """Look whether the whole record is as it was written."""
    chain = audit.verify(actor())
    return {"lines": chain.lines, "last": chain.last, "problems": list(chain.problems)}


@blueprint.get("/needs")
@needs("own")
@operation("admin:read", {200: schemas.Needs})
def need_list() -> Answer:
    """What is broken, will be, or waits for an answer, within reach."""
    return {"items": [_need(one) for one in current_user.needs or ()]}


def _need(need: Any) -> schemas.Need:
    page = url_for(need.endpoint, **need.values)
    return {"kind": need.kind, "severity": need.severity.value, "what": need.what, "why": need.why, "page": page}
