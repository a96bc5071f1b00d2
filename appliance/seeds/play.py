"""Run one playbook under ansible-runner and say on standard output, one JSON object a line, what happens.

This is what runs in a sandbox (sandbox.py), Ansible's own plugins and templates, which are a role's words as well, no less than what they do.
    python -m appliance.seeds.play FILE
FILE is JSON: playbook, variables, inventory and runner (a folder of its own to work in); if need be roles (folders), skip (tags), and list: true, with which
Ansible only counts the tasks.
What is in variables and inventory are other people's words, so Ansible gets all of it as data that is never templated (see unsafe.py).

Lines: {"kind": "total", "tasks": 21}, {"kind": "task", "number": 3, "name": "..."},
{"kind": "output", "text": "..."}, {"kind": "failed", "task": "...", "message": "...", "host": "..."},
and at the end {"kind": "ended", "failed": [...]}, the hosts that a task failed in and nothing rescued, or that could not be reached.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import ansible_runner

from appliance.seeds import unsafe
from appliance.settings import REPOSITORY

PLAYBOOKS = REPOSITORY / "playbooks"
_FOLDER = re.compile(r"^/(?:\S*/)?applications/")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def message_of(result: dict[str, Any]) -> str:
    """What a failed task said: its message and the ends of its outputs, those of a loop's failed items included."""
    parts = [str(result.get("msg") or result.get("message") or "")]
    for name in ("stderr", "stdout", "module_stderr", "module_stdout"):
        if text := str(result.get(name) or "").strip():
            parts.append(text[-4000:])
    for item in result.get("results") or []:
        if isinstance(item, dict) and item.get("failed"):
            parts.append(message_of(item))
    return "\n".join(dict.fromkeys(part for part in parts if part))


def _named(text: str) -> str:
    """An application by its name, where Ansible calls it by its folder."""
    return _FOLDER.sub("", text)


class Reporter:
    """Turns ansible-runner's events into our lines."""

    def __init__(self) -> None:
        self.number = 0

    def say(self, **line: Any) -> None:
        print(json.dumps(line), flush=True)

    def __call__(self, event: dict[str, Any]) -> bool:
        data = event.get("event_data") or {}
        if text := _COLOURS.sub("", event.get("stdout") or "").replace("\r\n", "\n").rstrip("\n"):
            self.say(kind="output", text=text)
        match event.get("event"):
            case "playbook_on_task_start":
                self.number += 1
                self.say(kind="task", number=self.number, name=_named(data.get("name") or data.get("task") or ""))
            case "runner_on_failed" | "runner_on_unreachable" if not data.get("ignore_errors"):
                self.say(
                    kind="failed",
                    task=data.get("task") or "",
                    message=message_of(data.get("res") or {}),
                    role=_named(data.get("role") or ""),
                    host=data.get("host") or "",
                )
            case "playbook_on_stats":
                self.say(kind="ended", failed=sorted({*(data.get("failures") or {}), *(data.get("dark") or {})}))
        return False  # runner need not keep the event in a file


def place(folder: Path, variables: dict[str, Any], inventory: dict[str, Any]) -> None:
    """Put both where ansible-runner looks for them; handed over in a call, it would write them down as what Ansible takes for templates."""
    for name, value in (("env/extravars", variables), ("inventory/hosts.yml", inventory)):
        file = folder / name
        file.parent.mkdir(parents=True)
        file.write_text(unsafe.dump(value))


def main() -> int:
    job = json.loads(Path(sys.argv[1]).read_text())
    runner = Path(job["runner"])
    reporter = Reporter()
    common = {
        "playbook": job["playbook"],
        "envvars": {
            "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"),
            "ANSIBLE_HOME": str(runner / "home"),
            "ANSIBLE_LOCAL_TEMP": str(runner / "tmp"),
            "ANSIBLE_ROLES_PATH": ":".join(job.get("roles", [])),
        },
        "skip_tags": ",".join(job.get("skip", [])) or None,
        "quiet": True,
    }
    # Folders apart: runner keeps what it was called with in the folder, and takes it up again.
    if job.get("list"):
        place(runner / "list", job["variables"], job["inventory"])
        listing = ansible_runner.run(**common, private_data_dir=str(runner / "list"), cmdline="--list-tasks")
        reporter.say(kind="total", tasks=sum("TAGS: [" in line and "play #" not in line for line in listing.stdout))
        return int(listing.rc)
    place(runner / "run", job["variables"], job["inventory"])
    return int(ansible_runner.run(**common, private_data_dir=str(runner / "run"), event_handler=reporter).rc)


if __name__ == "__main__":
    sys.exit(main())
