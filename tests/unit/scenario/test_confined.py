"""Tasks that lead out of the machine that is made: refused before a build, with their lines."""

from pathlib import Path

import pytest

from appliance.scenario.load import ScenarioErrors, check_confined

pytestmark = [pytest.mark.hostilebuild, pytest.mark.badinput]


@pytest.mark.parametrize("part", ["tasks", "handlers"])
@pytest.mark.parametrize("wrong", ["delegate_to: localhost", "local_action: command true", "connection: local"])
def test_a_role_that_asks_for_another_host_is_refused_with_its_line(tmp_path: Path, part: str, wrong: str) -> None:
    file = tmp_path / "roles/one" / part / "deeper/more.yml"
    file.parent.mkdir(parents=True)
    file.write_text(f"- block:\n    - name: Out\n      ansible.builtin.command: id\n      {wrong}\n")
    with pytest.raises(ScenarioErrors, match=f"{wrong} leads out of the machine that is made") as caught:
        check_confined(tmp_path, ["one", "two"])
    assert [(error.file, error.line) for error in caught.value.errors] == [(file, 4)]
    check_confined(tmp_path, ["two"])


def test_anchors_that_explode_are_read_in_no_time(tmp_path: Path) -> None:
    file = tmp_path / "roles/one/tasks/main.yml"
    file.parent.mkdir(parents=True)
    lines = ["- &a0 {name: x, block: [{debug: {}, delegate_to: localhost}]}"]
    lines += [f"- &a{n} {{name: x, block: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 20)]
    file.write_text("\n".join(lines))
    with pytest.raises(ScenarioErrors) as caught:
        check_confined(tmp_path, ["one"])
    assert [error.line for error in caught.value.errors] == [1]
