"""The append-only record of everything that happened."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from peewee import SQL

from appliance.catalog.database import rows
from appliance.catalog.models import Event, Level, now, stamp


@dataclass(frozen=True)
class Actor:
    """Who does something, and from which address; the engine itself has no account."""

    name: str
    account_id: int | None = None
    address: str = ""
    is_admin: bool = False


ENGINE = Actor("engine")


def record(
    kind: str,
    message: str,
    actor: Actor = ENGINE,
    *,
    level: Level = Level.INFO,
    account_id: int | None = None,
    class_name: str | None = None,
    machine_id: str | None = None,
    seed_id: int | None = None,
    **data: Any,
) -> None:
    """Write one event. Call it inside the `write()` that makes the change it records."""
    # Written as SQL: it is part of every claim, where putting the statement together would cost more than running it.
    rows(
        """
        INSERT INTO event (at, kind, level, message, actor, address, account_id, class_name, machine_id, seed_id, data)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            stamp(now()),
            kind,
            level.value,
            message,
            actor.name,
            actor.address,
            account_id if account_id is not None else actor.account_id,
            class_name,
            machine_id,
            seed_id,
            json.dumps(data, separators=(",", ":")),
        ),
    )


def page(
    *,
    before: int | None = None,
    limit: int = 50,
    machine_id: str | None = None,
    kind: str = "",
    text: str = "",
    levels: Iterable[Level] = (),
) -> list[Event]:
    """Events, newest first, older than id `before`; `kind` is what stands before the dot, `text` is looked for in message, actor and class."""
    query = Event.select().order_by(Event.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Event.id < before)
    if machine_id is not None:
        query = query.where(Event.machine_id == machine_id)
    if kind:
        query = query.where(SQL("substr(kind, 1, instr(kind, '.') - 1) = ?", [kind]))  # as in the index event_area
    if text:
        query = query.where(Event.message.contains(text) | Event.actor.contains(text) | Event.class_name.contains(text))
    if levels := list(levels):
        query = query.where(SQL("level <> 'info'"), Event.level.in_(levels))
    return list(query)
