"""Bringing machines back: from the disk that was kept, or from a copy of the data disk, of this appliance or another one."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Backup,
    Class,
    EventKind,
    KeptDisk,
    KeptState,
    Run,
    data_disks,
    doorbell,
    machines,
    now,
    record,
    runs,
    seeds,
    sequences,
    timezone,
)
from appliance.errors import BadInput, Conflict, NotFound
from appliance.identity import permissions, quotas
from appliance.workflow.conditions import facts_of

SEQUENCE = "recovery"
MOST = 200  # copies at once


@dataclass(frozen=True)
class RecoverablePerson:
    """A copy that can be brought back: for whom and as what, as far as this appliance knows them; `problem` says why it cannot be."""

    copy: Backup
    account: Account | None
    machine_class: Class | None
    newest: bool  # of its disk
    run: Run | None  # that is at work on it, or was the last
    problem: str

    @property
    def missing(self) -> str:
        """What has to be chosen before it can be brought back."""
        lacks = [name for name, there in (("a person", self.account), ("a class", self.machine_class)) if there is None]
        return " and ".join(lacks)


@dataclass(frozen=True)
class Choice:
    """A copy to bring back, for whom (the name of an account), and as which class; empty: as its manifest says."""

    path: str
    account: str = ""
    class_name: str = ""


def recoverable() -> list[RecoverablePerson]:
    """What the folder of copies has, the newest first."""
    accounts = {account.name: account for account in Account.select().where(Account.disabled == False)}  # noqa: E712
    classes, latest = data_disks.classes(), {run.facts["backup"]: run for run in runs.recoveries() if "backup" in run.facts}
    seen: set[str] = set()
    result = []
    for copy in data_disks.backups():
        machine_class = classes.get(copy.class_name)
        newest = not copy.problem and copy.disk not in seen
        if newest:
            seen.add(copy.disk)
        result.append(RecoverablePerson(copy, accounts.get(copy.account_name), machine_class, newest, latest.get(copy.path), copy.problem))
    return result


def people() -> list[str]:
    """For whom something can be brought back: names of accounts."""
    return [account.name for account in Account.select().where(Account.disabled == False).order_by(Account.name)]  # noqa: E712


def bring_back(actor: Actor, choices: Sequence[Choice]) -> list[int]:
    """Bring copies back, each as a data disk with an id of its own and a machine that has it; returns a run for each.

    All are begun, or none. Raises BadInput for what cannot be brought back, naming it.
    """
    if not choices:
        raise BadInput("Nothing is chosen.", "Tick what is to come back.")
    if len(choices) > MOST or len({choice.path for choice in choices}) < len(choices):
        raise BadInput(f"Each copy can be chosen once, and not more than {MOST} at a time.", "Choose fewer.")
    with catalog.write():
        known = {one.copy.path: one for one in recoverable()}
        begun = [_begin_copy(actor, choice, known.get(choice.path)) for choice in choices]
    doorbell.ring()
    return begun


def _begin_copy(actor: Actor, choice: Choice, one: RecoverablePerson | None) -> int:
    if one is None:
        raise NotFound("A copy that was chosen is there no more.", "Reload the page to see what there is.")
    what = f"{one.copy.disk_name or one.copy.disk} of {timezone.timestamp(one.copy.taken_at)}"
    if one.problem:
        raise Conflict(f"{what} cannot be brought back: {one.problem}", "Choose another copy of it.")
    if one.run is not None and one.run.ended_at is None:
        raise Conflict(f"{what} is being brought back already.", "See the page of its run.")
    name = choice.account.strip() or one.copy.account_name
    account = Account.get_or_none(Account.name == name, Account.disabled == False)  # noqa: E712
    if account is None:
        raise BadInput(
            f"{what}: nobody here is called {name or 'that'}.",
            "Say who gets it, or make the account first.",
            field=f"account {choice.path}",
        )
    machine_class = Class.get_or_none(Class.name == (choice.class_name or one.copy.class_name))
    if machine_class is None:
        raise BadInput(
            f"{what}: there is no class {choice.class_name or one.copy.class_name}.",
            "Choose the class of the machine.",
            field=f"class {choice.path}",
        )
    if seeds.promoted(machine_class.name) is None:
        raise Conflict(f"{what}: {machine_class.name} has no seed yet.", "Build one first.")
    return _begin(actor, machine_class, account, f"the data disk {what}", backup=one.copy.path, disk=str(uuid.uuid4()), size=one.copy.size)


def bring_back_kept(actor: Actor, id: str) -> int:
    """Make a machine of a kept disk again, for whom it belonged to; returns its run. The disk is removed once they have it."""
    with catalog.write():
        kept = get_kept(actor, id, "machines.manage")
        account = kept.account
        if kept.state is not KeptState.KEPT:
            raise Conflict(f"{kept.machine_name} is coming back already.", "Wait a moment.")
        if kept.until <= now():
            raise Conflict(f"The days of {kept.machine_name} are over.", "Ask for a new machine.")
        if account is None or account.disabled:
            raise Conflict(f"Whoever held {kept.machine_name} has no account any more.", "Nobody can get it back.")
        if not permissions.may(actor, "machines.manage", "kept", id):
            _within_limits(account, kept.machine_class)
        begun = _begin(actor, kept.machine_class, account, kept.machine_name, kept=id, disk=kept.data_id)
        KeptDisk.update(state=KeptState.RETURNING).where(KeptDisk.id == id).execute()
    doorbell.ring()
    return begun


def _within_limits(account: Account, machine_class: Class) -> None:
    held = machines.held(account.id, machine_class.name) + runs.coming_back(account.id, machine_class.name)
    if not machine_class.enabled:
        raise Conflict(f"{machine_class.name} is closed.", "Ask your admin.")
    if held >= machine_class.per_person:
        raise Conflict(f"You hold {held} of {machine_class.per_person} already.", "Give one back first.")
    left = quotas.allowance(account.id, machine_class.name, quotas.size_of(machine_class))
    if left.left == 0:
        raise Conflict(f"{left.reason}.", "Give something back first, or ask your admin for more.")


def get_kept(actor: Actor, id: str, permission: str = "machines.read") -> KeptDisk:
    """A kept disk of the actor's, or one that they look after. Raises NotFound for all others."""
    kept = data_disks.kept_by_id(id)
    if (
        kept is None
        or kept.state is KeptState.REMOVING
        or not (permissions.owns(actor, kept.account_id) or permissions.may(actor, permission, "kept", id))
    ):
        raise NotFound("There is no such kept disk.", "Its days may be over.")
    return kept


