"""Fetches Python packages for a seed's tree, where there is no network: pip's own download, beside it, into the folder that is kept for the next build."""

import subprocess
import sys
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

MACHINES = ("manylinux_2_28", "manylinux_2_26", "manylinux_2_24", "manylinux_2_17", "manylinux2014", "manylinux_2_12")
MACHINES += ("manylinux2010", "manylinux_2_5", "manylinux1")


class ActionModule(ActionBase):
    """dpe_wheels: { requirements: FILE, python: "3.13" }: every wheel that FILE names by its hash, in /mnt/wheels of the tree."""

    _supports_check_mode = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _, given = self.validate_argument_spec({"requirements": {"type": "path", "required": True}, "python": {"required": True}})
        # `cache` is a variable of the build's own, in which nothing is a template.
        wheels = Path(task_vars["cache"]) / "wheels"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
        command += ["--no-deps", "--require-hashes", "--only-binary=:all:", f"--requirement={given['requirements']}", f"--dest={wheels}"]
        command += ["--implementation=cp", f"--python-version={given['python']}"]
        command += [f"--platform={machine}_x86_64" for machine in MACHINES]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise AnsibleActionFail(f"pip download ended with status {done.returncode}: {done.stderr[-4000:]}")
        return {"changed": True, "folder": "/mnt/wheels"}
