"""A process that has imported the web page once, and forks a server from itself for each test: starting Python costs each more than its pages.

It reads a line of JSON for each (arguments, environment, log), and answers with the server's number. It ends with its standard input.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

import webui
from appliance import catalog, settings
from appliance.run import environ, start
from appliance.settings import REPOSITORY
from tests import quick


class Nursery:
    """The same, from the test's side."""

    def __init__(self, process: Any) -> None:
        self._process = process

    def server(self, arguments: list[str], env: Mapping[str, str], log: Path) -> psutil.Process:
        """A gunicorn of the web page, with these arguments of its command line."""
        told = {"arguments": arguments, "env": environ(env), "log": str(log)}
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        self._process.stdin.flush()
        return psutil.Process(int(self._process.stdout.readline()))


@contextmanager
def open_nursery() -> Iterator[Nursery]:
    """One for the tests of a worker."""
    process = start([sys.executable, "-m", "tests.browser.nursery"], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    with process:
        yield Nursery(process)
        process.stdin.close()
        process.wait(20)


def main() -> None:
    from gunicorn.app import wsgiapp

    # What it is all about: servers have the page's modules and templates already.
    quick.passwords_and_templates()
    with tempfile.TemporaryDirectory() as folder:
        pages = webui.create_app(settings.load(state=Path(folder), network="nursery"))
        for template in pages.jinja_env.list_templates(["html"]):
            pages.jinja_env.get_template(template)
        catalog.close()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    for line in sys.stdin:
        told = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing, log = os.open(os.devnull, os.O_RDONLY), os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for here, there in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(here, there)
        os.environ.clear()
        os.environ.update(told["env"])
        sys.argv = ["gunicorn", *told["arguments"]]
        wsgiapp.run()
        return


if __name__ == "__main__":
    main()
