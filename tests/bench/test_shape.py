"""Each benchmark at its smallest size, as `make bench` would print it: what its results look like. Their figures need a quiet machine."""

import json
import os
import sys

import pytest

from appliance.run import run
from appliance.settings import REPOSITORY
from tests.bench.__main__ import KEYS, NAMES

LONG = set() if "DPE_TEST_LONG_BENCH" in os.environ else {"fork"}  # minutes even at its smallest: `make soak ONLY=bench-fork`


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LONG])
def test_a_benchmark_says_what_it_measured_and_against_what(name: str) -> None:
    said = run([sys.executable, "-m", "tests.bench", "--smallest", name], cwd=REPOSITORY, timeout=600)
    results = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert results
    assert len({result["name"] for result in results}) == len(results)
    for result in results:
        assert tuple(result) == KEYS
        assert all(result[key].strip() for key in ("name", "unit", "baseline"))
        assert all(isinstance(result[key], (int, float)) and result[key] >= 0 for key in ("value", "baseline_value", "ratio")), result
