"""Machines that did not take whoever got them: how many, whose, and until when nobody is given another.

What fails for one person alone is held to be theirs, and what fails for several is the class's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance.backoff import doubled
from appliance.catalog.database import rows
from appliance.catalog.models import Account, Handover, MachineState, is_to_come, not_ahead, now

TRIES = 3  # machines that somebody is given in vain before they are told why
PERSON_WAITS, PERSON_WAITS_LONGEST = timedelta(minutes=10), timedelta(hours=24)
PEOPLE = 2  # whom none takes, one after the other, before the class is held to be why
CLASS_WAITS, CLASS_WAITS_LONGEST = timedelta(seconds=30), timedelta(minutes=10)


def failed(class_name: str, account_id: int, problem: str, hint: str) -> bool:
    """A machine of the class did not take the person; whether they have had their tries. Call it inside `write()`."""
    before = Handover.get_or_none(Handover.machine_class == class_name, Handover.account == account_id)
    moment, failures, in_a_row = now(), 1, 1
    if before is not None:
        failures, in_a_row = before.failures + 1, before.in_a_row + 1
    over = failures >= TRIES
    wait = doubled(PERSON_WAITS, failures - TRIES, PERSON_WAITS_LONGEST) if over else timedelta()
    Handover.insert(
        machine_class=class_name,
        account=account_id,
        failures=failures,
        in_a_row=in_a_row,
        problem=problem,
        hint=hint,
        failed_at=moment,
        held_until=moment + wait,
    ).on_conflict_replace().execute()
    return over


def is_last(class_name: str, account_id: int) -> bool:
    """Whether the person has had their tries, should one more machine of the class not take them."""
    before = Handover.get_or_none(Handover.machine_class == class_name, Handover.account == account_id)
    return (0 if before is None else before.failures) + 1 >= TRIES


def worked(class_name: str, account_id: int) -> None:
    """A machine of the class took the person. Call it inside `write()`."""
    Handover.delete().where(Handover.machine_class == class_name, Handover.account == account_id).execute()
    Handover.update(in_a_row=0).where(Handover.machine_class == class_name, Handover.in_a_row > 0).execute()


def changed(account_id: int) -> None:
    """What machines are told of the person is another now, so that one may be tried at once. Call it inside `write()`."""
    Handover.update(held_until=now()).where(Handover.account == account_id, Handover.held_until > now()).execute()


def try_again(class_name: str) -> None:
    """Let everybody try again at once. Call it inside `write()`."""
    Handover.delete().where(Handover.machine_class == class_name).execute()


def held_up(account_id: int) -> dict[str, Handover]:
    """Why the person is given no machine for now, by class."""
    query, moment = Handover.select().where(Handover.account == account_id, Handover.failures >= TRIES), now()
    return {found.class_name: found for found in query if is_to_come(found.held_until, PERSON_WAITS_LONGEST, moment)}


@dataclass(frozen=True)
class Failing:
    """Machines of a class that were handed over in vain, since one last was: how many, to how many people, and why the last one was not.

    `until`: when the next is tried, if the class is held to be why; `who` are the names of those who are given none for now.
    """

    machines: int
    people: int
    problem: str
    hint: str
    until: datetime | None
    who: tuple[str, ...] = ()


def failing(class_name: str) -> Failing | None:
    """What a class's page says of its hand-overs; None when there is nothing to say."""
    query = Handover.select(Handover, Account).join(Account).where(Handover.machine_class == class_name).order_by(Handover.failed_at)
    there, moment = list(query), now()
    row = [one for one in there if one.in_a_row]
    held = tuple(one.account.name for one in there if one.failures >= TRIES and is_to_come(one.held_until, PERSON_WAITS_LONGEST, moment))
    if not row and not held:
        return None
    count, last = sum(one.in_a_row for one in row), there[-1]
    until = None
    if len(row) >= PEOPLE and count >= TRIES and last.failed_at <= not_ahead(moment):
        until = last.failed_at + doubled(CLASS_WAITS, count - TRIES, CLASS_WAITS_LONGEST)
    return Failing(count, len(row), last.problem, last.hint, until, held)


def comes_first(machine_id: str, class_name: str) -> bool:
    """Whether the machine is the one of its class that has waited longest to be handed over."""
    found = rows(
        "SELECT id FROM machine WHERE state = ? AND class_name = ? ORDER BY state_since, number LIMIT 1",
        (MachineState.ASSIGNED.value, class_name),
    )
    return bool(found) and found[0][0] == machine_id


def waits_until(class_name: str, machine_id: str) -> tuple[datetime, str] | None:
    """When a machine of the class may be handed over, and what for it waits; None when it may be now.

    While the class is held to be why, one at a time is tried.
    """
    found = failing(class_name)
    if found is None or found.until is None:
        return None
    moment = now()
    if moment >= found.until and comes_first(machine_id, class_name):
        return None
    why = f"none of the last {found.machines} machines of its class took its owner; the next is tried soon: {found.problem}"
    return min(max(found.until, moment + timedelta(seconds=2)), moment + timedelta(seconds=10)), why
