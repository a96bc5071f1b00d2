"""Lists: one component for all of them. A list is declared once, as a `List`: its columns, what it can be narrowed by, and what can be done to several
of its rows at once. `show` is what the request's address asks of it, `templates/_lists.html` draws that, and `bulk` does a verb to the chosen rows.

The state of a list is its address: what it is narrowed by and sorted by, the columns, and where the page begins. A view that somebody saves is a
name for the query of that address.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from flask import flash, jsonify, redirect, render_template, request, stream_with_context, url_for
from flask_login import current_user
from pydantic import BaseModel, Field, ValidationError
from werkzeug.wrappers import Response

from appliance.catalog import Actor, SavedView, listing, now
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Cursor, Page, Window
from appliance.errors import Conflict, DpeError, NotAllowed, NotFound
from appliance.language import Written
from appliance.services import classes, csv_export, saved_views
from webui import forms, language
from webui.format import plural, zone
from webui.forms import CHECKS, Form, Ticked
from webui.guard import actor, row_number

LONGEST = 100  # characters of what a list is narrowed by
MOST = 1000  # rows that something is done to at once
WIDEST = 2**63
SAVABLE: set[str] = set()  # endpoints of lists of which views are saved


@dataclass(frozen=True)
class Column:
    """A column. `value` is what a file has of a row; the template's macro with the column's name is what a page shows.

    It is shown at first unless `shown` is false, sorted by unless `sorts` is, and not there for who lacks the permission.
    """

    name: str
    title: str
    value: Callable[[Any], Any] | None  # None: no file has it
    sorts: bool = True
    shown: bool = True
    permission: str = ""
    look: str = ""  # style classes of its cells


@dataclass(frozen=True)
class Filter:
    """What a list is narrowed by: words, one of the choices (value and words), or a box. `argument` is what `List.find` calls it.

    A text among `choices` that is not offered counts for nothing, unless the filter is `open`: what is not within reach to choose may be linked to.
    `kind` "hidden" is not offered at all, and shown as `title` while it counts; "drawn" is text for which the page has the field itself.
    """

    name: str
    title: str
    kind: Literal["text", "choice", "check", "hidden", "drawn"] = "choice"
    choices: Callable[[], Mapping[str, str]] = dict
    every: str = ""  # said where nothing is chosen: "Every state"
    argument: str = ""
    open: bool = False


@dataclass(frozen=True)
class Verb:
    """What can be done to several rows at once, to each by the service that does it to one: `do(actor, key, to)`.

    `loses` says what is lost by it; then it is asked first. `to` are the choices of what it needs besides, with `to_title` as their label.
    """

    name: str
    title: str
    done: str  # "reclaimed"
    do: Callable[[Actor, Any, str], object]
    permission: str
    icon: str = ""
    loses: str = ""
    reauth: bool = False  # like its view for one row
    to: Callable[[], Mapping[str, str]] | None = None
    to_title: str = ""


@dataclass(frozen=True)
class List:
    """A list. `find(window, reach, keys, **filters)` is a page of it from the catalog; `order` is how it is sorted unless the address says so.

    The first column is always there, and names the row. `key` makes what the catalog knows a row by of what the address or a form has.
    """

    endpoint: str
    permission: str
    noun: str
    columns: tuple[Column, ...]
    find: Callable[..., Page[Any]]
    order: str
    filters: tuple[Filter, ...] = ()
    verbs: tuple[Verb, ...] = ()
    verb_endpoint: str = ""
    key: Callable[[str], Any] = str
    nouns: str = ""
    size: int = 50
    misses: str = ""  # said when nothing fits
    thing: str = ""  # of the kinds in catalog.grants.PLACES: a verb's permission is needed over each row as such

    def __post_init__(self) -> None:
        if self.is_savable:
            SAVABLE.add(self.endpoint)

    @property
    def is_savable(self) -> bool:
        """Whether views of it are saved: not where it is a part of something's page, whose address has arguments."""
        return not self.endpoint.endswith(".page")

    def many(self, number: int) -> str:
        return plural(number, self.noun, self.nouns)

    def name_of(self, row: Any) -> str:
        value = self.columns[0].value
        return str(value(row)) if value else ""


@dataclass(frozen=True)
class BoundFilter:
    """A filter as a page shows it."""

    filter: Filter
    value: str
    choices: Mapping[str, str]


