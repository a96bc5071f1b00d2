"""Public SSH keys of people, and which machines have yet to be told of a change of theirs."""

from collections.abc import Iterable
from datetime import datetime

from appliance.catalog.models import Account, Machine, MachineState, SshKey, now


def of_account(account_id: int) -> list[SshKey]:
    """Somebody's keys, the oldest first."""
    return list(SshKey.select().where(SshKey.account == account_id).order_by(SshKey.id))


def text(account_id: int) -> str:
    """The same, a line each, as in a file like authorized_keys."""
    return "\n".join(f"{row.key} {row.label}".rstrip() for row in of_account(account_id))


def everybodys() -> list[SshKey]:
    """All keys of all people."""
    return list(SshKey.select())


def holders(keys: Iterable[str]) -> dict[str, set[int]]:
    """Whose these keys are: accounts, by the key's type and base64 text. Nothing keeps two people from having one together."""
    found: dict[str, set[int]] = {}
    for row in SshKey.select().where(SshKey.key.in_(list(keys))):
        found.setdefault(row.key, set()).add(row.account_id)
    return found


def able(account_ids: Iterable[int]) -> set[int]:
    """Those of these accounts that may sign in, with a password that is their own."""
    query = Account.select(Account.id).where(Account.id.in_(list(account_ids)), Account.disabled == False, Account.must_change == False)  # noqa: E712
    return {row.id for row in query}


def used(ids: Iterable[int]) -> None:
    """Somebody signed in with these keys. Call it inside `write()`."""
    SshKey.update(used_at=now()).where(SshKey.id.in_(list(ids))).execute()


def add(account_id: int, lines: Iterable[str]) -> None:
    """Keep these keys, as identity.ssh_keys.parse made them; one that is there already gets another label. Call it inside `write()`."""
    for line in lines:
        kind, blob, label = (*line.split(" ", 2), "")[:3]
        row = SshKey.insert(account=account_id, key=f"{kind} {blob}", label=label)
        row.on_conflict(conflict_target=[SshKey.account, SshKey.key], update={SshKey.label: label}).execute()
    changed(account_id)


def replace(account_id: int, lines: Iterable[str]) -> None:
    """Keep these keys and no others. Those that stay are the same as before. Call it inside `write()`."""
    kept = list(lines)
    keys = [" ".join(line.split(" ", 2)[:2]) for line in kept]
    SshKey.delete().where(SshKey.account == account_id, SshKey.key.not_in(keys)).execute()
    add(account_id, kept)


def remove(account_id: int, id: int) -> SshKey | None:
    """Take one of somebody's keys away; returns what it was. Call it inside `write()`."""
    found: SshKey | None = SshKey.get_or_none(SshKey.id == id, SshKey.account == account_id)
    if found is not None:
        found.delete_instance()
        changed(account_id)
    return found


def changed(account_id: int) -> None:
    """What the machines that somebody holds have of their keys is no longer right. Call it inside `write()`."""
    gone = (MachineState.RETIRED, MachineState.RECLAIMING)
    Machine.update(ssh_changed_at=now()).where(Machine.owner == account_id, Machine.state.not_in(gone)).execute()


def untold() -> list[Machine]:
    """The machines in use that were not told of a change."""
    return list(
        Machine.select().where(Machine.state == MachineState.IN_USE, Machine.ssh_changed_at.is_null(False)).order_by(Machine.number)
    )


def told(machine_id: str, since: datetime) -> None:
    """A machine knows of what changed at that time; of what changed later it does not. Call it inside `write()`."""
    Machine.update(ssh_changed_at=None).where(Machine.id == machine_id, Machine.ssh_changed_at == since).execute()
