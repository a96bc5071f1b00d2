"""Things by their names: what somebody looks for, of each kind, within reach. It costs the same, however many there are.

The catalog has of every name each suffix (`name_suffix`, migration 34): what has a text in it is a range of that table, and the best stand in front.
Rows are read until there are enough.
"""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import chain, product
from typing import Any

from appliance.catalog.database import rows, stream
from appliance.catalog.grants import Scope

SUFFIX = 20  # characters of one that the table has
FEW = 300  # things within reach are gone through one by one; of more, those that the text finds are asked whether they are within
UNSURE = 3  # letters beyond ASCII are looked for in either case; what follows these is asked of what was found
LAST = "\U0010ffff"  # comes after every letter
_LETTER = re.compile(r"ss|s\Z|.", re.IGNORECASE | re.DOTALL)  # ss, and the s that was typed last, may be a ß


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
    thing: str = "id"  # what the table of suffixes knows it by
    words: str = "''"
    detail: str = "''"
    owner: str = "''"
    there: str = "1"
    all_within: str = ""  # those within reach, where what says whether one is does not find them


UNITS, CLASSES = "SELECT value FROM json_each(?2)", "SELECT value FROM json_each(?3)"
TITLE = "coalesce(json_extract(spec, '$.title'), '')"
SOURCES = {
    "machine": _Source(
        "machine", "name", f"(class_name IN ({CLASSES}) OR owner_id IN (SELECT id FROM account WHERE org_unit_id IN ({UNITS})))",  # noqa: S608 - words of our own
        thing="number", detail="state", owner="coalesce((SELECT name FROM account WHERE account.id = machine.owner_id), '')",
        there="state <> 'retired'",
        all_within=f"""
            SELECT number AS thing FROM machine WHERE class_name IN ({CLASSES}) AND state <> 'retired'
            UNION ALL SELECT machine.number FROM account JOIN machine ON machine.owner_id = account.id
            WHERE account.org_unit_id IN ({UNITS}) AND machine.state <> 'retired'
        """,  # noqa: S608
    ),
    "account": _Source("account", "name", f"org_unit_id IN ({UNITS})", words="full_name || char(10) || email", detail="full_name"),
    "group": _Source("people_group", "name", f"org_unit_id IN ({UNITS})", words="about", detail="about"),
    "unit": _Source(
        "org_unit", "name", f"id IN ({UNITS})", detail="coalesce((SELECT name FROM org_unit AS above WHERE above.id = org_unit.parent_id), '')",
    ),
    "class": _Source("class", "name", f"name IN ({CLASSES})", id="name", thing="name", words=TITLE, detail=TITLE),
    "seed": _Source("seed", "class_name || ' v' || version", f"class_name IN ({CLASSES})", detail="state"),
}  # fmt: skip

# What has a suffix in one of the ranges ?6, each a tier, the first and the last of it; one range after the other.
_FOUND = """
    SELECT suffix.thing FROM json_each(?6) AS one CROSS JOIN name_suffix AS suffix
    ON suffix.kind = ?5 AND suffix.tier = one.value ->> 0 AND suffix.suffix >= one.value ->> 1 AND suffix.suffix <= one.value ->> 2
"""
_COUNT = f"SELECT count(*) FROM ({_FOUND} LIMIT {FEW})"  # noqa: S608 - words of our own


def _select(source: _Source, place: str, within: str) -> str:
    """Things of a kind that have all patterns of ?4 in what they are found by."""
    hay = f"({source.name} || ' ' || {source.words})"
    return f"""
        SELECT {source.table}.{source.id}, {source.name}, {source.words}, {source.detail}, {source.owner}
        FROM {place} WHERE {source.there} AND {within}
        AND NOT EXISTS (SELECT 1 FROM json_each(?4) AS term WHERE {hay} NOT LIKE term.value ESCAPE '\\')
    """  # noqa: S608 - words of our own


def _by_suffix(source: _Source) -> str:
    place = f"({_FOUND}) AS found CROSS JOIN {source.table} ON {source.table}.{source.thing} = found.thing"
    return _select(source, place, f"(?1 OR {source.within})")


_BY_SUFFIX = {kind: _by_suffix(source) for kind, source in SOURCES.items()}
_ALL_WITHIN = {
    kind: source.all_within or f"SELECT {source.thing} AS thing FROM {source.table} WHERE {source.within}"  # noqa: S608 - words of our own
    for kind, source in SOURCES.items()
}
_WITHIN = {kind: _select(source, source.table, f"{source.thing} IN ({_ALL_WITHIN[kind]})") for kind, source in SOURCES.items()}
_MANY = {
    kind: f"SELECT count(*) FROM (SELECT 1 FROM ({within}) WHERE ?3 IS NOT NULL LIMIT {FEW + 1})"  # noqa: S608 - words of our own
    for kind, within in _ALL_WITHIN.items()
}


