"""Waits that double."""

from datetime import timedelta

import pytest

from appliance.backoff import doubled

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.mark.parametrize(("times", "seconds"), [(-3, 1), (0, 1), (1, 2), (5, 32), (11, 2048), (12, 3600), (10**9, 3600)])
def test_it_doubles_up_to_the_longest(times: int, seconds: int) -> None:
    assert doubled(SECOND, times, HOUR) == timedelta(seconds=seconds)
