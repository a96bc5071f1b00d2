"""Read a scenario folder; what is wrong with it is said all at once, each error with its line and what to write instead."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from appliance.errors import BadInput
from appliance.scenario.schema import Scenario

# Roles that every seed gets; a scenario's own role of that name would never be used.
RESERVED_ROLES = ("guest",)
_ROLE_PARTS = ("tasks", "handlers", "defaults", "vars", "meta")


class ScenarioError(NamedTuple):
    """One thing that is wrong. `line` counts from 1."""

    file: Path
    line: int
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}; {self.hint}"


class ScenarioErrors(BadInput):
    """All that is wrong with a scenario, in the order of the lines."""

    def __init__(self, errors: list[ScenarioError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda error: (str(error.file), error.line)))
        one = len(errors) == 1
        super().__init__(
            f"The scenario has {'an error' if one else f'{len(errors)} errors'}:\n" + "\n".join(map(str, self.errors)) + "\n",
            "Correct it and start again." if one else "Correct them and start again.",
        )


@dataclass(frozen=True)
class Loaded:
    """A scenario and the folder that it came from, where its roles are."""

    scenario: Scenario
    folder: Path


def load(folder: Path) -> Loaded:
    """Read `folder`/scenario.yml and check it against its schema and the roles beside it. Raises ScenarioErrors."""
    folder = folder.resolve()
    file = folder / "scenario.yml"
    if not file.is_file():
        hint = (
            "make that file, or set DPE_SCENARIO to a folder that has one"
            if folder.is_dir()
            else "make that folder, or set DPE_SCENARIO to another"
        )
        raise ScenarioErrors([ScenarioError(file, 1, f"there is no {file.name if folder.is_dir() else 'folder ' + str(folder)}", hint)])
    source = _Source(file)
    errors = list(source.errors)
    if source.read:
        try:
            scenario = Scenario.model_validate(source.value)
        except ValidationError as error:
            details = error.errors()
            meant = {(*detail["loc"][:-1], _near(detail["loc"])) for detail in details if detail["type"] == "extra_forbidden"}
            # A key spelt wrongly is one error, not also a missing key.
            errors += [source.explain(detail) for detail in details if detail["type"] != "missing" or detail["loc"] not in meant]
        errors += source.check_folder()
    if errors:
        raise ScenarioErrors(errors)
    return Loaded(scenario, folder)


_Place = tuple[str | int, ...]


class _NoAliases(yaml.SafeLoader):
    """Aliases would let a short file grow without bound, or contain itself."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias (*name) cannot be used here", problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)


class _Source:
    """One scenario.yml: its values, and the line of each."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.errors: list[ScenarioError] = []
        self.lines: dict[_Place, int] = {(): 1}
        self.value: Any = None
        self.read = False
        try:
            loader = _NoAliases(file.read_bytes())
            try:
                node = loader.get_single_node()
                if node is None:
                    self.errors.append(self.wrong((), "the file is empty", "write name, title and classes"))
                else:
                    self.value = self.convert(node, (), loader)
                    self.read = True
            finally:
                loader.dispose()
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            self.errors.append(_syntax(file, error))

    def wrong(self, path: _Place, message: str, hint: str) -> ScenarioError:
        """An error at the place, or at the nearest one around it that is in the file."""
        while path not in self.lines:
            path = path[:-1]
        return ScenarioError(self.file, self.lines[path], message, hint)

    def convert(self, node: yaml.Node, path: _Place, loader: yaml.SafeLoader) -> Any:
        """Plain values of `node`, noting lines and complaining of keys that are there twice."""
        if isinstance(node, yaml.SequenceNode):
            items = []
            for number, item in enumerate(node.value):
                self.lines[(*path, number)] = item.start_mark.line + 1
                items.append(self.convert(item, (*path, number), loader))
            return items
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key_node, value in node.value:
                key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
                inner, line = (*path, key), key_node.start_mark.line + 1
                if key in found:
                    self.errors.append(
                        ScenarioError(self.file, line, f"{key} is there twice, first in line {self.lines[inner]}", "keep one of the two")
                    )
                    continue
                self.lines[inner] = line
                found[key] = self.convert(value, inner, loader)
            return found
        return loader.construct_object(node, deep=True)

    def explain(self, error: ErrorDetails) -> ScenarioError:
        """pydantic's error in words, with what to write instead."""
        path = tuple(part for part in error["loc"] if part != "[key]")
        name = ".".join(str(part) for part in path) or "the file"
        context, given = error.get("ctx", {}), error.get("input")
        match error["type"]:
            case "missing":
                return self.wrong(path, f"{path[-1]} is missing{_of(path)}", f"add {path[-1]}: {_description(path)}")
            case "extra_forbidden":
                near = _near(path)
                hint = f"write {near}" if near else f"the keys here are {', '.join(_keys(path[:-1]))}"
                return self.wrong(path, f"{path[-1]} is not a known key{_of(path)}", hint)
            case "literal_error":
                choices = str(context.get("expected", "")).replace(" or ", ", ").replace("'", "")
                near = next(iter(difflib.get_close_matches(str(given), choices.split(", "), 1, cutoff=0.7)), "")
                return self.wrong(path, f"{name} cannot be {given!r}", f"write {near}" if near else f"write one of: {choices}")
            case "string_pattern_mismatch":
                return self.wrong(
                    path,
                    f"{name} cannot be {given!r}",
                    _PATTERNS.get(str(context.get("pattern")), f"it must match {context.get('pattern')}"),
                )
            case "value_error":
                return self.wrong(path, str(context.get("error", error["msg"])), "raise maximum or lower the other")
            case "string_type":
                quoted = ", in quotes if it looks like a number, a date or yes and no" if not isinstance(given, dict | list) else ""
                return self.wrong(path, f"{name} must be text, not {_kind(given)}", f"write text{quoted}")
            case "int_type" | "int_parsing" | "int_from_float":
                return self.wrong(path, f"{name} must be a whole number, not {_kind(given)}", "write digits only, without quotes or unit")
            case "bool_type":
                return self.wrong(path, f"{name} must be true or false, not {_kind(given)}", "write true or false")
            case "list_type":
                return self.wrong(path, f"{name} must be a list, not {_kind(given)}", f"write {path[-1]}: [one, two]")
            case "model_type" | "model_attributes_type" | "dict_type":
                keys = _keys(path)
                return self.wrong(
                    path, f"{name} must have keys below it, not be {_kind(given)}", f"write {keys[0] if keys else 'a name'}: and its value"
                )
            case "greater_than_equal":
                return self.wrong(path, f"{name} is {given}, which is too small", f"write at least {context['ge']}")
            case "less_than_equal":
                return self.wrong(path, f"{name} is {given}, which is too large", f"write at most {context['le']}")
            case "too_short" | "string_too_short":
                return self.wrong(path, f"{name} is empty", f"write at least {context.get('min_length', 1)}")
            case "string_too_long":
                return self.wrong(path, f"{name} is too long", f"write at most {context['max_length']} characters")
        return self.wrong(path, f"{name}: {error['msg']}", _description(path))

    def check_folder(self) -> list[ScenarioError]:
        """What no schema can know: names and files around scenario.yml."""
        folder, value = self.file.parent, self.value if isinstance(self.value, dict) else {}
        errors = []
        if isinstance(name := value.get("name"), str) and name != folder.name:
            errors.append(
                self.wrong(
                    ("name",), f"name is {name}, but the folder is {folder.name}", f"write name: {folder.name}, or rename the folder"
                )
            )
        checked = set()
        for class_name, described in value["classes"].items() if isinstance(value.get("classes"), dict) else ():
            roles = described.get("roles") if isinstance(described, dict) else None
            for number, role in enumerate(roles if isinstance(roles, list) else ()):
                path = ("classes", class_name, "roles", number)
                if role in RESERVED_ROLES:
                    errors.append(
                        self.wrong(path, f"the role {role} is the appliance's own, which every seed has", "give yours another name")
                    )
                elif not isinstance(role, str) or role in checked or "/" in role:
                    continue  # the schema says what is wrong with it
                elif not (folder / "roles" / role / "tasks/main.yml").is_file():
                    errors.append(self.wrong(path, f"there is no role {role}", f"make {folder / 'roles' / role / 'tasks/main.yml'}"))
                else:
                    checked.add(role)
                    errors += _role_errors(folder / "roles" / role)
        return errors


