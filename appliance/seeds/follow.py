"""The outer half of a build: start the inner process, hand its lines on, end it when asked."""

import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance import run


def follow(file: Path, environment: Mapping[str, str], take: Callable[[dict[str, Any]], None], cancelled: Callable[[], bool]) -> bool:
    """Run the play that `file` describes (see play.py) and call `take` with each event; a line that is none arrives as output.

    Returns True when it ended well, False when it did not; returns False at once, all its processes ended, when `cancelled` says so.
    """
    reading, writing = os.pipe()
    # ansible-playbook lies beside the interpreter, which need not be in the PATH of a service.
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    command = run.confined([sys.executable, "-m", "appliance.seeds.play", file])
    process = run.start(command, env={"PATH": path, **environment}, stdout=writing, stderr=writing)
    os.close(writing)
    try:
        rest = b""
        while not cancelled():
            if select.select([reading], [], [], 0.2)[0]:
                if not (got := os.read(reading, 65536)):
                    return process.wait() == 0
                *lines, rest = (rest + got).split(b"\n")
                for line in lines:
                    take(_event(line.decode(errors="replace")))
        return False
    finally:
        process.kill()  # the kernel ends with it all that it started
        process.wait()
        os.close(reading)


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) and "kind" in event else {"kind": "output", "text": line}
