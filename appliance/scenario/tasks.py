"""Ansible's tasks as text: what is no task, no module that there is, or asks for something that a build does not have.

Said for people to see early, with file and line; what holds is the build's sandbox.
"""

import difflib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from appliance.settings import REPOSITORY
from appliance.yamlfile import FileError, syntax

BLOCKS = ("block", "rescue", "always")
ELSEWHERE = ("delegate_to", "local_action", "connection", "delegate_facts")
# Of a task and a block of Ansible, besides its module, blocks and what is in ELSEWHERE.
KEYWORDS = frozenset((
    "action", "any_errors_fatal", "args", "async", "become", "become_exe", "become_flags", "become_method", "become_user", "changed_when",
    "check_mode", "collections", "debugger", "delay", "diff", "environment", "failed_when", "ignore_errors", "ignore_unreachable", "listen",
    "loop", "loop_control", "module_defaults", "name", "no_log", "notify", "poll", "port", "register", "remote_user", "retries", "run_once",
    "tags", "throttle", "timeout", "until", "vars", "when",
))  # fmt: skip
# Loops over what stands in the task; others are lookups, too.
LOOPS = frozenset(f"with_{name}" for name in (
    "cartesian", "dict", "flattened", "indexed_items", "items", "list", "nested", "random_choice", "sequence", "subelements", "together",
))  # fmt: skip
LIST = "write a list of tasks, each of them a name and a module"
_LOOKUP = re.compile(r"\b(lookup|query|q)\s*\(\s*['\"]")
_OUTSIDE = "reads where the seed is built, not in the machine"
_INSTEAD = "write the value itself, or read it in the machine, with slurp or command"
_SHORT = re.compile(r"(?:ansible\.(?:builtin|legacy)\.)?(\w+)")


def named(key: yaml.Node) -> str:
    """A key as text; one that is no text is none that Ansible knows, and may be endless when written out."""
    return str(key.value) if isinstance(key, yaml.ScalarNode) else "?"


def within(node: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    """The tasks in a list of them, those in blocks included, each once: an alias may stand for millions, or for what it is in."""
    to_do, seen = [node], set[int]()
    while to_do:
        one = to_do.pop()
        for item in one.value if isinstance(one, yaml.SequenceNode) else ():
            if isinstance(item, yaml.MappingNode) and id(item) not in seen:
                seen.add(id(item))
                yield item
                to_do += [value for key, value in item.value if named(key) in BLOCKS]


def elsewhere(file: Path) -> Iterator[FileError]:
    """Tasks that ask for another host than the one that they are for: a build has no other."""
    content = file.read_bytes()
    try:
        node = yaml.compose(content, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        yield syntax(file, error, content)
        return
    for task in within(node):
        for key, value in task.value:
            if named(key) in ELSEWHERE:
                yield FileError(
                    file,
                    key.start_mark.line + 1,
                    f"{named(key)}{f': {value.value}' if isinstance(value, yaml.ScalarNode) else ''} leads out of the machine that is made",
                    "a task is for that machine alone; dpe_wheels fetches Python packages, `packages` of the class those of Debian",
                )


def strict(role: Path) -> Iterator[FileError]:
    """What is wrong with the tasks and templates of a role whose YAML can be read: Ansible's own look at its syntax, without Ansible,
    which would carry out what it reads."""
    own = {file.stem for file in (role / "library").glob("*") if file.is_file()}
    for part in ("tasks", "handlers"):
        for file in sorted((role / part).rglob("*.y*ml")):
            yield from _file(file, own)
            yield from elsewhere(file)
    for part in ("tasks", "handlers", "defaults", "vars", "meta", "templates"):
        for file in sorted(one for one in (role / part).rglob("*") if one.is_file()):
            for number, line in enumerate(file.read_bytes().decode(errors="replace").splitlines(), 1):
                if (found := _LOOKUP.search(line)) and not line.lstrip().startswith("#"):
                    yield FileError(file, number, f"{found[1]}() {_OUTSIDE}", _INSTEAD)


def _file(file: Path, own: set[str]) -> Iterator[FileError]:
    node = yaml.compose(file.read_bytes(), yaml.SafeLoader)
    if not isinstance(node, yaml.SequenceNode):
        yield FileError(file, 1 if node is None else node.start_mark.line + 1, "there is no list of tasks", LIST)
        return
    for item in node.value:
        if not isinstance(item, yaml.MappingNode):
            yield FileError(file, item.start_mark.line + 1, "this is no task", LIST)
    for task in within(node):
        yield from _task(file, task, own)


def _task(file: Path, task: yaml.MappingNode, own: set[str]) -> Iterator[FileError]:
    keys = {named(key): key.start_mark.line + 1 for key, _ in task.value}
    line, blocks = task.start_mark.line + 1, [key for key in keys if key in BLOCKS]
    if "hosts" in keys:
        yield FileError(file, keys["hosts"], "this is a play, not a task: the hosts are the machines anyway", LIST)
        return
    loops = [key for key in keys if key.startswith("with_")]
    for key in loops:
        if key not in LOOPS:
            yield FileError(file, keys[key], f"{key} {_OUTSIDE}", _INSTEAD)
    modules = [key for key in keys if key not in {*KEYWORDS, *BLOCKS, *ELSEWHERE, *loops}]
    for name in modules if blocks or len(modules) > 1 else ():
        if near := difflib.get_close_matches(name, KEYWORDS, 1):
            yield FileError(file, keys[name], f"{name} is no keyword of Ansible", f"write {near[0]}")
            return
    if blocks:
        for name in modules:
            yield FileError(file, keys[name], f"{name} cannot stand beside {blocks[0]}", f"put it into a task of its own, in {blocks[0]}")
    elif not modules and not keys.keys() & {"action", "local_action"}:
        yield FileError(file, line, "this task has no module", "add one, as ansible.builtin.copy or ansible.builtin.command")
    elif len(modules) > 1:
        yield FileError(file, keys[modules[1]], f"{modules[0]} and {modules[1]} are two modules in one task", "make two tasks of it")
    elif modules and (short := _SHORT.fullmatch(modules[0])) and short[1] not in builtin() | own:
        near = difflib.get_close_matches(short[1], builtin() | own, 1)
        hint = f"write {near[0]}" if near else "use one of ansible.builtin, or put it into library/ beside tasks/"
        yield FileError(file, keys[modules[0]], f"there is no module {modules[0]}", hint)


@cache
def builtin() -> frozenset[str]:
    """The modules that every role has: Ansible's, and ours."""
    found = importlib.util.find_spec("ansible")  # only where it lies: importing it takes longer than all else here
    folders = [Path(place) / part for place in (found and found.submodule_search_locations) or () for part in ("modules", "plugins/action")]
    ours = [REPOSITORY / "playbooks" / part for part in ("library", "plugins/action")]
    return frozenset(file.stem for folder in (*folders, *ours) if folder.is_dir() for file in folder.glob("*.py"))
