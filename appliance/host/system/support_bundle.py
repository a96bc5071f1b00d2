"""The support bundle: what somebody needs to help from outside, without what would let them in or say who the people are.

Nothing goes into it but what is named here: no row of the catalog but events, no file but logs. And from all of it every secret that the
appliance knows is taken out once more, should one have got into a log, and people are numbers.
"""

import contextlib
import io
import json
import platform
import re
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.catalog import database, report
from appliance.errors import CommandFailed, DpeError, NotFound
from appliance.host.backup import catalog_copies
from appliance.host.interface import rescue
from appliance.host.rpc import operations
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import image, logs, processes
from appliance.run import run
from appliance.settings import Settings

KEPT = 3
LINES = 3000  # of each log
SHORTEST = 6  # characters of a secret that can be told from an ordinary word
NAME = re.compile(r"dpe-support-\d{8}-\d{6}\.tar\.gz")
GONE = "[removed]"

# What a secret looks like wherever it comes from.
PATTERNS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
    re.compile(r"\$argon2\w*\$[^\s\"']+"),
    re.compile(r"(?<=://)[^/@\s\"']+(?=@)"),
    re.compile(r"(?i)(?<=bearer )\S+"),
    re.compile(r"""(?i)\b\w*(?:password|passwd|secret|token|api_?key)\w*["']?\s*[=:]\s*["']?[^\s"',;]+"""),
    re.compile(r"(?<=client: )[0-9a-fA-F.:]+"),
)

# Files and folders in the state directory that hold secrets; of JSON what its names call so, of other text each line.
SECRET_FILES = ("web-secret", "setup-code", "tls", "backup", "rescue", "host")

README = """\
A support bundle of a DPE Appliance, made at {at}.

about.json      version of the appliance, of the system and of what it is made of
settings.json   settings of the appliance; of what an admin decided only switches and numbers
parts.json      the appliance's processes
catalog.json    how many rows each table has, the schema, the last events
operations.json what dpe-host did last
host/           hardware, disks and network, as the system shows them
logs/           the last lines of each log

Left out: passwords and their hashes, keys, tokens, codes, and the rows of the catalog. People are numbers instead of names.
What somebody entered as a name of a machine, a class or a disk may stand in a log. Look through it before you send it.
"""


def find(settings: Settings, name: str) -> Path:
    """The file of a bundle. Raises NotFound."""
    file = settings.support / name
    if not NAME.fullmatch(name) or not file.is_file():
        raise NotFound("There is no such support bundle.", "Only the last three are kept; make a new one.")
    return file


class Censor:
    """Takes out of a text what must not be told."""

    def __init__(self, settings: Settings) -> None:
        known = set(_of_files(settings))
        names: dict[str, str] = {}
        for catalog in (settings.catalog, *_copies(settings)):  # a damaged catalog's secrets are in its copy
            with contextlib.suppress(DpeError):
                known |= report.secrets(catalog)
                for number, called in report.people(catalog):
                    names |= {name.lower(): f"person-{number}" for name in called if len(name) > 2}
        self._names = names
        self._known = [secret for secret in sorted(known, key=len, reverse=True) if len(secret) >= SHORTEST]
        # Longest first, or a part of a name would be replaced and the rest left.
        either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        self._people = re.compile(rf"(?<![\w-])(?:{either})(?![\w-])", re.I) if names else None

    def __call__(self, text: str) -> str:
        for secret in self._known:
            text = text.replace(secret, GONE)
        for pattern in PATTERNS:
            text = pattern.sub(GONE, text)
        return self._people.sub(lambda found: self._names[found[0].lower()], text) if self._people else text


def _copies(settings: Settings) -> list[Path]:
    return [catalog_copies.folder(settings) / f"{copy.name}.db" for copy in catalog_copies.everything(settings)[:1]]


def _of_files(settings: Settings) -> Iterator[str]:
    for name in SECRET_FILES:
        place = settings.state / name
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            with contextlib.suppress(OSError):
                if file.is_file() and file.stat().st_size < 1 << 20:
                    yield from _texts(file.read_bytes())


