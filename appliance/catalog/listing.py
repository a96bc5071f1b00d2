"""Lists, a page at a time: sorted by one of a few columns, and continued after the last row that was seen ("keyset" or "seek" paging).

A page costs the same however far down it is, and rows that come or go meanwhile move no other row onto another page.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from typing import Any, Generic, TypeVar

from peewee import SQL, fn

from appliance.catalog.database import rows
from appliance.catalog.grants import Scope
from appliance.catalog.models import Account

R = TypeVar("R")

Value = str | int | float
Cursor = tuple[Value, Value]  # what the last row was sorted by, and its key


@dataclass(frozen=True)
class Window:
    """Which part of a list is wanted: sorted by the column with this name, the rows after `after`, so many, without the first `skip`."""

    sort: str
    descending: bool = False
    after: Cursor | None = None
    size: int = 50
    skip: int = 0


@dataclass(frozen=True)
class Page(Generic[R]):
    """Rows of a list, where the next ones begin (None: these are the last), and how many there are where that is cheap to say."""

    rows: list[R] = field(default_factory=list)
    following: Cursor | None = None
    total: int | None = None


def page(query: Any, key: Any, sorts: Mapping[str, Any], window: Window, *, count: bool = False) -> Page[Any]:
    """One page of a query of a model. `key` is its primary key, `sorts` what may be sorted by: expressions that are never NULL.

    Rows with the same value are in the order of their keys, so that none is shown twice and none is left out. `count` also counts
    all that the query finds. Raises KeyError for a column that cannot be sorted by.
    """
    sort, down = sorts[window.sort], window.descending
    columns = (key,) if sort is key else (sort, key)
    # Raw values: what a cursor holds is compared as the catalog has it.
    keys = query.select(key, sort).order_by(*(column.desc() if down else column.asc() for column in columns))
    if window.after is not None:
        keys = keys.where(_beyond(sort, key, window.after, down=down))
    found = rows(*keys.limit(window.size + 1).offset(window.skip or None).sql())
    last = found[window.size - 1] if len(found) > window.size else None
    wanted = [row[0] for row in found[: window.size]]
    by_key = {getattr(row, key.name): row for row in query.where(key.in_(wanted))} if wanted else {}
    total: int | None = rows(*query.select(fn.COUNT(key)).sql())[0][0] if count else None
    return Page([by_key[one] for one in wanted if one in by_key], (last[1], last[0]) if last else None, total)


def _beyond(sort: Any, key: Any, after: Cursor, *, down: bool) -> Any:
    value, last = (SQL("?", [one]) for one in after)
    later = key < last if down else key > last
    if sort is key:
        return later
    # The first condition is what an index can begin at.
    return (sort <= value) & ((sort < value) | later) if down else (sort >= value) & ((sort > value) | later)


def page_of(found: Iterable[R], key: Callable[[R], Value], sorts: Mapping[str, Callable[[R], Value]], window: Window) -> Page[R]:
    """The same of rows that are at hand, few as they are: all that were found, in any order."""
    sort, down = sorts[window.sort], window.descending

    def place(row: R) -> Cursor:
        return sort(row), key(row)

    def beyond(row: R) -> bool:
        if window.after is None:
            return True
        try:
            return place(row) < window.after if down else place(row) > window.after
        except TypeError:  # somebody wrote an address of their own
            return True

    everything = sorted(found, key=place, reverse=down)
    rest = [row for row in everything if beyond(row)][window.skip :]
    return Page(rest[: window.size], place(rest[window.size - 1]) if len(rest) > window.size else None, len(everything))


def every(find: Callable[[Window], Page[R]], window: Window, size: int = 500) -> Iterator[R]:
    """All rows from a window on, read a page at a time: no transaction is held while somebody takes them slowly."""
    after = window.after
    while True:
        found = find(replace(window, after=after, size=size, skip=0))
        yield from found.rows
        if found.following is None:
            return
        after = found.following


def within(reach: Scope, class_name: Any = None, unit: Any = None) -> Any:
    """The condition that a row is within reach, by its class or its org unit; None when all are."""
    if reach.everything:
        return None
    found = SQL("0")
    if class_name is not None:
        found = found | class_name.in_(sorted(reach.classes))
    if unit is not None:
        found = found | unit.in_(sorted(reach.units))
    return found


def narrowed(query: Any, *conditions: Any) -> Any:
    """The query with those of the conditions that are not None."""
    given = [condition for condition in conditions if condition is not None]
    return query.where(*given) if given else query


def has(text: str, *columns: Any) -> Any:
    """The condition that one of the columns has the text in it, in small letters or capitals; None when there is no text."""
    if not text:
        return None
    if text.isascii():
        return reduce(or_, (column.contains(text) for column in columns))
    return reduce(or_, (fn.CASEFOLD(column).contains(text.casefold()) for column in columns))


def text_of(column: Any) -> Any:
    """How text is sorted: as if all letters were small; what is missing comes first."""
    return fn.LOWER(fn.COALESCE(column, ""))


OWNER = text_of(Account.name)
