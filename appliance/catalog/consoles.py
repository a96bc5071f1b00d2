"""Who is at which machine's screen or serial line: rows that dpe-console writes while it holds a connection."""

from collections.abc import Iterable

from appliance.catalog.database import write
from appliance.catalog.models import Account, ConsoleSession


def begin(machine_id: str, account_id: int, target: str, *, control: bool) -> int:
    """Somebody is there from now on; returns the row's number."""
    with write():
        return int(ConsoleSession.insert(machine=machine_id, account=account_id, target=target, control=control).execute())


def end(id: int) -> None:
    """They are gone."""
    with write():
        ConsoleSession.delete().where(ConsoleSession.id == id).execute()


def forget() -> None:
    """Nobody is anywhere: whoever held the connections has just started."""
    if ConsoleSession.select().exists():
        with write():
            ConsoleSession.delete().execute()


def others(machine_ids: Iterable[str], account_id: int) -> dict[str, list[ConsoleSession]]:
    """The sessions of other people than this one at each of these machines, the oldest first, with their accounts."""
    found: dict[str, list[ConsoleSession]] = {}
    query = ConsoleSession.select(ConsoleSession, Account).join(Account).order_by(ConsoleSession.id)
    for row in query.where(ConsoleSession.machine.in_(list(machine_ids)), ConsoleSession.account != account_id):
        found.setdefault(row.machine_id, []).append(row)
    return found
