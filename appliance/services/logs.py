"""What the parts of the appliance said, and the support bundle, for an admin."""

from dataclasses import asdict, dataclass
from pathlib import Path

from appliance import catalog
from appliance.catalog import Actor, EventKind, record
from appliance.host.interface import rescue, system
from appliance.host.interface.system import LEVELS, Line
from appliance.host.rpc.client import Client
from appliance.host.system import support_bundle
from appliance.settings import Settings

COUNTS = (100, 300, 1000, 2000)  # lines that are shown


@dataclass(frozen=True)
class Wanted:
    """Which lines: of which log, how many, at least how serious, with which words."""

    source: str = "engine"
    most: int = COUNTS[1]
    level: str = LEVELS[-1]
    text: str = ""


def sources(settings: Settings) -> dict[str, str]:
    """What has a log: name and what it is. Raises Unavailable while dpe-host does not answer."""
    return Client(settings).call(system.LOGS)


def lines(settings: Settings, wanted: Wanted) -> list[Line]:
    """The last lines of a log, the newest last. Raises NotFound, BadInput, and Unavailable while dpe-host does not answer."""
    return Client(settings).call(system.LOG_LINES, system.Lines.model_validate(asdict(wanted)))


def begin_bundle(actor: Actor, settings: Settings) -> str:
    """Have a support bundle made; returns the operation's id. Raises Conflict while another operation runs."""
    operation = Client(settings, actor.name).begin(rescue.BUNDLE)
    with catalog.write():
        record(EventKind.SUPPORT_BUNDLE, f"{actor.name} made a support bundle.", actor)
    return operation


def bundle(settings: Settings, name: str) -> Path:
    """The file of a support bundle. Raises NotFound."""
    return support_bundle.find(settings, name)
