"""Screens and serial lines of machines: who may see them, who may type, and for how long.

A page asks for a ticket and opens a WebSocket with it. nginx asks the web process about that (`redeem`) and hands the connection to
dpe-console, which holds it as long as `good` says so.
"""

import json
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from appliance import catalog
from appliance.catalog import Actor, ConsoleSession, EventKind, Machine, MachineState, consoles, machines, record
from appliance.catalog import sessions as session_rows
from appliance.errors import BadInput, Conflict, NotAllowed, NotFound
from appliance.identity import permissions
from appliance.lifecycle import rules
from appliance.services import app_access
from appliance.services.app_access import Rests, Ticket
from appliance.services.one_shot import OneShot
from appliance.settings import Settings

EVERY = 30.0  # seconds between two looks at whether a desktop is in use
TARGET = re.compile(r"screen|serial|(?P<kind>vnc|tcp)/(?P<port>[1-9]\d{0,4})")
ENDS = frozenset({MachineState.REPROVISIONING})  # whoever was there sees a machine that is about to be another one


@dataclass(frozen=True)
class Admission:
    """Who was let in where. `target` is screen (the hypervisor's), serial, vnc/PORT (a screen that the machine itself serves) or tcp/PORT.

    `session_id` is of a browser's session, or of a token (`catalog.sessions.of_token`). It holds for one owner: when the machine becomes another's, or is nobody's any more, it ends.
    """

    session_id: str
    machine_id: str
    account_id: int
    owner_id: int | None
    target: str
    control: bool
    address: str

    def dump(self) -> str:
        """In one line of ASCII, for a header."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> "Admission":
        """Raises ValueError or TypeError."""
        return cls(**json.loads(text))


_tickets = OneShot[tuple[Admission, str]]()  # with the origin


def admit(actor: Actor, machine_id: str) -> tuple[Machine, bool]:
    """The machine, and whether it is the actor's own. Raises NotFound for whoever may not know of it, and Conflict while it shows nothing."""
    machine = machines.by_id(machine_id)
    own = machine is not None and machine.owner_id is not None and machine.owner_id == actor.account_id
    if machine is None or not (own or permissions.may(actor, "machines.enter", "machine", machine_id)):
        raise NotFound("There is no such machine.", "It may have been given back.")
    if machine.state in rules.OFF and rules.at_work(machine.id) is None:
        raise Rests(f"The machine {machine.name} is {machine.state.value}.", "Start it to see its screen.")
    shown = (MachineState.IN_USE,) if own else (MachineState.IN_USE, MachineState.READY, MachineState.QUARANTINED)
    if machine.state not in shown:
        raise Conflict(f"The machine {machine.name} is {machine.state.value.replace('_', ' ')}.", "Wait a moment.")
    return machine, own


def desktop(machine: Machine) -> str:
    """The target of the screen that a machine of its class serves itself; empty when it serves none."""
    screen = machine.machine_class.spec.get("screen")
    return f"vnc/{screen['port']}" if screen else ""


def rdp(machine: Machine) -> int | None:
    """The port at which that screen is there for RDP clients, too."""
    return (machine.machine_class.spec.get("screen") or {}).get("rdp")


def issue(actor: Actor, session_id: str, machine_id: str, target: str, origin: str, settings: Settings, *, take_over: bool = False) -> str:
    """A ticket for this browser, or the program with this token, from this origin (a program has none), to this target, once, within half a minute.

    Who holds the machine may type. Anybody else watches, also one that nobody holds yet; `take_over` is the step to typing there. Both are
    written down. Raises NotFound, Conflict and BadInput.
    """
    asked = TARGET.fullmatch(target)
    if not asked or int(asked["port"] or 0) > 65535:
        raise BadInput(f"A machine has no {target[:40]!r}.", "It has screen, serial, vnc/PORT and tcp/PORT.")
    machine, own = admit(actor, machine_id)
    control = own or take_over
    if asked["kind"] == "tcp" and not control:
        raise BadInput("A port cannot be watched, only used.", "Take over first.")
    if not own:
        note(actor, machine, target, control=control)
    assert actor.account_id is not None
    admission = Admission(session_id, machine.id, actor.account_id, machine.owner_id, target, control, settings.address(machine.slot))
    return _tickets.give(session_id, (admission, origin))


