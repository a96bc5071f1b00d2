"""Slowing down whoever guesses: by account and by address, kept in the catalog so that a restart forgives nothing."""

from datetime import timedelta

from appliance.catalog import Throttle, now, write
from appliance.errors import NotAllowed

FREE = 5  # failures before the first wait
LONGEST = timedelta(minutes=15)
FORGET = timedelta(hours=1)


def check(*names: str) -> None:
    """Raise NotAllowed, saying for how long, when one of the names has to wait."""
    moment = now()
    for row in list(Throttle.select().where(Throttle.name.in_(names), Throttle.blocked_until > moment)):
        seconds = int((row.blocked_until - moment).total_seconds()) + 1
        wait = f"{seconds} seconds" if seconds < 90 else f"{seconds // 60 + 1} minutes"
        raise NotAllowed("Too many failed attempts.", f"Try again in {wait}.")


def failed(*names: str) -> None:
    """Count a failure: from the sixth on, each doubles the wait, up to a quarter of an hour."""
    moment = now()
    with write():
        for name in names:
            row = Throttle.get_or_none(Throttle.name == name)
            failures = 1 if row is None or moment - row.updated_at > FORGET else row.failures + 1
            wait = timedelta() if failures < FREE else min(timedelta(seconds=2 ** min(failures - FREE + 1, 20)), LONGEST)
            Throttle.insert(name=name, failures=failures, blocked_until=moment + wait, updated_at=moment).on_conflict_replace().execute()


def succeeded(name: str) -> None:
    """Forget an account's failures; an address keeps its own, or one good account would cover a thousand guesses."""
    Throttle.delete().where(Throttle.name == name).execute()