@dataclass(frozen=True)
class Listing:
    """A list as one request asked for it, to be shown."""

    kind: List
    page: Page[Any]
    columns: tuple[Column, ...]
    offered: tuple[Column, ...]
    filters: tuple[BoundFilter, ...]
    verbs: tuple[Verb, ...]
    sort: str
    descending: bool
    start: int
    query: Mapping[str, str]  # of the address, without where the page begins
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the address's path
    all_selected: bool = False

    def url(self, **changes: str | int | None) -> str:
        """The list's address with these changes, from its first page unless they say where."""
        values: dict[str, Any] = {name: value for name, value in {**self.query, **changes}.items() if value}
        return url_for(self.kind.endpoint, **self.arguments, **values)

    @property
    def address(self) -> str:
        """Where this very page is found again."""
        return self.url(start=self.start, after=request.args.get("after") or request.args.get("before"))

    @property
    def bare(self) -> str:
        return url_for(self.kind.endpoint, **self.arguments)

    @property
    def view(self) -> str:
        """The query of the address, for `Bulk.view`."""
        return self.address.partition("?")[2]

    @property
    def saved(self) -> list[tuple[SavedView, str]]:
        """The views of this list that whoever asks has saved, each with its address."""
        if not self.kind.is_savable:
            return []
        found = saved_views.of_account(current_user.account.id, self.kind.endpoint)
        return [(one, f"{self.bare}?{urlencode(parse_qsl(one.query))}") for one in found]

    @property
    def to_save(self) -> str:
        """Where this view is given a name; empty where views are not saved."""
        if not self.kind.is_savable:
            return ""
        return url_for("saved_views.new", list=self.kind.endpoint, query=urlencode({name: one for name, one in self.query.items() if one}))

    @property
    def csv(self) -> str:
        return self.url(**{"as": "csv"})

    @property
    def verb_url(self) -> str:
        return url_for(self.kind.verb_endpoint, **self.arguments)

    @property
    def choosing(self) -> Verb | None:
        """The verb that needs something besides, and its choices."""
        return next((one for one in self.verbs if one.to), None)

    @property
    def chosen(self) -> dict[str, str]:
        """What it is narrowed by, by the filters' names in the address."""
        return {one.filter.name: one.value for one in self.filters}

    @property
    def is_narrowed(self) -> bool:
        return any(one.value for one in self.filters)

    @property
    def is_first(self) -> bool:
        return not (self.start or request.args.get("after") or request.args.get("before"))

    @property
    def next(self) -> str:
        """The address of the next page; nothing when this is the last."""
        if self.page.following is None:
            return ""
        return self.url(start=self.start + self.kind.size, after=json.dumps(self.page.following, separators=(",", ":")))

    @property
    def place(self) -> str:
        """Which rows these are: "51 to 100 of 5 004 accounts"."""
        shown, total = len(self.page.rows), self.page.total
        if self.is_first and self.page.following is None:
            return self.kind.many(shown)
        first, last = (f"{number:,}".replace(",", " ") for number in (self.start + 1, self.start + shown))
        if total is None:
            return language.text("%(first)s to %(last)s", first=first, last=last)
        return language.text("%(first)s to %(last)s of %(all)s", first=first, last=last, all=self.kind.many(max(total, self.start + shown)))

    def sorted_by(self, column: Column) -> str:
        """The address at which the list is sorted by a column: the other way where it is already."""
        return self.url(sort=f"-{column.name}" if self.sort == column.name and not self.descending else column.name)

    def with_column(self, column: Column) -> str:
        """The address at which a column is there, or is not where it is now."""
        names = [one.name for one in self.offered if (one in self.columns) != (one is column)]
        return self.url(columns=",".join(names))


def class_names(permission: str = "machines.read") -> Mapping[str, str]:
    """The classes over which somebody holds the permission, as choices."""
    return {one.name: Written(one.name) for one in classes.visible(actor(), permission)}


BY_CLASS = Filter("class", "Class", choices=class_names, every="Every class", argument="class_name", open=True)


# -- reading the address ----------------------------------------------------------------------------


def show(kind: List, **arguments: Any) -> Listing:
    """The list as this request's address asks for it; `arguments` are those of its path, which `find` gets as filters, too."""
    asked = request.args
    offered = tuple(one for one in kind.columns if not one.permission or current_user.may(one.permission))
    names = asked.get("columns", "")[:500].split(",")
    chosen = tuple(one for one in offered if one.name in names)
    columns = (offered[0], *(one for one in chosen if one is not offered[0])) if chosen else tuple(one for one in offered if one.shown)
    order = _order(kind, asked.get("sort", ""), offered)
    filters = tuple(_filter(one) for one in kind.filters)
    query = {one.filter.name: one.value for one in filters}
    query["sort"] = order if order != kind.order else ""
    query["columns"] = ",".join(one.name for one in columns) if chosen else ""
    after, start = _cursor(asked.get("after") or asked.get("before") or ""), max(0, row_number("start") or 0)
    window = Window(order.lstrip("-"), order.startswith("-"), after, kind.size, 0 if after else start)
    return Listing(
        kind=kind,
        page=kind.find(window, _reach(kind), None, **_narrowing(filters), **arguments),
        columns=columns,
        offered=offered,
        filters=filters,
        verbs=tuple(one for one in kind.verbs if current_user.may(one.permission)),
        sort=window.sort,
        descending=window.descending,
        start=start,
        query=query,
        arguments=arguments,
        all_selected=asked.get("all") == "yes",
    )


