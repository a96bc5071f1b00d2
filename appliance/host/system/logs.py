"""What the parts of the appliance said: from the journal in the image, elsewhere from the files that `make run` keeps."""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from appliance.errors import CommandFailed, NotFound, Unavailable
from appliance.host.interface import system
from appliance.host.interface.system import LEVELS, Line
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import image, processes
from appliance.run import run
from appliance.settings import Settings

LOOKED_AT = 20000  # lines among which is searched
LONGEST = 4000  # characters of a line

# What besides the parts has a log, in the image: its name, what it is, and how the journal is asked for it.
FURTHER: dict[str, tuple[str, tuple[str, ...]]] = {
    "start": (
        "Starting, updates and the screen.",
        tuple(
            f"--unit={unit}"
            for unit in (
                "dpe-prepare",
                "dpe-apply",
                "dpe-store",
                "dpe-reset",
                "dpe-good",
                "dpe-health",
                "dpe-certificate",
                "dpe-menu@*",
                "rauc",
            )
        ),
    ),
    "kernel": ("The system's kernel.", ("--dmesg",)),
    "system": ("Everything on this server.", ()),
}

WORDS = re.compile(
    r"""\b(?P<error>CRITICAL|ERROR|FATAL|Traceback|\w+Error:) | \b(?P<warning>WARNING|WARN)\b | \[(?P<nginx>emerg|alert|crit|error|warn)\]""",
    re.X,
)
STARTS = re.compile(r"^(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) ")


def sources(settings: Settings) -> dict[str, str]:
    """What has a log here: name and title."""
    if image.boot_image():
        return {name: about for name, (about, _) in {**processes.PARTS, **FURTHER}.items()}
    return {name: about for name, (about, _) in processes.PARTS.items() if (settings.logs / f"{name}.log").exists()}


def level_of(text: str, priority: int = 6) -> str:
    """How serious a line is, by the journal's number (0-7) and by its words: what we run writes all to one stream."""
    named = LEVELS[0 if priority <= 3 else 1 if priority == 4 else 2 if priority <= 6 else 3]
    if (start := STARTS.match(text)) is not None:
        said = {"CRITICAL": "error"}.get(start["level"], start["level"].lower())
    elif (word := WORDS.search(text)) is not None:
        said = "warning" if word["warning"] or word["nginx"] == "warn" else "error"
    else:
        said = named
    return min(named, said, key=LEVELS.index)


def lines(settings: Settings, source: str, *, most: int = 200, level: str = "debug", text: str = "") -> list[Line]:
    """The last lines of a log, at least as serious as `level`, which hold the text; the newest last. Raises NotFound, Unavailable."""
    if source not in sources(settings):
        raise NotFound(f"There is no log of {source!r} here.", f"There are: {', '.join(sources(settings)) or 'none'}.")
    kept: deque[Line] = deque(maxlen=most)
    words = text.lower()
    searched = LOOKED_AT if text or level != "debug" else most
    for line in _journal(source, searched) if image.boot_image() else _files(settings, source):
        if LEVELS.index(line.level) <= LEVELS.index(level) and words in line.text.lower():
            kept.append(line)
    return list(kept)


def _journal(source: str, most: int) -> Iterator[Line]:
    which = [f"--unit={unit}" for unit in processes.PARTS[source][1]] if source in processes.PARTS else list(FURTHER[source][1])
    fields = "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT"
    command = ["journalctl", "--no-pager", "--quiet", "--output=json", fields, f"--lines={most}", *which]
    try:
        said = run(command, timeout=30)
    except CommandFailed as error:
        raise Unavailable(f"The journal cannot be read: {error.output}.", "Restart the appliance if it stays so.") from error
    return read_journal(said.splitlines())


def read_journal(said: Iterable[str]) -> Iterator[Line]:
    """Lines of `journalctl --output=json`."""
    for one in said:
        try:
            entry = json.loads(one)
        except ValueError:
            continue
        message = entry.get("MESSAGE") or ""
        if isinstance(message, list):  # bytes that are no text
            message = bytes(message).decode(errors="replace")
        at = datetime.fromtimestamp(int(entry.get("__REALTIME_TIMESTAMP", 0)) / 1e6, UTC).isoformat(timespec="seconds")
        source = entry.get("SYSLOG_IDENTIFIER") or entry.get("_SYSTEMD_UNIT") or ""
        yield Line(at, source, level_of(message, int(entry.get("PRIORITY", 6))), message[:LONGEST])


def _files(settings: Settings, source: str) -> Iterator[Line]:
    file = settings.logs / f"{source}.log"
    level = "info"
    for path in (file.with_name(file.name + ".1"), file):
        if not path.exists():
            continue
        with path.open(errors="replace") as kept:
            for text in kept:
                # What begins with a space goes on where the line before left off, like the lines of a traceback.
                level = level if text[:1].isspace() else level_of(text)
                yield Line("", source, level, text.rstrip("\n")[:LONGEST])


@implements(system.LOGS)
def _sources(args: Nothing, host: Host) -> dict[str, str]:
    return sources(host.settings)


@implements(system.LOG_LINES)
def _lines(args: system.Lines, host: Host) -> list[Line]:
    return lines(host.settings, args.source, most=args.most, level=args.level, text=args.text)
