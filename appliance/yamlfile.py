"""YAML that people write, checked against a pydantic model: all that is wrong is said at once, with its line and what to write instead."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Generic, NamedTuple, TypeGuard, TypeVar, Union, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from appliance.errors import BadInput

Place = tuple[str | int, ...]  # keys and numbers on the way to a value

# Of pydantic's errors those that need no more than these words: what is wrong with a value, and what to write instead.
_WHOLE = ("{name} must be a whole number, not {kind}", "write digits only, without quotes or unit")
_EMPTY = ("{name} is empty", "write at least {min_length}")
IN_WORDS = {
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "bool_type": ("{name} must be true or false, not {kind}", "write true or false"),
    "greater_than_equal": ("{name} is {given}, which is too small", "write at least {ge}"),
    "less_than_equal": ("{name} is {given}, which is too large", "write at most {le}"),
    "too_short": _EMPTY,
    "string_too_short": _EMPTY,
    "string_too_long": ("{name} is too long", "write at most {max_length} characters"),
    "too_long": ("{name} has too many values", "write at most {max_length}"),
}


class Part(BaseModel):
    """A mapping in such a file: unknown keys are errors, values are not coerced into other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileError(NamedTuple):
    """One thing that is wrong. `line` counts from 1."""

    file: Path
    line: int
    message: str
    hint: str
    place: Place = ()

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}; {self.hint}"


class FileErrors(BadInput):
    """All that is wrong with what was read, in the order of the lines. `what` names it: "The scenario"."""

    def __init__(self, what: str, errors: list[FileError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda error: (str(error.file), error.line)))
        one = len(errors) == 1
        super().__init__(
            f"{what} has {'an error' if one else f'{len(errors)} errors'}:\n" + "\n".join(map(str, self.errors)) + "\n",
            "Correct it and start again." if one else "Correct them and start again.",
        )


Model = TypeVar("Model", bound=BaseModel)
Inner = TypeVar("Inner", bound=BaseModel)


