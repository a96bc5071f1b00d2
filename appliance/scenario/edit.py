"""One class of a scenario.yml written as a form has it: what is not touched keeps its text, its order and its comments."""

import io
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from appliance.scenario.merge import position, writer
from appliance.scenario.schema import ClassSpec
from appliance.yamlfile import is_model, without_none

_ABSENT = object()


def with_class(text: str, name: str, was: ClassSpec | None, spec: ClassSpec) -> str:
    """The text of a scenario.yml in which the class is `spec`; `was` is what it says of it now, None of one that is new.

    What is as it would be anyhow is not written. Raises YAMLError for what is no YAML.
    """
    document = writer().load(text)
    classes = document["classes"]
    node = classes.get(name)
    if not isinstance(node, CommentedMap):
        node = classes[name] = CommentedMap()
    _put(node, ClassSpec, was.model_dump(mode="json") if was else {}, spec.model_dump(mode="json"))
    return _text(document)


def without_class(text: str, name: str) -> str:
    """The text of a scenario.yml without the class."""
    document = writer().load(text)
    del document["classes"][name]
    return _text(document)


def _text(document: Any) -> str:
    out = io.StringIO()
    writer().dump(document, out)
    return out.getvalue()


def _put(node: CommentedMap, model: type[BaseModel], was: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Write into `node` where `wanted` differs from what it says now, both with all their defaults."""
    for key, info in model.model_fields.items():
        name, value = _written_as(node, key, info), wanted[key]
        if value == was.get(key, _ABSENT) and (name in node or not info.is_required()):
            continue
        part = without_none(info.annotation)
        if is_model(part) and value is not None:
            below = node.get(name)
            below = below if isinstance(below, CommentedMap) else CommentedMap()
            _put(below, part, was.get(key) or {}, value)
            found: Any = _flat(below) if below else _ABSENT
        else:
            found = _ABSENT if not info.is_required() and value == _default(info) else _plain(node.get(name), value)
        if found is _ABSENT:
            node.pop(name, None)
        elif name in node:
            node[name] = found
        else:
            node.insert(position(list(model.model_fields), list(node), key), name, found)


def _written_as(node: CommentedMap, key: str, info: FieldInfo) -> str:
    """The name that a field has here: its own, or a former one."""
    names = info.validation_alias.choices if isinstance(info.validation_alias, AliasChoices) else [key]
    return next((str(name) for name in names if name in node), key)


def _default(info: FieldInfo) -> Any:
    value = info.get_default()
    return list(value) if isinstance(value, tuple) else value


def _flat(node: CommentedMap) -> CommentedMap:
    """One that is new and holds plain values only stands in one line, as in the scenarios that come with us."""
    if not node.ca.items and node.lc.line is None and not any(isinstance(value, dict | list) for value in node.values()):
        node.fa.set_flow_style()
    return node


def _plain(old: Any, value: Any) -> Any:
    """A value as it is written; of a list what stays keeps its place and its comments."""
    if isinstance(value, str):
        return value if _reads_as(value) else DoubleQuotedScalarString(value)
    if isinstance(value, dict):
        return CommentedMap({key: _plain(None, one) for key, one in value.items() if one is not None and one != {}})
    if not isinstance(value, list):
        return value
    if isinstance(old, CommentedSeq):
        for index in reversed(range(len(old))):
            if old[index] not in value:
                del old[index]
        if list(old) == value[: len(old)]:
            old.extend(_plain(None, one) for one in value[len(old) :])
            return old
    made = CommentedSeq(_plain(None, one) for one in value)
    if all(isinstance(one, str) for one in value):
        made.fa.set_flow_style()
    return made


def _reads_as(text: str) -> bool:
    """Whether the text without quotes is that text to every reader: `off` and 10:30 are not."""
    try:
        return bool(yaml.safe_load(text) == text)
    except yaml.YAMLError:
        return False
