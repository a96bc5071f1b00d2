"""`python -m appliance.workflow.document`: writes what activities there are, from their schemas, into playbooks/workflows/README.md."""

from collections.abc import Iterator, Mapping
from typing import Any

from appliance.workflow import kinds
from appliance.workflow.conditions import Bounds, When
from appliance.workflow.kinds import Kind
from appliance.workflow.load import FOLDER, PARTS
from appliance.workflow.master import master
from appliance.workflow.sequence import Activity, Retry, Sequence
from appliance.yamlfile import Part

FILE = FOLDER / "README.md"
BEGIN, END = "<!-- from the schemas: python -m appliance.workflow.document -->\n", "<!-- until here -->\n"


def document() -> str:
    """The part of the README that is made, Markdown. Kinds that other packages bring are not in it."""
    others = {plugin.kind.name for plugin in kinds.plugins()}
    found = [kind for kind in kinds.known().values() if not kind.core and kind.name not in others]
    return (
        "\n".join(line for part in (_written(), *(_kind(kind) for kind in sorted(found, key=lambda kind: kind.name))) for line in part)
        + "\n"
    )


def update() -> None:
    """Write it into the file, between the two marks."""
    FILE.write_text(updated(FILE.read_text()))


def updated(text: str) -> str:
    """The text with what is between its marks made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + document() + END + after


def _written() -> Iterator[str]:
    yield "A sequence:\n"
    yield from _table(Sequence)
    yield "\nUnder `moves`, each of " + ", ".join(f"`{move.name}`" for move in master().moves if move.sequences) + " may have `before` and"
    yield "`after`, lists of activities. An activity:\n"
    yield from _table(Activity)
    yield "\n`when`: all that are given must hold; of a list, one name is enough.\n"
    yield from _table(When)
    yield "\nNumbers are bounded:\n"
    yield from _table(Bounds)
    yield "\n`retry`:\n"
    yield from _table(Retry)
    yield "\nA length of time is a number and `s`, `m`, `h` or `d`: `90s`, `15m`, `24h`, `7d`. The kinds of activity:\n"


def _kind(kind: Kind) -> Iterator[str]:
    yield f"### `{kind.name}`: {kind.title}\n"
    by = "A person does it." if kind.by == "person" else "Software does it."
    tries = {0: "Tried until it succeeds", 1: "Tried once"}.get(
        kind.tries, f"Tried {kind.tries} times"
    ) + ", unless `retry` says otherwise."
    yield f"{kind.about} {by} {tries}{_where(kind)}\n"
    if kind.options.model_fields:
        yield from _table(kind.options)
        yield ""


def _where(kind: Kind) -> str:
    if kind.moves is None:
        return ""
    parts = [f"{part} " + ", ".join(f"`{move.name}`" for move in master().moves if (move.name, part) in kind.moves) for part in PARTS]
    return " It can stand " + "; ".join(part for part in parts if "`" in part) + "."


def _table(model: type[Part]) -> Iterator[str]:
    schema = model.model_json_schema()
    yield "| key | default | what |"
    yield "| --- | --- | --- |"
    for name, described in schema["properties"].items():
        default = "needed" if name in schema.get("required", []) else _default(described.get("default"))
        yield f"| `{name}` | {default} | {described.get('description', '')}{_choices(described)} |"


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "" if value in (None, "", [], {}) or isinstance(value, Mapping) else f"`{value}`"


def _choices(schema: Mapping[str, Any]) -> str:
    return f" One of {', '.join(f'`{choice}`' for choice in schema['enum'])}." if "enum" in schema else ""


if __name__ == "__main__":
    update()
