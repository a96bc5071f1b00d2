"""What is there and the catalog does not know: the rows of it, what else tells of it, and what is noted of that which is known."""

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from appliance.catalog import options
from appliance.catalog.database import rows
from appliance.catalog.models import Account, Aside, AsideKind, Seed, stamp

Key = tuple[AsideKind, str]


def everything() -> list[Aside]:
    """All that is set aside, machines first, the latest found first within a kind."""
    order = list(AsideKind)
    return sorted(Aside.select(Aside, Account).left_outer_join(Account), key=lambda one: (order.index(one.kind), one.name, one.number))


def by_number(number: int) -> Aside | None:
    found: Aside | None = Aside.get_or_none(Aside.number == number)
    return found


def keys() -> set[Key]:
    """Of all that is set aside."""
    return {(AsideKind(kind), id) for kind, id in rows("SELECT kind, id FROM aside")}


def machine_ids() -> set[str]:
    """Of the machines that are set aside."""
    return {row[0] for row in rows("SELECT id FROM aside WHERE kind = 'machine'")}


def count() -> int:
    """How many things are set aside."""
    found: int = rows("SELECT count(*) FROM aside")[0][0]
    return found


def is_base(name: str) -> bool:
    """Whether something that is set aside lies on the seed or snapshot of this name, or on a snapshot of the seed, which must stay as long as it does."""
    return bool(rows("SELECT 1 FROM aside WHERE substr(base || '/', 1, length(?1) + 1) = ?1 || '/' LIMIT 1", (name,)))


def slots(*, running: bool) -> set[int]:
    """Slots that machines set aside have: those that run, or those that stand still."""
    found = rows("SELECT slot, power FROM aside WHERE kind = 'machine' AND slot IS NOT NULL")
    return {slot for slot, power in found if (power in ("running", "paused")) == running}


def due_entries(moment: datetime) -> list[Aside]:
    """What an admin wants something done with, or whose time is over."""
    days = options.get("aside_days")
    over = f"OR (since IS NOT NULL AND julianday(?) - julianday(since) >= {days:d})" if days else ""
    chosen = rows(f"SELECT number FROM aside WHERE wish <> '' {over} ORDER BY number", (stamp(moment),) if days else ())  # noqa: S608
    return list(Aside.select().where(Aside.number.in_([row[0] for row in chosen])).order_by(Aside.number))


def forget(keys: Iterable[Key]) -> None:
    """These are no more there, or known by now; call it inside `write()`."""
    for kind, id in keys:
        Aside.delete().where(Aside.kind == kind, Aside.id == id).execute()


def settle(moment: datetime) -> None:
    """All that is in the list is set aside for good from now on; call it inside `write()`."""
    Aside.update(since=moment).where(Aside.since.is_null()).execute()


# -- what the catalog knows ---------------------------------------------------------------------------


def known(keys: Collection[Key]) -> set[Key]:
    """Those of these that the catalog knows in any way: as they are, or as something that was."""
    sql = {
        AsideKind.MACHINE: "SELECT id FROM machine WHERE id IN ({})",
        AsideKind.DATA_DISK: "SELECT id FROM data_disk WHERE id IN ({})",
        # The disk is there before the row, as long as the machine is.
        AsideKind.KEPT_DISK: "SELECT id FROM kept_disk WHERE id IN ({0}) UNION SELECT id FROM machine WHERE state <> 'retired' AND id IN ({0})",
        AsideKind.SEED: "SELECT class_name || '/' || version FROM seed WHERE class_name || '/' || version IN ({})",
        # One that is being taken has its name as soon as it is whole, and its row has it then.
        AsideKind.SNAPSHOT: """SELECT name FROM snapshot WHERE name IN ({0}) UNION SELECT seed.class_name || '/' || seed.version || '/snapshot-' || snapshot.id FROM snapshot JOIN seed ON seed.id = snapshot.seed_id
            WHERE seed.class_name || '/' || seed.version || '/snapshot-' || snapshot.id IN ({0})""",
    }
    found: set[Key] = set()
    for kind, query in sql.items():
        ids = [id for one, id in keys if one is kind]
        chosen = "SELECT value FROM json_each(?1)"
        if ids:
            found |= {(kind, row[0]) for row in rows(query.format(chosen), (json.dumps(ids),))}
    return found


