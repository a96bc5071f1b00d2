"""Rules as scenario.yml has them."""

from pathlib import Path

import pytest

from appliance.scenario.load import load
from tests.unit.scenario.test_load import GOOD, errors, write

pytestmark = pytest.mark.policy

RULES = """\
      rules:
        - {name: Jobs, metric: jobs, each: 2, most: 8}
        - {name: Load, metric: cpu, above: 0.8, below: 0.2, cooldown_down: 600}
        - {name: Queue, of: command, metric: length, command: [redis-cli, llen, work], above: 10, most: 8}
"""


def test_rules_are_read_and_can_be_read_again(tmp_path: Path) -> None:
    policy = load(write(tmp_path, GOOD + RULES)).scenario.classes["notes"].policy
    assert [(rule.name, rule.sets, rule.each, rule.above) for rule in policy.rules] == [
        ("Jobs", "minimum", 2.0, None), ("Load", "minimum", None, 0.8), ("Queue", "minimum", None, 10.0),
    ]  # fmt: skip
    assert type(policy).model_validate(policy.model_dump(mode="json")) == policy


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("was", "instead", "says"),
    [
        ("above: 0.8", "above: 0.3", "Load would flap: 2 machines at 0.2 become 1 at 0.4"),
        ("metric: cpu, above: 0.8, below: 0.2", "metric: jobs, above: 8, below: 2", "Jobs and Load fight: both go by jobs"),
        ("of: command, ", "", "Queue has a command"),
        ("each: 2, ", "", "Jobs never decides anything"),
        ("most: 8}", "most: -1}", "most is -1, which is too small"),
    ],
)
def test_what_flaps_or_fights_is_said_with_its_line(tmp_path: Path, was: str, instead: str, says: str) -> None:
    found = errors(write(tmp_path, GOOD + RULES.replace(was, instead, 1)))
    assert says in found[0][2], found
    assert found[0][1] >= 9
