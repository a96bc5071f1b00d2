"""The examples of the guide for integrators, as they stand, against the real application."""

import json
import shlex
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from appliance.catalog import Lease, Machine, MachineState
from dpe.cli import Context, cli
from dpe.client import Client
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
