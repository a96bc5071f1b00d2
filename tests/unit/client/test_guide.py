"""The examples of the guide for integrators, as they stand, against the real application."""

import json
import re
import shlex
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from flask import Flask

from appliance.catalog import Lease, Machine, MachineState
from appliance.settings import REPOSITORY
from dpe.cli import Context, cli
from dpe.client import Client
from tests.unit.webui.conftest import HOST
from webui.guide.texts import GUIDES

pytestmark = pytest.mark.cli

EXAMPLES = GUIDES["integrator"].code


def engine(_: float) -> None:
    """While a client waits, machines that were asked for are handed over."""
    Machine.update(state=MachineState.IN_USE).where(Machine.state == MachineState.ASSIGNED).execute()


@pytest.fixture
def grace(client: Callable[..., Client]) -> Client:
    made = client("grace")
    made.sleep = engine
    return made


@pytest.mark.timeout(60)
def test_python(grace: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Client, "signed_in", lambda: grace)
    [example] = [text for language, text in EXAMPLES if language == "python"]
    before = Lease.select().count()
    exec(example, {})
    assert "is there until" in capsys.readouterr().out
    lease = Lease.select().order_by(Lease.id.desc()).get()
    assert (Lease.select().count(), lease.end_reason) == (before + 1, "released")


def hcl(text: str, *labels: str) -> dict[str, Any]:
    """The arguments of a block that are strings, or `jsonencode` of an object of strings."""
    head = " ".join([labels[0], *(f'"{one}"' for one in labels[1:])])
    block = re.search(rf"^{re.escape(head)} {{\n(.*?)^}}", text, re.MULTILINE | re.DOTALL)
    assert block, head
    found = dict(re.findall(r'^  (\w+) += (?:jsonencode\()?("[^"]*"|{.*})\)?$', block[1], re.MULTILINE))
    return {name: json.loads(re.sub(r"(\w+) = ", r'"\1": ', value)) for name, value in found.items()}


def test_terraform(app: Flask, grace: Client) -> None:
    """Neither program is here: what the provider asks, as its documentation has it, is asked of the real application."""
    [example] = [text for language, text in EXAMPLES if language == "hcl"]
    provider, machine = hcl(example, "provider", "restapi"), hcl(example, "resource", "restapi_object", "machine")

    def ask(method: str, path: str, body: object = None) -> tuple[int, Any]:
        filled = [
            text.replace("${var.address}", HOST).replace("${var.token}", grace.token)
            for text in (provider["uri"], provider["headers"]["Authorization"])
        ]
        answer = app.test_client().open(
            filled[0].removeprefix(HOST) + path, method=method, base_url=HOST, json=body, headers={"Authorization": filled[1]}
        )
        return answer.status_code, answer.json

    status, made = ask("POST", machine["path"], machine["data"])
    id = made[provider["id_attribute"]]
    assert status == 201
    status, read = ask("GET", f"{machine['path']}/{id}")
    assert (status, read["url"]) == (200, made["url"]), "the output"
    assert machine["data"].items() <= read.items(), "nothing has drifted"
    assert ask(machine["destroy_method"], machine["destroy_path"].replace("{id}", id))[0] == 202
    assert Machine.get(Machine.id == id).state is MachineState.RECLAIMING


@pytest.mark.timeout(60)
def test_a_job_of_ci(grace: Client) -> None:
    """The recipe of the command's README: each `dpe` of it, with what the one before said; `ssh` says what it would start."""
    readme = (REPOSITORY / "appliance/client/README.md").read_text()
    recipe = yaml.safe_load(textwrap.dedent(readme.split("## A clean machine for a job of CI")[1].split("variable:\n\n")[1]))
    assert recipe["env"].keys() == {"DPE_ADDRESS", "DPE_FINGERPRINT", "DPE_TOKEN"}
    id, said = "", []
    for step in recipe["steps"]:
        [command] = re.findall(r"\bdpe [^|)]*", step["run"])
        words = shlex.split(command.replace("$MACHINE", id).replace(" runner ", " notebook ").replace(" ssh ", " ssh --print "))
        context = Context("")
        context._client = grace
        done = CliRunner().invoke(cli, words[1:], obj=context, catch_exceptions=False)
        assert done.exit_code == 0, (words, done.output)
        said.append(done.stdout)
        id = id or json.loads(done.stdout)["id"]
    assert said[1].rstrip().endswith("make test")
    assert recipe["steps"][-1]["if"] == "always()"
    assert Machine.get(Machine.id == id).state is MachineState.RECLAIMING


@pytest.mark.timeout(60)
def test_commands(grace: Client) -> None:
    lines = [line for language, text in EXAMPLES if language == "dpe" for line in text.splitlines()]
    assert len(lines) > 3
    for line in lines:
        program, *words = shlex.split(line)
        context = Context("")
        context._client = grace
        done = CliRunner().invoke(cli, words, obj=context, catch_exceptions=False)
        assert (program, done.exit_code) == ("dpe", 0), (line, done.output)
        if "--json" in words:
            assert json.loads(done.stdout)