def highest() -> int:
    """The largest number that a seed or a snapshot has."""
    found: int = rows("SELECT max((SELECT coalesce(max(id), 0) FROM seed), (SELECT coalesce(max(id), 0) FROM snapshot))")[0][0]
    return found


def number_above(number: int) -> None:
    """New machines get higher numbers than this, so that no name is given twice; call it inside `write()`."""
    changed = rows("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'machine' RETURNING seq", (number,))
    if not changed:
        rows("INSERT INTO sqlite_sequence (name, seq) VALUES ('machine', ?)", (number,))


def seed(class_name: str, version: int) -> Seed | None:
    """A seed by its class and version."""
    found: Seed | None = Seed.get_or_none(Seed.machine_class == class_name, Seed.version == version)
    return found


def account(id: int | None, name: str) -> int | None:
    """The account with both this number and this name: so it is the same as in an older or newer copy of this catalog."""
    found = rows("SELECT id FROM account WHERE id = ? AND name = ?", (id, name))
    return found[0][0] if found else None


# -- what is noted of it outside ------------------------------------------------------------------------

_OWNER = "LEFT JOIN account ON account.id ="
# By kind: the names of what is noted, and how it is asked for.
_LABELS: dict[AsideKind, tuple[str, str]] = {
    AsideKind.MACHINE: (
        "id name class account account_name seed slot snapshot vcpus memory memory_room disk made data",
        f"""SELECT machine.id, machine.name, machine.class_name, owner_id, account.name, seed.version, slot, snapshot_id, vcpus, memory - memory_more, memory_room, disk,
            machine.created_at, (SELECT data_disk.id FROM data_disk WHERE data_disk.machine_id = machine.id)
            FROM machine JOIN seed ON seed.id = machine.seed_id {_OWNER} owner_id WHERE machine.""",  # noqa: S608 - words of our own
    ),
    AsideKind.DATA_DISK: (
        "id name class account account_name disk made",
        f"""SELECT data_disk.id, data_disk.name, class_name, account_id, account.name, size, data_disk.created_at
            FROM data_disk {_OWNER} account_id WHERE data_disk.""",  # noqa: S608
    ),
    AsideKind.KEPT_DISK: (
        "id name class account account_name seed data disk until made",
        f"""SELECT kept_disk.id, machine_name, kept_disk.class_name, account_id, account.name, seed.version, data_id, size, until,
            kept_disk.created_at FROM kept_disk JOIN seed ON seed.id = kept_disk.seed_id {_OWNER} account_id WHERE kept_disk.""",  # noqa: S608
    ),
}
_THERE = {AsideKind.MACHINE: "state <> 'retired'", AsideKind.DATA_DISK: "state <> 'new'", AsideKind.KEPT_DISK: "state <> 'removing'"}


def labels() -> dict[Key, dict[str, Any]]:
    """What is to be noted, outside the catalog, of each machine and disk that it knows."""
    return {
        (kind, row[0]): dict(zip(names.split(), row, strict=True))
        for kind, (names, sql) in _LABELS.items()
        for row in rows(sql + _THERE[kind])
    }


def told_by(file: Path, keys: Collection[Key]) -> dict[Key, dict[str, Any]]:
    """What a copy of a catalog tells of these, as `labels` has it, and the identity of that; nothing when it cannot be read."""
    found: dict[Key, dict[str, Any]] = {}
    with (
        contextlib.suppress(sqlite3.Error, ValueError),
        contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=2)) as connection,
    ):
        lineage = connection.execute("SELECT value FROM option WHERE name = 'lineage'").fetchone()
        of = json.loads(lineage[0])["id"] if lineage else ""
        for kind, id in keys:
            if kind in _LABELS and (row := connection.execute(f"{_LABELS[kind][1]}id = ?", (id,)).fetchone()):
                found[kind, id] = {**dict(zip(_LABELS[kind][0].split(), row, strict=True)), "catalog": of}
    return found