def redeem(token: str, session_id: str, machine_id: str, target: str, origin: str) -> Admission:
    """What the ticket is for. Whatever comes of it, it is used up. Raises NotAllowed when it is for anything else, or too old, or used."""
    if (given := _tickets.take(token)) is not None:
        found, there = given
        fits = (session_id, machine_id, target, origin) == (found.session_id, found.machine_id, found.target, there)
        if fits and good([found]):
            return found
    raise NotAllowed("This ticket is not good, or not any more.", "Open the page again.")


def good(admissions: Iterable[Admission]) -> set[Admission]:
    """Those that still hold: as every connection to a machine does (`app_access.good`), for the same owner, and not while it is made anew."""
    asked = set(admissions)
    held = app_access.good({Ticket(one.session_id, one.machine_id) for one in asked})
    owners = machines.owners_of({one.machine_id for one in asked}, [state for state in machines.REACHED if state not in ENDS])
    return {
        one
        for one in asked
        if Ticket(one.session_id, one.machine_id) in held and one.machine_id in owners and owners[one.machine_id] == one.owner_id
    }


def why_ended(admission: Admission) -> str:
    """Why it does not hold any more, in a sentence for whoever looks at the page."""
    if session_rows.accounts_of([admission.session_id]).get(admission.session_id) != admission.account_id:
        return "You are signed out."
    machine = machines.by_id(admission.machine_id)
    if machine is None or machine.state not in machines.LIVE or machine.state is MachineState.RECLAIMING:
        reasons = {"lease ended": "Its lease has ended.", "released": "The machine was given back."}
        return reasons.get(machine.reclaim_reason if machine else "", "The machine was taken back.")
    if machine.state in ENDS:
        return "The machine is being made anew."
    if machine.owner_id != admission.owner_id:
        return "The machine is somebody else's now." if machine.owner_id else "The machine was given back."
    return "You may not see it any more."


# -- who is there ------------------------------------------------------------------------------------------


def begin(admission: Admission) -> int:
    """Write down that somebody is there; returns what `end` takes."""
    return consoles.begin(admission.machine_id, admission.account_id, admission.target, control=admission.control)


def note_used(admissions: Iterable[Admission]) -> None:
    """A desktop that is open in its owner's browser is in use, as an application is: nothing in the machine tells of who reads, or types a little."""
    moment = time.monotonic()
    for one in admissions:
        due = moment - _used.get(one.machine_id, -EVERY) >= EVERY
        if due and one.owner_id == one.account_id and (machine := machines.by_id(one.machine_id)) and one.target == desktop(machine):
            if len(_used) > 10_000:
                _used.clear()
            _used[one.machine_id] = moment
            app_access.note_opened(machine)


end = consoles.end
forget = consoles.forget


def others(machines: Iterable[Machine], account_id: int) -> dict[str, list[ConsoleSession]]:
    """Other people at each of these machines, by its id."""
    return consoles.others([machine.id for machine in machines], account_id)


def note(actor: Actor, machine: Machine, target: str, *, control: bool) -> None:
    """An operator at somebody's machine, in the record: each time they take over, and that they look once in ten minutes."""
    key, moment = (actor.account_id, machine.id), time.monotonic()
    if not control and moment - _noted.get(key, -app_access.QUIET) < app_access.QUIET:
        return
    whose = f"{machine.owner.name}'s {machine.name}" if machine.owner else machine.name
    port = target[4:] if target.startswith("tcp") else ""
    kind = EventKind.MACHINE_TAKEN_OVER if control else EventKind.MACHINE_WATCHED
    with catalog.write():
        record(
            kind, f"{actor.name} {'took over' if control else 'watches'} the {'serial line' if target == 'serial' else f'port {port}' if port else 'screen'} of {whose}.", actor,
            class_name=machine.class_name, machine_id=machine.id,
        )  # fmt: skip
    if len(_noted) > 10_000:
        _noted.clear()
    _noted[key] = moment


_noted: dict[tuple[Any, str], float] = {}
_used: dict[str, float] = {}
