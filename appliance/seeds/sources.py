"""Which Debian packages a seed comes from."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import BadInput

SUITES = {"debian-12": "bookworm", "debian-13": "trixie"}


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


def mirror(configured: str, apt: Path = Path("/etc/apt")) -> Mirror:
    """The mirror named in the settings, else the one that the host itself uses. Raises BadInput when it uses none.

    Security updates of a configured mirror are expected beside it, under debian-security.
    """
    if configured:
        archive = configured.rstrip("/")
        return Mirror(archive, archive.removesuffix("/debian") + "/debian-security")
    archive = security = ""
    for uri, suite, components in _entries(apt):
        # Host and guest may be different releases: what counts is the archive, not the suite.
        if "main" not in components or not uri.startswith(("http://", "https://")):
            continue
        if re.fullmatch(r"(bookworm|trixie)-security", suite):
            security = security or uri
        elif suite in SUITES.values():
            archive = archive or uri
    if not archive:
        raise BadInput("This host's apt knows no Debian 12 or 13 mirror to build seeds from.", "Name one with the setting debian_mirror.")
    return Mirror(archive, security or archive.removesuffix("/debian") + "/debian-security")


def _entries(apt: Path) -> Iterator[tuple[str, str, list[str]]]:
    """(address, suite, components) of every binary source of the host, in both of apt's formats."""
    folder = apt / "sources.list.d"
    for file in [apt / "sources.list", *sorted(folder.glob("*.list"))]:
        if file.is_file():
            for line in file.read_text(errors="replace").splitlines():
                if found := re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)", line.strip()):
                    yield found[1].rstrip("/"), found[2], found[3].split("#")[0].split()
    for file in sorted(folder.glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text(errors="replace")):
            fields = _fields(stanza.splitlines())
            if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"]) != ["no"]:
                for uri in fields.get("uris", []):
                    for suite in fields.get("suites", []):
                        yield uri.rstrip("/"), suite, fields.get("components", [])


def _fields(lines: Iterable[str]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("#") and ":" in line and not line[0].isspace():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.split()
    return fields
