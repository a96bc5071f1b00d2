"""Debian packages for tests: a release of few of them, as apt tells of it, as an index, and as a small mirror that is signed."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from appliance.packages import sources, store

SQL, PHP = "0123456789abcdef" * 2, "fedcba9876543210" * 2  # MD5 of descriptions
# name, section, priority, download and size on the disk in KiB, and further fields
_ROWS: tuple[tuple[str, str, str, int, int, dict[str, str]], ...] = (
    ("bash", "shells", "required", 1500, 7100, {"Essential": "yes", "Pre-Depends": "libc6 (>= 0.9)"}),
    ("libc6", "libs", "optional", 2800, 13000, {}),
    ("mawk", "utils", "required", 130, 300, {"Depends": "libc6", "Provides": "awk"}),
    ("gawk", "interpreters", "optional", 670, 3000, {"Depends": "libc6", "Provides": "awk"}),
    ("apt", "admin", "important", 1500, 4300, {"Depends": "libc6, gpgv | sqv"}),
    ("gpgv", "utils", "optional", 600, 1200, {"Depends": "libc6"}),
    *((name, "admin", "optional", 100, 400, {"Depends": "libc6"}) for name in sources.BASE_PACKAGES),
    *((name, "utils", "optional", 300, 900, {"Depends": "libc6"}) for name in ("nano", "openssh-server", "procps", "python3-venv", "vim")),
    ("git", "vcs", "optional", 7000, 40000, {"Depends": "libc6, libcurl3-gnutls, perl, git-man (>> 0.1)",
     "Description": "fast, scalable, distributed revision control system"}),
    ("git-man", "doc", "optional", 2000, 2100, {"Description": "fast, scalable, distributed revision control system (manual pages)"}),
    ("libcurl3-gnutls", "libs", "optional", 400, 900, {"Depends": "libc6"}),
    ("perl", "perl", "standard", 600, 700, {"Depends": "libc6", "Multi-Arch": "allowed", "Provides": "libtest-simple-perl (= 1.3), libmath-bigint-perl"}),
    ("less", "text", "important", 150, 350, {"Depends": "libc6", "Description": "pager program similar to more"}),
    ("postgresql", "database", "optional", 14, 80, {"Depends": "postgresql-17",
     "Description": "object-relational SQL database (supported version)", "Description-md5": SQL}),
    ("postgresql-17", "database", "optional", 16000, 57000, {"Depends": "libc6, libpq5, postgresql-common, postgresql-client-17, locales | locales-all",
     "Provides": "postgresql-contrib-17", "Description": "The World's Most Advanced Open Source Relational Database"}),
    ("postgresql-client-17", "database", "optional", 1900, 8000, {"Depends": "libc6, libpq5", "Description": "front-end programs for PostgreSQL 17"}),
    ("postgresql-common", "database", "optional", 110, 500, {"Depends": "perl:any, debconf (>= 0.5) | debconf-2.0",
     "Description": "PostgreSQL database-cluster manager"}),
    ("libpq5", "libs", "optional", 220, 950, {"Depends": "libc6", "Description": "PostgreSQL C client library"}),
    ("debconf", "admin", "required", 120, 520, {"Provides": "debconf-2.0"}),
    ("locales", "localization", "standard", 3900, 17000, {"Depends": "libc6"}),
    ("mailutils", "mail", "optional", 580, 1400, {"Depends": "default-mta | mail-transport-agent, no-such-thing",
     "Description": "GNU mailutils utilities for handling mail"}),
    ("postfix", "mail", "optional", 1500, 4200, {"Provides": "mail-transport-agent", "Description": "High-performance mail transport agent"}),
    ("exim4-daemon-light", "mail", "standard", 600, 1600, {"Provides": "mail-transport-agent", "Description": "lightweight Exim MTA (v4) daemon"}),
    ("adminer", "web", "optional", 480, 2600, {"Description": "web-based database administration tool", "Description-md5": PHP}),
    ("g++", "devel", "optional", 2, 15, {"Description": "GNU C++ compiler"}),
)  # fmt: skip
DESCRIPTIONS = {
    SQL: "This metapackage depends on the server that is supported in this release.\n.\nIt is a fully featured\nobject-relational system.\n * write-ahead logging",
    PHP: "It manages MySQL, SQLite and others with one file of PHP.",
}  # fmt: skip


def stanzas() -> Iterator[dict[str, str]]:
    """The packages of the release."""
    for name, section, priority, size, installed, more in _ROWS:
        yield {
            "Package": name, "Version": "17+278" if name.startswith("postgresql") else "1.0-1", "Architecture": "amd64", "Section": section,
            "Priority": priority, "Installed-Size": str(installed), "Size": str(size << 10), "Description": f"what {name} is", "Filename": f"pool/{name}.deb", "SHA256": "0" * 64, **more,
        }  # fmt: skip


def text(found: Iterable[Mapping[str, str]]) -> str:
    """The same as a control file."""
    return "\n".join("".join(f"{name}: {value}\n" for name, value in one.items()) for one in found)


def write(folder: Path, os: str = "debian-13", at: datetime | None = None) -> Path:
    """An index of the release in a folder where indexes lie; read just now, or at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{os}.db"
    file.unlink(missing_ok=True)
    facts = {"read_at": (at or datetime.now(UTC)).isoformat(), "mirror": "http://deb.example.org/debian"}
    lines = text(stanzas()).encode().splitlines(keepends=True)
    store.write(file, store.stanzas(lines), DESCRIPTIONS, sources.BASE_PACKAGES, facts)
    return file


def mirror(folder: Path, suites: Mapping[str, str]) -> None:
    """The release as a mirror has it, for each suite with these packages as a control file: `InRelease` is left to be signed, as `Release`."""
    for suite, packages in suites.items():
        top = folder / "dists" / suite
        files = {
            "main/binary-amd64/Packages": packages.encode(),
            "main/i18n/Translation-en": text(
                {"Package": "x", "Description-md5": md5, "Description-en": "x\n" + "\n".join(f" {line}" for line in long.split("\n"))}
                for md5, long in DESCRIPTIONS.items()
            ).encode(),
        }  # fmt: skip
        for name, content in files.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(content)
        sums = "".join(f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}\n" for name, content in files.items())
        now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
        (top / "Release").write_text(
            f"Origin: Debian\nSuite: {suite}\nCodename: {suite}\nDate: {now}\nArchitectures: amd64\nComponents: main\nSHA256:\n{sums}"
        )
