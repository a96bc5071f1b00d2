"""The file: written once, from what apt says, and then only read.

`package` has one row for each name, the version that apt would install, in the order in which equally good ones are shown. `word` finds packages by the
words of name, summary and description, `part` names by any three letters; both keep no text of their own.
"""

import re
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from appliance.errors import Unavailable

SCHEMA = """
CREATE TABLE package (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version TEXT NOT NULL, section TEXT NOT NULL, priority TEXT NOT NULL,
    size INTEGER NOT NULL, installed INTEGER NOT NULL, base INTEGER NOT NULL, depends TEXT NOT NULL, summary TEXT NOT NULL);
CREATE TABLE description (package INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE provided (name TEXT NOT NULL, package INTEGER NOT NULL, PRIMARY KEY (name, package)) WITHOUT ROWID;
CREATE INDEX provided_by ON provided (package);
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE word USING fts5(name, summary, text, content = '', detail = 'column', tokenize = 'unicode61 remove_diacritics 2');
CREATE VIRTUAL TABLE part USING fts5(name, content = '', tokenize = 'trigram');
"""
_COLUMNS = "name, version, section, priority, size, installed, base, summary"
# Sections that are looked for by machines rather than by people, and so come last.
_LAST = frozenset({"debug", "doc", "introspection", "kernel", "libdevel", "libs", "localization", "oldlibs", "translations"})
_PRIORITIES = ("required", "important", "standard", "optional")
_NAME = re.compile(r"\s*([a-z0-9][a-z0-9+.-]*)")
_WORD = re.compile(r"[^\W_]+")
NEAR = 0.7  # of difflib's ratio, from which on a name is nearly another
CANDIDATES = 300  # names that are compared letter by letter
_FIELDS = frozenset({
    "Package", "Version", "Section", "Priority", "Essential", "Installed-Size", "Size", "Pre-Depends", "Depends", "Provides",
    "Description", "Description-md5", "Description-en",
})  # fmt: skip
Stanza = Mapping[str, str]  # the fields of a package that are of use here


@dataclass(frozen=True)
class Package:
    """A package of a release. `size` are the bytes of its download, `installed` those on the disk; `base`: every seed has it."""

    name: str
    version: str
    section: str
    priority: str
    size: int
    installed: int
    base: bool
    summary: str


@dataclass(frozen=True)
class Estimate:
    """What packages bring besides what every seed has: themselves and what they need. Sizes are bytes; `missing` are needs that nothing meets."""

    packages: tuple[str, ...]
    size: int
    installed: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """The best of what was found, and how many there are."""

    total: int
    packages: tuple[Package, ...]


@dataclass(frozen=True)
class _Row:
    """A package as far as it is needed to see what it brings. `needs` are groups, one of each of which must be there."""

    name: str
    size: int
    installed: int
    needs: tuple[tuple[str, ...], ...]
    provides: tuple[str, ...]


# -- writing -----------------------------------------------------------------------------------------


def stanzas(lines: Iterable[bytes]) -> Iterator[Stanza]:
    """The paragraphs of a Debian control file, a field's further lines behind its first one."""
    fields: dict[str, str] = {}
    name = ""
    for raw in lines:
        line = raw.decode(errors="replace").rstrip("\r\n")
        if not line:
            if fields:
                yield fields
            fields = {}
        elif line[0] in " \t":
            if name in fields:
                fields[name] += f"\n{line[1:]}"
        else:
            name, _, value = line.partition(":")
            if name in _FIELDS:
                fields[name] = value.strip()
    if fields:
        yield fields


