"""A look into a catalog's file that opens nothing, migrates nothing and changes nothing: for whoever must know when others do not work."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from appliance.errors import Unavailable
from appliance.language import SOURCE


@dataclass(frozen=True)
class ReadOnlyCatalog:
    """What the screen at the server says of the catalog. `states` is how many machines are in each state of their life."""

    set_up: bool
    title: str
    language: str
    states: dict[str, int]
    engine_seen: datetime | None
    hypervisor_problem: str


def read_only(path: Path) -> ReadOnlyCatalog:
    """Raises Unavailable when the file is no catalog that can be read."""
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=2)
        try:
            return _read(connection)
        finally:
            connection.close()
    except (sqlite3.Error, ValueError) as error:
        raise Unavailable(
            f"The catalog, which remembers everything, cannot be read: {error}.", "Restore a backup from the rescue page."
        ) from error


def _read(connection: sqlite3.Connection) -> ReadOnlyCatalog:
    def option(name: str) -> Any:
        found = connection.execute("SELECT value FROM option WHERE name = ?", (name,)).fetchone()
        return json.loads(found[0]) if found else None

    engine = connection.execute("SELECT seen_at, hypervisor_ok, hypervisor_problem FROM engine").fetchone()
    return ReadOnlyCatalog(
        set_up=bool(option("setup_done")),
        title=option("title") or (option("scenario") or {}).get("title", ""),
        language=option("language") or SOURCE,
        states=dict(connection.execute("SELECT state, count(*) FROM machine WHERE state != 'retired' GROUP BY state").fetchall()),
        engine_seen=datetime.fromisoformat(engine[0]) if engine else None,
        hypervisor_problem=engine[2] if engine and not engine[1] else "",
    )
