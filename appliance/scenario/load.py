"""Read a scenario folder; what is wrong with it is said all at once, each error with its line and what to write instead."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from appliance.scenario import applications, tasks
from appliance.scenario.applications import Own
from appliance.scenario.schema import RESERVED_PATH, Scenario
from appliance.yamlfile import FileError, FileErrors, Place, Source, syntax

# Roles that every seed gets; a scenario's own role of that name would never be used.
RESERVED_ROLES = ("guest",)
MACHINE_TASKS = "tasks/machine.yml"  # of a role: what is done in each machine, not in the seed
_BUILT_IN = ("ansible.builtin", "ansible.legacy")
_COLLECTIONS = Path("/usr/share/ansible/collections/ansible_collections")  # where Ansible looks for others; the image has none
_MODULE = re.compile(r"(\w+\.\w+)(\.\w+)+")
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_IMPORTS = ("import_tasks", "ansible.builtin.import_tasks")
_NO_ACTION = {
    "name",
    "when",
    "vars",
    "loop",
    "register",
    "tags",
    "become",
    "become_user",
    "environment",
    "notify",
    "changed_when",
    "failed_when",
}
Names = Callable[[str, str, str], tuple[str, str] | None]
"""Of a class, its release and a package: what is wrong with that name, and what to write instead; None when it is not known to be wrong."""
_ROLE_PARTS = ("tasks", "handlers", "defaults", "vars", "meta")


class ScenarioErrors(FileErrors):
    """All that is wrong with a scenario, in the order of the lines."""

    def __init__(self, errors: list[FileError]) -> None:
        super().__init__("The scenario", errors)


@dataclass(frozen=True)
class Loaded:
    """A scenario and the folder that it came from, where its roles are."""

    scenario: Scenario
    folder: Path


def load(folder: Path, *, anywhere: bool = False, packages: Names | None = None) -> Loaded:
    """Read `folder`/scenario.yml and check it against its schema and the roles beside it. Raises ScenarioErrors.

    The folder is called like the scenario, unless it may be `anywhere`. `packages` looks at the names of packages, which otherwise may be any.
    """
    folder = folder.resolve()
    file = folder / "scenario.yml"
    if not file.is_file():
        hint = (
            "make that file, or set DPE_SCENARIO to a folder that has one"
            if folder.is_dir()
            else "make that folder, or set DPE_SCENARIO to another"
        )
        raise ScenarioErrors([FileError(file, 1, f"there is no {file.name if folder.is_dir() else 'folder ' + str(folder)}", hint)])
    if faults := list(_own_errors(folder)):
        raise ScenarioErrors(faults)  # without these, what is said of the classes that have them would be wrong
    scenario, errors = _read(file, applications.own(folder), anywhere=anywhere, packages=packages)
    if scenario is None or errors:
        raise ScenarioErrors(errors)
    return Loaded(scenario, folder)


def _read(file: Path, own: Own, *, anywhere: bool, packages: Names | None) -> tuple[Scenario | None, list[FileError]]:
    source = Source(file, Scenario, patterns=PATTERNS)
    scenario = source.validate()
    if not anywhere:
        _check_name(source)
    if scenario is not None and packages is not None:
        _check_packages(source, scenario, packages)
    for name, described in scenario.classes.items() if scenario is not None else ():
        applications.check(source, ("classes", name), described, own)
    if scenario is not None:
        _check_services(source, scenario)
    return scenario, [*_check_folder(source, own), *source.errors]


def _own_errors(folder: Path) -> Iterator[FileError]:
    """Of the applications that the scenario brings: what each says of itself, and its tasks."""
    for below in applications.folders(folder):
        if not NAME.fullmatch(below.name):
            hint = "give the folder a name of small letters, digits and hyphens, 31 at most"
            yield FileError(below / applications.MAIN, 1, f"an application cannot be called {below.name}", hint)
            continue
        try:
            applications.read(below)
        except FileErrors as error:
            yield from error.errors
        faults = list(_role_errors(below))
        yield from faults or tasks.strict(below)


def _check_name(source: Source[Scenario]) -> None:
    folder, value = source.file.parent, source.value if isinstance(source.value, dict) else {}
    if isinstance(name := value.get("name"), str) and name != folder.name:
        source.wrong(("name",), f"name is {name}, but the folder is {folder.name}", f"write name: {folder.name}, or rename the folder")


def _check_packages(source: Source[Scenario], scenario: Scenario, packages: Names) -> None:
    for name, described in scenario.classes.items():
        for number, package in enumerate(described.packages):
            if (said := packages(name, described.os, package)) is not None:
                source.wrong(("classes", name, "packages", number), *said)


def _check_services(source: Source[Scenario], scenario: Scenario) -> None:
    """No two are at the same place, and none where the appliance answers itself."""
    there = dict[str, str]()
    for name, described in scenario.classes.items():
        if (service := described.service) is None:
            continue
        at: Place = ("classes", name, "service", "path")
        if service.path == RESERVED_PATH or service.path.startswith(f"{RESERVED_PATH}/"):
            source.wrong(at, f"{service.path} is where the appliance answers itself", "write another path")
        elif (other := there.setdefault(service.place, name)) != name:
            source.wrong(at, f"{service.place} is the service of {other} already", "write another path, or another name")


def _check_folder(source: Source[Scenario], own: Own) -> Iterator[FileError]:
    """Errors that no schema can know, of names and files around scenario.yml; those in that file are noted in the source."""
    folder, value = source.file.parent, source.value if isinstance(source.value, dict) else {}
    checked = set()
    for path, role in _named_roles(value):
        if role in RESERVED_ROLES:
            source.wrong(path, f"the role {role} is the appliance's own, which every seed has", "give yours another name")
        elif not isinstance(role, str) or role in checked or not NAME.fullmatch(role):
            continue  # the schema says what is wrong with it
        elif path[2] == "choice" and role in applications.catalogue(own):
            continue
        elif not (folder / "roles" / role / "tasks/main.yml").is_file():
            source.wrong(path, f"there is no role {role}", f"make {folder / 'roles' / role / 'tasks/main.yml'}")
        else:
            checked.add(role)
            yield from _role_errors(folder / "roles" / role)


def _named_roles(value: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Where a role is named, whether the class has it or it may be chosen (as an application of the catalogue may), and what stands there."""
    for class_name, described in value["classes"].items() if isinstance(value.get("classes"), dict) else ():
        for keys in (("roles",), ("choice", "applications")):
            named = described
            for key in keys:
                named = named.get(key) if isinstance(named, dict) else None
            for number, role in enumerate(named if isinstance(named, list) else ()):
                yield ("classes", class_name, *keys, number), role


