"""Each benchmark at its smallest size, as `make bench` would print it: what its results look like. Their figures need a quiet machine."""

import json
import sys

import pytest

from appliance.run import run
from appliance.settings import REPOSITORY
from tests.bench.__main__ import KEYS, NAMES

# Those have a network, or ports, that are the same in each run.
MACHINES = {"build", "density", "fork", "scale"}


def named() -> list[object]:
    """Each under its name; those of a group run one after the other."""
    return [pytest.param(name, marks=pytest.mark.xdist_group("machines" if name in MACHINES else "pages")) for name in NAMES]


@pytest.mark.parametrize("name", named())
def test_a_benchmark_says_what_it_measured_and_against_what(name: str) -> None:
    said = run([sys.executable, "-m", "tests.bench", "--smallest", name], cwd=REPOSITORY, timeout=600)
    results = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert results
    assert len({result["name"] for result in results}) == len(results)
    for result in results:
        assert tuple(result) == KEYS
        assert all(result[key].strip() for key in ("name", "unit", "baseline"))
        assert all(isinstance(result[key], (int, float)) and result[key] >= 0 for key in ("value", "baseline_value", "ratio")), result
