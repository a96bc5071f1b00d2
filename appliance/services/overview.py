"""The admin's first page in numbers."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from appliance.catalog import Class, Engine, MachineState, Seed, handovers, machines, memory, now, options, recipes, seeds
from appliance.catalog.grants import Scope
from appliance.identity.permissions import EVERYTHING
from appliance.lifecycle import calendars
from appliance.pools.windows import Bounds
from appliance.services import classes

STALE = timedelta(seconds=30)

CREATION = (MachineState.PLANNED, MachineState.CREATING)
PRODUCTION = machines.HELD
EXIST = (*CREATION, MachineState.READY, *PRODUCTION)


@dataclass(frozen=True)
class Pools:
    """A class and how many of its machines are in which state of their life."""

    machine_class: Class
    creation: int
    buffer: int
    production: int
    leaving: int
    failed: int
    quarantined: int
    waiting: int
    seed: Seed | None
    building: Seed | None
    old: int  # buffered machines on an older seed than the promoted
    forking: classes.Forking
    handing: handovers.Failing | None  # machines that did not take whoever got them
    holds: Bounds  # what the calendar says now
    base: str  # the class that this was chosen of; empty for one of the scenario
    exist: int  # what the maximum bounds: machines of the class, with all that was chosen of it
    maximum: int


@dataclass(frozen=True)
class Health:
    """What the engine last said: whether it is there, whether the hypervisor is, and what the host has."""

    engine_ok: bool
    hypervisor_ok: bool
    problem: str
    hint: str
    host: dict[str, Any]


def health() -> Health:
    """The engine and its host, now."""
    row: Engine | None = Engine.get_or_none()
    if row is None or now() - row.seen_at > STALE:
        return Health(
            False,
            False,
            "The engine is not running.",
            "Machines in use go on; nothing new is made until it is back. Look at its log.",
            row.host if row else {},
        )
    if not row.hypervisor_ok:
        hint = "Nothing is lost: machines in use go on, and work continues by itself when it is back."
        return Health(True, False, row.hypervisor_problem, hint, row.host)
    return Health(True, True, "", "", row.host)


def pools(reach: Scope = EVERYTHING) -> list[Pools]:
    """Every class within reach with its pools."""
    counts, waiting, old = machines.counts(), machines.waiting(), machines.on_old_seed()
    result, bases, families = [], recipes.bases(), recipes.families()
    known = {one.name: one for one in Class.select().order_by(Class.name)}
    for machine_class in known.values():
        if not (reach.everything or machine_class.name in reach.classes):
            continue
        if machine_class.name in bases and not (counts.get(machine_class.name) or machine_class.name in waiting):
            continue  # somebody chose it once
        states, forking = counts.get(machine_class.name, {}), classes.forking(machine_class)
        base = bases.get(machine_class.name, machine_class.name)
        result.append(
            Pools(
                machine_class=machine_class,
                creation=sum(states.get(state, 0) for state in CREATION),
                buffer=states.get(MachineState.READY, 0),
                production=sum(states.get(state, 0) for state in PRODUCTION),
                leaving=states.get(MachineState.RECLAIMING, 0),
                failed=states.get(MachineState.FAILED, 0),
                quarantined=states.get(MachineState.QUARANTINED, 0),
                waiting=waiting.get(machine_class.name, 0),
                seed=forking.seed,
                building=next(iter(seeds.unfinished(machine_class.name)), None),
                old=old.get(machine_class.name, 0),
                forking=forking,
                handing=handovers.failing(machine_class.name),
                holds=calendars.holding(machine_class),
                base=bases.get(machine_class.name, ""),
                exist=sum(counts.get(one, {}).get(state, 0) for one in (base, *families.get(base, [])) for state in EXIST),
                maximum=calendars.holding(known[base]).maximum.machines,
            )
        )
    return result


@dataclass(frozen=True)
class Promised:
    """What live machines may use: memory in MiB of those that people hold, and of it all that may be held (None until the engine ran);
    processors of all but those that are switched off."""

    memory: int
    limit: int | None
    vcpus: int


def promised(reach: Scope = EVERYTHING) -> Promised | None:
    """What is promised to live machines, now; None for who sees a part of them only."""
    if not reach.everything:
        return None
    parts = memory.parts()
    held = sum(part.nominal for part in parts if part.kind is memory.Kind.HELD)
    limit = memory.allowed().limit
    return Promised(
        held, None if limit == memory.NO_LIMIT else limit, sum(part.vcpus for part in parts if part.kind is not memory.Kind.OFF)
    )


def title() -> str:
    """What the appliance calls itself."""
    return options.get("title") or options.get("scenario").get("title") or "DPE Appliance"


def time_zone() -> str:
    """The time zone in which times are shown."""
    zone: str = options.get("time_zone")
    return zone
