"""How the appliance is, in words: what is wrong, and what to do first."""

import shutil
from dataclasses import dataclass, field

from appliance.errors import DpeError
from appliance.host.disks.inventory import PARTS
from appliance.host.interface import disks, rescue, system
from appliance.host.interface.operations import Operation
from appliance.host.interface.system import Image, Part
from appliance.host.rpc.client import Client
from appliance.host.rpc.verb import Nothing, R, Verb
from appliance.settings import Settings

LITTLE = 1 << 30  # bytes free, under which much fails


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: what, what to do, and the page for that (an endpoint's name and its arguments)."""

    message: str
    hint: str
    button: str = ""
    endpoint: str = ""
    values: dict[str, str] = field(default_factory=dict)


@dataclass
class Status:
    """All that the first page shows; `findings` are in the order in which they should be seen to. Sizes are bytes."""

    findings: list[Finding]
    parts: list[Part]
    operations: list[Operation]
    total: int
    free: int
    sizes: dict[str, int]  # by what takes it
    image: Image | None = None


def look(host: Client, settings: Settings) -> Status:
    """Ask what can be asked; what does not answer is a finding, too."""
    disk = shutil.disk_usage(settings.state)
    now = Status([], [], [], disk.total, disk.free, {})
    try:
        verbs = host.call(system.VERBS)
        now.operations = host.operations()[:5]
    except DpeError as error:
        now.findings = [Finding(error.message, error.hint)]
        return now
    if (build := _asked(host, system.IMAGE, now)) is not None:
        now.image = build.root
    now.parts = _asked(host, system.UNITS, now) or []
    now.findings += [
        Finding(
            f"{operation.title} is going on.",
            "Wait for it to end.",
            "Watch it",
            "rescue.operation",
            {"id": operation.id},
        )
        for operation in now.operations
        if operation.state == "running"
    ]
    if disk.free < LITTLE:
        now.findings.append(Finding("The disk is nearly full.", "Much fails until there is room: see below what takes it.", "", ""))
    if disks.PROBLEMS.name in verbs:
        now.findings += [Finding(problem, "") for problem in _asked(host, disks.PROBLEMS, now) or []]
    if disks.STORAGE.name in verbs and (storage := _asked(host, disks.STORAGE, now)):
        now.sizes = {PARTS.get(name, name): size for name, size in storage.sizes.items()}
    if trouble := _asked(host, rescue.CATALOG_STATE, now):
        now.findings.append(
            Finding(
                trouble,
                "It remembers people, machines and settings. Restore a copy of it, or a backup.",
                "Restore a copy",
                "rescue.act",
                {"name": "catalog"},
            )
        )
    for part in now.parts:
        if part.state in ("failed", "stopped"):
            how = f" ({part.status})" if part.status else ""
            now.findings.append(
                Finding(
                    f"{part.name} does not run{how}. {part.about}",
                    "Read the last lines of its log, then restart it.",
                    "Its log",
                    "rescue.logs",
                    {"source": part.name},
                )
            )
    return now


def _asked(host: Client, verb: Verb[Nothing, R], now: Status) -> R | None:
    try:
        return host.call(verb)
    except DpeError as error:
        now.findings.append(Finding(error.message, error.hint))
        return None
