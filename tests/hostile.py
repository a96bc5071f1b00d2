"""Text as somebody may write it who wants more than a text, and things of any type that are full of it."""

import dataclasses
import types
import typing
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from peewee import CharField, Model, TextField
from pydantic import BaseModel

PAYLOADS = (
    "{{ 6 * 7 }}",
    "{{ lookup('pipe', 'id') }}",
    "{% for i in range(2) %}{{ i }}{% endfor %}",
    "{# nothing #}",
    "#jinja2: variable_start_string: '[%', variable_end_string: '%]'\n[% 6 * 7 %]",
    "!unsafe {{ 6 * 7 }}",
    "!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3632",
    '{"__ansible_unsafe": "{{ 6 * 7 }}"}',
    '{"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256"}',
    "!!python/object/apply:os.system [id]",
    "&anchor *anchor <<: [a, b]",
    "one\nansible_connection: local\n- two: {{ 6 * 7 }}",
    "one\r\ntwo\r{{ 6 * 7 }}\r\n",
    "---\n...\n%YAML 1.1",
    "\u2028{{ 6 * 7 }}\x85\ufeff\U0001f600",
    "@/etc/passwd",
    "yes",
)


DAYS = {date: date(2026, 12, 3), time: time(9), datetime: datetime(2026, 12, 3, 9, tzinfo=UTC)}  # which no text can be


def filled(kind: Any, text: str) -> Any:
    """A value of this type in which every text is this one, past all patterns: what is checked elsewhere is not relied on here.

    Lists have one item, dicts one key; of a Literal the first is taken, and of a number 1.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return filled(inner[0], text)
    if origin is typing.Literal:
        return inner[0]
    if origin in (typing.Union, types.UnionType):
        return filled(inner[0], text)
    if origin in (list, tuple):
        return origin([filled(inner[0], text)])
    if origin is dict:
        return {"text" if inner[0] is not str else text: filled(inner[1], text)}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_construct(**{name: filled(field.annotation, text) for name, field in kind.model_fields.items()})
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return kind(**{field.name: filled(hints[field.name], text) for field in dataclasses.fields(kind)})
    if isinstance(kind, type) and issubclass(kind, Model):
        row = kind()
        for name, field in kind._meta.fields.items():
            if isinstance(field, CharField | TextField):
                setattr(row, name, text)
        return row
    if kind in DAYS:
        return DAYS[kind]
    return text if kind in (str, Any) else kind(text if kind is Path else 1)
