"""Services under names of their own, behind the front door.

Written by the engine, from the catalog; nginx has to come up without one, so it reads a file. A service never has a name that the appliance
has itself: its pages' cookies would be for it, and its scripts could press the pages' buttons. Nor has it one of a machine.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from appliance import durable
from appliance.access import machine_names, tls
from appliance.settings import Settings

_HOST = re.compile(r"([a-z0-9-]{1,63}\.)+[a-z0-9-]{1,63}", re.ASCII)
_PATH = re.compile(r"/(?!_dpe(/|$))[\w./@+=,~-]*", re.ASCII)  # where nginx answers itself is no service's


@dataclass(frozen=True, order=True)
class Published:
    """This path and what is below it, under this name, go to the service called like its class."""

    host: str
    path: str
    service: str

    @property
    def place(self) -> tuple[str, str]:
        """Where it is, however its path ends: no two are there."""
        return self.host, self.path.rstrip("/")

    @property
    def can_be(self) -> bool:
        """Whether nginx can be given it."""
        return bool(_HOST.fullmatch(self.host) and _PATH.fullmatch(self.path) and re.fullmatch(r"[a-z][a-z0-9-]*", self.service))


def published(settings: Settings) -> list[Published]:
    """What is published now; nothing that could not be."""
    try:
        found = [Published(**one) for one in json.loads((settings.tls / "services.json").read_text())]
        return sorted({one.place: one for one in reversed(found) if one.can_be}.values())
    except (FileNotFoundError, ValueError, TypeError):  # the door has to open whatever is in it
        return []


def publish(settings: Settings, wanted: Iterable[Published]) -> dict[str, str]:
    """Publish these, and no others; the door looks at once. Returns for each service that cannot be why not."""
    own, of_machines = tls.own_names(settings), machine_names.served(settings)
    shown: dict[tuple[str, str], Published] = {}
    refused: dict[str, str] = {}
    for one in sorted(wanted, key=lambda one: one.service):
        other = shown.get(one.place)
        if one.host in own or not one.can_be:
            refused[one.service] = (
                f"{one.host} is a name of the appliance itself" if one.host in own else f"{one.path} is no path for the door"
            )
        elif machine_names.is_machines(one.host, of_machines):
            refused[one.service] = f"{one.host} is a name that only machines have"
        elif other is not None:
            refused[one.service] = f"{one.host}{one.path} is {other.service}'s already"
        else:
            shown[one.place] = one
    now = sorted(shown.values())
    if now != published(settings):
        durable.write(settings.tls / "services.json", json.dumps([asdict(one) for one in now]))
    return refused