def rank(text: str, name: str, words: str = "") -> int | None:
    """How well a name, or what it is found by besides, fits: 0 just so, 1 it begins like that, 2 a word of it does, 3 anywhere, None not."""
    wanted, called = text.casefold(), [name.casefold(), *words.casefold().split("\n")]
    hay = " ".join(called)
    if not wanted or not all(term in hay for term in wanted.split()):
        return None
    if wanted in called:
        return 0
    if any(one.startswith(wanted) for one in called):
        return 1
    return 2 if re.search(rf"(?<![^\W_]){re.escape(wanted)}", hay) else 3


def find(kind: str, text: str, reach: Scope, limit: int) -> list[Match]:
    """Things of a kind within reach whose name, or what is found with it, has each word of the text in it; the best first. Case does not count."""
    terms = text.split()
    if not terms or not reach or "\x00" in text:
        return []
    patterns = json.dumps([f"%{_pattern(term)}%" for term in terms])
    parameters = (int(reach.everything), json.dumps(sorted(reach.units)), json.dumps(sorted(reach.classes)))
    if not reach.everything and rows(_MANY[kind], parameters)[0][0] <= FEW:
        return _best(kind, text, rows(_WITHIN[kind], (*parameters, patterns)), limit)
    ranges = _ranges(text) if len(terms) == 1 else [*_ranges(text), *_rarest(kind, terms)]
    found: dict[Any, Match] = {}
    with closing(stream(_BY_SUFFIX[kind], (*parameters, patterns, kind, json.dumps(ranges)))) as read:
        for id, *rest in read:
            if id not in found and rank(text, *rest[:2]) is not None:
                found[id] = Match(kind, id, *rest)
                if len(found) == limit:
                    break
    return list(found.values())


def _best(kind: str, text: str, found: list[tuple[Any, ...]], limit: int) -> list[Match]:
    """Of few, those that fit, the best first."""
    ranked = [(rank(text, *rest[:2]), Match(kind, id, *rest)) for id, *rest in found]
    fitting = sorted((place, len(match.name), match.name, number) for number, (place, match) in enumerate(ranked) if place is not None)
    return [ranked[number][1] for *_, number in fitting[:limit]]


def names(kind: str, reach: Scope) -> list[str]:
    """What all things of a kind within reach are called."""
    source = SOURCES[kind]
    sql = f"SELECT {source.name} FROM {source.table} WHERE {source.there} AND (?1 OR {source.within}) AND ?3 IS NOT NULL"  # noqa: S608
    return [row[0] for row in rows(sql, (int(reach.everything), json.dumps(sorted(reach.units)), json.dumps(sorted(reach.classes))))]


Range = tuple[int, str, str]


def _ranges(text: str) -> list[Range]:
    """Where a text is in the table of suffixes: first what it is all of, then what begins with it, then words, then what is within one."""
    begins = _either_case(text)
    exact: list[Range] = [(1, one, one) for one in begins] if len(begins) > 1 else []  # of one they come first by themselves
    return exact + [(tier, one, one + LAST) for tier in (1, 2, 3) for one in begins]


def _rarest(kind: str, terms: list[str]) -> list[Range]:
    """Where those are that have one of the words: the one that the fewest things have."""
    each = [_ranges(term) for term in sorted(set(terms), key=len, reverse=True)]
    return min(each, key=lambda ranges: rows(_COUNT, (0, "", "", "", kind, json.dumps(ranges)))[0][0])


def _either_case(text: str) -> list[str]:
    """What a text begins with, in each way it may be written: SQLite itself knows the case of ASCII letters only."""
    ways: list[tuple[str, ...]] = []
    for letter, sure in _letters(text[:SUFFIX]):
        alike = () if sure else (letter, *_alike()["ss"][1:]) if letter in "sS" else _alike().get(letter.casefold(), ())
        if len(alike) > 1 and sum(len(way) > 1 for way in ways) == UNSURE:
            break
        ways.append(alike or (letter,))
    return ["".join(one) for one in product(*ways)]


def _letters(text: str) -> Iterator[tuple[str, bool]]:
    """The letters of a text, and of each whether SQLite knows all ways to write it."""
    for place in _LETTER.finditer(text):
        last = place[0] in "sS" and place.end() == len(text)
        yield place[0], place[0].isascii() and len(place[0]) == 1 and not last


@cache
def _alike() -> dict[str, tuple[str, ...]]:
    """Letters beyond ASCII that differ in case alone, by what they are without it: of ß that is ss."""
    found: dict[str, tuple[str, ...]] = {}
    for letter in map(chr, chain(range(0x80, 0x3000), range(0xA640, 0xAC00), range(0xFF21, 0xFF5B), range(0x10400, 0x10450))):
        plain = letter.casefold()
        found[plain] = (*found.get(plain, (plain,) if plain != letter else ()), letter)
    return {plain: tuple(dict.fromkeys(letters)) for plain, letters in found.items()}


def _pattern(text: str) -> str:
    """The text as LIKE takes it: itself and nothing else, but for case. What may be written otherwise is anything: whoever asks looks once more."""
    return "".join("%" if not sure else f"\\{letter}" if letter in "\\%_" else letter for letter, sure in _letters(text))
