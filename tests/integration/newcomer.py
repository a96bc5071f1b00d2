"""`make run` in a terminal of its own and browsers beside it: what a walk from nothing to a machine needs."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from playwright.sync_api import Error as PlaywrightError

from appliance.settings import REPOSITORY

SLOTS = 20


class MakeRun:
    """`make run` in a terminal of its own, as a person starts and stops it."""

    def __init__(self, state: Path, port: int, scenario: Path) -> None:
        self.state, self.url = state, f"https://127.0.0.1:{port}"
        self.env = {
            **os.environ,
            "DPE_STATE": str(state),
            "DPE_SCENARIO": str(scenario),
            "DPE_LISTEN": "127.0.0.1",
            "DPE_HTTPS_PORT": str(port),
            "DPE_APP_PORT": str(port + 1),
            "DPE_SLOTS": str(SLOTS),
            "DPE_NETWORK": f"f{os.getpid() % 10**6}",
            "DPE_SUBNET": "10.231.0.0/16",
            "DPE_UPLINK": "169.254.231.0/30",
            "UNDERSIZED": "yes",  # the tests' machine may be smaller than a newcomer's
        }
        self.said = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self, seconds: float) -> float:
        """Start it; returns how many seconds it took until it said that it runs."""
        self.said = ""
        begun = time.monotonic()
        self.process = subprocess.Popen(
            ["make", "--no-print-directory", "run"],
            cwd=REPOSITORY, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        runs = threading.Event()

        def listen() -> None:
            for line in self.process.stdout:
                self.said += line
                if "The appliance runs." in line:
                    runs.set()
            runs.set()

        self.listener = threading.Thread(target=listen)
        self.listener.start()
        assert runs.wait(seconds), self.said
        assert "The appliance runs." in self.said, self.said
        return time.monotonic() - begun

    def interrupt(self) -> None:
        """Ctrl-C: the terminal sends it to make and to all that it runs."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(120)
        self.listener.join(10)
        self.process.stdout.close()

    def processes(self) -> list[str]:
        """Command lines of what runs on this state directory."""
        found = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
        return [line for line in found if str(self.state) in line]

    @property
    def setup_code(self) -> str:
        return re.search(r"Setup code: (\S+)", self.said)[1]


@contextmanager
def made(scenario: Path) -> Iterator[MakeRun]:
    """One that is not started yet; whatever it left is gone afterwards."""
    state = Path(tempfile.mkdtemp(prefix="dpe-first-"))
    running = MakeRun(state, 28900, scenario)
    try:
        yield running
    finally:
        if running.process and running.process.poll() is None:
            running.interrupt()
        shutil.rmtree(state)


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[[MakeRun], BrowserContext]]:
    """A browser of one person."""
    opened: list[BrowserContext] = []

    def begin(appliance: MakeRun) -> BrowserContext:
        context = chromium.new_context(base_url=appliance.url, ignore_https_errors=True, viewport={"width": 1280, "height": 900})
        context.set_default_timeout(60_000)
        opened.append(context)
        return context

    yield begin
    for context in opened:
        context.close()


def go(page: Page, address: str) -> None:
    """Open an address; a browser gives up a page when the host's network changes under it, as a start of the appliance does."""
    try:
        page.goto(address)
    except PlaywrightError as error:
        if "ERR_NETWORK_CHANGED" not in str(error):
            raise
        page.goto(address)
