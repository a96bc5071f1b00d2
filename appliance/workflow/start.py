"""How runs begin: which version of which sequence they go by, what their conditions are judged by, and how urgent they are."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from appliance.catalog import ENGINE, Actor, Class, Machine, Request, machines, runs, sequences
from appliance.workflow import sequence
from appliance.workflow.conditions import facts_of

# Smaller goes first: a person who waits, what a person asked for, room for others, the buffer.
PRIORITIES = {"assign": 0, "reclaim": 3, "make": 5}
PRIORITY = 1


@dataclass(frozen=True)
class StartPlan:
    """By what a run goes. `first`: what comes before the move, by its titles."""

    version_id: int | None
    body: str
    facts: dict[str, Any]
    first: tuple[str, ...] = ()

    @property
    def asks_first(self) -> bool:
        return bool(self.first)


def plan(
    kind: str, class_name: str, account_id: int | None, *, lease_minutes: int, count: int = 1, trial_id: int | None = None
) -> StartPlan:
    """What a run of this kind for this person would go by now."""
    followed = sequences.of_class(class_name) if trial_id is None else sequences.Followed(trial_id, sequences.body(trial_id))
    if followed is None:
        return StartPlan(None, "", {})
    if kind not in sequence.moves(followed.body):
        return StartPlan(followed.version_id, followed.body, {})
    facts = facts_of(Class.get_by_id(class_name), account_id, lease_minutes=lease_minutes, count=count)
    # Not the planned steps: what cannot be done any more is found out in the run, where it fails; it is never passed over.
    first = tuple(one.title or one.name for one in sequence.moves(followed.body)[kind].before if one.when.hold(facts))
    return StartPlan(followed.version_id, followed.body, facts, first)


def assign(asked: Request, found: StartPlan, *, asked_by: str = "", approved: bool = False) -> int:
    """The run of a request, from asking to having; call it inside `write()`. One that was `approved` once is not asked about again.

    Of several at once the first one's goes for all of them until they have their machines; then each has its own.
    """
    machine_id = asked.__data__["machine"]
    claim = sequence.core_at("assign", found.body, "claim")
    waits = "" if found.asks_first or machine_id or approved or asked.batch_id else "a machine of this class"
    return runs.begin_run(
        "assign",
        machine_id=machine_id,
        request_id=asked.id,
        class_name=asked.class_name,
        account_id=asked.account_id,
        version_id=found.version_id,
        position=0 if found.asks_first and not approved else claim + bool(machine_id),
        priority=PRIORITIES["assign"],
        waits=waits,
        facts=found.facts,
        asked_by=asked_by,
    )


def begin_run(kind: str, machine: Machine, actor: Actor = ENGINE, *, bare: bool = False, **facts: Any) -> int:
    """A run of this kind for a machine; call it inside `write()`. A `bare` one has only what belongs to the move.

    `facts` are what its steps go by besides. Raises peewee's IntegrityError when one of the kind is alive already.
    """
    lease = machines.lease_of(machine.id)
    minutes = round((lease.ends_at - lease.began_at) / timedelta(minutes=1)) if lease else machine.machine_class.lease_minutes
    found = plan(kind, machine.class_name, machine.owner_id, lease_minutes=minutes, trial_id=machine.trial_id)
    return runs.begin_run(
        kind,
        machine_id=machine.id,
        class_name=machine.class_name,
        account_id=machine.owner_id,
        version_id=found.version_id,
        priority=PRIORITIES.get(kind, PRIORITY),
        facts={**found.facts, **facts, **({"bare": True} if bare else {})},
        asked_by=actor.name if actor != ENGINE else "",
    )