def _role_errors(role: Path) -> Iterator[ScenarioError]:
    """Files of a role that no YAML reader can read: better said now than in the middle of a build."""
    for part in _ROLE_PARTS:
        for file in sorted((role / part).rglob("*.y*ml")):
            try:
                for _ in yaml.compose_all(file.read_bytes(), yaml.SafeLoader):
                    pass
            except (yaml.YAMLError, RecursionError, ValueError) as error:
                yield _syntax(file, error)


def _syntax(file: Path, error: Exception) -> ScenarioError:
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        problem = error.problem or "cannot be read"
        if "'\\t'" in problem:
            return ScenarioError(file, mark.line + 1, "there is a tab", "indent with spaces")
        hint = {
            "mapping values are not allowed here": "check the indentation, and put quotes around text that has a colon",
            "could not find expected ':'": "end the key with a colon and a space",
            "an alias (*name) cannot be used here": "write the value out",
            "but found another document": "remove the line ---",
        }.get(problem, "check indentation, quotes and brackets in this line and the one before")
        return ScenarioError(file, mark.line + 1, f"this is not YAML: {problem}", hint)
    if isinstance(error, RecursionError):
        return ScenarioError(file, 1, "it is nested too deeply", "write it flatter")
    if isinstance(error, yaml.reader.ReaderError):
        text = file.read_bytes()[: error.position]
        return ScenarioError(file, text.count(b"\n") + 1, "there is a character that YAML does not allow", "save the file as UTF-8 text")
    return ScenarioError(file, 1, f"it cannot be read: {error}", "save the file as UTF-8 text with plain values")


_PATTERNS = {
    r"^[a-z][a-z0-9-]{0,30}$": "write a small letter, then small letters, digits and hyphens, 31 at most",
    r"^[a-z0-9][a-z0-9+.:-]*$": "write the name of a Debian package, like python3-venv",
    r"^/[^\s]*$": "write a path that begins with /",
}


def _of(path: _Place) -> str:
    return f" in {'.'.join(str(part) for part in path[:-1])}" if len(path) > 1 else ""


def _kind(value: Any) -> str:
    names = {dict: "keys and values", list: "a list", type(None): "nothing"}
    return names.get(type(value), repr(str(value)) if not isinstance(value, bool | int | float) else str(value).lower())


def _model_at(path: _Place) -> type[BaseModel] | None:
    """The part of the schema that describes the mapping at `path`."""
    kind: Any = Scenario
    for part in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        elif len(arguments := get_args(kind)) == 2:  # a mapping by name
            kind = arguments[1]
        else:
            return None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _keys(path: _Place) -> list[str]:
    model = _model_at(path)
    return list(model.model_fields) if model else []


def _near(path: _Place) -> str:
    """The known key that the last part of `path` was probably meant to be, or nothing."""
    return next(iter(difflib.get_close_matches(str(path[-1]), _keys(path[:-1]), 1)), "")


def _description(path: _Place) -> str:
    model = _model_at(path[:-1])
    field = model.model_fields.get(str(path[-1])) if model and path else None
    return (field.description or "") if field else "see the README of the scenarios"
