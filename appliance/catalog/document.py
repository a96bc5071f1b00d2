"""`python -m appliance.catalog.document`: writes what kinds of event there are into EVENTS.md."""

from collections.abc import Iterator
from pathlib import Path

from appliance.catalog.event_kinds import Area, EventKind

FILE = Path(__file__).parent / "EVENTS.md"
INTRODUCTION = """\
# Events

What the record has, by kind. Made from `event_kinds.py`: `python -m appliance.catalog.document`. The kind is also the message id (MSGID) of what is sent on to a
syslog server. The level is the usual one; an event says its own. `data` has the fields, where they were given; `before` and `after` are what a change was about,
`request` the id of the request, as in the access log, of all that is done for one."""


def document() -> str:
    """The whole file, Markdown."""
    return "\n".join([INTRODUCTION, *(line for area in Area for line in _area(area))]) + "\n"


def _area(area: Area) -> Iterator[str]:
    yield from ("", f"## {area.about}", "", "| kind | level | fields | what happened |", "| --- | --- | --- | --- |")
    for kind in EventKind:
        if kind.area is area:
            yield f"| `{kind}` | {kind.level} | {', '.join(f'`{field}`' for field in kind.fields)} | {kind.text} |"


if __name__ == "__main__":
    FILE.write_text(document())
