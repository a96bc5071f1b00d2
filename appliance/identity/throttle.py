"""Slowing down whoever guesses, without locking anybody else out; kept in the catalog so that a restart forgives nothing.

A guess at an account counts for the account *from this address* first, and there five are free. For the account from anywhere, and for the
address whomever it tries, far more are: people share addresses, and strangers know names. A browser in which somebody signed in to the account
before counts by itself alone, so that no stranger's guesses keep its person out.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance.backoff import doubled
from appliance.catalog import Throttle, now, write
from appliance.errors import NotAllowed

FREE = 5  # failures before the first wait
MORE = {"account": 50, "address": 300, "forgotten": 3, "forgotten-from": 20}  # the same for these kinds of name
FIRST, LONGEST = timedelta(seconds=2), timedelta(minutes=15)
FORGET = timedelta(hours=1)


def network(address: str) -> str:
    """What counts as one address: with IPv6 the 64 bits that a network has, as every computer chooses the others as it likes."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def of_address(address: str) -> str:
    """The name of all that is tried from an address."""
    return f"address:{network(address)}"


def of_guess(account: str, address: str, *, known: str = "") -> tuple[str, ...]:
    """The names of a guess at an account, the narrowest first; `known` is what tells the browser, where somebody signed in to it before."""
    account = account.lower()[:64]
    if known:
        return (f"known:{account} {known}",)
    return (f"pair:{account} {network(address)}", f"account:{account}", of_address(address))


def of_code(account: str, address: str) -> tuple[str, ...]:
    """The names of a one-time code. Only who has the password comes so far, so it counts for the account wherever it is tried."""
    return (f"codes:{account.lower()[:64]}", of_address(address))


def of_setup(address: str) -> tuple[str, ...]:
    """The names of a setup code. It is too long for guesses from many addresses to matter, so that nobody's keep another out."""
    return (f"setup:{network(address)}", of_address(address))


def of_device(account: str, address: str) -> tuple[str, ...]:
    """The names of a code that a program shows, typed by who is signed in: nobody else's sign-in waits for it."""
    return (f"device:{account.lower()[:64]}", of_address(address))


def of_link(address: str) -> tuple[str, ...]:
    """The names of a link by which a password is set: too long to guess, and nobody's keep another out."""
    return (f"link:{network(address)}", of_address(address))


def of_forgotten(account: str, address: str) -> tuple[str, ...]:
    """The names of asking for such a link by mail: each counts, so that nobody's mailbox is filled. They keep nobody from signing in."""
    return (f"forgotten:{account.lower()[:64]}", f"forgotten-from:{network(address)}")


def of_hook(address: str) -> tuple[str, ...]:
    """The names of an answer to a webhook, which programs send: theirs count by themselves, and keep nobody from signing in."""
    return (f"hook:{network(address)}", of_address(address))


@dataclass(frozen=True)
class Tried:
    """What failed under a name so far: how often, until when it has to wait, and when it was counted last."""

    failures: int
    until: datetime
    at: datetime

    def wait(self, moment: datetime) -> timedelta:
        """How long it has to wait still. A time beyond the longest wait is of another clock, which was set right since, and counts for nothing."""
        left = self.until - moment
        return left if timedelta() < left <= LONGEST else timedelta()

    def again(self, moment: datetime, name: str) -> "Tried":
        """After one more failure: from a number on each doubles the wait, up to a quarter of an hour."""
        failures = self.failures + 1 if timedelta() <= moment - self.at <= FORGET else 1
        over = failures - free(name) + 1
        return Tried(failures, moment + (doubled(FIRST, over - 1, LONGEST) if over > 0 else timedelta()), moment)

    def without(self, forgiven: int, name: str) -> "Tried":
        """What is left when so many of them are forgiven."""
        left = max(0, self.failures - forgiven)
        return Tried(left, self.until if left >= free(name) else self.at, self.at)


def free(name: str) -> int:
    """How many failures under this name cost nothing."""
    return MORE.get(name.partition(":")[0], FREE)


def refuse(known: Iterable[Tried], moment: datetime) -> None:
    """Raise NotAllowed, saying for how long, when after one of these somebody has to wait."""
    wait = max((tried.wait(moment) for tried in known), default=timedelta())
    if wait:
        seconds = int(wait.total_seconds()) + 1
        left = f"{seconds} seconds" if seconds < 90 else f"{seconds // 60 + 1} minutes"
        raise NotAllowed("Too many failed attempts.", f"Try again in {left}.")


def _read(name: str) -> Tried | None:
    row = Throttle.get_or_none(Throttle.name == name)
    return None if row is None else Tried(row.failures, row.blocked_until, row.updated_at)


def _write(name: str, tried: Tried) -> None:
    row = {"failures": tried.failures, "blocked_until": tried.until, "updated_at": tried.at}
    Throttle.insert(name=name, **row).on_conflict_replace().execute()


def check_free(*names: str) -> None:
    """Raise NotAllowed, saying for how long, when one of the names has to wait."""
    refuse((tried for name in names if (tried := _read(name))), now())


def failed(*names: str) -> None:
    """Count a failure under each of the names."""
    moment = now()
    with write():
        Throttle.delete().where((Throttle.updated_at < moment - FORGET) | (Throttle.updated_at > moment)).execute()
        for name in names:
            _write(name, (_read(name) or Tried(0, moment, moment)).again(moment, name))


def succeeded(names: Sequence[str]) -> None:
    """Forgive: what failed under the first, narrowest name counts nowhere any more. The others keep what failed otherwise, or one good
    account would cover a thousand guesses. Call it inside `write()`."""
    first = _read(names[0])
    if first is None:
        return
    Throttle.delete().where(Throttle.name == names[0]).execute()
    for name in names[1:]:
        if (tried := _read(name)) is not None:
            _write(name, tried.without(first.failures, name))


def forget(account: str) -> None:
    """Forgive all that failed for an account. Call it inside `write()`."""
    account = account.lower()[:64]
    named = (Throttle.name == f"account:{account}") | (Throttle.name == f"codes:{account}")
    Throttle.delete().where(named | Throttle.name.startswith(f"pair:{account} ") | Throttle.name.startswith(f"known:{account} ")).execute()
