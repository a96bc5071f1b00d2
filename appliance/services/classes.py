"""Classes, their policy, and how their machines are made."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from appliance import catalog
from appliance.catalog import (
    Actor,
    Class,
    Seed,
    Sequence,
    Snapshot,
    SnapshotState,
    doorbell,
    handovers,
    now,
    record,
    seeds,
    sequences,
    snapshots,
)
from appliance.errors import BadInput, Conflict, NotFound
from appliance.people import powers

LIMITS = {
    "minimum": (0, 10_000),
    "maximum": (0, 10_000),
    "buffer": (0, 10_000),
    "lease_minutes": (1, 525_600),
    "extend_minutes": (0, 525_600),
    "extensions": (0, 1000),
    "warn_first": (0, 525_600),
    "warn_last": (0, 525_600),
    "busy_grace": (0, 10_080),
    "per_person": (1, 1000),
}
LIFE = {
    "data_disk": (0, 65_536),  # GiB
    "at_once": (1, 1000),
    "together_minutes": (1, 10_080),
    "idle_minutes": (0, 525_600),
    "idle_grace": (1, 10_080),
    "connect_minutes": (0, 525_600),
}
IDLE_THEN = ("reclaim", "suspend")
READINESS = ("paused", "running", "cold")


def everything() -> list[Class]:
    """All classes, by name."""
    return list(Class.select().order_by(Class.name))


def visible(actor: Actor, permission: str = "classes.read") -> list[Class]:
    """The classes within the actor's reach, by name."""
    reach = powers.reach(actor, permission)
    return [cls for cls in everything() if reach.everything or cls.name in reach.classes]


def get(name: str) -> Class:
    """The class. Raises NotFound."""
    cls: Class | None = Class.get_or_none(Class.name == name)
    if cls is None:
        raise NotFound(f"There is no class {name}.")
    return cls


def set_policy(actor: Actor, name: str, **values: int) -> None:
    """Change any of the numbers in LIMITS. Raises BadInput naming what does not fit; nothing is changed then."""
    _within(LIMITS, values)
    with catalog.write():
        cls = get(name)
        before = {key: getattr(cls, key) for key in values}
        for key, value in values.items():
            setattr(cls, key, value)
        for key in ("minimum", "buffer"):
            if getattr(cls, key) > cls.maximum:
                raise BadInput(
                    f"{key.capitalize()} ({getattr(cls, key)}) is above the maximum ({cls.maximum}).", "Raise the maximum or lower it."
                )
        cls.updated_at = now()
        cls.save()
        record("class.policy", f"{actor.name} changed the policy of {name}.", actor, class_name=name, before=before, after=values)
    doorbell.ring()


def set_enabled(actor: Actor, name: str, *, enabled: bool) -> None:
    """Offer the class or withdraw it; machines that are held stay, the buffer goes."""
    with catalog.write():
        cls = get(name)
        cls.enabled = enabled
        cls.save()
        record(
            "class.enabled" if enabled else "class.disabled",
            f"{actor.name} {'opened' if enabled else 'closed'} {name}.",
            actor,
            class_name=name,
        )
    doorbell.ring()


def retry(actor: Actor, name: str) -> None:
    """Try again at once to refill a class whose machines failed to come up, and to hand them over to whom they failed."""
    with catalog.write():
        handovers.try_again(name)
        Class.update(failures=0, failing_until=None, problem="").where(Class.name == get(name).name).execute()
        record("class.retry", f"{actor.name} asked to try {name} again.", actor, class_name=name)
    doorbell.ring()


class ForkState(StrEnum):
    """How the next machine of a class comes to be: `off` and `booted` by booting, the one for good and the other for now."""

    OFF = "off"
    IDLE = "idle"  # no promoted seed yet, or the class is closed or may have no machines: there is nothing to take a snapshot of, or for
    TAKING = "taking"
    FORKED = "forked"
    BOOTED = "booted"


@dataclass(frozen=True)
class Forking:
    """Where a class stands: `snapshot` is the one being taken, forked from, or failed (with problem, hint and next try)."""

    state: ForkState
    seed: Seed | None
    snapshot: Snapshot | None


