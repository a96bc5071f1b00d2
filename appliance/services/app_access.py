"""Who gets through the front door to a machine's application: its owner, or an admin, of whom that is recorded."""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass

from appliance import catalog
from appliance.access import machine_names
from appliance.catalog import Actor, EventKind, Lease, Machine, MachineState, machines, now, record, scenarios, usage
from appliance.catalog import sessions as session_rows
from appliance.errors import Conflict, NotAllowed, NotFound, Unavailable
from appliance.identity import permissions
from appliance.lifecycle import rules
from appliance.scenario import applications
from appliance.services import second_factor
from appliance.settings import Settings

# An admin's look into somebody's machine is one event, not one per picture on its page.
QUIET = 600.0
_admitted: dict[tuple[int, str], float] = {}


class Rests(Conflict):
    """The machine is stopped or suspended; whoever holds it has to start it."""


@dataclass(frozen=True)
class Ticket:
    """What a connection that was let in goes by: whose session it came with, and which machine it is for."""

    session_id: str
    machine_id: str


@dataclass(frozen=True)
class Target:
    """Where the front door passes a request on to."""

    address: str
    port: int
    machine_id: str
    name: str
    """By which the same page is reached where machines have names."""
    fresh: bool = False
    """Whether its owner has not opened it by this port yet."""


def admit(actor: Actor, door_port: int, settings: Settings, *, named: bool = False) -> Target:
    """The target behind a port of the front door, for this person; `named` is whether machines have names, so that no page is opened there.

    Raises NotFound when no held machine is there, NotAllowed when it is somebody else's, and Conflict
    while the machine is not ready to be used: Rests when it will not be by itself.
    """
    number, door = settings.behind(door_port) or (0, -1)
    return _admit(actor, machines.behind(door) if door >= 0 else None, number, settings, by_port=not named)


def admit_named(actor: Actor, name: str, settings: Settings) -> Target:
    """The same for a name (`access.machine_names`)."""
    return _admit(actor, *_named(name), settings, by_port=False)


def find_enterable(actor: Actor, name: str) -> None:
    """Raises as `admit_named` does, but not for a machine that is yet to be ready, or rests."""
    _enterable(actor, *_named(name))


def _named(name: str) -> tuple[Machine | None, int]:
    host_label, number = machine_names.parse(name) or ("", 0)
    return machines.labelled(host_label) if host_label else None, number


def _enterable(actor: Actor, machine: Machine | None, number: int) -> tuple[Machine, int, bool]:
    """The machine, the port of its page of that number, and whether it is their own."""
    pages = applications.pages(machine.machine_class.spec, scenarios.own_applications) if machine is not None else []
    if machine is None or number >= len(pages):
        raise NotFound("There is no machine here.", "It was given back, or its lease ended.")
    own = machine.owner_id is not None and machine.owner_id == actor.account_id
    if not own and not permissions.may(actor, "machines.enter", "machine", machine.id):
        raise NotAllowed("This is not your machine.", "Open one of your own from your page.")
    return machine, pages[number].port, own


def _admit(actor: Actor, machine: Machine | None, number: int, settings: Settings, *, by_port: bool) -> Target:
    machine, port, own = _enterable(actor, machine, number)
    if machine.state in rules.OFF and rules.at_work(machine.id) is None:
        raise Rests(f"The machine {machine.name} is {machine.state.value}.", "Start it on your page.")
    if machine.state is not MachineState.IN_USE and (own or machine.state is not MachineState.READY):
        raise Conflict(f"{machine.name} is not ready to be used: it is {machine.state.value}.", "Wait a moment.")
    fresh = own and note_opened(machine, number if by_port else None)
    if not own:
        _note_admin(actor, machine.id, machine.name, machine.class_name)
    return Target(settings.address(machine.slot), port, machine.id, machine_names.name_of(machine.host_label, number), fresh)


def good(tickets: Iterable[Ticket]) -> set[Ticket]:
    """Those of them that still hold: the session goes on, and the machine is its person's own, or one that they may enter.

    This is the one place that says when an open connection ends, for whatever reason a right may end; it asks what the catalog says now,
    and nobody has to remember to tell it.
    """
    asked = set(tickets)
    accounts = session_rows.accounts_of({one.session_id for one in asked})
    owners = machines.owners_of({one.machine_id for one in asked})
    lacking = second_factor.missing(accounts.values())

    def holds(one: Ticket) -> bool:
        account = accounts.get(one.session_id)
        if account is None or account in lacking or one.machine_id not in owners:
            return False
        return owners[one.machine_id] == account or permissions.may(Actor("", account), "machines.enter", "machine", one.machine_id)

    return {one for one in asked if holds(one)}


def note_opened(machine: Machine, number: int | None = 0) -> bool:
    """Keep when it was opened first and, for a class that wants to know, used last: at most once a minute, however much is asked for.
    Returns whether this is the first time for the port of the page of that number, if it is one: a browser keeps things by port."""
    lease, moment = machines.lease_of(machine.id), now()
    if lease is None:
        return False
    page = 0 if number is None else 1 << number
    fresh = bool(page & ~lease.opened_pages)
    if fresh or lease.opened_at is None:
        with contextlib.suppress(Unavailable), catalog.write():  # a disk that is full keeps nobody from their machine
            opened = {Lease.opened_at: lease.opened_at or moment, Lease.opened_pages: Lease.opened_pages.bin_or(page)}
            Lease.update(opened).where(Lease.id == lease.id).execute()
    wanted = machine.machine_class.idle_minutes or (machine.machine_class.busy_grace and lease.ends_at <= moment + usage.NEAR_END)
    if wanted and (lease.busy_at is None or lease.busy_at <= moment - usage.ONCE_IN or lease.idle_warned_at):
        with contextlib.suppress(Unavailable), catalog.write():
            usage.note_usage([machine.id], moment)
    return fresh


def _note_admin(actor: Actor, machine_id: str, name: str, class_name: str) -> None:
    assert actor.account_id is not None
    key, moment = (actor.account_id, machine_id), time.monotonic()
    if moment - _admitted.get(key, -QUIET) < QUIET:
        return
    with catalog.write():
        record(
            EventKind.MACHINE_ENTERED,
            f"Admin {actor.name} opened the application of {name}.",
            actor,
            class_name=class_name,
            machine_id=machine_id,
        )
    if len(_admitted) > 10_000:
        _admitted.clear()
    _admitted[key] = moment