def forget_kept(actor: Actor, id: str) -> str:
    """Remove a kept disk before its time; returns whose it was."""
    with catalog.write():
        kept = get_kept(actor, id, "machines.manage")
        if kept.state is not KeptState.KEPT:
            raise Conflict(f"{kept.machine_name} is coming back.", "Wait until it has.")
        KeptDisk.update(state=KeptState.REMOVING).where(KeptDisk.id == id).execute()
        message = f"{actor.name} removed the kept disk of {kept.machine_name}."
        record(EventKind.KEPT_DISK_DELETED, message, actor, class_name=kept.class_name, machine_id=id)
    doorbell.ring()
    return kept.machine_name


def _begin(actor: Actor, machine_class: Class, account: Account, what: str, **facts: Any) -> int:
    version = sequences.promoted(SEQUENCE)
    found = facts_of(machine_class, account.id, lease_minutes=machine_class.lease_minutes) if version else {}
    run = runs.begin_run(
        "recover",
        class_name=machine_class.name,
        account_id=account.id,
        version_id=version.id if version else None,
        priority=1,
        facts={**found, **facts, "machine": str(uuid.uuid4()), "what": what},
        asked_by=actor.name,
    )
    message = f"{actor.name} brings {what} back, for {account.name}."
    record(EventKind.MACHINE_RECOVER, message, actor, account_id=account.id, class_name=machine_class.name, run=run)
    return run
