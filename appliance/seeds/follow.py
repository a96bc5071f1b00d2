"""The outer half of a build: start a program in a sandbox, hand its lines on, end it when asked."""

import json
import os
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance import run
from appliance.run import Argument
from appliance.seeds.sandbox import Sandbox, confined

LONGEST = 1 << 20  # bytes of a line: what runs in there might write one that never ends
MOST, LINES, TASKS = 64 << 20, 300_000, 10_000  # bytes and lines that it writes, and tasks that it begins: each takes the engine's time
_FIELDS: dict[str, dict[str, type]] = {
    "total": {"tasks": int},
    "task": {"name": str},
    "output": {"text": str},
    "failed": dict.fromkeys(("task", "message", "role", "host"), str),
    "ended": {"failed": list},
    "stopped": {"reason": str},
}


def follow(file: Path, sandbox: Sandbox, take: Callable[[dict[str, Any]], None], cancelled: Callable[[], bool]) -> bool:
    """Run the play that `file` describes (see play.py) in the sandbox, as `execute` does."""
    return execute(_play(file), replace(sandbox, reads=(*sandbox.reads, file)), take, cancelled)


def follow_here(file: Path, environment: Mapping[str, str], take: Callable[[dict[str, Any]], None], cancelled: Callable[[], bool]) -> bool:
    """The same with nothing around it, for a play that an admin means for the appliance itself."""
    # ansible-playbook lies beside the interpreter, which need not be in the PATH of a service.
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    return _follow(run.confined(_play(file)), {"PATH": path, **environment}, take, cancelled)


def _play(file: Path) -> list[Argument]:
    return [sys.executable, "-m", "appliance.seeds.play", file]


def execute(command: Sequence[Argument], sandbox: Sandbox, take: Callable[[dict[str, Any]], None], cancelled: Callable[[], bool]) -> bool:
    """Run the command in the sandbox and call `take` with each event that it writes; a line that is none arrives as output.

    What it writes is its own words, whatever it says that they are: see that nothing but its own fate depends on them. Returns True when it ended
    well, False when it did not or was stopped at a limit (the event `stopped` has the reason); False at once, all its processes ended, when
    `cancelled` says so.
    """
    return _follow(confined(command, sandbox), {}, take, cancelled)


def _follow(
    command: Sequence[Argument], environment: Mapping[str, str], take: Callable[[dict[str, Any]], None], cancelled: Callable[[], bool]
) -> bool:
    reading, writing = os.pipe()
    process = run.start(command, env=environment, stdout=writing, stderr=writing)
    os.close(writing)
    try:
        rest, written, read, tasks = b"", 0, 0, 0
        while not cancelled():
            if select.select([reading], [], [], 0.2)[0]:
                if not (got := os.read(reading, 65536)):
                    return process.wait() == 0
                written += len(got)
                read += got.count(b"\n")
                *lines, rest = (rest + got).split(b"\n")
                if len(rest) > LONGEST:
                    lines, rest = [*lines, rest], b""
                for event in (_event(line.decode(errors="replace")) for line in lines):
                    tasks += event["kind"] == "task"
                    take(event)
                if written > MOST or read > LINES or tasks > TASKS:
                    most = f"{MOST >> 20} MiB or {LINES} lines, or had more than {TASKS} tasks"
                    take({"kind": "stopped", "reason": f"it wrote more than {most}"})
                    return False
        return False
    finally:
        process.kill()  # the kernel ends with it all that it started
        process.wait()
        os.close(reading)


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line) if line.startswith("{") else None
    except (ValueError, RecursionError):
        event = None
    if isinstance(event, dict) and isinstance(kind := event.get("kind"), str):
        fields = _FIELDS.get(kind)
        if fields is not None and all(isinstance(event.get(name), wanted) for name, wanted in fields.items()):
            return event
    return {"kind": "output", "text": line}
