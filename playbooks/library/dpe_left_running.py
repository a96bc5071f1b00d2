#!/usr/bin/python
"""Ansible module: ends what tasks left running in a seed's tree, and says which task it was."""

DOCUMENTATION = """
---
module: dpe_left_running
short_description: End what tasks left running in a seed's tree
description:
  - Whatever has its root in the tree is ended, first with SIGTERM, then with SIGKILL. The tree cannot be made an image before that.
  - Which task left it is known from the notes that the connection C(dpe_chroot) makes.
options:
  tree:
    description: The root file system's folder.
    type: path
    required: true
"""

EXAMPLES = """
- name: End what roles left running
  dpe_left_running: { tree: "{{ tree }}" }
"""

RETURN = """
ended:
  description: What was ended, with its task, a sentence each.
  returned: always
  type: list
  elements: str
"""

import contextlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
from pathlib import Path  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

PATIENCE = 5  # seconds that a program has to end by itself


def inside(tree):
    """The processes whose root is in the tree, as (pid, when it was started, in ticks)."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (place / "root").readlink().is_relative_to(tree):
                yield int(place.name), (place / "stat").read_text().rpartition(")")[2].split()[19]


def end(pids):
    """End them, and return when they are gone."""
    for signum, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, 60)):
        waiting = {}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                waiting[os.pidfd_open(pid)] = pid
                os.kill(pid, signum)
        poll = select.poll()
        for handle in waiting:
            poll.register(handle, select.POLLIN)
        while waiting and (ended := poll.poll(patience * 1000)):
            for handle, _ in ended:
                poll.unregister(handle)
                os.close(handle)
                del waiting[handle]
        pids = list(waiting.values())
        for handle in waiting:
            os.close(handle)


def main():
    module = AnsibleModule({"tree": {"type": "path", "required": True}}, supports_check_mode=False)
    tree = Path(module.params["tree"]).resolve()
    notes = tree.parent / "left-running"
    known = {(note["pid"], note["started"]): note for note in map(json.loads, notes.read_text().splitlines())} if notes.exists() else {}
    ended = []
    while found := list(inside(tree)):  # one that is ended may have started another
        for pid, started in found:
            note = known.get((pid, started), {"task": "A task", "command": f"process {pid}"})
            ended.append(f"{note['task']} left {note['command']} running. It was ended: nothing runs while a seed is built.")
        end([pid for pid, _ in found])
    for sentence in dict.fromkeys(ended):
        module.warn(sentence)
    module.exit_json(changed=bool(ended), ended=ended)


if __name__ == "__main__":
    main()
