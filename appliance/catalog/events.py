"""The append-only record of everything that happened, each line chained to the one before it."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import SQL, ModelSelect

from appliance import tracing
from appliance.catalog import listing
from appliance.catalog.database import db, rows
from appliance.catalog.event_kinds import Area, EventKind
from appliance.catalog.listing import Page, Window
from appliance.catalog.models import Event, Level, now, stamp


@dataclass(frozen=True)
class Actor:
    """Who does something, and from which address; the engine itself has no account."""

    name: str
    account_id: int | None = None
    address: str = ""


ENGINE = Actor("engine")


def record(
    kind: EventKind,
    message: str,
    actor: Actor = ENGINE,
    *,
    level: Level | None = None,
    account_id: int | None = None,
    class_name: str | None = None,
    machine_id: str | None = None,
    seed_id: int | None = None,
    object: str = "",
    **data: Any,
) -> None:
    """Write one event. Call it inside the `write()` that makes the change it records.

    `level` is the kind's own unless it is worse, or not so bad, this time. `object` is what it happened to, like `account:ada`; machine,
    seed and class say so by themselves. Of a change, give `before` and `after`, each a dict of the same names.
    What is done for a request has its id in the data, as `request`.
    """
    kind = EventKind(kind)
    if asked := tracing.current.get():
        data["request"] = asked
    # The chain is only one when nobody writes between reading its end and adding to it.
    assert db.in_transaction(), "an event is written inside write()"
    # Written as SQL: it is part of every claim, where putting the statement together would cost more than running it.
    line = (
        stamp(now()),
        kind.value,
        (level or kind.level).value,
        message,
        actor.name,
        actor.address,
        account_id if account_id is not None else actor.account_id,
        class_name,
        machine_id,
        seed_id,
        json.dumps(data, separators=(",", ":")),
        object or _object(machine_id, seed_id, class_name),
    )
    rows(f"INSERT INTO event ({LINE}, hash) VALUES ({PLACES}, ?)", (*line, link(_end(), line)))  # noqa: S608


# What a line is, in the order in which its hash is taken.
LINE = "at, kind, level, message, actor, address, account_id, class_name, machine_id, seed_id, data, object"
PLACES = ", ".join("?" * len(LINE.split(",")))


def _object(machine_id: str | None, seed_id: int | None, class_name: str | None) -> str:
    for kind, key in (("machine", machine_id), ("seed", seed_id), ("class", class_name)):
        if key is not None:
            return f"{kind}:{key}"
    return ""


# -- the chain ---------------------------------------------------------------------------


def link(previous: str, line: Iterable[Any]) -> str:
    """The hash of a line: SHA-256 over the hash before it, a newline, and the line's values as a JSON list."""
    return hashlib.sha256(f"{previous}\n{json.dumps(list(line), separators=(',', ':'))}".encode()).hexdigest()


def _end() -> str:
    """The hash of the last line."""
    last = rows("SELECT hash FROM event ORDER BY id DESC LIMIT 1")
    if not last or last[0][0]:
        return str(last[0][0]) if last else ""
    # Only lines from before there were hashes: the first that has one vouches for all of them.
    hash = ""
    for _id, _hash, *line in _lines():
        hash = link(hash, line)
    return hash


def _lines(after: int = 0) -> Iterator[tuple[Any, ...]]:
    """Every line as (id, hash, values ...), oldest first, a few thousand at a time."""
    while found := rows(f"SELECT id, hash, {LINE} FROM event WHERE id > ? ORDER BY id LIMIT 5000", (after,)):  # noqa: S608
        yield from found
        after = found[-1][0]


@dataclass(frozen=True)
class Chain:
    """What a look at the whole record found: how many lines, the first that has a hash, the last and its hash, and what is wrong."""

    lines: int
    first: int
    last: int
    hash: str
    problems: list[str]


MANY = 20  # problems, after which one need not look for more


def verify() -> Chain:
    """Check every line's hash against the line before it. A changed, removed or added line shows."""
    before, hash, count, chained = 0, "", 0, 0
    problems: list[str] = []
    # Asked first: whatever is written meanwhile is no gap at the end.
    ever = rows("SELECT seq FROM sqlite_sequence WHERE name = 'event'")
    for id, stored, *line in _lines():
        expected, gap = link(hash, line), id != before + 1
        if gap:
            problems.append(_missing(before + 1, id - 1))
        if stored and stored != expected and not gap:
            problems.append(f"Line {id} was changed, or a line before it." if not chained else f"Line {id} is not as it was written.")
        elif not stored and chained:
            problems.append(f"Line {id} was added by something else than the appliance.")
        chained = chained or (id if stored else 0)
        before, hash, count = id, stored or expected, count + 1
        if len(problems) >= MANY:
            problems.append("There may be more; the search ends here.")
            return Chain(count, chained, before, hash, problems)
    if ever and ever[0][0] > before:
        problems.append(_missing(before + 1, ever[0][0]))
    return Chain(count, chained, before, hash, problems)


