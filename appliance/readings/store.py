"""The file: what is written at each look, thinned by age, bounded in size, and read for a chart.

What is read lies in `look` by time, so that a look is written to, and forgotten from, few pages. What it is thinned to lies in `reading` by resolution,
series and time, so that a chart reads rows side by side; such a row has the mean of each figure, and in `..._most` the largest value that
was read. `t` is seconds since 1970, the beginning of `step` seconds.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from appliance.errors import Unavailable
from appliance.readings.figures import FIGURES, Kind, Subject


@dataclass(frozen=True)
class Tier:
    """A resolution: seconds between its rows, and how long they are kept; those of machines shorter than those of host and classes."""

    step: int
    of_machines: timedelta
    of_others: timedelta

    def kept(self, kind: Kind) -> timedelta:
        return self.of_machines if kind is Kind.MACHINE else self.of_others


TIERS = (
    Tier(10, timedelta(hours=2), timedelta(hours=2)),
    Tier(60, timedelta(days=2), timedelta(days=2)),
    Tier(600, timedelta(days=14), timedelta(days=60)),
    Tier(3600, timedelta(0), timedelta(days=730)),
)
LOOK = TIERS[0]
LIMIT = 512 << 20  # bytes of the file
POINTS = 600  # of a chart, at most
TENTHS = 50  # of what is left that are forgotten at a time; a two-hundredth is left then
GAP = 2.5  # steps without a row after which something is missing; a look that came late is none

_MOST = [f"{name}_most" for name in FIGURES]
_COLUMNS = [*FIGURES, *_MOST]
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, metric TEXT NOT NULL, UNIQUE (kind, name, metric));
CREATE TABLE IF NOT EXISTS tier (step INTEGER PRIMARY KEY, done INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS look (
    t INTEGER NOT NULL, series INTEGER NOT NULL, {", ".join(FIGURES)}, PRIMARY KEY (t, series)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reading (
    step INTEGER NOT NULL, series INTEGER NOT NULL, t INTEGER NOT NULL, {", ".join(_COLUMNS)}, PRIMARY KEY (step, series, t)) WITHOUT ROWID;
"""
_KNOW = "INSERT OR IGNORE INTO series (kind, name, metric) VALUES (:kind, :name, :metric)"
_WHOSE = "(SELECT id FROM series WHERE kind = :kind AND name = :name AND metric = :metric)"
_NOTE = f"INSERT OR REPLACE INTO look (t, series, {', '.join(FIGURES)}) VALUES ({', '.join('?' * (2 + len(FIGURES)))})"  # noqa: S608 - constants, as in all of this module
_MEANS = ", ".join(f"round(avg({name}), 4)" for name in FIGURES)
_INTO = f"INSERT OR REPLACE INTO reading (step, series, t, {', '.join(_COLUMNS)}) SELECT :step, series, t / :step * :step, {_MEANS}"
_THIN_LOOKS = f"""
    {_INTO}, {", ".join(f"max({name})" for name in FIGURES)} FROM look WHERE t >= :begin AND t < :end GROUP BY series, t / :step
"""
_THIN = f"""
    {_INTO}, {", ".join(f"max({name})" for name in _MOST)}
    FROM series CROSS JOIN reading ON reading.step = :below AND series = id AND t >= :begin AND t < :end
    WHERE kind <> 'machine' OR :with_machines GROUP BY series, t / :step
"""
_FORGET_LOOKS = "DELETE FROM look WHERE t < ?"
_FORGET_LOOKS_AHEAD = "DELETE FROM look WHERE t > ?"
_OLDEST_LOOK = "SELECT min(t) FROM look"
_FORGET_OLD = "DELETE FROM reading WHERE step = ? AND series IN (SELECT id FROM series WHERE kind = ?) AND t < ?"
_FORGET_AHEAD = "DELETE FROM reading WHERE step = ? AND series IN (SELECT id FROM series) AND t > ?"
_OLDEST = "SELECT min((SELECT min(t) FROM reading WHERE step = ? AND series = series.id)) FROM series"
_FORGET_SERIES = """
    DELETE FROM series WHERE id NOT IN (SELECT series FROM look)
    AND NOT EXISTS (SELECT 1 FROM reading WHERE step IN (SELECT step FROM tier) AND series = series.id)
"""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Damaged(Unavailable):
    """The file is no file of readings: whoever records sets it aside."""