def write(file: Path, packages: Iterable[Stanza], descriptions: Mapping[str, str], base: Iterable[str], facts: Mapping[str, str]) -> int:
    """Write an index into a new file; returns how many packages are in it. `descriptions` are long ones by their MD5, `base` names what every seed has
    besides packages that are essential or required. Raises Unavailable when the disk is full, or there is no package."""
    kept = sorted({one["Package"]: one for one in packages if one.get("Package")}.values(), key=_order)
    if not kept:
        raise Unavailable("The mirror has no packages of this release.", "Check the setting debian_mirror.")
    try:
        connection = sqlite3.connect(file, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = off")  # a file that is not whole is never used
            connection.execute("PRAGMA synchronous = off")
            connection.executescript(SCHEMA)
            connection.execute("BEGIN")
            for number, one in enumerate(kept, 1):
                _insert(connection, number, one, descriptions)
            connection.executemany("INSERT INTO fact VALUES (?, ?)", {**facts, "count": str(len(kept))}.items())
            first = [one["Package"] for one in kept if one.get("Essential") == "yes" or one.get("Priority") == "required"]
            there = _Solver(connection, frozenset()).bring([*first, "apt", *base])
            connection.executemany("UPDATE package SET base = 1 WHERE name = ?", ((name,) for name in there.packages))
            connection.execute("COMMIT")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Unavailable(f"The package index cannot be written: {error}.", "See that there is room, and check the disk.") from error
    return len(kept)


def _order(one: Stanza) -> tuple[bool, int, str]:
    section = one.get("Section", "").rpartition("/")[2]
    return section in _LAST, len(one["Package"]), one["Package"]


def _insert(connection: sqlite3.Connection, number: int, one: Stanza, descriptions: Mapping[str, str]) -> None:
    name = one["Package"]
    summary, _, rest = one.get("Description", "").partition("\n")
    text = descriptions.get(one.get("Description-md5", ""), rest)
    text = "\n".join("" if line == "." else line for line in text.split("\n"))
    needs = ", ".join(one[field] for field in ("Pre-Depends", "Depends") if one.get(field))
    connection.execute(
        "INSERT INTO package VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
        (
            number, name, one.get("Version", ""), one.get("Section", ""), one.get("Priority", "optional"), _number(one.get("Size")),
            _number(one.get("Installed-Size")) << 10, needs, summary,
        ),
    )  # fmt: skip
    connection.execute("INSERT INTO description VALUES (?, ?)", (number, text))
    connection.execute("INSERT INTO word (rowid, name, summary, text) VALUES (?, ?, ?, ?)", (number, name, summary, text))
    connection.execute("INSERT INTO part (rowid, name) VALUES (?, ?)", (number, name))
    provided = {found[1] for part in one.get("Provides", "").split(",") if (found := _NAME.match(part))}
    connection.executemany("INSERT INTO provided VALUES (?, ?)", ((other, number) for other in provided))


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


# -- reading -----------------------------------------------------------------------------------------


class Index:
    """The index of one release, open to be read. All methods raise Unavailable when the file cannot be used."""

    def __init__(self, file: Path) -> None:
        with _reading(), ExitStack() as failed:
            # It is never changed, only replaced as a whole: nobody has to lock it.
            self._connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
            failed.callback(self._connection.close)
            self._facts = dict(self._connection.execute("SELECT name, value FROM fact"))
            self.count = int(self._facts["count"])
            self.read_at = datetime.fromisoformat(self._facts["read_at"])
            failed.pop_all()
        self._solver = _Solver(self._connection)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @property
    def mirror(self) -> str:
        """The archive that it was read from."""
        return str(self._facts.get("mirror", ""))

    def search(self, text: str, limit: int = 20) -> Found:
        """Packages of which every word of the text begins a word of the name, the summary or the description, or is one if it has only a letter.

        First the one that is called so, then whose name begins so, has these words, or has this in it, then by the summary, then by the description.
        """
        wanted = " ".join(text.lower().split())
        terms = " AND ".join(f'"{word}"*' if len(word) > 1 else f'"{word}"' for word in _WORD.findall(wanted))
        if not wanted:
            return Found(0, ())
        found: dict[int, None] = {}
        for sql, parameters in _stages(wanted, terms):
            if len(found) >= limit:
                break
            found.update((row[0], None) for row in self._all(f"{sql} LIMIT {limit:d}", parameters))
        ids = list(found)[:limit]
        total = self._one("SELECT count(*) FROM word WHERE word MATCH ?", (terms,))[0] if terms and len(found) >= limit else len(found)
        return Found(max(total, len(found)), tuple(self._packages(ids)))

    def package(self, name: str) -> Package | None:
        """A package by its name."""
        row = self._one(f"SELECT {_COLUMNS} FROM package WHERE name = ?", (_without_architecture(name),))  # noqa: S608 - names of our columns
        return _package(row) if row else None

    def description(self, name: str) -> str:
        """The long description of a package; empty when there is none."""
        row = self._one("SELECT text FROM description WHERE package = (SELECT id FROM package WHERE name = ?)", (name,))
        return str(row[0]) if row else ""

    def providers(self, name: str) -> list[str]:
        """The packages that provide what is no package itself."""
        with _reading():
            return self._solver.providers(_without_architecture(name))

    def installs(self, name: str) -> bool:
        """Whether apt can install something by this name: a package, or what just one of them provides."""
        return self.package(name) is not None or len(self.providers(name)) == 1

    def near(self, name: str, limit: int = 3) -> list[str]:
        """What is called so besides, like python3-pip for pip, and what is called nearly so; else what is found by it."""
        name = _without_architecture(name)
        words = " AND ".join(f'"{word}"' for word in _WORD.findall(name))
        parts = {name[at : at + 3] for at in range(len(name) - 2) if '"' not in name[at : at + 3]}
        besides = self._named("word", f"name : ({words})", 1, "rowid") if words else []
        known = self._named("part", " OR ".join(f'"{part}"' for part in sorted(parts)), CANDIDATES, "rank") if parts else []
        found = dict.fromkeys([*besides, *get_close_matches(name, known, limit, NEAR)])
        return list(found)[:limit] or [one.name for one in self.search(name, limit).packages]

    def _named(self, table: str, matching: str, limit: int, order: str) -> list[str]:
        """The names of packages that a full-text table of ours finds."""
        sql = f"SELECT package.name FROM {table} JOIN package ON package.id = {table}.rowid WHERE {table} MATCH ? ORDER BY {table}.{order} LIMIT ?"  # noqa: S608
        return [row[0] for row in self._all(sql, (matching, limit))]

    def bring(self, names: Iterable[str]) -> Estimate:
        """What packages of these names bring besides what every seed has."""
        with _reading():
            return self._solver.bring(_without_architecture(name) for name in names)

    def _packages(self, ids: list[int]) -> Iterator[Package]:
        for id in ids:
            row = self._one(f"SELECT {_COLUMNS} FROM package WHERE id = ?", (id,))  # noqa: S608
            assert row is not None
            yield _package(row)

    def _all(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with _reading():
            return self._connection.execute(sql, parameters).fetchall()

    def _one(self, sql: str, parameters: tuple[Any, ...] = ()) -> Any:
        return next(iter(self._all(sql, parameters)), None)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, KeyError, ValueError) as error:
        raise Unavailable(f"The package index cannot be used: {error}.", "Refresh it on the page Packages.") from error


def _stages(wanted: str, terms: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """How packages are asked for, the best first. Rows come in the order of their ids, without being sorted."""
    yield "SELECT id FROM package WHERE name = ?", (wanted,)
    yield "SELECT id FROM package WHERE name >= ? AND name < ? ORDER BY id", (wanted, f"{wanted}\U0010ffff")
    word = "SELECT rowid FROM word WHERE word MATCH ? ORDER BY rowid"
    if terms:
        yield word, (f"name : ({terms})",)
    if len(wanted) > 2 and '"' not in wanted:
        yield "SELECT rowid FROM part WHERE part MATCH ? ORDER BY rowid", (f'"{wanted}"',)
    if terms:
        yield word, (f"{{name summary}} : ({terms})",)
        yield word, (terms,)


def _package(row: tuple[Any, ...]) -> Package:
    name, version, section, priority, size, installed, base, summary = row
    return Package(name, version, section, priority, size, installed, bool(base), summary)


def _without_architecture(name: str) -> str:
    return name.partition(":")[0]


class _Solver:
    """What packages need, as far as that can be said without apt: of alternatives the first that is there, no versions, no conflicts.

    In a release these hardly ever matter; where they do, the sizes are a little off. It says nothing of what is recommended, which seeds do not get.
    """

    def __init__(self, connection: sqlite3.Connection, base: frozenset[str] | None = None) -> None:
        """`base` are names that are there already; without it those of the packages that every seed has, and of what these provide."""
        self._connection = connection
        self._known: dict[str, _Row | None] = {}
        self._base = base

    def bring(self, names: Iterable[str]) -> Estimate:
        there = set(self._there())
        found: list[_Row] = []
        missing: list[str] = []
        needs: deque[tuple[str, ...]] = deque((name,) for name in names)
        while needs:
            group = needs.popleft()
            if not there.isdisjoint(group):
                continue
            one = next(filter(None, map(self._of, group)), None)
            if one is None:
                missing.append(" | ".join(group))
                continue
            found.append(one)
            there.update((one.name, *one.provides))
            needs.extend(one.needs)
        return Estimate(
            tuple(sorted(one.name for one in found)), sum(one.size for one in found), sum(one.installed for one in found), tuple(missing)
        )

    def providers(self, name: str) -> list[str]:
        """Packages that provide a name, those first that apt would rather take."""
        rows = self._connection.execute(
            "SELECT package.name, priority FROM provided JOIN package ON package.id = provided.package WHERE provided.name = ?", (name,)
        ).fetchall()
        return [one for one, _ in sorted(rows, key=lambda row: (_PRIORITIES.index(row[1]) if row[1] in _PRIORITIES else 9, row[0]))]

    def _there(self) -> frozenset[str]:
        if self._base is None:
            rows = self._connection.execute(
                "SELECT name FROM package WHERE base UNION SELECT provided.name FROM provided JOIN package ON package.id = provided.package WHERE base"
            )
            self._base = frozenset(row[0] for row in rows)
        return self._base

    def _of(self, name: str) -> _Row | None:
        """The package of this name, else the first that provides it."""
        if name not in self._known:
            self._known[name] = self._read(name) or next((self._read(one) for one in self.providers(name)), None)
        return self._known[name]

    def _read(self, name: str) -> _Row | None:
        row = self._connection.execute("SELECT id, size, installed, depends FROM package WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        id, size, installed, depends = row
        groups = (tuple(found[1] for one in group.split("|") if (found := _NAME.match(one))) for group in depends.split(","))
        provides = tuple(other for (other,) in self._connection.execute("SELECT name FROM provided WHERE package = ?", (id,)))
        return _Row(name, size, installed, tuple(group for group in groups if group), provides)
