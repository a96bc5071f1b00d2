"""Deleting an account, and what becomes of what its person has: all of it in one transaction, or nothing.

Sessions, tokens, roles, quotas and places in groups go with the account. What happened stays on record under the name. Leases and requests that are
over stay without one, as forecasts are made of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    DataDisk,
    DiskState,
    EventKind,
    Grant,
    Group,
    KeptDisk,
    KeptState,
    Machine,
    Member,
    Quota,
    Request,
    Run,
    Token,
    WorkItem,
    WorkItemState,
    data_disks,
    doorbell,
    machines,
    record,
)
from appliance.errors import BadInput, Conflict
from appliance.identity import permissions
from appliance.services import accounts, search
from appliance.services import machines as verbs

# What can become of data disks and of retained disks.
FATES = {"keep": "Stay here, as nobody's", "hand over": "Become somebody else's", "delete": "Are deleted with everything on them"}


@dataclass(frozen=True)
class Belongings:
    """What somebody has. `requests` are those that wait, `asked` what waits for their answer."""

    machines: list[Machine] = field(default_factory=list)
    disks: list[DataDisk] = field(default_factory=list)
    retained: list[KeptDisk] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    quotas: int = 0
    tokens: int = 0
    requests: list[Request] = field(default_factory=list)
    asked: list[WorkItem] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What becomes of it: of data disks and retained disks one of FATES each. `to` is the name of who gets what is handed over, and the to-dos."""

    disks: str = "keep"
    retained: str = "keep"
    to: str = ""


def belongings(account_id: int) -> Belongings:
    """All that somebody has now."""
    asked = WorkItem.select().where(WorkItem.account == account_id, WorkItem.state == WorkItemState.OPEN)
    return Belongings(
        machines=machines.of_account(account_id),
        disks=data_disks.of_account(account_id),
        retained=data_disks.kept_of_account(account_id),
        groups=list(Group.select().join(Member).where(Member.account == account_id).order_by(Group.name)),
        grants=list(Grant.select().where(Grant.account == account_id).order_by(Grant.id)),
        quotas=Quota.select().where(Quota.account == account_id).count(),
        tokens=Token.select().where(Token.account == account_id).count(),
        requests=list(Request.select().where(Request.account == account_id, Request.state.in_(machines.ASKED)).order_by(Request.id)),
        asked=list(asked.order_by(WorkItem.id)),
    )


def check(actor: Actor, account: Account) -> None:
    """Raise NotFound, NotAllowed or Conflict when the actor cannot delete the account, whatever becomes of what is in it."""
    permissions.require(actor, "people.manage", "account", account.id)
    if account.id == actor.account_id:
        raise Conflict("You cannot delete your own account.", "Ask another admin.")
    permissions.require_no_less(actor, account.id)
    accounts.keep_an_owner(without=account.id)
    if account.directory_id is not None and not account.directory_off:
        raise Conflict(
            f"{account.name} is in the directory, which would bring them back.", "Remove them there first, or disable the account."
        )
    if Run.select().where(Run.account == account.id, Run.kind == "recover", Run.ended_at.is_null()).exists():
        raise Conflict(f"A machine is being restored for {account.name}.", "Wait until it is there, or cancel its run.")


def delete(actor: Actor, id: int, plan: Plan) -> str:
    """Delete an account; returns its name. Machines are reclaimed as their classes do it: where disks are retained, theirs are.

    Raises what `check` raises; BadInput for a plan that makes no sense; Conflict while a disk cannot be given away.
    """
    if plan.disks not in FATES or plan.retained not in FATES:
        raise BadInput("That cannot become of disks.", "Choose one of the list.", field="disks")
    with catalog.write():
        account = accounts.get_account(id)
        check(actor, account)
        has, to = belongings(id), _successor(actor, account, plan)
        if has.machines or has.disks or has.retained:
            permissions.require(actor, "machines.manage", "account", id)
        for request in has.requests:
            if Request.get_by_id(request.id).state in machines.ASKED:  # those that were asked for together go together
                verbs.cancel_request(actor, request.id)
        for machine in has.machines:
            verbs.release(actor, machine.id)
        _data_disks(actor, has.disks, plan.disks, to)
        _retained_disks(has.retained, plan.retained, to)
        WorkItem.update(account=to).where(WorkItem.account == id, WorkItem.state == WorkItemState.OPEN).execute()
        Machine.update(owner=to).where(Machine.id.in_([machine.id for machine in has.machines])).execute()  # whose disk may be retained yet
        Machine.update(owner=None).where(Machine.owner == id).execute()
        account.delete_instance()
        given = f" What is handed over is {to.name}'s." if to else ""
        record(
            EventKind.ACCOUNT_DELETED,
            f"{actor.name} deleted the account {account.name}.{given}",
            actor,
            account_id=id,
            object=f"account:{account.name}",
            before=_described(account, has),
        )
    doorbell.ring()
    name: str = account.name
    return name


def _successor(actor: Actor, account: Account, plan: Plan) -> Account | None:
    """Who gets what is handed over; None when nothing is."""
    if not plan.to.strip():
        if "hand over" in (plan.disks, plan.retained):
            raise BadInput("Nobody is named who gets what is handed over.", "Write the name of an account.", field="to")
        return None
    to = Account.get_or_none(Account.name == plan.to.strip())
    if to is None or not permissions.may(actor, "people.read", "account", to.id):
        raise BadInput(f"There is no account {plan.to.strip()[:60]}.", search.like(permissions.of(actor), plan.to), field="to")
    if to.id == account.id or to.disabled:
        why = "is to be deleted" if to.id == account.id else "is disabled"
        raise BadInput(f"The account {to.name} {why}.", "Name somebody else.", field="to")
    return to


def _data_disks(actor: Actor, found: Iterable[DataDisk], fate: str, to: Account | None) -> None:
    for disk in found:
        if disk.state is DiskState.RESTORING:
            raise Conflict(f"The data disk {disk.name} is being restored.", "Wait until that is done, or cancel its run.")
        if fate == "hand over" and to is not None:
            data_disks.give(disk, to.id)
            message = f"{actor.name} handed the data disk {disk.name} over to {to.name}."
            data_disks.record_disk_event(EventKind.DATA_DISK_HANDED_OVER, message, disk, actor)
        elif fate == "delete":
            DataDisk.update(state=DiskState.REMOVING, backup_asked=False).where(DataDisk.id == disk.id).execute()
            message = f"{actor.name} deleted the data disk {disk.name} with everything on it."
            data_disks.record_disk_event(EventKind.DATA_DISK_DELETED, message, disk, actor)


def _retained_disks(found: Iterable[KeptDisk], fate: str, to: Account | None) -> None:
    for disk in found:
        if disk.state is not KeptState.KEPT:
            raise Conflict(f"{disk.machine_name} is coming back.", "Wait until it is there, or cancel its run.")
    changes: dict[str, dict[str, Any]] = {"hand over": {"account": to}, "delete": {"state": KeptState.REMOVING}}
    if fate in changes:
        KeptDisk.update(changes[fate]).where(KeptDisk.id.in_([disk.id for disk in found])).execute()


def _described(account: Account, has: Belongings) -> dict[str, Any]:
    return {
        "full_name": account.full_name,
        "email": account.email,
        "org_unit": account.org_unit.name,
        "groups": [group.name for group in has.groups],
        "roles": sorted({grant.role for grant in has.grants}),
        "machines": [machine.name for machine in has.machines],
        "data_disks": [disk.name for disk in has.disks],
        "retained_disks": [disk.machine_name for disk in has.retained],
    }
