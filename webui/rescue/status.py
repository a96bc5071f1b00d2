"""How the appliance is, in words: what is wrong, and what to do first."""

import shutil
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import DpeError
from appliance.host.client import Client
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
    parts: list[dict[str, Any]]
    tasks: list[Any]
    total: int
    free: int
    sizes: dict[str, int]
    image: dict[str, str] | None = None


def look(host: Client, settings: Settings) -> Status:
    """Ask what can be asked; what does not answer is a finding, too."""
    disk = shutil.disk_usage(settings.state)
    now = Status([], [], [], disk.total, disk.free, {})
    try:
        verbs = set(host.ask("verbs"))
        now.tasks = host.tasks()[:5]
    except DpeError as error:
        now.findings = [Finding(error.message, error.hint)]
        return now
    now.image = _asked(host, "image", None, now)
    now.parts = _asked(host, "units", [], now)
    now.findings += [
        Finding(
            f"{task.title} is going on, begun by {task.by or 'the appliance'}.",
            "Wait for it to end.",
            "Watch it",
            "rescue.task",
            {"id": task.id},
        )
        for task in now.tasks
        if task.state == "running"
    ]
    if disk.free < LITTLE:
        now.findings.append(Finding("The disk is nearly full.", "Much fails until there is room: see below what takes it.", "", ""))
    if "storage.problems" in verbs:
        now.findings += [Finding(problem, "") for problem in _asked(host, "storage.problems", [], now)]
    if "storage.look" in verbs:
        now.sizes = _asked(host, "storage.look", {}, now).get("sizes", {})
    if trouble := _asked(host, "catalog.state", "", now):
        now.findings.append(
            Finding(
                trouble,
                "It remembers people, machines and settings. Put back a copy of it, or restore a backup.",
                "Put back a copy",
                "rescue.act",
                {"name": "catalog"},
            )
        )
    for part in now.parts:
        if part["state"] in ("failed", "stopped"):
            how = f" ({part['status']})" if part["status"] else ""
            now.findings.append(
                Finding(
                    f"{part['name']} does not run{how}. {part['about']}",
                    "Read the last lines of its log, then restart it.",
                    "Its log",
                    "rescue.logs",
                    {"source": part["name"]},
                )
            )
    return now


def _asked(host: Client, verb: str, otherwise: Any, now: Status) -> Any:
    try:
        return host.ask(verb)
    except DpeError as error:
        now.findings.append(Finding(error.message, error.hint))
        return otherwise