@dataclass(frozen=True)
class Series:
    """Figures over time, `step` seconds apart, oldest first: `mean` and `most` by figure, as long as `times` (seconds since 1970).

    Where nothing was read is one moment without values. `most` is empty where rows are what was read.
    """

    step: int
    times: list[int]
    mean: dict[str, list[float | None]]
    most: dict[str, list[float | None]]


class Store:
    """The readings in one file, which is made when it is missing. All methods raise Unavailable; threads may share it."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path, self.limit = path, limit
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._known: dict[Subject, int] = {}  # by this process, which alone forgets series

    # -- writing ------------------------------------------------------------------------------------

    def record(self, at: datetime, found: Mapping[Subject, Mapping[str, float | None]]) -> None:
        """Keep what was read at a moment; within ten seconds the last counts."""
        t = int(at.timestamp()) // LOOK.step * LOOK.step
        with self._write() as connection:
            ids = self._ids(connection, found)
            lines = ((t, ids[subject], *map(figures.get, FIGURES)) for subject, figures in found.items())
            connection.executemany(_NOTE, lines)

    def _ids(self, connection: sqlite3.Connection, subjects: Iterable[Subject]) -> dict[Subject, int]:
        """The numbers of series, at least of these; those that are new get one."""
        unknown = [subject._asdict() for subject in subjects if subject not in self._known]
        if unknown:
            connection.executemany(_KNOW, unknown)
            self._known = {Subject(Kind(kind), *names): id for id, kind, *names in connection.execute("SELECT * FROM series")}
        return self._known

    def thin(self, at: datetime) -> None:
        """Bring every resolution up to the last whole step before `at`, and every ten minutes forget what is too old or too much."""
        now = int(at.timestamp())
        with self._write() as connection:
            done = dict(connection.execute("SELECT step, done FROM tier"))
            for below, tier in pairwise(TIERS):
                end = now // tier.step * tier.step
                # After a while without an engine as far as there is something to go by; not ahead of a clock that was set back.
                begin = max(min(done.get(tier.step, 0), end), end - int(below.of_others.total_seconds()))
                values = {"step": tier.step, "below": below.step, "begin": begin, "end": end, "with_machines": bool(tier.of_machines)}
                if begin < end:
                    connection.execute(_THIN_LOOKS if below is LOOK else _THIN, values)
                connection.execute("INSERT OR REPLACE INTO tier (step, done) VALUES (:step, :end)", values)
            if done.get(600, 0) // 600 == now // 600:
                return
            self._forget(connection, now)
            connection.execute(_FORGET_SERIES)
            self._known = {}
        with self._use() as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _forget(self, connection: sqlite3.Connection, now: int) -> None:
        """Forget what is too old, and as long as the rest is above the limit the oldest tenth of every resolution."""
        connection.execute(_FORGET_LOOKS, (now - int(LOOK.of_others.total_seconds()),))
        connection.execute(_FORGET_LOOKS_AHEAD, (now + LOOK.step,))  # from a clock that was ahead
        for tier in TIERS[1:]:
            connection.execute(_FORGET_AHEAD, (tier.step, now + tier.step))
            for kind in Kind:
                connection.execute(_FORGET_OLD, (tier.step, kind, now - int(tier.kept(kind).total_seconds())))
        for _ in range(TENTHS):
            if _size(connection) <= self.limit:
                return
            connection.execute(_FORGET_LOOKS, (_after_a_tenth(connection.execute(_OLDEST_LOOK).fetchone()[0], now, LOOK),))
            for tier in TIERS[1:]:
                before = _after_a_tenth(connection.execute(_OLDEST, (tier.step,)).fetchone()[0], now, tier)
                for kind in Kind:
                    connection.execute(_FORGET_OLD, (tier.step, kind, before))

    def set_aside(self) -> Path:
        """Put a damaged file aside, in the place of one that was before, so that another is begun; returns where it is."""
        aside = self.path.with_name(f"{self.path.stem}-damaged{self.path.suffix}")
        with self._lock:
            self._close()
            with contextlib.suppress(FileNotFoundError):
                self.path.replace(aside)
            for ending in ("-wal", "-shm"):
                self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
            # Never through a name: it lies where the web process may put one.
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            os.fchmod(handle, 0o660)
            os.close(handle)
        return aside

    # -- reading ------------------------------------------------------------------------------------

    def series(self, subject: Subject, figures: Iterable[str], span: timedelta, at: datetime) -> Series:
        """The figures of the last `span` before `at`, in the finest resolution that is kept as long, POINTS moments at most."""
        names = [name for name in figures if name in FIGURES]
        kept = [tier for tier in TIERS if tier.kept(subject.kind)]
        tier = next((tier for tier in kept if tier.kept(subject.kind) >= span), kept[-1])
        each = -(-int(span.total_seconds()) // (tier.step * POINTS))  # rows that become one moment
        step, thinned = tier.step * each, tier is not LOOK
        begin = int((at - span).timestamp()) // step * step
        columns = [*names, *(f"{name}_most" for name in names if thinned)]
        values = {**subject._asdict(), "step": tier.step, "begin": begin, "end": int(at.timestamp()) + tier.step, "each": step}
        with self._use() as connection:
            rows = connection.execute(_select(tuple(columns), looks=tier is LOOK, grouped=each > 1), values).fetchall()
        times, *read = _with_gaps(rows, step, len(columns))
        most = dict(zip(names, read[len(names) :], strict=True)) if thinned else {}
        return Series(step, times, dict(zip(names, read, strict=False)), most)

    def metrics(self, subject: Subject) -> list[str]:
        """The names under which values were sent for a machine or a class that are still kept."""
        with self._use() as connection:
            sql = "SELECT metric FROM series WHERE kind = ? AND name = ? AND metric <> '' ORDER BY metric"
            return [row[0] for row in connection.execute(sql, (subject.kind, subject.name))]

    def size(self) -> int:
        """Bytes that the readings take in the file."""
        with self._use() as connection:
            return _size(connection)

    # -- the file -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself when the disk fails
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._open()
            except sqlite3.Error as error:
                self._close()
                kind = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
                told = f"The readings cannot be used: {error}."
                raise Damaged(told) if kind in _DAMAGED else Unavailable(told, "Check the disk.") from error

    def _open(self) -> sqlite3.Connection:
        """The connection, made anew when there is another file under the name."""
        if self._connection is None or self._file != self._identity():
            self._close()
            self._connection = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = wal")
            self._connection.execute("PRAGMA synchronous = normal")
            self._connection.execute("PRAGMA cache_size = -16000")
            self._connection.execute("PRAGMA wal_autocheckpoint = 16000")  # as a rule every ten minutes, by `thin`
            self._connection.executescript(SCHEMA)
            for table, columns in (("look", list(FIGURES)), ("reading", _COLUMNS)):
                there = {row[0] for row in self._connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
                for column in (column for column in columns if column not in there):
                    self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
            self._file = self._identity()
        return self._connection

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._known = None, {}

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        with self._lock:
            self._close()


def _size(connection: sqlite3.Connection) -> int:
    pages, free, each = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    size: int = (pages - free) * each
    return size


def _after_a_tenth(oldest: int | None, now: int, tier: Tier) -> int:
    """Where the oldest tenth of what is kept ends."""
    return 0 if oldest is None else oldest + max(tier.step, (now - oldest) // 10)


@cache
def _select(columns: tuple[str, ...], *, looks: bool, grouped: bool) -> str:
    """How rows of one series are read, several of them as one moment or each by itself. The columns are names of ours."""
    if looks:  # by their times one by one, as between two of a series lie those of all others
        return f"""
            WITH RECURSIVE moment (t) AS (SELECT :begin UNION ALL SELECT t + :step FROM moment WHERE t + :step < :end)
            SELECT t, {", ".join(columns)} FROM moment CROSS JOIN look USING (t) WHERE series = {_WHOSE}
        """  # noqa: S608
    rows = f"FROM reading WHERE step = :step AND series = {_WHOSE} AND t >= :begin AND t < :end"
    if not grouped:
        return f"SELECT t, {', '.join(columns)} {rows} ORDER BY t"
    figures = (f"max({name})" if name.endswith("_most") else f"round(avg({name}), 4)" for name in columns)
    return f"SELECT t / :each * :each AS at, {', '.join(figures)} {rows} GROUP BY at ORDER BY at"


def _with_gaps(rows: list[tuple[Any, ...]], step: int, columns: int) -> list[list[Any]]:
    """The rows by column, with a moment without values wherever something is missing between two of them."""
    if not rows:
        return [[] for _ in range(columns + 1)]
    longest, nothing = GAP * step, (None,) * columns
    whole = [rows[0]]
    for before, row in pairwise(rows):
        if row[0] - before[0] > longest:
            whole.append((before[0] + step, *nothing))
        whole.append(row)
    return [list(column) for column in zip(*whole, strict=True)]