def _texts(content: bytes) -> Iterator[str]:
    """What of a secret file could be found in a log: its values if it is JSON, else its lines; in hexadecimal if it is no text."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        yield content.hex()
        return
    try:
        yield from report.leaves(json.loads(text), secret=False)
    except ValueError:
        yield from (line.strip() for line in text.splitlines() if not line.startswith("-----"))


# -- what is in it -------------------------------------------------------------------------------------


def _about(settings: Settings) -> Any:
    here = None
    with contextlib.suppress(DpeError):
        here = image.boot_image()
    return {
        "at": datetime.now(UTC).isoformat(),
        "image": here.model_dump(mode="json") if here else None,
        "python": sys.version,
        "sqlite": report.SQLITE,
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "kernel": platform.release(),
        "schema": database.versions()[-1],
        "packages": dict(sorted((one.metadata["Name"], one.version) for one in distributions())),
    }


def _settings(settings: Settings) -> Any:
    return {field.name: str(getattr(settings, field.name)) for field in fields(Settings)}


def _catalog(settings: Settings) -> Any:
    trouble = database.trouble(settings.catalog)
    try:
        return {"trouble": trouble, **report.figures(settings.catalog)}
    except DpeError as error:
        return {"trouble": trouble or error.message}


def _operations(settings: Settings) -> Any:
    return [asdict(operation) | {"result": None} for operation in operations.everything(settings)]


JSON: dict[str, Callable[[Settings], Any]] = {
    "about.json": _about,
    "settings.json": _settings,
    "parts.json": lambda settings: [asdict(part) for part in processes.parts(settings)],
    "catalog.json": _catalog,
    "operations.json": _operations,
}
COMMANDS = {
    "cpu": ["lscpu"],
    "memory": ["cat", "/proc/meminfo"],
    "pressure": ["sh", "-c", "grep . /proc/pressure/*"],
    "disks": ["lsblk", "--output", "NAME,SIZE,TYPE,FSTYPE,PARTLABEL,MOUNTPOINTS,MODEL,RO"],
    "space": ["df", "--human-readable", "--print-type"],
    "addresses": ["ip", "-brief", "address"],
    "routes": ["ip", "route"],
    "sockets": ["ss", "--listening", "--numeric", "--tcp", "--udp"],
    "processes": ["ps", "-eo", "pid,user,stat,etimes,rss,comm"],
    "virtualisation": ["sh", "-c", "ls -l /dev/kvm; grep -c -E 'vmx|svm' /proc/cpuinfo"],
}


def _told(tell: Callable[[Settings], Any], settings: Settings) -> Any:
    """What a part of the bundle says; what cannot be told says why, and keeps the rest from nobody."""
    try:
        return tell(settings)
    except (DpeError, OSError) as error:
        return {"problem": str(error)}


def _command(command: list[str]) -> str:
    try:
        return run(command, timeout=30)
    except CommandFailed as error:
        return f"{error.message}\n"


def _log(settings: Settings, source: str) -> str:
    # The front door's own lines say who looked at what, and when.
    level = "warning" if source == "nginx" else "debug"
    try:
        lines = logs.lines(settings, source, most=LINES, level=level)
    except DpeError as error:
        return f"{error.message}\n"
    return "".join(f"{line.at} {line.source} {line.level}: {line.text}\n".lstrip() for line in lines)


def _parts(settings: Settings, censor: Censor) -> Iterator[tuple[str, Callable[[], str]]]:
    """Each file of a bundle, and what makes its text."""
    yield "README.txt", lambda: README.format(at=datetime.now(UTC).isoformat(timespec="seconds"))
    for name, tell in JSON.items():
        yield name, lambda tell=tell: json.dumps(_each(_told(tell, settings), censor), indent=1, ensure_ascii=False)  # type: ignore[misc]
    for name, command in COMMANDS.items():
        yield f"host/{name}.txt", lambda command=command: censor(_command(command))  # type: ignore[misc]
    for name in logs.sources(settings):
        yield f"logs/{name}.txt", lambda name=name: censor(_log(settings, name))  # type: ignore[misc]


def make(settings: Settings, host: Host) -> str:
    """Write a bundle; returns its file's name."""
    censor = Censor(settings)
    parts = list(_parts(settings, censor))
    name = f"dpe-support-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar.gz"
    fresh = settings.support / "fresh.new"
    try:
        with tarfile.open(fresh, "w:gz") as bundle:
            for done, (path, say) in enumerate(parts):
                host.tell(f"Writing {path}", 100 * done // len(parts))
                _add(bundle, f"{name.removesuffix('.tar.gz')}/{path}", say().encode())
        fresh.chmod(0o640)
        durable.replace(fresh, settings.support / name)
    except OSError as error:
        raise DpeError(f"The support bundle could not be written: {error.strerror}.", "Make room on the disk, and try again.") from error
    finally:
        fresh.unlink(missing_ok=True)
    for old in sorted(settings.support.glob("dpe-support-*.tar.gz"))[:-KEPT]:
        old.unlink()
    return name


def _each(value: Any, change: Callable[[str], str]) -> Any:
    """A plain value with all its texts changed: written as JSON, some would not be found any more."""
    if isinstance(value, dict):
        return {change(str(name)): _each(one, change) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_each(one, change) for one in value]
    return change(value) if isinstance(value, str) else value


def _add(bundle: tarfile.TarFile, path: str, content: bytes) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mtime, info.mode = len(content), int(time.time()), 0o644
    bundle.addfile(info, io.BytesIO(content))


@implements(rescue.BUNDLE)
def _bundle(args: Nothing, host: Host) -> str:
    return make(host.settings, host)