def _role_errors(role: Path) -> Iterator[FileError]:
    """Files of a role that no YAML reader can read, and modules that are not there: better said now than in the middle of a build."""
    readable = True
    for part in _ROLE_PARTS:
        for file in sorted((role / part).rglob("*.y*ml")):
            content = file.read_bytes()
            try:
                for _ in yaml.compose_all(content, yaml.SafeLoader):
                    pass
            except (yaml.YAMLError, RecursionError, ValueError) as error:
                readable = False
                yield syntax(file, error, content)
    if readable:
        for part in ("tasks/main.yml", "handlers/main.yml", MACHINE_TASKS):
            yield from _module_errors(role / part, role.parent, set())
        if (role / MACHINE_TASKS).is_file():
            yield from _task_errors(role / MACHINE_TASKS)


def role_folders(folder: Path, roles: Iterable[str]) -> list[Path]:
    """Where these roles of a scenario lie, each once; a name that is none is left out."""
    found = (folder / "roles" / role for role in dict.fromkeys(roles) if NAME.fullmatch(role))
    return [role for role in found if role.is_dir()]


def check_confined(folder: Path, roles: Iterable[str]) -> None:
    """Raise ScenarioErrors with every task of these roles that asks for another host than the one that it is for: a build has no other.

    What only looks like it, or is made up while it runs, does no harm: it stays in the build's sandbox.
    """
    errors = [
        error
        for role in role_folders(folder, roles)
        for part in ("tasks", "handlers")
        for file in sorted((role / part).rglob("*.y*ml"))
        for error in tasks.elsewhere(file)
    ]
    if errors:
        raise ScenarioErrors(errors)


def _task_errors(file: Path) -> Iterator[FileError]:
    """What is no list of tasks: a machine would only be made to find that out."""
    hint = "write a list of tasks, each of them a name and a module, as in tasks/main.yml"
    node = yaml.compose(file.read_bytes(), yaml.SafeLoader)
    if not isinstance(node, yaml.SequenceNode):
        yield FileError(file, 1 if node is None else node.start_mark.line + 1, "there is no list of tasks", hint)
        return
    for item in node.value:
        line = item.start_mark.line + 1
        keys = {tasks.named(key): key.start_mark.line + 1 for key, _ in item.value} if isinstance(item, yaml.MappingNode) else {}
        if "hosts" in keys:
            yield FileError(file, keys["hosts"], "this is a play, not a task: the hosts are the machines anyway", hint)
        elif not keys.keys() - _NO_ACTION:
            yield FileError(file, line, "this task has no module", hint)


def _module_errors(file: Path, roles: Path, read: set[Path]) -> Iterator[FileError]:
    """Modules of collections that are not installed, in this file and what it imports. What it includes may never be read: for other systems.

    What lies elsewhere than below `roles` is not read: its lines are nobody's who wrote the path.
    """
    file = Path(os.path.normpath(file))
    if file in read or not file.is_relative_to(roles) or not _is_file(file):
        return
    read.add(file)
    content = file.read_bytes()
    try:
        node = yaml.compose(content, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # an imported file that is not called .yml
        yield syntax(file, error, content)
        return
    for task in tasks.within(node):
        for key, value in task.value:
            found = _MODULE.fullmatch(tasks.named(key))
            if tasks.named(key) in _IMPORTS:
                given = {tasks.named(name): inner for name, inner in value.value}.get("file") if value.id == "mapping" else value
                if given is not None and given.id == "scalar":
                    yield from _module_errors(file.parent / given.value, roles, read)
            elif found and found[1] not in _BUILT_IN and not (_COLLECTIONS / found[1].replace(".", "/")).is_dir():
                yield FileError(
                    file,
                    key.start_mark.line + 1,
                    f"{found[0]} is of the collection {found[1]}, which is not installed: Ansible's own modules are all there is",
                    "use a module of ansible.builtin, or put this one into library/ of the role and call it by its last name",
                )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long to be one
        return False


PATTERNS = {
    r"^[a-z][a-z0-9-]{0,30}$": "write a small letter, then small letters, digits and hyphens, 31 at most",
    r"^[a-z0-9][a-z0-9+.:-]*$": "write the name of a Debian package, like python3-venv",
    r"^/[^\s]*$": "write a path that begins with /",
    r"^/[A-Za-z0-9_./@+=,~-]*$": "write a path that begins with /, of letters, digits and _ . / @ + = , ~ -",
}
