"""Commands and playbooks as activities: run for real, on this machine in place of another."""

import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from appliance import catalog
from appliance.catalog import Machine, MachineState, machines, now, runs
from appliance.hypervisor.provider import Executed
from appliance.lifecycle import guest_activities
from appliance.lifecycle.guest_activities import Activities
from appliance.services import machines as verbs
from appliance.workflow import kinds
from appliance.workflow.conditions import When
from appliance.workflow.kinds import Guest, Playbook
from appliance.workflow.runner import Context, Failed
from appliance.workflow.sequence import PlannedStep, Retry
from tests.unit.engine.fake import FakeProvider

pytestmark = pytest.mark.workflow


class Here(FakeProvider):
    """Commands "in the machine" run on this one."""

    def execute(self, id: str, command: Any, *, input: bytes = b"", timeout: float = 60) -> Executed:
        done = subprocess.run(command, input=input, capture_output=True, timeout=timeout, check=False)
        return Executed(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


@pytest.fixture
def here(opened, monkeypatch, tmp_path) -> Activities:
    monkeypatch.setattr(guest_activities, "MARKS", str(tmp_path / "steps"))
    return Activities(opened, Here())


@pytest.fixture
def step(ready, alice) -> Callable[..., Context]:
    """A step of a run of a machine of Alice's, as it is after so many failures."""
    ready(1)
    id = verbs.request(alice, "small").machine_id
    machines.change(id, [MachineState.ASSIGNED], MachineState.IN_USE)
    Machine.update(name="O'Hara $(id); {{ 1 }}").where(Machine.id == id).execute()
    with catalog.write():
        run = runs.begin_run("stop", machine_id=id, class_name="small")

    def make(kind: str, options: Any, attempts: int = 0, cancelled: Callable[[], bool] = lambda: False) -> Context:
        planned = PlannedStep(0, "mine", kinds.known()[kind], "", options, When(), Retry(), 3, False, "before")
        found = runs.by_id(run)
        assert found is not None
        return Context(found, planned, attempts, now(), now() + timedelta(), cancelled=cancelled)

    return make


def test_a_machine_that_does_not_run(here, step) -> None:
    Machine.update(state=MachineState.STOPPED).execute()
    options = Guest(run=["true"])
    outcome = here.guest(step("guest", options), options)
    assert isinstance(outcome, Failed)
    assert "does not run: it is stopped" in outcome.error.message


# -- playbooks --------------------------------------------------------------------------------


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"playbook": "nosuch.yml"}, "there is no playbook nosuch.yml"),
        ({"playbook": "../build.yml"}, "should match pattern"),
        ({"playbook": "write-motd.yml", "variables": {"ansible_connection": "local"}}, "would change how Ansible works"),
        ({"playbook": "write-motd.yml", "variables": {"a b": 1}}, "should match pattern"),
        ({"playbook": "write-motd.yml", "timeout": "soon"}, "should match pattern"),
        ({"playbook": "write-motd.yml", "target": "elsewhere"}, "Input should be"),
    ],
)
def test_what_is_wrong_is_refused_when_it_is_written(opened, options, said) -> None:
    with pytest.raises(ValidationError, match=said):
        Playbook.model_validate(options)


@pytest.mark.badinput
@pytest.mark.parametrize(
    "options", [{"run": []}, {"run": "ls -l"}, {"run": [""]}, {"run": ["x"], "ok": [256]}, {"run": ["x"], "user": "me"}]
)
def test_a_command_that_is_none(options) -> None:
    with pytest.raises(ValidationError):
        Guest.model_validate(options)
