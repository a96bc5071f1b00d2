"""Clients: the API and `dpe` beside the portal, over the real server, each figure in turn with its baseline, so that whatever else the machine does slows both.

`api.claim` is a claim by the API over one in the portal. `api.portal` is the slowest hundredth of the portal's pages beside programs that listen to events and
poll, over the same without them, with an event a second in both. `api.page` is the hundredth page by cursor of all machines over the first. `cli.list` is
`dpe list` as a process, over a Python process that asks the same address with the same HTTP library and prints what is answered.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from appliance import catalog
from appliance.access import tls
from appliance.catalog import Account, Actor, EventKind, Grant, Machine
from appliance.catalog.events import record
from appliance.services import tokens
from appliance.settings import REPOSITORY, Settings
from tests.bench.claim import Person, _ready, serving

ROUNDS, HELD = 15, 5
CLAIMS = 200
LISTENING, POLLING, PAUSE = 50, 50, 2.0  # programs, and seconds between two polls
EACH = 5  # streams of an account
TURNS, VIEWS = 5, 120  # turns of each, and pages a turn
MACHINES, PAGES, TIMES = 10_000, 100, 40
SMALLEST = {"ROUNDS": 1, "CLAIMS": 5, "LISTENING": 3, "POLLING": 2, "TURNS": 1, "VIEWS": 4, "MACHINES": 300, "PAGES": 3, "TIMES": 2}
BARE = """
import os, requests
answer = requests.get(os.environ["DPE_ADDRESS"] + "/api/v1/machines", headers={"Authorization": "Bearer " + os.environ["DPE_TOKEN"]}, verify=os.environ["CERTIFICATE"])
answer.raise_for_status()
print(answer.json())
"""


def _result(name: str, value: float, base: float, unit: str, baseline: str) -> dict[str, Any]:
    """How many times as long it takes as its baseline, both in seconds."""
    return {
        "name": name, "value": round(value / base, 3), "unit": f"{unit}, which took {value:.4f} s", "baseline": baseline,
        "baseline_value": round(base, 5), "ratio": round(base / value, 3),
    }  # fmt: skip


def _actor(name: str) -> Actor:
    account = Account.get(Account.name == name)
    return Actor(account.name, account.id)


class Program(Person):
    """A program with a token, on one connection."""

    def __init__(self, settings: Settings, token: str) -> None:
        super().__init__(settings)
        self.token = token

    def call(self, method: str, path: str, body: object = None) -> tuple[float, Any]:
        """How long a call took, and what was answered."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} /api/v1/{path} HTTP/1.1", f"Host: {self.host}", f"Authorization: Bearer {self.token}", "Content-Type: application/json",
            f"Content-Length: {len(content)}", *([f"Idempotency-Key: {uuid.uuid4()}"] if method == "POST" else []),
        ]  # fmt: skip
        begun = time.perf_counter()
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        status, answer = self._answer(b"")
        took = time.perf_counter() - begun
        assert status < 300, answer
        return took, json.loads(answer)


# -- a claim ---------------------------------------------------------------------------------------------


def claims(settings: Settings) -> dict[str, Any]:
    """Of two accounts, so that neither has more machines than the other."""
    person = Person(settings, "person1")
    program = Program(settings, tokens.create(_actor("person2"), "bench", ["read", "machines"], 1))
    _ready(2 * CLAIMS + 10)
    ours, theirs = [], []
    for _ in range(CLAIMS + 1):
        ours.append(program.call("POST", "machines", {"class": "small"})[0])
        theirs.append(person.claim())
    value, base = (statistics.median(times[1:]) for times in (ours, theirs))
    return _result("api.claim", value, base, "times the portal's claim", "the same in the portal, the median in s")


# -- the portal beside programs --------------------------------------------------------------------------