class Source(Generic[Model]):
    """One file: its values as they are written, the line of each, and what is wrong with them, in `errors`.

    `content` is for what lies in no file, `value` for what is plain values already. `patterns` says what to write for each pattern of
    the model; a `ValueError(message, hint)` of the model's validators brings its own hint.
    """

    def __init__(
        self,
        file: Path,
        model: type[Model],
        content: bytes | None = None,
        patterns: Mapping[str, str] | None = None,
        *,
        value: Any = None,
    ) -> None:
        self.file = file
        self.model = model
        self.patterns = patterns or {}
        self.errors: list[FileError] = []
        self.value: Any = None
        self._lines: dict[Place, int] = {(): 1}
        self._models: dict[Place, type[BaseModel]] = {(): model}
        self._read = value is not None
        if self._read:
            self.value = value
            return
        try:
            content = file.read_bytes() if content is None else content
            loader = _NoAliases(content)
            try:
                node = loader.get_single_node()
                if node is None:
                    *others, last = [name for name, field in model.model_fields.items() if field.is_required()] or ["a value"]
                    self.wrong((), "the file is empty", f"write {', '.join(others)} and {last}" if others else f"write {last}")
                else:
                    self.value = self._convert(node, (), loader)
                    self._read = True
            finally:
                loader.dispose()
        except (yaml.YAMLError, RecursionError, ValueError, OSError) as error:
            self.errors.append(syntax(file, error, content or b""))

    def validate(self) -> Model | None:
        """What the file says; None when the model does not allow it."""
        return self.validate_at((), self.model, self.value) if self._read else None

    def validate_at(self, place: Place, model: type[Inner], value: Any) -> Inner | None:
        """The same for a value with a model of its own, of which `model` says nothing."""
        self._models[place] = model
        try:
            return model.model_validate(value)
        except ValidationError as error:
            details: list[dict[str, Any]] = [{**detail, "loc": (*place, *detail["loc"])} for detail in error.errors()]
            meant = {(*detail["loc"][:-1], self._near(detail["loc"])) for detail in details if detail["type"] == "extra_forbidden"}
            # A key spelt wrongly is one error, not also a missing key.
            for detail in details:
                if detail["type"] != "missing" or detail["loc"] not in meant:
                    self._explain(cast(ErrorDetails, detail))
            return None

    def wrong(self, path: Place, message: str, hint: str) -> None:
        """Note an error at the place, or at the nearest one around it that is in the file."""
        self.errors.append(FileError(self.file, self.line(path), message, hint, path))

    def line(self, path: Place) -> int:
        """The line of the place, or of the nearest one around it that is in the file."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def _convert(self, node: yaml.Node, path: Place, loader: yaml.SafeLoader) -> Any:
        """Plain values of `node`, noting lines and complaining of keys that are there twice."""
        if isinstance(node, yaml.SequenceNode):
            items = []
            for number, item in enumerate(node.value):
                self._lines[(*path, number)] = item.start_mark.line + 1
                items.append(self._convert(item, (*path, number), loader))
            return items
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key_node, value in node.value:
                key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
                inner, line = (*path, key), key_node.start_mark.line + 1
                if key in found:
                    first = self._lines[inner]
                    self.errors.append(FileError(self.file, line, f"{key} is there twice, first in line {first}", "keep one of the two"))
                    continue
                self._lines[inner] = line
                found[key] = self._convert(value, inner, loader)
            return found
        return loader.construct_object(node, deep=True)

    def _name(self, path: Place) -> str:
        """The place in words, an item of a list by its name if it has one."""
        words: list[str] = []
        value = self.value
        for part in path:
            try:
                value = value[part]
            except (LookupError, TypeError):
                value = None
            named = value.get("name") if isinstance(part, int) and isinstance(value, dict) else None
            words.append(named if isinstance(named, str) and named else str(part))
        return ".".join(words)

    def _of(self, path: Place) -> str:
        return self._name(path[:-1]) if len(path) > 1 else ""

    def _explain(self, error: ErrorDetails) -> None:
        """Note pydantic's error in words, with what to write instead."""
        path = tuple(part for part in error["loc"] if part != "[key]")
        name, above = self._name(path) or "the file", self._of(path)
        context, given = error.get("ctx", {}), error.get("input")
        match error["type"]:
            case "missing" if isinstance(path[-1], int):
                self.wrong(path, f"{self._name(path[:-1])} has too few values", self._description(path[:-1]))
            case "missing":
                self.wrong(path, f"{path[-1]} is missing{f' in {above}' if above else ''}", f"add {path[-1]}: {self._description(path)}")
            case "extra_forbidden":
                near = self._near(path)
                instead = f"write {near}" if near else f"the keys here are {', '.join(self._keys(path[:-1]))}"
                self.wrong(path, f"{path[-1]} is not a known key{f' in {above}' if above else ''}", instead)
            case "literal_error" | "enum":
                choices = str(context.get("expected", "")).replace(" or ", ", ").replace("'", "")
                near = next(iter(difflib.get_close_matches(str(given), choices.split(", "), 1, cutoff=0.7)), "")
                self.wrong(path, f"{name} cannot be {given!r}", f"write {near}" if near else f"write one of: {choices}")
            case "string_pattern_mismatch":
                pattern = str(context.get("pattern"))
                self.wrong(path, f"{name} cannot be {given!r}", self.patterns.get(pattern, f"it must match {pattern}"))
            case "value_error":
                message, *advice = getattr(context.get("error"), "args", None) or [error["msg"]]
                self.wrong(path, str(message), str(advice[0]) if advice else self._description(path))
            case "string_type":
                quoted = ", in quotes if it looks like a number, a date or yes and no" if not isinstance(given, dict | list) else ""
                self.wrong(path, f"{name} must be text, not {_kind(given)}", f"write text{quoted}")
            case "list_type" | "tuple_type":
                self.wrong(path, f"{name} must be a list, not {_kind(given)}", f"write {path[-1] if path else 'name'}: [one, two]")
            case "model_type" | "model_attributes_type" | "dict_type":
                keys = self._keys(path)
                first = keys[0] if keys else "a name"
                self.wrong(path, f"{name} must have keys below it, not be {_kind(given)}", f"write {first}: and its value")
            case kind if kind in IN_WORDS:
                said, hint = (
                    words.format(**{"min_length": 1, **context, "name": name, "given": given, "kind": _kind(given)})
                    for words in IN_WORDS[kind]
                )
                self.wrong(path, said, hint)
            case _:
                self.wrong(path, f"{name}: {error['msg']}", self._description(path))

    def _model_at(self, path: Place) -> type[BaseModel] | None:
        """The part of the model that describes the mapping at `path`."""
        nearest = max((place for place in self._models if path[: len(place)] == place), key=len)
        kind: Any = self._models[nearest]
        for part in path[len(nearest) :]:
            kind = without_none(kind)
            if is_model(kind):
                fields = {field.alias or name: field for name, field in kind.model_fields.items()}
                kind = fields[part].annotation if part in fields else None
            else:  # a list, or a mapping by name: what is in it comes last
                kind = next((inner for inner in reversed(get_args(kind)) if inner is not Ellipsis), None)
        kind = without_none(kind)
        return kind if is_model(kind) else None

    def _fields(self, path: Place) -> dict[str, str]:
        """The keys that may be at `path`, with what they mean."""
        model = self._model_at(path)
        return {field.alias or name: field.description or "" for name, field in model.model_fields.items()} if model else {}

    def _keys(self, path: Place) -> list[str]:
        return list(self._fields(path))

    def _near(self, path: Place) -> str:
        """The known key that the last part of `path` was probably meant to be, or nothing."""
        return next(iter(difflib.get_close_matches(str(path[-1]), self._keys(path[:-1]), 1)), "")

    def _description(self, path: Place) -> str:
        found = self._fields(path[:-1]).get(str(path[-1])) if path else None
        return "see the README beside the file" if found is None else found


