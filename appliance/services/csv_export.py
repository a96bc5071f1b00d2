"""Tables as CSV, a part at a time."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

PART = 60_000  # characters


def lines(names: Iterable[str], table: Iterable[Iterable[Any]]) -> Iterator[str]:
    """The table with a line of names above it, in parts of about PART characters."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for row in table:
        writer.writerow([_cell(value) for value in row])
        if text.tell() > PART:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _cell(value: Any) -> Any:
    """A name that somebody typed must not become a formula where a spreadsheet opens the file, blanks before it and wide signs included."""
    if not isinstance(value, str):
        return value
    begins = unicodedata.normalize("NFKC", value.lstrip()[:1])
    return f"'{value}" if (begins and begins in "=+-@") or value[:1] in ("\t", "\r", "\n") else value