STANDS = {SnapshotState.BUILDING: ForkState.TAKING, SnapshotState.READY: ForkState.FORKED, SnapshotState.FAILED: ForkState.BOOTED}


def forking(cls: Class) -> Forking:
    """How machines of the class are made, now."""
    seed = seeds.promoted(cls.name)
    snapshot = snapshots.current(seed.id) if seed else None
    if not cls.fork:
        state = ForkState.OFF
    elif seed is None or (not (cls.enabled and cls.maximum) and (snapshot is None or snapshot.state is not SnapshotState.READY)):
        state = ForkState.IDLE
    else:
        state = ForkState.TAKING if snapshot is None else STANDS[snapshot.state]
    return Forking(state, seed, snapshot)


def set_making(actor: Actor, name: str, *, fork: bool, readiness: str) -> None:
    """Whether machines made from now on are forked, and how they wait. Raises BadInput; nothing is changed then."""
    if readiness not in READINESS:
        raise BadInput(f"Machines cannot wait {readiness!r}.", f"They wait {', '.join(READINESS[:-1])} or {READINESS[-1]}.")
    values = {"fork": fork, "readiness": readiness}
    with catalog.write():
        cls = get(name)
        before = {key: getattr(cls, key) for key in values}
        Class.update(**values, updated_at=now()).where(Class.name == name).execute()
        record(
            "class.making", f"{actor.name} changed how machines of {name} are made.", actor, class_name=name, before=before, after=values
        )
    doorbell.ring()


def choices() -> list[Sequence]:
    """The sequences that a class can follow: those that have a version for new runs."""
    return [sequence for sequence in sequences.all() if sequences.promoted(sequence.name)]


def set_life(actor: Actor, name: str, *, sequence: str, idle_then: str, **values: int) -> None:
    """What the machines of a class follow, how many are had at once, and when one is given up; `values` are of the numbers in LIFE.

    Raises BadInput naming what does not fit; nothing is changed then.
    """
    _within(LIFE, values)
    if idle_then not in IDLE_THEN:
        raise BadInput(f"An idle machine cannot be treated with {idle_then!r}.", f"Choose {' or '.join(IDLE_THEN)}.")
    with catalog.write():
        cls = get(name)
        if sequence and sequence != cls.sequence and sequence not in [one.name for one in choices()]:
            raise BadInput(f"There is no sequence {sequence} to follow.", "Choose another, or promote a version of it first.")
        if values.get("at_once", 1) > max(1, min(cls.per_person, cls.maximum)):
            what, most = ("machines per person", cls.per_person) if cls.per_person < cls.maximum else ("the maximum", cls.maximum)
            raise BadInput(f"At once ({values['at_once']}) is above {what} ({most}).", "Raise that in the policy first, or lower this.")
        after: dict[str, object] = {"sequence": sequence, "idle_then": idle_then, **values}
        before = {key: getattr(cls, key) for key in after}
        Class.update(**after, updated_at=now()).where(Class.name == name).execute()
        record("class.life", f"{actor.name} changed the life of machines of {name}.", actor, class_name=name, before=before, after=after)
    doorbell.ring()


def _within(limits: Mapping[str, tuple[int, int]], values: Mapping[str, int]) -> None:
    for key, value in values.items():
        low, high = limits[key]
        if not low <= value <= high:
            raise BadInput(f"{key.replace('_', ' ').capitalize()} cannot be {value}.", f"It is between {low} and {high}.")


def try_fork_again(actor: Actor, name: str) -> None:
    """Take another snapshot at once for a class whose machines are booted for now. Raises Conflict when they are not."""
    with catalog.write():
        cls = get(name)
        if forking(cls).state is not ForkState.BOOTED:
            raise Conflict(f"Machines of {name} are not booted for want of a snapshot.", "Reload the page to see how they are made.")
        snapshots.retry_now(name)
        Class.update(fork_failures=0, fork_problem="").where(Class.name == name).execute()
        record("class.fork_again", f"{actor.name} asked to try forking {name} again.", actor, class_name=name)
    doorbell.ring()
