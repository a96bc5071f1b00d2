"""How long making machines of a class takes."""

from datetime import timedelta

from appliance.catalog import machines
from appliance.settings import Settings

BOOTED, FORKED = timedelta(seconds=120), timedelta(seconds=10)  # that it is taken to last until some were made
FORKS = 10  # times as many machines in a batch that begins with a fork: they share the start-up of what is run in each


def times(name: str, *, forked: bool) -> list[timedelta]:
    """How long each of the last took, the shortest first."""
    return sorted(machines.creation_times(name)) or [FORKED if forked else BOOTED]


def at_once(settings: Settings, *, forked: bool) -> int:
    """How many machines are made in one batch."""
    return settings.parallel * (FORKS if forked else 1)
