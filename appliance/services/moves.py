"""Stopping, starting, suspending, resuming, making anew and passing on a machine that somebody holds. Each begins a run, which does it."""

from collections.abc import Iterable
from typing import Any

from appliance import catalog
from appliance.catalog import Account, Actor, EventKind, Machine, doorbell, record
from appliance.errors import BadInput, NotAllowed
from appliance.identity import permissions
from appliance.lifecycle import rules
from appliance.services import machines, search
from appliance.workflow import start as runs
from appliance.workflow.master import Move, master

ASKS = {
    "stop": "stops",
    "start": "starts",
    "suspend": "suspends",
    "resume": "resumes",
    "reprovision": "has a clean machine made of",
    "transfer": "passes on",
}
# Those that need nothing else to be said, and that whoever holds the machine may ask for.
PLAIN = tuple(kind for kind in rules.VERBS if kind != "transfer")


def stop(actor: Actor, id: str) -> int:
    """Shut the machine down; its lease goes on. Returns the run's id, as all of these do.

    All raise NotFound for a machine that is not the actor's to stop, and Conflict when its state does not allow it or another of
    these is under way.
    """
    return _begin(actor, id, "stop")


def start(actor: Actor, id: str) -> int:
    """Boot a stopped machine. Raises Conflict besides when the server's memory is given out, as `resume` does."""
    return _begin(actor, id, "start")


def suspend(actor: Actor, id: str) -> int:
    """Keep the machine's memory on disk and stop it."""
    return _begin(actor, id, "suspend")


def resume(actor: Actor, id: str) -> int:
    """Let a suspended machine go on where it was."""
    return _begin(actor, id, "resume")


def reprovision(actor: Actor, id: str) -> int:
    """Give the machine a clean disk from the promoted seed; name, address and data disk stay, all else on it is lost."""
    return _begin(actor, id, "reprovision")


def plain(actor: Actor, id: str, kind: str) -> int:
    """One of PLAIN, by its name."""
    return {"stop": stop, "start": start, "suspend": suspend, "resume": resume, "reprovision": reprovision}[kind](actor, id)


def transfer(actor: Actor, id: str, to: str) -> int:
    """Make machine and lease the account's whose name is `to`.

    Raises NotAllowed for who only holds it, BadInput when there is no such account, Conflict when it cannot have the machine.
    """
    machine = _allowed(actor, id, "transfer")
    try:
        account = _recipient(actor, machine, to)
    except BadInput as error:
        if to.strip():
            error.hint = search.like(permissions.of(actor), to)
        raise
    rules.try_passing_on(machine, account)
    return _begin(actor, id, "transfer", to=account.id, to_name=account.name)


def _recipient(actor: Actor, machine: Machine, to: str) -> Account:
    """Who is to get it: somebody whom the actor looks after or may see, or, for who looks after the class, who may use machines of it.

    Raises BadInput when there is nobody of that name, or nobody of those.
    """
    account = rules.person(to)
    known = any(permissions.may(actor, permission, "account", account.id) for permission in ("people.read", "machines.manage"))
    by_class = machine.class_name in permissions.scope_of(actor, "machines.manage").classes and rules.may_use(account, machine.class_name)
    if not (known or by_class):
        raise rules.nobody(to.strip())
    return account


def possible(actor: Actor, machine: Machine) -> list[Move]:
    """Which of them the machine's state allows, and the actor may ask for."""
    manages = permissions.may(actor, "machines.manage", "machine", machine.id)
    return [move for move in rules.possible(machine) if manages or (move.own and machine.owner_id == actor.account_id)]


def doing(found: Iterable[Machine]) -> dict[str, str]:
    """What one of them is doing to these machines now, in words, by their ids."""
    under_way = {machine.id: rules.at_work(machine.id) for machine in found}
    return {id: rules.doing(run) for id, run in under_way.items() if run is not None}


def _allowed(actor: Actor, id: str, kind: str) -> Machine:
    machine = machines.get_machine(actor, id, "machines.manage")
    if not (master().move[kind].own or permissions.may(actor, "machines.manage", "machine", id)):
        raise NotAllowed("That is for those who look after machines.", "Ask your admin.")
    return machine


def _begin(actor: Actor, id: str, kind: str, **facts: Any) -> int:
    with catalog.write():
        machine = _allowed(actor, id, kind)
        rules.demand(machine, kind)
        Machine.update(problem="").where(Machine.id == id).execute()
        run = runs.begin_run(kind, machine, actor, **facts)
        record(
            EventKind(f"machine.{kind}_asked"),
            f"{actor.name} passes on {machine.name} to {facts['to_name']}." if facts else f"{actor.name} {ASKS[kind]} {machine.name}.",
            actor,
            class_name=machine.class_name,
            machine_id=id,
            run=run,
        )
    doorbell.ring()
    return run
