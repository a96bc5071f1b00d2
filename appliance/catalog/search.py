"""Things by their names: what somebody looks for, of each kind, within reach. Bounded, whatever there is."""

import json
from dataclasses import dataclass
from typing import Any

from appliance.catalog.database import rows
from appliance.catalog.grants import Scope

TERMS = 3  # words of a text that are looked for one by one; what follows the last goes with it


@dataclass(frozen=True)
class Match:
    """A thing that was found. `words` are what it is found by besides its name, a line each; `detail` is its state, title, full name or parent."""

    kind: str
    id: Any
    name: str
    words: str
    detail: str
    owner: str = ""


@dataclass(frozen=True)
class _Source:
    """How things of a kind are asked for, in SQL. Whoever asks, ?1 is whether their reach is everything, ?2 are its org units, ?3 its classes."""

    table: str
    name: str
    within: str
    id: str = "id"
    words: str = "''"
    detail: str = "''"
    owner: str = "NULL"
    there: str = "1"
    exact: str = ""  # finds one by its full name at once, ?9; only where there are many
    order: str = ""  # in which they are gone through without sorting


UNITS, CLASSES = "SELECT value FROM json_each(?2)", "SELECT value FROM json_each(?3)"
TITLE = "coalesce(json_extract(spec, '$.title'), '')"
SOURCES = {
    "machine": _Source(
        "machine INDEXED BY machine_alive", "name", f"(class_name IN ({CLASSES}) OR owner_id IN (SELECT id FROM account WHERE org_unit_id IN ({UNITS})))",  # noqa: S608 - words of our own
        detail="state", owner="owner_id", there="state <> 'retired'", order="number DESC",
        exact="number = CAST(substr(?9, length(rtrim(?9, '0123456789')) + 1) AS INTEGER)",  # with which its name ends
    ),
    "account": _Source(
        "account", "name", f"org_unit_id IN ({UNITS})", words="full_name || char(10) || email", detail="full_name", exact="name = ?9", order="name",
    ),
    "group": _Source("people_group", "name", f"org_unit_id IN ({UNITS})", words="about", detail="about"),
    "unit": _Source(
        "org_unit", "name", f"id IN ({UNITS})", detail="coalesce((SELECT name FROM org_unit AS above WHERE above.id = org_unit.parent_id), '')",
    ),
    "class": _Source(
        "class", "name", f"name IN ({CLASSES})", id="name", words=TITLE, detail=TITLE,
    ),
    "seed": _Source("seed", "class_name || ' v' || version", f"class_name IN ({CLASSES})", detail="state"),
}  # fmt: skip


def _select(source: _Source, where: str, order: str) -> str:
    """All of a kind's that are so, as far as ?8; ?1 to ?9 are those of `find`."""
    return f"""
        SELECT found.id, found.name, found.words, found.detail, coalesce(owner.name, '') FROM (
            SELECT {source.id} AS id, {source.name} AS name, {source.words} AS words, {source.detail} AS detail, {source.owner} AS owner
            FROM {source.table} WHERE {source.there} AND (?1 OR {source.within}) AND {where} AND ?9 IS NOT NULL ORDER BY {order} LIMIT ?8
        ) AS found LEFT JOIN account AS owner ON owner.id = found.owner
    """  # noqa: S608 - words of our own


def _ranked(source: _Source) -> str:
    """Whatever has all of the terms in it: first what is called just so, then what begins like that, then what has a word that does."""
    hay = f"({source.name} || ' ' || {source.words})" if source.words != "''" else source.name
    begins = " OR ".join(f"{hay} LIKE '%{mark}' || ?4 || '%' ESCAPE '\\'" for mark in (" ", "-", ".", "\\_"))
    rank = f"""
        CASE WHEN {source.name} LIKE ?4 ESCAPE '\\' OR {source.words} LIKE ?4 ESCAPE '\\' THEN 0
        WHEN {source.name} LIKE ?4 || '%' ESCAPE '\\' OR {source.words} LIKE ?4 || '%' ESCAPE '\\' THEN 1 WHEN {begins} THEN 2 ELSE 3 END
    """
    # Of the terms that are none, rows that are many are not put together to be asked for.
    where = " AND ".join(f"(?{5 + number} = '%%' OR {hay} LIKE ?{5 + number} ESCAPE '\\')" for number in range(TERMS))
    return _select(source, where, f"{rank}, length({source.name}), {source.name}")


_RANKED = {kind: _ranked(source) for kind, source in SOURCES.items()}
# Where there are many, the first few that begin like that are found without looking at all of them.
_FIRST = {
    kind: (
        _select(source, f"{source.exact} AND {source.name} LIKE ?4 ESCAPE '\\'", source.order),
        _select(source, f"{source.name} LIKE ?4 || '%' ESCAPE '\\'", source.order),
    )
    for kind, source in SOURCES.items()
    if source.exact
}


def find(kind: str, text: str, reach: Scope, limit: int) -> list[Match]:
    """Things of a kind within reach whose name, or what is found with it, has each word of the text in it; the best first.

    Case does not count. Letters beyond ASCII are any letter here, as SQLite knows no case of them: whoever asks looks once more.
    """
    if not text or not reach:
        return []
    terms = [*text.split(" ", TERMS - 1), *[""] * TERMS][:TERMS]
    parameters = (
        int(reach.everything), json.dumps(sorted(reach.units)), json.dumps(sorted(reach.classes)), _pattern(text),
        *(f"%{_pattern(term)}%" for term in terms), limit, text,
    )  # fmt: skip
    found: dict[Any, Match] = {}
    for sql in (*_FIRST.get(kind, ()), _RANKED[kind]):
        if len(found) < limit:
            for id, *rest in rows(sql, parameters):
                found.setdefault(id, Match(kind, id, *rest))
    return list(found.values())[:limit]


def names(kind: str, reach: Scope) -> list[str]:
    """What all things of a kind within reach are called."""
    source = SOURCES[kind]
    sql = f"SELECT {source.name} FROM {source.table} WHERE {source.there} AND (?1 OR {source.within}) AND ?3 IS NOT NULL"  # noqa: S608
    return [row[0] for row in rows(sql, (int(reach.everything), json.dumps(sorted(reach.units)), json.dumps(sorted(reach.classes))))]


def _pattern(text: str) -> str:
    """The text as LIKE takes it: itself and nothing else, but for case."""
    return "".join("_" if ord(letter) > 127 else f"\\{letter}" if letter in "\\%_" else letter for letter in text)