def _reach(kind: List) -> Scope:
    reach: Scope = current_user.powers.reach(kind.permission)
    return reach


def _order(kind: List, asked: str, offered: Iterable[Column]) -> str:
    sortable = {one.name for one in offered if one.sorts}
    return asked if asked.removeprefix("-") in sortable else kind.order


def chosen_in_address(kind: List) -> dict[str, str]:
    """What the request's address narrows the list by, by the filters' names."""
    return {one.name: _filter(one).value for one in kind.filters}


def _filter(one: Filter, asked: Mapping[str, str] | None = None) -> BoundFilter:
    """The filter with what the query has for it: that of the request's address, or another."""
    value, choices = (request.args if asked is None else asked).get(one.name, "").strip()[:LONGEST], one.choices()
    if (one.kind == "choice" and not one.open and value not in choices) or (one.kind == "check" and value != "yes"):
        value = ""
    return BoundFilter(one, value, choices)


def takes(one: Filter, value: str) -> bool:
    """Whether the filter can be narrowed by the value; where it cannot, a page leaves it out."""
    if one.kind == "check":
        return value == "yes"
    return len(value) <= LONGEST and (one.kind != "choice" or one.open or value in one.choices())


def is_cursor(text: str) -> bool:
    """Whether a page can begin after this."""
    return _cursor(text) is not None


def _narrowing(filters: Iterable[BoundFilter]) -> dict[str, str]:
    return {one.filter.argument or one.filter.name: one.value for one in filters}


def _cursor(text: str) -> Cursor | None:
    """What the last row was sorted by and its key, as JSON; formerly the key alone. None for what is neither."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    pair = found if isinstance(found, list) else [found, found]
    return (pair[0], pair[1]) if len(pair) == 2 and all(map(_can_be_stored, pair)) else None


def _can_be_stored(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < WIDEST


# -- a file -----------------------------------------------------------------------------------------


def answer(template: str, shown: Listing, **more: Any) -> Response | str:
    """The list as a page, or, with `as=csv` in the address, all that it is narrowed to as a file with the columns that are shown."""
    if wants_csv():
        return as_csv(shown)
    return render_template(template, listing=shown, live_url=shown.address, **more)


def wants_csv() -> bool:
    return request.args.get("as") == "csv"


def as_csv(shown: Listing) -> Response:
    """All that the list is narrowed to, with the columns that are shown, as it is read."""
    kind, reach, narrowing = shown.kind, _reach(shown.kind), _narrowing(shown.filters)
    every = listing.every(
        lambda window: kind.find(window, reach, None, **narrowing, **shown.arguments), Window(shown.sort, shown.descending)
    )
    columns = [(column.title, column.value) for column in shown.columns if column.value]
    table = ([_plain(value(row)) for _, value in columns] for row in every)
    lines = csv_export.lines([title for title, _ in columns], table)
    name = f"{(kind.nouns or f'{kind.noun}s').replace(' ', '-')}-{now().astimezone(zone()):%Y-%m-%d}.csv"
    return Response(stream_with_context(lines), mimetype="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


# -- several rows at once ---------------------------------------------------------------------------


class Bulk(Form):
    """What is done to the chosen rows of a list, or to every one that fits, and the query of the list's address, to go back to."""

    verb: str = ""
    id: list[str] = Field([], json_schema_extra=CHECKS)
    account: list[str] = Field([], json_schema_extra=CHECKS)  # what `id` was called, in pages that were open during an update
    every: Ticked = False
    to: str = Field("", max_length=LONGEST)
    confirmed: Ticked = False
    view: str = Field("", max_length=2000)
    before: str = Field("", max_length=1_000_000)  # what became of rows that were sent before these, as a piece's answer tells it


class Piece(BaseModel):
    """What became of some rows: to how many it was done, and of each other one its name, the message and the hint."""

    done: int = Field(0, ge=0, le=1000)
    refused: list[tuple[str, str, str]] = Field([], max_length=1000)


