"""What the product imports is there where it runs: the image has what the lock has, and nothing else that a development machine may have besides."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from appliance.settings import REPOSITORY

# There without the lock: with the virtual environment itself, or brought by a package of the lock under another name.
BESIDES = {"pip": "every virtual environment has it; see INSTALL of image-build/build.py"}
OURS = {"appliance", "webui"}


def imported(node: ast.AST) -> Iterator[str]:
    """The first part of what is imported anywhere in a module."""
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            yield from (name.name.partition(".")[0] for name in one.names)
        elif isinstance(one, ast.ImportFrom) and one.module and not one.level:
            yield one.module.partition(".")[0]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def modules() -> list[Path]:
    """Of the product without the client, which is a package of its own."""
    found = [file for room in ("appliance", "webui") for file in (REPOSITORY / room).rglob("*.py")]
    return [file for file in found if "client" not in file.parts and "node_modules" not in file.parts]


def test_what_is_imported_is_locked() -> None:
    locked = {normal(name) for name in re.findall(r"^([\w.-]+)==", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE)}
    brought_by = packages_distributions()
    names = {name for file in modules() for name in imported(ast.parse(file.read_text()))} - OURS - set(sys.stdlib_module_names)
    assert len(names) > 10
    assert {name for name in names - BESIDES.keys() if not {normal(one) for one in brought_by.get(name, ())} & locked} == set()


@pytest.mark.parametrize("name", BESIDES)
def test_what_is_not_locked_is_asked_for_only_when_it_is_used(name: str) -> None:
    """A module that imports it at its top could not be imported where it is missing."""
    tops = [
        file
        for file in modules()
        for node in ast.parse(file.read_text()).body
        if name in imported(ast.Module([node], [])) and isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert tops == []
