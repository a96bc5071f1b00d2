"""The catalog in figures for whoever helps from outside, read from its file without opening it; and what of it must never be told."""

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.errors import Unavailable

EVENTS = 300  # the last ones
SQLITE = sqlite3.sqlite_version

# Columns whose values let somebody in, or are made from what does. Whatever else is written down, these values are taken out of it.
SECRET = {
    "account": ("password",),
    "session": ("id",),
    "known_browser": ("digest",),
    "second_factor": ("secret",),
    "recovery_code": ("digest",),
    "token": ("digest", "ending"),
    "password_link": ("digest",),
    "outgoing_mail": ("secret",),
    "webhook": ("url", "secret", "secret_before"),
}
# Those of the options whose names say that they are secrets, however deep they lie.
SECRET_NAME = re.compile(r"password|secret|token|key|code", re.I)
PERSONAL = ("name", "full_name", "email", "dn")  # of accounts
GROUPED = (("machine", "state"), ("seed", "state"), ("snapshot", "state"), ("request", "state"), ("run", "state"), ("data_disk", "state"))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            yield connection
    except (sqlite3.Error, ValueError) as error:
        raise Unavailable(f"The catalog cannot be read: {error}.", "Put a copy of it back, or restore a backup.") from error


def figures(path: Path) -> dict[str, Any]:
    """Version, schema, rows of each table, states and the last events; no row of anybody's. Raises Unavailable."""
    with _reading(path) as connection:
        schema = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
        events = connection.execute(
            "SELECT at, level, kind, class_name, message, json_extract(data, '$.hint') FROM event ORDER BY id DESC LIMIT ?", (EVENTS,)
        ).fetchall()
        options = {name: json.loads(value) for name, value in connection.execute("SELECT name, value FROM option")}
        return {
            "options": {name: value if isinstance(value, bool | int) else bool(value) for name, value in options.items()},
            "version": connection.execute("PRAGMA user_version").fetchone()[0],
            "rows": {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name, _ in schema},  # noqa: S608
            "states": {table: dict(connection.execute(f"SELECT {by}, count(*) FROM {table} GROUP BY {by}")) for table, by in GROUPED},  # noqa: S608
            "events": [dict(zip(("at", "level", "kind", "class", "message", "hint"), row, strict=True)) for row in reversed(events)],
            "schema": dict(schema),
        }


def secrets(path: Path) -> set[str]:
    """Every value of the catalog that must not be told. Raises Unavailable."""
    with _reading(path) as connection:
        found = set()
        for table, columns in SECRET.items():
            for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table}"):  # noqa: S608 - names of our own
                found |= {str(value) for value in row if value}
        for name, value in connection.execute("SELECT name, value FROM option"):
            found |= set(leaves(json.loads(value), secret=bool(SECRET_NAME.search(name))))
        return found


def leaves(value: Any, *, secret: bool) -> Iterator[str]:
    """The texts in a plain value that lie below a name which says that they are secrets."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, secret=secret or bool(SECRET_NAME.search(name)))
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one, secret=secret)
    elif secret and isinstance(value, str) and value:
        yield value


def people(path: Path) -> list[tuple[int, tuple[str, ...]]]:
    """Every account's number, and the names by which it is known. Raises Unavailable."""
    with _reading(path) as connection:
        rows = connection.execute(f"SELECT id, {', '.join(PERSONAL)} FROM account ORDER BY id").fetchall()  # noqa: S608
        return [(row[0], tuple(value for value in row[1:] if value)) for row in rows]
