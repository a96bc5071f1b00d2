"""Forms made from JSON schemas: the fields, what was entered as plain values, and plain values as they are entered again.

What cannot be read as its type stays as it was typed: whoever checks it says so, and nothing entered is lost.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from appliance.yamlfile import Part, Source

LONG = 200  # characters; longer text gets a box of several lines
FORMATS = {"date": "date", "time": "time", "password": "password", "binary": "file", "account": "lookup"}  # of text -> widget


@dataclass(frozen=True)
class Field:
    """One field. `name` has dots from the outside in; a `group` has fields of its own."""

    name: str
    label: str
    help: str
    widget: str  # text, area, password, date, time, number, check, select, duration, file, lookup, lines, numbers, pairs, yaml, group
    required: bool
    default: Any = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    longest: int | None = None
    words: Mapping[str, str] | None = None  # of each choice, where the schema says them
    fields: tuple["Field", ...] = ()
    unit: str = ""
    lookup: str = ""  # which names the field offers; see webui/search.py

    @property
    def key(self) -> str:
        return self.name.rpartition(".")[2]


def fields_of(schema: Mapping[str, Any], prefix: str = "", *, without: tuple[str, ...] = ()) -> tuple[Field, ...]:
    """The fields of an object's schema, in its order; each name begins with the prefix."""
    return tuple(_fields(schema, schema.get("$defs", {}), prefix, without))


def _fields(schema: Mapping[str, Any], kinds: Mapping[str, Any], prefix: str, without: tuple[str, ...] = ()) -> Iterator[Field]:
    required = schema.get("required", [])
    for key, described in schema.get("properties", {}).items():
        if key in without:
            continue
        found = _resolved(described, kinds)
        name = prefix + key
        widget = described.get("widget") or found.get("widget") or _widget(found)
        inner = tuple(_fields(found, kinds, f"{name}.")) if widget == "group" else ()
        if any(one.get("type") == "null" for one in described.get("anyOf", ())):  # a group that may be left out whole
            inner = tuple(replace(one, required=False) for one in inner)
        yield Field(
            name,
            _label(key, described.get("title", "")),
            described.get("description", found.get("description", "")),
            widget,
            key in required,
            described.get("default"),
            tuple(str(choice) for choice in found.get("enum", [found["const"]] if "const" in found else [])),
            found.get("minimum", found.get("exclusiveMinimum")),
            found.get("maximum", found.get("exclusiveMaximum")),
            found.get("maxLength"),
            {choice: found["words"][choice] for choice in found["enum"]} if "words" in found else None,  # pydantic sorts keys, not lists
            inner,
            described.get("unit", ""),
            described.get("lookup", "person" if widget == "lookup" else ""),
        )


def _label(key: str, title: str) -> str:
    """The title that was given to a field; else its name, which pydantic makes a title of as well."""
    return title if title and title != key.replace("_", " ").title() else key.replace("_", " ").capitalize()


def _resolved(schema: Mapping[str, Any], kinds: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that is meant: behind a reference, and without its null."""
    for several in ("anyOf", "allOf"):
        if several in schema:
            some = [one for one in schema[several] if one.get("type") != "null"]
            return _resolved(some[0], kinds) if len(some) == 1 else {"type": "any"}
    if "$ref" in schema:
        return _resolved(kinds[schema["$ref"].rpartition("/")[2]], kinds)
    return schema


def _widget(schema: Mapping[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        return "select"
    match schema.get("type"):
        case "string":
            if schema.get("format") in FORMATS:
                return FORMATS[schema["format"]]
            return "area" if schema.get("maxLength", 0) > LONG else "text"
        case "integer" | "number":
            return "number"
        case "boolean":
            return "check"
        case "array" if schema.get("items", {}).get("type") == "string":
            return "lines"
        case "array" if schema.get("items", {}).get("type") == "integer":
            return "numbers"
        case "object" if schema.get("properties"):
            return "group"
        case "object" if isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"].get("type") == "string":
            return "pairs"
    return "yaml"


def read(fields: tuple[Field, ...], form: Mapping[str, Any]) -> dict[str, Any]:
    """What was entered. What is empty, or as it would be anyhow, is left out."""
    found: dict[str, Any] = {}
    for field in fields:
        if field.widget == "group":
            value: Any = read(field.fields, form)
            if value:
                found[field.key] = value
        elif field.widget == "check":
            if (value := field.name in form) != bool(field.default):
                found[field.key] = value
        elif (text := str(form.get(field.name, "")).replace("\r\n", "\n").strip()) and (field.required or text != _typed(field.default)):
            found[field.key] = _value(field, text)
    return found


def _value(field: Field, text: str) -> Any:
    match field.widget:
        case "number":
            return int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else text
        case "lines":
            return [line.strip() for line in text.split("\n") if line.strip()]
        case "numbers":
            return [int(one) if re.fullmatch(r"-?[0-9]{1,15}", one) else one for one in re.split(r"[\s,]+", text) if one]
        case "pairs":
            lines = [line.partition(":") for line in text.split("\n") if line.strip()]
            return {key.strip(): value.strip() for key, _, value in lines} if all(colon for _, colon, _ in lines) else text
        case "yaml":
            source = Source(Path("value"), Part, text.encode())
            return text if source.errors else source.value
    return text


def shown(field: Field, values: Mapping[str, Any]) -> Any:
    """A field's value as it is entered: text, or whether it is checked."""
    value: Any = values
    for key in field.name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return typed(field, value)


def typed(field: Field, value: Any) -> Any:
    """A value of the field, or None for what would be anyhow, as it is entered."""
    if field.widget == "check":
        return bool(field.default if value is None else value)
    if value is None:
        return _typed(field.default) if field.widget in ("select", "duration", "number", "numbers", "text", "lookup") else ""
    if field.widget == "lines" and isinstance(value, list):
        return "\n".join(str(item) for item in value)
    if field.widget == "pairs" and isinstance(value, dict):
        return "\n".join(f"{key}: {item}" for key, item in value.items())
    if field.widget == "yaml" and not isinstance(value, str):
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).removesuffix("...\n")
    return _typed(value)


def _typed(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(one, int) for one in value):
        return ", ".join(str(one) for one in value)
    return "" if value is None or value in ([], {}) else str(value)


def is_given(field: Field, values: Mapping[str, Any]) -> bool:
    """Whether anything in the field, or the group, differs from what would be anyhow."""
    if field.widget == "group":
        return any(is_given(inner, values) for inner in field.fields)
    value: Any = values
    for key in field.name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value is not None