@dataclass(frozen=True)
class Failure:
    """A row to which something was not done, and why."""

    name: str
    error: DpeError


def is_harmless(kind: List) -> bool:
    """Whether what this request does to rows needs nobody's password once more; for `requires_reauth_unless`."""
    verb = _verb(kind, forms.sent().get("verb"))
    return verb is None or not verb.reauth


def _verb(kind: List, name: object) -> Verb | None:
    return next((one for one in kind.verbs if one.name == name), None)


def bulk(kind: List, **arguments: Any) -> Response | tuple[str, int]:
    """Do what the form says to each of the rows, by itself: what is refused for one is done to the others all the same, and said.

    Before a loss, and before anything is done to rows that nobody saw, it is asked, with how many and which they are.
    """
    asked = forms.read(Bulk)
    verb = _verb(kind, asked.verb or kind.verbs[0].name)
    if verb is None or not current_user.may(verb.permission):
        raise NotFound("There is no such thing to do here.", "Reload the page.")
    view = f"{url_for(kind.endpoint, **arguments)}?{urlencode(parse_qsl(asked.view))}".rstrip("?")
    chosen = _fitting(kind, asked.view, arguments) if asked.every else asked.id or asked.account
    if asked.every and len(chosen) > MOST:
        flash(f"More than {kind.many(MOST)} fit, which is too many at once. Narrow the list first.", "danger")
        return redirect(view, 303)
    names = _names(kind, chosen[:MOST], arguments)
    if not names:
        flash(f"No {kind.noun} was selected.", "danger")
        return redirect(view, 303)
    choices = verb.to() if verb.to else {}
    if verb.to and asked.to not in choices:
        flash(f"{verb.to_title}: that is not one of the choices.", "danger")
        return redirect(view, 303)
    context = {"kind": kind, "verb": verb, "names": names, "asked": asked, "back": view, "to": choices.get(asked.to, "")}
    if (verb.loses or asked.every) and not asked.confirmed:
        return render_template("admin/bulk.html", failures=(), done=0, **context), 200
    before = _before(asked.before)
    failures = _do(kind, verb, names, asked.to)
    done = before.done + len(names) - len(failures)
    failures = [*(Failure(name, Conflict(message, hint)) for name, message, hint in before.refused), *failures]
    if gone := len(set(chosen[:MOST])) - len(names):
        failures.append(Failure(kind.many(gone), NotFound("Not there any more, or not yours to look after.")))
    if request.accept_mimetypes.best == "application/json":  # a script sends many rows in pieces
        refused = [(one.name, one.error.message, one.error.hint) for one in failures]
        return jsonify(Piece(done=done, refused=refused).model_dump())
    if failures:
        return render_template("admin/bulk.html", failures=failures, done=done, **context), 200 if done else 409
    flash(f"{kind.many(done)} {verb.done} {context['to']}".rstrip() + ".", "success")
    return redirect(view, 303)


def _before(sent: str) -> Piece:
    try:
        return Piece.model_validate_json(sent) if sent else Piece()
    except ValidationError:
        return Piece()


def _fitting(kind: List, view: str, arguments: Mapping[str, Any]) -> list[str]:
    """The keys of all rows that a list is narrowed to by the query of its address, and one more than can be taken where those are too many."""
    asked = dict(parse_qsl(view))
    narrowing = _narrowing(_filter(one, asked) for one in kind.filters)
    window = Window(kind.order.lstrip("-"), kind.order.startswith("-"), size=MOST + 1)
    return [str(row.id) for row in kind.find(window, _reach(kind), None, **narrowing, **arguments).rows]


def _names(kind: List, sent: Iterable[str], arguments: Mapping[str, Any]) -> dict[Any, str]:
    """What the rows are called, by their keys: those that are there, and within reach."""
    keys = []
    for one in sent:
        try:
            keys.append(kind.key(one))
        except ValueError:
            continue
    keys = [key for key in keys if not isinstance(key, int) or abs(key) < WIDEST]
    order = kind.order
    window = Window(order.lstrip("-"), order.startswith("-"), size=MOST)
    found = kind.find(window, _reach(kind), keys, **arguments).rows if keys else []
    return {row.id: kind.name_of(row) for row in found}


def _do(kind: List, verb: Verb, names: Mapping[Any, str], to: str) -> list[Failure]:
    failures = []
    for key, name in names.items():
        try:
            if not current_user.may(verb.permission, kind.thing, key):
                raise NotAllowed("This is not yours to look after.", "Ask your admin.")
            verb.do(actor(), key, to)
        except DpeError as error:
            failures.append(Failure(name, error))
    return failures
