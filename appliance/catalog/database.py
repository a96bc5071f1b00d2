"""Opening, migrating and writing the catalog.

SQLite in WAL mode with synchronous=FULL: what was committed survives a power cut. A writer takes
`write()`: one short BEGIN IMMEDIATE transaction, never held across anything outside the catalog.
Threads of one process queue for it at a lock of ours first, because SQLite's own busy handler polls
and is unfair; only the two processes (web and engine) meet at SQLite's lock.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from peewee import DatabaseError, Model, SqliteDatabase

from appliance.errors import Conflict, Unavailable

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"

PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": "full",
    "foreign_keys": 1,
    "busy_timeout": 15000,
    "cache_size": -16000,
    "temp_store": "memory",
}

FULL = "Nothing was changed. An admin sees at Server > Storage what can be deleted."
FAILING = "Nothing was changed. An admin sees at Server > Storage how the disks are; one that fails is often made read-only."
RESCUE = "An owner can put a copy of it back, or restore a backup, on the rescue page."
LEAST = 64 << 10  # bytes that must be free for a file to grow
SLACK = 4 << 20  # bytes

db = SqliteDatabase(None)
db.register_function(lambda text: text and text.casefold(), "casefold", 1, deterministic=True)  # SQLite's own knows ASCII only
M = TypeVar("M", bound=Model)
_writer = threading.RLock()


def versions() -> list[int]:
    """The numbers of all migrations, ascending; the last is the version this code knows."""
    return sorted(int(file.stem) for file in MIGRATIONS.glob("[0-9]*.sql"))


def open(path: Path) -> None:
    """Open the catalog at `path`, making or migrating it first.

    A catalog that is to be migrated is copied to `catalog-v<N>.db` beside it. Raises Conflict when
    the catalog is from a newer version of the product, Unavailable when the file cannot be opened.
    """
    close()
    path.parent.mkdir(parents=True, exist_ok=True)
    _init(path)
    try:
        _migrate(path)
    except sqlite3.DatabaseError as error:
        full = " The disk is full." if _is_full() else ""
        raise Lost(f"The catalog {path} cannot be opened: {error}.{full}", "Check the disk, or restore a backup.") from error


def _init(path: Path) -> None:
    # Never made by the way: an empty catalog in the place of one that is missing would look like a fresh appliance.
    db.init(f"{path.absolute().as_uri()}?mode=rw", uri=True, pragmas=PRAGMAS, timeout=15)


def _path() -> Path:
    """The file that is open, or will be when it is asked."""
    return Path(unquote(urlsplit(str(db.database)).path))


def is_there() -> bool:
    """Whether a catalog was opened, and still lies where it was."""
    return db.database is not None and _path().is_file()


def folder() -> Path:
    """Where the catalog lies that is open."""
    return _path().parent


def attach(path: Path) -> None:
    """Open a catalog that is there and of this version; it is neither made nor changed. Raises Unavailable for any other."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise Unavailable(f"The catalog {path} cannot be opened: {error}.", "Check the disk, or restore a backup.") from error
    if version != versions()[-1]:
        raise Unavailable(f"The catalog {path} is of version {version}.", "It is brought to this version when the appliance starts.")
    if _path() != path.absolute():
        _init(path)


def copy(source: Path, target: Path) -> int:
    """Write the catalog at `source` to the new file `target`, as it is at one moment, while others write to it; returns its version.

    Raises Unavailable when it cannot be read whole, or there is no room.
    """
    target.unlink(missing_ok=True)
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=15)) as live,
            contextlib.closing(sqlite3.connect(target)) as copied,
        ):
            live.backup(copied)
            copied.execute("PRAGMA journal_mode=delete")  # one file, which needs no others beside it
        return check_catalog_file(target)
    except sqlite3.Error as error:
        raise Unavailable(f"The catalog {source} cannot be copied: {error}.", "See that there is room, and check the disk.") from error


def make_whole(path: Path) -> None:
    """Bring into the catalog's file what a crash left beside it, so that the file alone is all of it. Nobody else may use it. Raises Unavailable."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=15)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise Unavailable(f"The catalog {path} cannot be read: {error}.", "Check the disk, or restore a backup.") from error


def check_catalog_file(path: Path) -> int:
    """The version of the catalog in a file that nobody uses. Raises Unavailable when the file is damaged."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        found = [str(error)]
    if found != ["ok"]:
        raise Unavailable(f"The catalog {path.name} is damaged: {found[0]}.", "Use another copy of it.")
    return version


