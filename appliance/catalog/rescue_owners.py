"""Who may rescue the appliance, read from the catalog's file by whoever must not depend on a catalog that opens: nothing is changed by it."""

import contextlib
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from appliance.catalog.grants import holders_sql
from appliance.errors import Unavailable
from appliance.language import SOURCE

PATIENCE = 2.0  # seconds for a catalog that somebody holds


@dataclass(frozen=True)
class Owner:
    """An owner of the appliance whose password is ours: its hash, and the secret of the one-time codes where those are asked for."""

    name: str
    password: str
    secret: str = ""
    step: int = 0
    recovery: tuple[str, ...] = ()


@dataclass(frozen=True)
class Keys:
    """What lets in: the owners, or as long as there are none, the setup code, of which this is the digest."""

    owners: tuple[Owner, ...]
    setup_code: str
    title: str
    language: str = SOURCE  # of the appliance


def read_owners(path: Path) -> Keys:
    """Raises Unavailable when the file is no catalog that can be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
            return _read(connection)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise Unavailable(f"The catalog cannot be read: {error}.", "Put a copy of it back, or restore a backup.") from error


def _read(connection: sqlite3.Connection) -> Keys:
    options = {name: json.loads(value) for name, value in connection.execute("SELECT name, value FROM option")}
    ids = [row[0] for row in connection.execute(*holders_sql(["owner"], None, None))]
    return Keys(
        owners=tuple(owner for id in ids if (owner := _owner(connection, id))),
        setup_code="" if options.get("setup_done") else str(options.get("setup_code", "")),
        title=str(options.get("title") or options.get("scenario", {}).get("title", "")),
        language=str(options.get("language", SOURCE)),
    )


def _owner(connection: sqlite3.Connection, id: int) -> Owner | None:
    name, password = connection.execute("SELECT name, password FROM account WHERE id = ?", (id,)).fetchone()
    if not password.startswith("$argon2"):  # the directory knows it, and we cannot ask that one
        return None
    codes = connection.execute("SELECT secret, step FROM second_factor WHERE account_id = ? AND confirmed_at IS NOT NULL", (id,)).fetchone()
    if codes is None:
        return Owner(name, password)
    spare = connection.execute("SELECT digest FROM recovery_code WHERE account_id = ?", (id,)).fetchall()
    return Owner(name, password, codes[0], codes[1], tuple(row[0] for row in spare))
