"""What SQLite is asked, and how it goes about it: for tests that hold in a catalog of any size."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from appliance.catalog import database

Statement = tuple[str, tuple[Any, ...]]

# Tables that grow: with the machines alive, or with all that ever was. A class, a seed, an option is one of few.
GROWING = ("machine", "lease", "request", "event", "session", "run", "step", "todo", "name_suffix")
# Indexes of what is alive, or in trouble, and of nothing else.
FEW = (
    "event_trouble",
    "machine_live",
    "machine_alive",
    "machine_class_alive",
    "machine_slot",
    "machine_door",
    "lease_live",
    "lease_account",
    "lease_ends",
    "request_waiting",
    "request_pending",
    "todo_open",
    "run_live",
    "run_one",
)


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Statement]]:
    """The statements that are run meanwhile, in this thread and others."""
    seen: list[Statement] = []
    run = database.db.execute_sql

    def note(sql: str, params: Any = None, *rest: Any) -> Any:
        seen.append((sql, tuple(params or ())))
        return run(sql, params, *rest)  # type: ignore[no-untyped-call]

    with monkeypatch.context() as patch:
        patch.setattr(database.db, "execute_sql", note)
        yield seen


def scans(seen: list[Statement]) -> list[str]:
    """The statements that read a growing table from one end to the other."""
    found = []
    for sql, params in dict.fromkeys(seen):
        if not re.match(r"\s*(SELECT|WITH|UPDATE|DELETE|INSERT)\b", sql):
            continue
        names = {alias: table for table, alias in re.findall(r'"?(\w+)"? AS "?(\w+)"?', sql)}
        for *_, step in database.rows(f"EXPLAIN QUERY PLAN {sql}", params):
            if read := re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step):
                table, index = names.get(read[1], read[1]), read[2]
                page = " WHERE " not in sql and " LIMIT " in sql  # ends by itself
                if table in GROWING and index not in FEW and not page:
                    found.append(f"{step}: {' '.join(sql.split())}")
    return found