def trouble(path: Path, patience: float = 2.0) -> str:
    """Why the appliance cannot work with the catalog in this file, which may be in use; empty when it can. Waits `patience` seconds for a lock."""
    if not path.is_file() or not path.stat().st_size:
        return "The catalog is missing or empty."
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=patience)) as connection:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]  # quick_check of Debian 12 finds what is not there
    except sqlite3.Error as error:
        return f"The catalog cannot be read: {error}."
    if version > versions()[-1]:
        return f"The catalog is of version {version}, which a newer appliance made; this one knows versions up to {versions()[-1]}."
    return "" if found == ["ok"] else f"The catalog is damaged: {found[0]}."


def close() -> None:
    """Close this thread's connection."""
    if db.database is not None and not db.is_closed():
        db.close()


def _migrate(path: Path) -> None:
    known = versions()
    connection = sqlite3.connect(path, timeout=15, isolation_level=None)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > known[-1]:
            raise Conflict(
                f"The catalog {path} is of version {version}; this appliance knows versions up to {known[-1]}.",
                "Install the newer appliance again, or restore a backup made by this one.",
            )
        if version == known[-1]:
            return
        connection.execute("PRAGMA journal_mode=wal")
        if version:
            copy = path.with_name(f"{path.stem}-v{version}{path.suffix}")
            copy.unlink(missing_ok=True)
            connection.execute("VACUUM INTO ?", (os.fspath(copy),))
            log.info("kept the catalog of version %d as %s", version, copy)
        for number in (n for n in known if n > version):
            _apply(connection, number)
    finally:
        connection.close()


def _apply(connection: sqlite3.Connection, number: int) -> None:
    """Run one migration and raise the version in one transaction; two processes may race to it."""
    script = (MIGRATIONS / f"{number:04}.sql").read_text()
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] < number:
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number:d}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"an unfinished statement: {statement}")


@contextmanager
def write() -> Iterator[None]:
    """One short write transaction: all of it is kept, or nothing. Nests.

    Not while a query of this thread is half read: SQLite would refuse at once, as its snapshot may be
    stale by then. Make a list of it first.
    """
    with _writer:
        try:
            with db.atomic("IMMEDIATE"):
                yield
        except DatabaseError as error:
            why = refusal(error)
            if why is None:
                raise
            raise why from error


class Lost(Unavailable):
    """The catalog cannot be used at all, neither read nor written: the rescue page helps."""


def refusal(error: Exception) -> Unavailable | None:
    """What the disk, or the catalog's file, has to do with an error of the catalog; None when nothing.

    SQLite rolls back by itself when the disk fails, so that the error one sees may be that there was nothing left to roll back: the first counts.
    """
    chain: list[BaseException] = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None and before not in chain:
        chain.append(before)
    for first in reversed([one for one in chain if isinstance(one, sqlite3.Error)]):
        code = getattr(first, "sqlite_errorcode", None) or 0  # what Python itself refuses has none
        kind = code & 0xFF
        if kind == sqlite3.SQLITE_FULL or (kind in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _is_full()):
            return Unavailable("The disk is full, so that this could not be kept.", FULL)
        if kind in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or code == sqlite3.SQLITE_READONLY_DBMOVED:
            return Lost(f"The catalog, which remembers everything, cannot be used: {first}.", RESCUE)
        if kind == sqlite3.SQLITE_ERROR and str(first).startswith("no such table"):
            return Lost("The catalog, which remembers everything, is empty.", RESCUE)
        if kind == sqlite3.SQLITE_READONLY:
            return Unavailable("The disk is read-only, so that this could not be kept.", FAILING)
        if kind == sqlite3.SQLITE_IOERR:
            return Unavailable(f"The disk failed, so that this could not be done: {first}.", FAILING)
    return None


def _is_full() -> bool:
    """Whether files cannot grow where the catalog lies: SQLite calls some of that a failure of the disk."""
    try:
        found = os.statvfs(folder())
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < LEAST


