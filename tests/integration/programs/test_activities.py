"""Commands and playbooks as activities: run for real, on this machine in place of another."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance import catalog
from appliance.catalog import machines
from appliance.errors import DpeError, Unavailable
from appliance.workflow import kinds
from appliance.workflow.kinds import Guest, Playbook
from appliance.workflow.runner import Done
from tests.hostile import PAYLOADS

pytestmark = pytest.mark.workflow


def test_a_command_knows_the_machine_by_its_environment_alone(here, step) -> None:
    options = Guest(run=["sh", "-c", 'echo "$DPE_MACHINE_NAME/$DPE_MACHINE_OWNER/$DPE_MOVE/$1"', "sh", "$(id)"])
    done = here.guest(step("guest", options), options)
    assert done == Done({"status": 0, "output": "O'Hara $(id); {{ 1 }}/alice/stop/$(id)"})


def test_called_again_it_is_done_once_and_a_new_try_does_it_again(here, step, tmp_path) -> None:
    options = Guest(run=["sh", "-c", f"echo x >> {tmp_path}/count; wc -l < {tmp_path}/count"])
    first = here.guest(step("guest", options), options)
    assert here.guest(step("guest", options), options) == first
    assert (tmp_path / "count").read_text() == "x\n"
    assert here.guest(step("guest", options, attempts=1), options).output["output"] == "2"


def test_called_again_while_it_still_runs_it_is_waited_for(here, step, tmp_path) -> None:
    gate, count = tmp_path / "gate", tmp_path / "count"
    subprocess.run(["mkfifo", gate], check=True)
    options = Guest(run=["sh", "-c", f"echo x >> {count}; read -r line < {gate}; echo $line"])
    found: list[Any] = []
    context = step("guest", options)
    calls = [threading.Thread(target=lambda: (found.append(here.guest(context, options)), catalog.close())) for _ in range(2)]
    for call in calls:
        call.start()
    gate.write_text("open\n")
    for call in calls:
        call.join()
    assert [one.output["output"] for one in found] == ["open", "open"]
    assert count.read_text() == "x\n"


def test_statuses_that_count_as_success(here, step) -> None:
    options = Guest(run=["sh", "-c", "echo no; exit 3"])
    with pytest.raises(DpeError, match="sh ended with status 3") as failed:
        here.guest(step("guest", options), options)
    assert failed.value.hint == "no"
    options = Guest(run=["sh", "-c", "exit 3"], ok=[0, 3])
    assert here.guest(step("guest", options, attempts=1), options).output["status"] == 3


def test_a_command_that_hangs_is_ended_with_its_children(here, step, tmp_path) -> None:
    options = Guest(run=["sh", "-c", f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 4711'; :"], timeout="1s")
    with pytest.raises(Unavailable, match="sh did not end within 1s"):
        here.guest(step("guest", options), options)
    pid = (tmp_path / "pid").read_text().strip()
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_only_the_end_of_what_it_says_is_kept(here, step) -> None:
    options = Guest(run=["sh", "-c", "seq 100000"])
    output = here.guest(step("guest", options), options).output["output"]
    assert len(output) <= 4096
    assert output.endswith("100000")


def test_as_the_account_of_the_owner(here, step) -> None:
    catalog.Class.update(spec={**machines.by_id(step("guest", None).run.machine_id).machine_class.spec, "user": "nobody"}).execute()
    options = Guest(run=["id", "-un"], user="owner")
    assert here.guest(step("guest", options), options).output["output"] == "nobody"


@pytest.fixture
def play(here, step, tmp_path, monkeypatch) -> Callable[..., Any]:
    """Run a playbook of these tasks on this machine."""
    folder = tmp_path / "playbooks"
    folder.mkdir()
    monkeypatch.setattr(kinds, "load_settings", lambda: type("Settings", (), {"scenario": tmp_path}))

    def run(tasks: list[dict[str, Any]], *, cancelled: Callable[[], bool] = lambda: False, **options: Any) -> Any:
        (folder / "mine.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        chosen = Playbook(playbook="mine.yml", target="appliance", **options)
        return here.playbook(step("playbook", chosen, cancelled=cancelled), chosen)

    return run


def test_a_playbook_knows_variables_and_machine_as_plain_text(play, tmp_path) -> None:
    told = "{{ lookup('env', 'DPE_MACHINE_NAME') }}/{{ lookup('env', 'DPE_MACHINE_OWNER') }}/{{ text }}/{{ number + 1 }}"
    done = play([{"ansible.builtin.copy": {"dest": f"{tmp_path}/told", "content": told}}], variables={"text": "$(id)", "number": 2})
    assert isinstance(done, Done)
    assert (tmp_path / "told").read_text() == "O'Hara $(id); {{ 1 }}/alice/$(id)/3"


@pytest.mark.hostile
def test_no_value_of_a_variable_is_run_by_ansible(play, tmp_path) -> None:
    """The one by which a delegated admin became root first: it begins with `#jinja2:`, and says what marks a template."""
    begins = "#jinja2: variable_start_string: '[%', variable_end_string: '%]'\n"
    run = f"[% lookup('pipe', 'touch {tmp_path}/run') %]"
    values = [begins + run, *(f"{mark}{run}".replace("[%", "{{").replace("%]", "}}") for mark in ("", "!unsafe ", "x\r\n")), *PAYLOADS]
    variables = {f"value{number}": value for number, value in enumerate(values)}
    told = f"{{{{ [{', '.join(variables)}] | to_json }}}}"
    assert isinstance(play([{"ansible.builtin.copy": {"dest": f"{tmp_path}/told", "content": told}}], variables=variables), Done)
    assert not (tmp_path / "run").exists()
    assert json.loads((tmp_path / "told").read_text()) == values


def test_a_playbook_that_fails_says_which_task_and_why(play) -> None:
    with pytest.raises(DpeError, match=r"Look failed: .*nothing is there"):
        play([{"name": "Look", "ansible.builtin.fail": {"msg": "nothing is there"}}])


def running(command: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if " ".join(process.info["cmdline"] or []) == command]


def test_a_playbook_that_hangs_is_ended(play, here) -> None:
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"mine.yml did not end within 2s"):
        play([{"ansible.builtin.shell": "sleep 4711"}], timeout="2s")
    assert time.monotonic() - begun < 60
    assert list((here.settings.state / "work").iterdir()) == []


def test_a_cancelled_playbook_is_ended_with_all_that_it_started(play, tmp_path) -> None:
    with pytest.raises(DpeError, match="cancelled"):
        play(
            [{"ansible.builtin.shell": f"setsid sleep 47{tmp_path.stat().st_ino} & touch {tmp_path}/begun; wait"}],
            cancelled=(tmp_path / "begun").exists,
        )
    # The kernel empties the namespace a moment after its first process has gone.
    assert psutil.wait_procs(running(f"sleep 47{tmp_path.stat().st_ino}"), timeout=10)[1] == []
