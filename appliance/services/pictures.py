"""Small pictures of machines' screens, so that people see what is there before they open it.

Who may look at a machine's console may have one, and whoever looks at somebody else's is written down as one who watches is. A picture is taken when
somebody asks, by RFB: of the desktop that the machine serves, else of QEMU's screen, which a paused machine has, too. It is in memory
for a moment, never on a disk.
"""

import socket
import threading
import time
from dataclasses import dataclass

from appliance import framebuffer
from appliance.bulkhead import Bulkhead
from appliance.catalog import Actor, Machine, MachineState, policies
from appliance.errors import NotFound, Unavailable
from appliance.services import consoles
from appliance.settings import Settings

LASTS = 15.0  # seconds for which whoever asks again gets the same
WITHIN = 5.0  # seconds that a screen may take
MANY = 64  # pictures in memory

_screens = Bulkhead("looking at screens", 2, line=6, patience=3.0)
_taken: dict[tuple[str, int | None, str], "_Taken"] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class _Taken:
    png: bytes
    at: float


def take(actor: Actor, machine_id: str, settings: Settings) -> bytes:
    """A PNG of what the machine shows now. Raises NotFound, Conflict while it shows nothing, and Unavailable."""
    machine, own = consoles.admit(actor, machine_id)
    if not are_on(machine):
        raise NotFound("No pictures are taken of machines of this class.", "Its page Lifecycle says so.")
    target = _target(machine)
    if not own:
        consoles.note(actor, machine, target, control=False)
    key = machine.id, machine.owner_id, target
    with _lock:
        found = _taken.get(key)
    if found is None or time.monotonic() - found.at > LASTS:
        with _screens.wait():
            found = _Taken(_picture(machine, target, settings), time.monotonic())
        with _lock:
            for old in [one for one, taken in _taken.items() if time.monotonic() - taken.at > LASTS] or list(_taken)[: 1 - MANY]:
                del _taken[old]
            _taken[key] = found
    return found.png


def are_on(machine: Machine) -> bool:
    """Whether the machine's class allows it."""
    return bool(policies.value(machine.machine_class, "pictures"))


def _target(machine: Machine) -> str:
    """The desktop of a machine that somebody uses; one that waits may be paused, and shows what the hypervisor draws."""
    desktop = consoles.desktop(machine)
    return desktop if desktop and machine.state is MachineState.IN_USE else "screen"


def _picture(machine: Machine, target: str, settings: Settings) -> bytes:
    try:
        with _connected(machine, target, settings) as connected:
            return framebuffer.take(connected, WITHIN)
    except (OSError, framebuffer.NoPicture) as error:
        raise Unavailable(f"{machine.name} shows no picture: {error}.", "Open its console.") from error


def _connected(machine: Machine, target: str, settings: Settings) -> socket.socket:
    if target != "screen":
        return socket.create_connection((settings.address(machine.slot), int(target.removeprefix("vnc/"))), timeout=WITHIN)
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.settimeout(WITHIN)
        connected.connect(str(settings.screen(machine.id)))
    except OSError:
        connected.close()
        raise
    return connected