def stay() -> sqlite3.Connection:
    """A connection to the open catalog for as long as this process has it: with the last one SQLite removes the log, and there would be no room
    for another on a disk that is full. Not for who goes on while another catalog is put in this one's place.
    """
    connection = sqlite3.connect(str(db.database), uri=True, check_same_thread=False)
    connection.execute("PRAGMA user_version").fetchone()
    return connection


def keep_slack() -> bool:
    """See that the catalog's file holds room that nothing uses, and its log, too; returns whether there was too little.

    Rows find it there when the disk is full to the last block: signing in, a claim and the event of a deletion need no room of the disk's.
    """
    if rows("PRAGMA freelist_count")[0][0] * rows("PRAGMA page_size")[0][0] >= SLACK // 2 and _log_size() >= SLACK // 2:
        return False
    with write():
        rows("INSERT OR REPLACE INTO option (name, value) VALUES ('slack', '\"' || hex(zeroblob(?)) || '\"')", (SLACK // 2,))
    rows("PRAGMA wal_checkpoint(PASSIVE)")  # the file has it only now
    with write():
        rows("DELETE FROM option WHERE name = 'slack'")
    return True


def _log_size() -> int:
    """Bytes of the log, which SQLite uses again and again as long as anybody has the catalog open."""
    try:
        return _path().with_name(f"{_path().name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def rows(sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query written as SQL, for the few that models would make slow or unreadable."""
    result: list[tuple[Any, ...]] = db.execute_sql(sql, tuple(parameters)).fetchall()
    return result


def stream(sql: str, parameters: Sequence[Any] = ()) -> Generator[tuple[Any, ...], None, None]:
    """Rows of a query one after the other, for who knows only then how many are enough; close it before anything is written."""
    with contextlib.closing(db.execute_sql(sql, tuple(parameters))) as cursor:
        yield from cursor


@cache
def _selection(model: type[Model]) -> tuple[str, list[tuple[str, Callable[[Any], Any]]]]:
    fields = model._meta.sorted_fields
    columns = ", ".join(f'"{field.column_name}"' for field in fields)
    sql = f'SELECT {columns} FROM "{model._meta.table_name}"'  # noqa: S608 - names of our own tables
    return sql, [(field.name, field.python_value) for field in fields]


def found(model: type[M], where: str, parameters: Sequence[Any] = ()) -> list[M]:
    """Rows of a model by a condition written as SQL: as a query of it would give them, without what making its SQL anew takes."""
    select, columns = _selection(model)
    result = []
    for row in rows(f"{select} WHERE {where}", parameters):
        one = model(__no_default__=1)
        one.__data__ = {name: convert(value) for (name, convert), value in zip(columns, row, strict=True)}
        result.append(one)
    return result


def change(model: type[Model], values: Mapping[str, Any], where: str, parameters: Sequence[Any] = ()) -> int:
    """Set columns of a model's rows by a condition written as SQL; returns how many. Call it inside `write()`."""
    fields = model._meta.combined
    sets = ", ".join(f'"{fields[name].column_name}" = ?' for name in values)
    set_to = [fields[name].db_value(value) for name, value in values.items()]
    changed: int = db.execute_sql(f'UPDATE "{model._meta.table_name}" SET {sets} WHERE {where}', (*set_to, *parameters)).rowcount  # noqa: S608
    return changed


def each(sql: str, parameters: Iterable[Mapping[str, Any]]) -> None:
    """Run one statement for each set of named parameters; call it inside `write()`."""
    db.connection().executemany(sql, parameters)


def check() -> list[str]:
    """What SQLite's own integrity and foreign key checks find wrong; empty when all is well."""
    found = [str(row[0]) for row in rows("PRAGMA integrity_check") if row[0] != "ok"]
    found += [f"{row[0]} row {row[1]} refers to a missing {row[2]}" for row in rows("PRAGMA foreign_key_check")]
    return found


def version() -> tuple[int, int]:
    """Two numbers for whoever watches: the first changes whenever another connection committed, the second with each event."""
    committed: int = rows("PRAGMA data_version")[0][0]
    events: int = rows("SELECT coalesce(max(id), 0) FROM event")[0][0]
    return committed, events
