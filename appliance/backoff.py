"""How long to wait before something that failed is tried again."""

from datetime import timedelta

MOST = 20  # doublings: a million times the first wait, which is longer than anybody's longest


def doubled(first: timedelta, times: int, longest: timedelta) -> timedelta:
    """The first wait, doubled so many times (none for less than one), and never longer than the longest."""
    return min(first * (1 << min(max(times, 0), MOST)), longest)
