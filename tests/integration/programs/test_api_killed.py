"""Programs create with idempotency keys, the web process is killed in the middle, and all is asked once more: everything is there once."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Group, IdempotencyKey
from appliance.services import tokens
from appliance.settings import REPOSITORY, Settings, environment
from tests import world

pytestmark = [pytest.mark.api, pytest.mark.kills]

CREATES = int(os.environ.get("DPE_TEST_CREATES", "24"))
SEED = int(os.environ.get("DPE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
PROGRAMS = 4


class Connection(http.client.HTTPConnection):
    """HTTP over the socket that nginx uses."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(os.fspath(self.path))


@contextmanager
def web(settings: Settings, door: Path) -> Iterator[subprocess.Popen[bytes]]:
    """gunicorn as in the appliance; whatever is left of it is killed."""
    words = [
        sys.executable,
        "-m",
        "gunicorn",
        "--config",
        str(REPOSITORY / "webui/gunicorn.conf.py"),
        "--bind",
        f"unix:{door}",
        "webui:create_app()",
    ]
    with subprocess.Popen(words, cwd=REPOSITORY, env=environment(settings), start_new_session=True, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 30
            while not door.exists() or ask(door, "GET", "/healthz", {})[0] != 200:
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.05)  # gunicorn tells nobody when it listens
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def ask(door: Path, method: str, path: str, headers: dict[str, str], body: object = None) -> tuple[int, dict[str, object], str]:
    """Status, what was answered, and in how many seconds to come back; 0 for a web process that is not there (any more)."""
    connection = Connection(door)
    try:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json", "X-Forwarded-Proto": "https", **headers})
        answer = connection.getresponse()
        text = answer.read()
        return (
            answer.status,
            json.loads(text) if "json" in (answer.getheader("Content-Type") or "") else {},
            answer.getheader("Retry-After") or "",
        )
    except (OSError, http.client.HTTPException):
        return 0, {}, ""
    finally:
        connection.close()


def create(door: Path, token: str, numbers: Iterator[int], made: dict[int, object], enough: threading.Event, count: int) -> None:
    """What a program does: create with a key, wait as it is told to, and stop when nobody is there."""
    for number in numbers:
        while True:
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"key-{number}"}
            status, found, wait = ask(door, "POST", "/api/v1/admin/groups", headers, {"name": f"group {number}"})
            if status != 429:
                break
            time.sleep(int(wait))
        if status == 0:
            return
        assert status == 201, found
        made[number] = found["id"]
        if len(made) >= count:
            enough.set()


def test_a_thousand_creates_are_a_thousand_however_it_was_killed(opened: Settings, tmp_path: Path) -> None:
    print(f"DPE_TEST_SEED={SEED}")
    world.set_up()
    token = tokens.create(world.account("grace", is_admin=True), "script", ["admin:people"], 7)
    catalog.close()
    door, before, after = tmp_path / "web", dict[int, object](), dict[int, object]()
    chance, enough = random.Random(SEED), threading.Event()
    numbers = iter(range(CREATES))
    with web(opened, door) as process:
        count = chance.randrange(1, CREATES - PROGRAMS)
        programs = [threading.Thread(target=create, args=(door, token, numbers, before, enough, count)) for _ in range(PROGRAMS)]
        for program in programs:
            program.start()
        assert enough.wait(300)
        time.sleep(chance.random() / 100)  # anywhere within a create
        os.killpg(process.pid, signal.SIGKILL)
        for program in programs:
            program.join()
    door.unlink(missing_ok=True)
    with web(opened, door):
        create(door, token, iter(range(CREATES)), after, threading.Event(), CREATES)
    assert len(after) == CREATES
    assert sorted(group.name for group in Group.select()) == sorted(f"group {number}" for number in range(CREATES))
    assert before.items() <= after.items(), "who had an answer is answered the same"
    assert IdempotencyKey.select().count() == CREATES
