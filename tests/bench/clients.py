"""Clients: `dpe list` as a process, over a Python process that asks the same address with the same HTTP library and prints what is answered."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

from appliance.access import tls
from appliance.catalog import Account, Actor
from appliance.services import tokens
from appliance.settings import REPOSITORY
from tests.bench.claim import Person, _ready, serving

ROUNDS, HELD = 15, 5
SMALLEST = {"ROUNDS": 1}
BARE = """
import os, requests
answer = requests.get(os.environ["DPE_ADDRESS"] + "/api/v1/machines", headers={"Authorization": "Bearer " + os.environ["DPE_TOKEN"]}, verify=os.environ["CERTIFICATE"])
answer.raise_for_status()
print(answer.json())
"""


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


def run() -> Iterator[dict[str, Any]]:
    with serving() as settings, TemporaryDirectory() as folder:
        _ready(HELD)
        person = Person(settings, "person0")
        for _ in range(HELD):
            person.claim()
        account = Account.get(Account.name == "person0")
        token = tokens.create(Actor(account.name, account.id), "bench", ["read"], 1)
        address, certificate = f"https://127.0.0.1:{settings.https_port}", settings.tls / "appliance.crt"
        env = {
            "PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY / "appliance/client"), "DPE_CONFIG_DIR": folder, "DPE_NO_KEYRING": "1",
        }  # fmt: skip
        dpe = [sys.executable, "-m", "dpe.cli"]
        words = [*dpe, "login", address, "--with-token", "--fingerprint", tls.fingerprint(certificate)]
        subprocess.run(words, env=env, input=token, text=True, check=True, stdout=subprocess.DEVNULL)
        bare = {**env, "DPE_ADDRESS": address, "DPE_TOKEN": token, "CERTIFICATE": str(certificate)}
        ours, theirs = [], []
        for _ in range(ROUNDS + 1):
            ours.append(_seconds([*dpe, "list"], env))
            theirs.append(_seconds([sys.executable, "-c", BARE], bare))
        value, base = (statistics.median(times[1:]) for times in (ours, theirs))
        yield {
            "name": "cli.list", "value": round(value / base, 3), "unit": f"times a bare process; dpe list took {value:.3f} s",
            "baseline": "a Python process that asks the same address with the same library, in s",
            "baseline_value": round(base, 4), "ratio": round(base / value, 3),
        }  # fmt: skip
