"""The wheel stands alone, and its README says all there is."""

import ast
import gc
import re
import sys
import tomllib
from importlib import import_module

import pytest
import yaml

from appliance.settings import REPOSITORY
from dpe import errors
from dpe.cli import cli
from dpe.declare import DIFFERENT
from tests.unit.client.test_commands import leaves

pytestmark = pytest.mark.cli

HOME = REPOSITORY / "appliance/client"
README = (HOME / "README.md").read_text()
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
MODULES = {"yaml": "pyyaml"}


def test_it_imports_nothing_of_the_appliance_and_nothing_that_it_does_not_bring() -> None:
    brought = {re.split("[<>=]", one)[0] for one in PROJECT["dependencies"]}
    found = set()
    for file in (HOME / "dpe").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").split(".")[0])
    foreign = {MODULES.get(name, name) for name in found - sys.stdlib_module_names - {"dpe"}}
    assert foreign == brought


def test_it_has_the_appliances_version() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    galaxy = yaml.safe_load((HOME / "ansible_collections/dpe/appliance/galaxy.yml").read_text())
    assert (PROJECT["version"], galaxy["version"]) == (version, version)


def test_every_command_is_in_the_readme_as_its_help_says_it() -> None:
    documented = dict(re.findall(r"^\| `dpe ([a-z -]+)[^`]*` \| (.*) \|$", README, re.MULTILINE))
    documented = {name.strip(): text for name, text in documented.items()}
    assert documented == {name: command.get_short_help_str(200).rstrip(".") for name, command in leaves(cli)}


def test_every_exit_code_is_in_the_readme() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ClientError)]
    assert documented == {0, 2, DIFFERENT, *(kind.exit_code for kind in kinds)}


def test_what_pip_makes_of_the_entry_point_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It searches for garbage seldom, and lets whoever uses the client do so as they like."""
    module, _, name = PROJECT["scripts"]["dpe"].partition(":")
    monkeypatch.setattr(sys, "argv", ["dpe", "--help"])
    before = gc.get_threshold()
    try:
        main = getattr(import_module(module), name)
        assert gc.get_threshold() == before
        with pytest.raises(SystemExit) as ended:
            main()
        assert gc.get_threshold()[0] > before[0]
    finally:
        gc.set_threshold(*before)
    assert ended.value.code == 0
    assert "Machines of a DPE Appliance" in capsys.readouterr().out


def test_listing_machines_imports_neither_tables_nor_streams_nor_yaml() -> None:
    """What takes its time is imported by what needs it; make bench ONLY=clients has the seconds."""
    heavy = {"rich", "yaml", "websockets", "keyring", "webbrowser", "uuid"}
    for name in ("cli", "client", "hosts", "output", "certificate", "errors"):
        tree = ast.parse((HOME / f"dpe/{name}.py").read_text())
        at_once = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        at_once |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert {one.split(".")[0] for one in at_once} & heavy == set(), name