class _NoAliases(yaml.SafeLoader):
    """Aliases would let a short file grow without bound, or contain itself."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias (*name) cannot be used here", problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)


def syntax(file: Path, error: Exception, content: bytes) -> FileError:
    """What a YAML reader complained of, in words."""
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        problem = error.problem or "cannot be read"
        if "'\\t'" in problem:
            return FileError(file, mark.line + 1, "there is a tab", "indent with spaces")
        hint = {
            "mapping values are not allowed here": "check the indentation, and put quotes around text that has a colon",
            "could not find expected ':'": "end the key with a colon and a space",
            "an alias (*name) cannot be used here": "write the value out",
            "but found another document": "remove the line ---",
        }.get(problem, "check indentation, quotes and brackets in this line and the one before")
        return FileError(file, mark.line + 1, f"this is not YAML: {problem}", hint)
    if isinstance(error, RecursionError):
        return FileError(file, 1, "it is nested too deeply", "write it flatter")
    if isinstance(error, OSError):
        return FileError(file, 1, f"it cannot be opened: {error.strerror}", "put the file there, and let it be read")
    if isinstance(error, yaml.reader.ReaderError):
        line = content[: error.position].count(b"\n") + 1
        return FileError(file, line, "there is a character that YAML does not allow", "save the file as UTF-8 text")
    return FileError(file, 1, f"it cannot be read: {error}", "save the file as UTF-8 text with plain values")


def without_none(kind: Any) -> Any:
    """`X` where the annotation is `X | None`."""
    if get_origin(kind) in (Union, UnionType):
        return next(inner for inner in get_args(kind) if inner is not type(None))
    return kind


def is_model(kind: Any) -> TypeGuard[type[BaseModel]]:
    """Whether the annotation is a model."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _kind(value: Any) -> str:
    names = {dict: "keys and values", list: "a list", type(None): "nothing"}
    return names.get(type(value), repr(str(value)) if not isinstance(value, bool | int | float) else str(value).lower())
