"""Servers of others that hang: the portal's page, and the front door's question, while people wait for four of them, against the same without.

A directory takes binds and answers no searches; a mail server, a backup target and the directory under test take connections and say nothing.
For each, four people try again and again, as soon as they are told to (Retry-After). What is measured is asked for at fixed moments, and
counts from the moment on at which it was due: who stands behind a stall of ten seconds is many who wait, not one. Times with and without
are taken by turns, because a host has moods.
"""

import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from appliance.catalog import Account
from appliance.settings import Settings
from tests import silent
from tests.bench.claim import Person, serving
from tests.slapd import READER, SUFFIX
from tests.waiting import until

EACH = 4  # people who wait for one server
ROUNDS = 3
LOOKS = 500  # requests of a round
SMALLEST = {"ROUNDS": 1, "LOOKS": 20}
EVERY = 0.04  # seconds between two of them
PAUSE = 5.0  # seconds before somebody tries again: what Retry-After tells them
BASELINE = "the same while nobody waits for others"


class Hanging:
    """Four servers that hang, the directory among them in use, and people who wait for them."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self.settings, self._stack = settings, stack
        self.directory = stack.enter_context(silent.listening(silent.ldap()))
        self.tested = stack.enter_context(silent.listening(silent.ldap()))
        self.mail = stack.enter_context(silent.listening())
        self.target = stack.enter_context(silent.listening())
        self.servers = (self.directory, self.tested, self.mail, self.target)
        Account.update(email="admin@example.org").where(Account.name == "admin").execute()
        self.admins = [self.visitor("admin") for _ in range(3 * EACH)]
        status, page = self.admins[0].ask("POST", "/admin/directory/", self._directory(self.directory.port))
        assert status == 303, page[-2000:]

    def visitor(self, name: str = "") -> Person:
        """A browser, in which somebody is signed in."""
        person = Person(self.settings, name)
        self._stack.callback(person.close)
        return person

    def _directory(self, port: int) -> dict[str, str]:
        usual = {"kind": "ldap", "encryption": "none", "bind_dn": READER, "base": SUFFIX, "sign_in": "search", "minutes": "0"}
        return {**usual, "servers": f"127.0.0.1:{port}", "password": "x", "csrf_token": self.admins[0].csrf}

    def tries(self) -> list[Callable[[], int]]:
        """What the people do, one each: each call waits for one of the servers, and returns the status that was answered."""

        def post(admin: Person, path: str, form: dict[str, str]) -> Callable[[], int]:
            return lambda: admin.ask("POST", path, {**form, "csrf_token": admin.csrf})[0]

        strangers = [self.visitor() for _ in range(EACH)]
        found: list[Callable[[], int]] = [lambda one=one, n=n: one.sign_in(f"stranger{n}")[0] for n, one in enumerate(strangers)]  # type: ignore[misc]
        mail = {"host": "127.0.0.1", "port": str(self.mail.port), "security": "none", "sender": "dpe@example.org"}
        target = {"kind": "s3", "s3_endpoint": f"http://127.0.0.1:{self.target.port}", "s3_bucket": "backup", "s3_access_key": "k"}
        for admin in self.admins[0::3]:
            found.append(post(admin, "/admin/directory/test", self._directory(self.tested.port)))
        for admin in self.admins[1::3]:
            found.append(post(admin, "/admin/settings/email-and-webhooks/mail/test", mail))
        for admin in self.admins[2::3]:
            found.append(post(admin, "/admin/server/backups/test", {**target, "s3_secret_key": "s"}))
        return found

    @contextmanager
    def waited_for(self) -> Iterator[list[int]]:
        """People wait for all of them meanwhile; the statuses that they were answered."""
        over, answered = threading.Event(), []

        def go_on(once: Callable[[], int]) -> None:
            while not over.is_set():
                answered.append(once())
                over.wait(PAUSE)

        threads = [threading.Thread(target=go_on, args=(once,)) for once in self.tries()]
        before = self.asked()
        for thread in threads:
            thread.start()
        until(lambda: all(now != then for now, then in zip(self.asked(), before, strict=True)), lambda: (before, self.asked(), answered))
        try:
            yield answered
        finally:
            over.set()
            while any(thread.is_alive() for thread in threads):
                for server in self.servers:
                    server.hang_up()
                time.sleep(0.05)

    def asked(self) -> list[int]:
        """How often each server was asked."""
        return [server.asked for server in self.servers]


@contextmanager
def hanging() -> Iterator[Hanging]:
    """The appliance's web page, and servers of others that hang."""
    with serving("host") as settings, ExitStack() as stack:
        yield Hanging(settings, stack)


def looks(ask: Callable[[], object], count: int, every: float = EVERY) -> list[float]:
    """How long each of so many requests took, from when it was due: one each `every` seconds, however late the one before was."""
    times, begun = [], time.perf_counter()
    for number in range(count):
        due = begun + number * every
        time.sleep(max(0.0, due - time.perf_counter()))
        ask()
        times.append(time.perf_counter() - due)
    return times


def _together(asks: dict[str, Callable[[], object]], times: dict[str, list[float]]) -> None:
    """Ask for all of them at the same time, each on a connection of its own."""
    with ThreadPoolExecutor(len(asks)) as pool:
        for name, took in zip(asks, pool.map(lambda ask: looks(ask, LOOKS), asks.values()), strict=True):
            times[name] += took


def run() -> Iterator[dict[str, Any]]:
    with hanging() as servers:
        ada, knocks = servers.visitor("person0"), servers.visitor("person1")
        knocks.go_to(servers.settings.app_port)
        asks: dict[str, Callable[[], object]] = {"portal": lambda: ada.get("/"), "door": lambda: knocks.ask("GET", "/")}
        idle: dict[str, list[float]] = {name: [] for name in asks}
        then: dict[str, list[float]] = {name: [] for name in asks}
        for ask in asks.values():
            looks(ask, 20)  # the first requests of a server are not like the others
        for _ in range(ROUNDS):
            _together(asks, idle)
            with servers.waited_for():
                _together(asks, then)
        for name in asks:
            value, base = (statistics.quantiles(times[name], n=100)[98] for times in (then, idle))
            print(f"{name}: p99 {value:.4f} s, without {base:.4f} s", file=sys.stderr)
            yield {
                "name": f"outside.{name}", "value": round(value / base, 3), "unit": "p99 over p99 without",
                "baseline": BASELINE, "baseline_value": 1.0, "ratio": round(base / value, 3),
            }  # fmt: skip