def _missing(first: int, last: int) -> str:
    return f"Line {first} is missing." if first == last else f"Lines {first} to {last} are missing."


# -- reading -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Search:
    """Which events are looked for; what is empty does not matter.

    `text` is looked for in message, actor, object and class, `since` is included and `until` is not.
    """

    area: Area | None = None
    text: str = ""
    levels: tuple[Level, ...] = ()
    machine_id: str | None = None
    actor: str = ""
    address: str = ""
    object: str = ""
    since: datetime | None = None
    until: datetime | None = None


WORD = "substr(kind, 1, instr(replace(kind, '_', '.') || '.', '.') - 1)"  # as in the index event_area


def _found(search: Search) -> "ModelSelect[Event]":
    query = Event.select()
    if search.area is not None:
        words = search.area.words
        query = query.where(SQL(f"{WORD} IN ({', '.join('?' * len(words))})", list(words)))
    if text := search.text:
        query = query.where(
            Event.message.contains(text) | Event.actor.contains(text) | Event.class_name.contains(text) | Event.object.contains(text)
        )
    if search.levels:
        query = query.where(SQL("level <> 'info'"), Event.level.in_(search.levels))  # the first as in the index event_trouble
    for column in ("machine_id", "actor", "address", "object"):
        if value := getattr(search, column):
            query = query.where(getattr(Event, column) == value)
    if search.since is not None:
        query = query.where(Event.at >= search.since)
    if search.until is not None:
        query = query.where(Event.at < search.until)
    return query


SORTS: dict[str, Any] = {"at": Event.id}


def page(window: Window, **search: Any) -> Page[Event]:
    """Events, a page at a time; the other arguments are those of `Search`."""
    return listing.page(_found(Search(**search)), Event.id, SORTS, window)


def list_events(*, before: int | None = None, limit: int = 50, **search: Any) -> list[Event]:
    """Events, newest first, older than id `before`; the other arguments are those of `Search`."""
    query = _found(Search(**search)).order_by(Event.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Event.id < before)
    return list(query)


def every(*, after: int = 0, batch_size: int = 1000, **search: Any) -> Iterator[Event]:
    """All events, oldest first, from the one after id `after`; the other arguments are those of `Search`."""
    while found := list(_found(Search(**search)).where(Event.id > after).order_by(Event.id).limit(batch_size)):
        yield from found
        after = found[-1].id


def of_kinds(
    kinds: Iterable[EventKind], since: datetime, *, class_name: str | None = None, machine_id: str | None = None, limit: int = 100
) -> list[tuple[datetime, EventKind]]:
    """When the last events of some kinds were since a time, of a class or a machine when one is given; oldest first."""
    chosen = list(kinds)
    words = sorted({word for kind in chosen for word in kind.area.words})
    index, whose = "event_machine", "machine_id = ?4"
    if machine_id is None:
        index, whose = "event_area", f"{WORD} IN (SELECT value FROM json_each(?4))"  # noqa: S608 - a constant
    found = rows(
        f"""
        SELECT at, kind FROM event INDEXED BY {index} WHERE {whose} AND kind IN (SELECT value FROM json_each(?1)) AND at >= ?2
        AND (?3 IS NULL OR class_name = ?3) ORDER BY +id DESC LIMIT ?5
        """,  # noqa: S608 - both are constants
        (json.dumps(chosen), stamp(since), class_name, json.dumps(words) if machine_id is None else machine_id, limit),
    )
    return [(datetime.fromisoformat(at), EventKind(kind)) for at, kind in reversed(found)]


def described(event: Event) -> dict[str, Any]:
    """An event as others are told of it, by webhooks, the API and listeners of other packages."""
    return {
        "id": event.id,
        "at": event.at.isoformat(timespec="seconds"),
        "kind": event.kind,
        "level": event.level.value,
        "message": event.message,
        "actor": event.actor,
        "address": event.address,
        "class": event.class_name,
        "machine": event.machine_id,
        "seed": event.seed_id,
        "object": event.object,
        "data": event.data,
    }


def last_id() -> int:
    """The number of the last line; 0 when there is none."""
    last: int = rows("SELECT coalesce(max(id), 0) FROM event")[0][0]
    return last