@contextmanager
def crowd(settings: Settings, listening: list[str], polling: list[str]) -> Iterator[None]:
    """Programs that are all at it."""
    asked = {
        "port": settings.https_port, "certificate": str(settings.tls / "appliance.crt"), "listening": listening, "polling": polling,
        "pause": PAUSE,
    }  # fmt: skip
    words = [sys.executable, str(Path(__file__).with_name("_crowd.py"))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        print(json.dumps(asked), file=process.stdin, flush=True)
        assert process.stdout.readline() == "there\n"
        yield
        process.stdin.close()
        assert json.loads(process.stdout.readline())["answers"] >= len(polling)


@contextmanager
def happening() -> Iterator[None]:
    """An event a second."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(1):
            with catalog.write():
                record(EventKind.SUPPORT_BUNDLE, "A support bundle was made.")
        catalog.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _view(person: Person) -> float:
    begun = time.perf_counter()
    person.get("/")
    return time.perf_counter() - begun


def portal(settings: Settings) -> dict[str, Any]:
    with catalog.write():
        hosts = [f"operator{number}" for number in range(-(-LISTENING // EACH))]
        for name in hosts:
            Grant.create(role="operator", account=Account.create(name=name, password="!"))
    listening = [tokens.create(_actor(hosts[number // EACH]), f"bench{number}", ["admin:read"], 1) for number in range(LISTENING)]
    names = [one.name for one in Account.select().where(Account.name.startswith("person")).limit(POLLING)]
    polling = [tokens.create(_actor(name), "poll", ["read"], 1) for name in names]
    person = Person(settings, "person0")
    beside, idle = [], []
    with happening():
        for _ in range(TURNS):
            idle += [_view(person) for _ in range(VIEWS)]
            with crowd(settings, listening, polling):
                beside += [_view(person) for _ in range(VIEWS)]
    value, base = (statistics.quantiles(times, n=100)[98] for times in (beside, idle))
    return _result(
        "api.portal", value, base, f"times the idle portal's p99, beside {LISTENING} that listen and {len(polling)} that poll",
        "p99 of the portal's page without them in s",
    )  # fmt: skip


# -- pages of a list -------------------------------------------------------------------------------------


def pages(settings: Settings) -> dict[str, Any]:
    _ready(MACHINES - Machine.select().count())
    admin = Program(settings, tokens.create(_actor("admin"), "bench", ["admin:read"], 1))
    first = f"admin/machines?limit={MACHINES // PAGES}"
    seen, last, found = 0, first, admin.call("GET", first)[1]
    for _ in range(1, PAGES):
        seen += len(found["items"])
        last = f"{first}&after={quote(found['next'])}"
        found = admin.call("GET", last)[1]
    assert seen + len(found["items"]) == MACHINES
    ours, theirs = [], []
    for _ in range(TIMES):
        ours.append(admin.call("GET", last)[0])
        theirs.append(admin.call("GET", first)[0])
        time.sleep(0.1)  # a program that may call twenty times a second
    value, base = statistics.median(ours), statistics.median(theirs)
    return _result("api.page", value, base, f"times the first page, page {PAGES} of {MACHINES} machines", "the first page, the median in s")


# -- dpe list --------------------------------------------------------------------------------------------


def _seconds(words: list[str], env: dict[str, str]) -> float:
    """How long it takes in a terminal, where lists are tables."""
    there, terminal = os.openpty()
    try:
        begun = time.perf_counter()
        subprocess.run(words, env=env, check=True, stdout=terminal)
        took = time.perf_counter() - begun
        assert b"small-" in os.read(there, 65536)
        return took
    finally:
        os.close(there)
        os.close(terminal)


def command(settings: Settings, folder: str) -> dict[str, Any]:
    token = tokens.create(_actor("person0"), "bench", ["read"], 1)
    address, certificate = f"https://127.0.0.1:{settings.https_port}", settings.tls / "appliance.crt"
    env = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY / "appliance/client"), "DPE_CONFIG_DIR": folder, "DPE_NO_KEYRING": "1",
    }  # fmt: skip
    dpe = [sys.executable, "-c", "from dpe.__main__ import main; main()"]  # what pip makes of the entry point
    words = [*dpe, "login", address, "--with-token", "--fingerprint", tls.fingerprint(certificate)]
    subprocess.run(words, env=env, input=token, text=True, check=True, stdout=subprocess.DEVNULL)
    bare = {**env, "DPE_ADDRESS": address, "DPE_TOKEN": token, "CERTIFICATE": str(certificate)}
    ours, theirs = [], []
    for _ in range(ROUNDS + 1):
        ours.append(_seconds([*dpe, "list"], env))
        theirs.append(_seconds([sys.executable, "-c", BARE], bare))
    value, base = (statistics.median(times[1:]) for times in (ours, theirs))
    return _result(
        "cli.list", value, base, "times a bare process", "a Python process that asks the same address with the same library, in s"
    )


def run() -> Iterator[dict[str, Any]]:
    with serving() as settings, TemporaryDirectory() as folder:
        _ready(HELD)
        person = Person(settings, "person0")
        for _ in range(HELD):
            person.claim()
        yield claims(settings)
        yield portal(settings)
        yield command(settings, folder)
        yield pages(settings)
