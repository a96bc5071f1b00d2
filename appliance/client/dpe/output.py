"""What commands print: tables for people, lines with tabs between for pipes, JSON for programs; progress and errors beside it, on stderr."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

FORMATS = ("table", "json", "lines")
EMPTY = "–"

# The states that a colour helps to find.
STYLES = {
    "in_use": "green",
    "ready": "green",
    "failed": "red",
    "error": "red",
    "quarantined": "red",
    "warning": "yellow",
    "waiting": "yellow",
}


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and the field it shows or how that is made of an entry."""

    title: str
    shown: str | Callable[[Mapping[str, Any]], Any]

    def of(self, entry: Mapping[str, Any]) -> str:
        value = entry.get(self.shown) if isinstance(self.shown, str) else self.shown(entry)
        if value is None or value == "" or value == []:
            return EMPTY
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, list):
            return ", ".join(map(str, value))
        return json.dumps(value) if isinstance(value, dict) else str(value)


def columns(*names: str) -> tuple[Column, ...]:
    """Columns of fields, called like them: `lease_ends_at=Lease` has a heading of its own."""
    found = []
    for name in names:
        field, _, title = name.partition("=")
        title = title or field.replace("_", " ").capitalize()
        found.append(Column(title, left(field) if field.endswith("_at") else field))
    return tuple(found)


def left(field: str) -> Callable[[Mapping[str, Any]], str]:
    """A time as how far it is away, which needs no time zone: in 2 h, 3 min ago."""

    def shown(entry: Mapping[str, Any]) -> str:
        text = entry.get(field)
        if not text:
            return EMPTY
        seconds = int((datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds())
        size = next((f"{abs(seconds) // one} {unit}" for one, unit in ((86400, "d"), (3600, "h"), (60, "min")) if abs(seconds) >= one), "")
        size = size or f"{abs(seconds)} s"
        return f"in {size}" if seconds >= 0 else f"{size} ago"

    return shown


def show(entries: Iterable[Mapping[str, Any]], shown: Sequence[Column], form: str) -> None:
    """A list, as it was asked for."""
    if form == "lines":
        for one in entries:
            click.echo(json.dumps(one))
        return
    found = list(entries)
    if form == "json":
        click.echo(json.dumps(found, indent=2))
    elif is_terminal(sys.stdout):
        _table(found, shown)
    else:
        for one in found:
            click.echo("\t".join(plain(column.of(one)) for column in shown))


def show_one(entry: Any, form: str) -> None:
    """A single thing: its fields below each other."""
    if form != "table" or not isinstance(entry, dict):
        click.echo(json.dumps(entry, indent=None if form == "lines" else 2))
        return
    fields = [{"field": name, "value": value} for name, value in entry.items()]
    show(fields, (Column("Field", "field"), Column("Value", "value")), form)


def is_terminal(stream: Any) -> bool:
    """Whether a person looks at it."""
    return bool(stream.isatty())


def _table(found: Sequence[Mapping[str, Any]], shown: Sequence[Column]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not found:
        note("There is none.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in shown:
        table.add_column(column.title, overflow="fold")
    for one in found:
        cells = [plain(column.of(one)) for column in shown]
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in cells))
    Console().print(table)


def plain(text: str) -> str:
    """Without what a terminal would obey: names and messages are other people's."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def note(text: str) -> None:
    """A sentence for whoever looks, which no pipe gets."""
    click.echo(plain(text), err=True)


def done(text: str) -> None:
    """What was done."""
    click.echo(plain(text))


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """While something takes long: a spinner in a terminal, else a line whenever it changes."""
    if not is_terminal(sys.stderr):
        last = [""]

        def say(now: str) -> None:
            if now != last[0]:
                note(now)
                last[0] = now

        yield say
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(text)) as status:
        yield lambda now: status.update(Text(plain(now)))
