"""Which Debian packages a seed comes from: releases, what every seed has, the mirror, and where a bootstrap of them is kept."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from appliance.errors import BadInput

SUITES = {"debian-12": "bookworm", "debian-13": "trixie"}
BASE_PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "iproute2", "e2fsprogs"),
    *("linux-image-cloud-amd64", "tiny-initramfs", "qemu-guest-agent", "python3"),
)
ROLES = ("stable", "oldstable", "oldoldstable", "testing")  # how a host's apt may name a release instead


@dataclass(frozen=True)
class Mirror:
    """Addresses of an archive and of its security updates."""

    archive: str
    security: str

    def lines(self, suite: str, components: str = "main") -> list[str]:
        """What apt reads, for one suite with its updates."""
        return [
            f"deb {self.archive} {suite} {components}",
            f"deb {self.archive} {suite}-updates {components}",
            f"deb {self.security} {suite}-security {components}",
        ]


@dataclass(frozen=True)
class Entry:
    """One source of apt's: an archive over HTTP, one suite of it, its components, and options or the keys that sign it."""

    uri: str
    suite: str
    components: list[str]
    signed_by: str


def title(os: str) -> str:
    """What a release is called: "Debian 13"."""
    return os.replace("-", " ").title()


def wanted(packages: Iterable[str]) -> list[str]:
    """What a seed is bootstrapped from: what every seed has, and these."""
    return sorted({*BASE_PACKAGES, *packages})


def bootstrap(cache: Path, os: str, lines: list[str], packages: list[str], at: datetime) -> Path:
    """Where the bootstrap of just these packages is kept, in the week of `at`, so that what is kept never lacks security updates for long."""
    suite = SUITES[os]
    key = json.dumps([lines, packages, at.strftime("%G-%V")])
    return cache / "bootstrap" / f"{suite}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.tar"


def mirror(configured: str, apt: Path = Path("/etc/apt")) -> Mirror:
    """The mirror named in the settings, else the one that the host itself uses. Raises BadInput when it uses none.

    Security updates of a configured mirror are expected beside it, under debian-security.
    """
    if configured:
        archive = configured.rstrip("/")
        return Mirror(archive, archive.removesuffix("/debian") + "/debian-security")
    entries = [entry for entry in _entries(apt) if "main" in entry.components]
    # Host and guest may be different releases: what counts is the archive, not the suite.
    suites = {*SUITES.values(), *(entry.suite for entry in entries if entry.suite in ROLES and _of_debian(entry, entries))}
    archive = next((entry.uri for entry in entries if entry.suite in suites), "")
    security = next((entry.uri for entry in entries if entry.suite in {f"{suite}-security" for suite in suites}), "")
    if not archive:
        raise BadInput("This host's apt knows no Debian 12 or 13 mirror to build seeds from.", "Name one with the setting debian_mirror.")
    return Mirror(archive, security or archive.removesuffix("/debian") + "/debian-security")


def _of_debian(entry: Entry, entries: list[Entry]) -> bool:
    """Whether an entry whose suite is a role is Debian's: others call their suites so, too."""
    host = urlsplit(entry.uri).hostname or ""
    beside = {other.suite for other in entries if other.uri == entry.uri}
    return host.endswith(".debian.org") or "debian-archive-" in entry.signed_by or f"{entry.suite}-updates" in beside


def _entries(apt: Path) -> Iterator[Entry]:
    """Every binary source of the host over HTTP, in both of apt's formats; of a list of mirrors its first."""
    folder = apt / "sources.list.d"
    for file in [apt / "sources.list", *sorted(folder.glob("*.list"))]:
        if file.is_file():
            for line in file.read_text(errors="replace").splitlines():
                if found := re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)", line.strip()):
                    for uri in _addresses(found[2]):
                        yield Entry(uri, found[3], found[4].split("#")[0].split(), found[1] or "")
    for file in sorted(folder.glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text(errors="replace")):
            fields = _fields(stanza.splitlines())
            if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"]) != ["no"]:
                for uri in (address for named in fields.get("uris", []) for address in _addresses(named)):
                    for suite in fields.get("suites", []):
                        yield Entry(uri, suite, fields.get("components", []), " ".join(fields.get("signed-by", [])))


def _addresses(uri: str) -> list[str]:
    """The HTTP address that a source names, if it does, itself or in a list of mirrors that lies on this host (`man apt-transport-mirror`)."""
    if uri.startswith(("mirror+file:", "mirror+copy:")):
        file = Path(urlsplit(uri).path)
        listed = file.read_text(errors="replace").splitlines() if file.is_file() else []
        return [address for line in listed for word in line.split("#")[0].split()[:1] for address in _addresses(word)][:1]
    return [uri.rstrip("/")] if uri.startswith(("http://", "https://")) else []


def _fields(lines: Iterable[str]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("#") and ":" in line and not line[0].isspace():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.split()
    return fields
