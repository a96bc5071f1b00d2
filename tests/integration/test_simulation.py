"""Thousands of short histories of the runner, in each of which anything may go wrong at any point; see tests/simulation.py."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests import simulation

HISTORIES = int(os.environ.get("DPE_TEST_HISTORIES", "300"))
FIRST = int(os.environ.get("DPE_TEST_SEED", "0"))


@pytest.mark.simulation
@pytest.mark.timeout(1800)
def test_whatever_happens_every_run_ends_nothing_leaks_and_nobody_owns_what_another_has(tmp_path):
    """A failure says its seed: DPE_TEST_SEED=<seed> DPE_TEST_HISTORIES=1 plays that history alone."""
    workers = min(os.cpu_count() or 1, HISTORIES)
    parts = [range(FIRST + n, FIRST + HISTORIES, workers) for n in range(workers)]
    # Not forked: the parent may have threads, and its catalog is not the children's.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        told = list(pool.map(simulation.play, [tmp_path / str(n) for n in range(workers)], parts))
    assert [text for text in told if text] == []
