"""Every program that the code and its tests start comes with a package that set-up installs. That it is there is seen on a bare Debian (tests/fresh)."""

import ast
import re
import shutil
from collections.abc import Iterator
from functools import cache

import pytest

from appliance.run import environ
from appliance.settings import REPOSITORY
from tests.fresh import programs
from tests.fresh.programs import brought, listed

pytestmark = pytest.mark.fresh

STARTING = {"run", "start", "confined", "interactive", "Popen", "call", "check_call", "check_output", "execv", "execvp", "execvpe"}
WORD = re.compile(r"(?:/(?:\w+/)+)?([a-z][a-z0-9_.+-]*)")
PATH = environ()["PATH"]


@cache
def started(*folders: str) -> dict[str, set[str]]:
    """Programs that are started there, each with the files that do: a command that is called, or a list that begins like one."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for file in sorted((REPOSITORY / folder).rglob("*.py")):
            for name in _of_python(ast.parse(file.read_text())):
                found.setdefault(name, set()).add(str(file.relative_to(REPOSITORY)))
        for file in sorted((REPOSITORY / folder).glob("*.yml")):
            for name in re.findall(r"(?:argv: \[|^ +- \[|argv:\n +- )([a-z][\w.-]*)", file.read_text(), re.MULTILINE):
                found.setdefault(name, set()).add(str(file.relative_to(REPOSITORY)))
    return found


def _of_python(tree: ast.AST) -> Iterator[str]:
    called = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            callee = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if callee in STARTING:
                called.add(node.args[0])
    for node in ast.walk(tree):
        if not (isinstance(node, ast.List | ast.Tuple) and node.elts and isinstance(node.elts[0], ast.Constant)):
            continue
        word = WORD.fullmatch(str(node.elts[0].value))
        if word is None:
            continue
        options = any(isinstance(one, ast.Constant) and str(one.value).startswith("-") for one in node.elts)
        if node in called or word[1] in programs.PROGRAMS or (options and shutil.which(word[1], path=PATH)):
            yield word[1]


def lacking(found: dict[str, set[str]], brought: set[str]) -> dict[str, str]:
    """Programs with the packages that bring them, for which none of these packages is among those that are brought."""
    packages = {name: programs.PROGRAMS[name] for name in found if name in programs.PROGRAMS}
    return {name: package for name, package in packages.items() if package not in brought | programs.BASE}


def test_every_program_that_is_started_is_known_with_its_package() -> None:
    known = programs.PROGRAMS.keys() | programs.ELSEWHERE
    assert {name: files for name, files in started("appliance", "webui", "playbooks", "tests").items() if name not in known} == {}


def test_the_image_and_set_up_bring_what_the_appliance_starts() -> None:
    found = started("appliance", "webui", "playbooks")
    assert lacking(found, listed("packages-image")) == {}
    # What takes care of the image's own server is started nowhere else.
    only_image = {name for name, files in found.items() if all(file.startswith("appliance/host/") for file in files)}
    here = {name: files for name, files in found.items() if name not in only_image | programs.IN_MACHINES}
    assert lacking(here, listed("packages")) == {}
    assert lacking(here, listed("packages") - {"nginx"}) == {"nginx": "nginx"}


def test_set_up_for_tests_brings_what_tests_start() -> None:
    found = started("tests")
    for_the_image = listed("packages-image") | listed("packages-tools")  # its tests start them, and others stand in for them
    assert lacking(found, brought() | for_the_image) == {}
    assert lacking(found, (brought() | for_the_image) - {"openssh-server"}) == {"sshd": "openssh-server"}


def test_a_test_starts_what_each_package_for_tests_brings() -> None:
    assert set(programs.STARTED_BY) | programs.NOT_STARTED == listed("packages-test")
    for test in (*programs.STARTED_BY.values(), *programs.ALSO):
        file, _, name = test.partition("::")
        assert not name or f"def {name.partition('[')[0]}(" in (REPOSITORY / file).read_text(), test
