"""What has to hold before somebody's machine is stopped, started, made anew or passed on. Knows the catalog and people, no hypervisor."""

from datetime import timedelta

from appliance import catalog
from appliance.catalog import Account, Lease, Machine, MachineState, Run, machines, memory, now, runs
from appliance.catalog.grants import Location
from appliance.catalog.quotas import Size
from appliance.errors import BadInput, Conflict
from appliance.identity import permissions, quotas
from appliance.workflow import kinds
from appliance.workflow.master import Move, master
from appliance.workflow.runner import before_move

# Moves of a machine that somebody holds, one at a time.
VERBS = ("stop", "start", "suspend", "resume", "reprovision", "transfer")
OFF = (MachineState.STOPPED, MachineState.SUSPENDED)
WORKED_ON = "Wait until that is done, or have it cancelled."


def at_work(machine_id: str) -> Run | None:
    """The run of one of these moves that has yet to make it."""
    return _at_work(runs.live_of_machine(machine_id))


def _at_work(live: list[Run]) -> Run | None:
    return next((run for run in live if run.kind in VERBS and before_move(run)), None)


def doing(run: Run) -> str:
    """What a run of one of these moves does, for people: "being stopped: shutting it down"."""
    what = kinds.known()[master().move[run.kind].core[0]].title_now
    return f"{what}: {run.why}" if run.why else what


def possible(machine: Machine) -> list[Move]:
    """Those of the moves that the machine's state allows, whoever may ask for them."""
    return [move for move in master().moves if move.name in VERBS and machine.state in move.from_]


def demand(machine: Machine, kind: str) -> None:
    """Call it inside the `write()` that begins the run. Raises Conflict when the move cannot be made now."""
    move = master().move[kind]
    if machine.state not in move.from_:
        raise Conflict(
            f"{machine.name} is {machine.state.value.replace('_', ' ')}: that does not go with “{move.title}”.",
            "Reload the page to see where it stands.",
        )
    live = runs.live_of_machine(machine.id)
    if (run := _at_work(live)) is not None:
        raise Conflict(f"The machine {machine.name} is {doing(run)}.", WORKED_ON)
    if any(run.kind == kind for run in live):
        raise Conflict(f"What follows the last “{move.title}” of {machine.name} is not over yet.", WORKED_ON)
    if machine.state in OFF and machine.memory + memory.allowed().overhead > memory.room():
        raise Conflict("The server's memory is all given out.", "Try again when somebody has given a machine back, or stopped one.")


def person(name: str) -> Account:
    """Who is to get a machine, by the name of their account. Raises BadInput."""
    name = name.strip()
    if not name:
        raise BadInput("Nobody is named.", "Write the name of an account.", field="to")
    found: Account | None = Account.get_or_none(Account.name == name)
    if found is None:
        raise nobody(name)
    return found


def nobody(name: str) -> BadInput:
    """What is said of a name that no account has."""
    return BadInput(f"There is no account {name}.", "Write the name that the person signs in with.", field="to")


def may_use(account: Account, class_name: str) -> bool:
    """Whether somebody may use machines of a class."""
    return permissions.of_account(account.id).reach("machines.use").covers(Location(classes=frozenset({class_name})))


def pass_on(machine: Machine, to: Account) -> None:
    """Make the machine and its lease another person's; call it inside `write()`, which a Conflict undoes.

    Raises Conflict when they hold it already, cannot use such a machine, or may not have another one.
    """
    to, lease = Account.get_by_id(to.id), machines.lease_of(machine.id)  # as they are now
    machine_class, former = machine.machine_class, machine.owner
    if former is None or lease is None or lease.account_id != former.id or lease.ends_at <= now():
        raise Conflict(f"Nobody holds {machine.name} any more.", "Reload the page to see where it stands.")
    if to.id == former.id:
        raise Conflict(f"{machine.name} is {to.name}'s already.", "Name somebody else.")
    if to.disabled:
        raise Conflict(f"The account {to.name} is disabled.", "Name somebody else, or have it enabled.")
    if not may_use(to, machine_class.name):
        raise Conflict(f"{to.name} may not use machines of the class {machine_class.name}.", "Grant them that first.")
    machines.end_lease(machine.id, f"transferred to {to.name}")
    if (held := machines.held(to.id, machine_class.name)) >= machine_class.per_person:
        raise Conflict(f"{to.name} holds {held} of {machine_class.per_person} already.", "They have to give one back first.")
    left = quotas.allowance(to.id, machine_class.name, Size(machine.vcpus, machine.memory, machine.disk))
    if left.left == 0:
        reason = left.reason.replace("Your quota", f"The quota of {to.name}", 1)
        raise Conflict(f"{reason}.", "They have to give something back first, or get more.")
    ends_at = lease.ends_at
    if left.lease_minutes is not None:
        ends_at = min(ends_at, now() + timedelta(minutes=left.lease_minutes))
    Lease.create(machine=machine.id, account=to.id, ends_at=ends_at, extensions=lease.extensions)
    Machine.update(owner=to.id).where(Machine.id == machine.id).execute()


class _Tried(Exception):
    pass


def try_passing_on(machine: Machine, to: Account) -> None:
    """Raise as `pass_on` would, and change nothing."""
    try:
        with catalog.write():
            pass_on(machine, to)
            raise _Tried
    except _Tried:
        pass
