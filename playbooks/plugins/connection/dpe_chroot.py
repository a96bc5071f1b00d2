"""Runs Ansible's modules inside a root file system in a folder, as it will be in the machine.

The folder is the inventory's `ansible_host`. Nothing is mounted here: seed.yml does it, in the mount
namespace that the whole build lives in, so that a mount never outlives a build.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: dpe_chroot
short_description: Run modules in a root file system in a folder
description:
  - Enters the folder with chroot, with an environment that holds nothing of the host's.
  - What a task leaves running is noted beside the folder, in C(left-running), for the module C(dpe_left_running).
options:
  remote_addr:
    description: The folder.
    default: inventory_hostname
    vars:
      - name: ansible_host
  task:
    description: The task that is run.
    default: ""
    keyword:
      - name: name
  role:
    description: The role that it belongs to.
    default: ""
    vars:
      - name: ansible_role_name
"""

# The host's own variables (certificates, proxies, languages) mean nothing inside.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_OFFLINE": "1",
}


class Connection(ConnectionBase):
    """One folder."""

    transport = "dpe_chroot"
    has_pipelining = True

    def _connect(self):
        if not self._connected:
            self.folder = Path(self.get_option("remote_addr"))
            if not (self.folder / "bin/sh").exists():
                raise AnsibleConnectionFailure(f"{self.folder} holds no root file system")
            self._connected = True
        return self

    def exec_command(self, cmd, in_data=None, sudoable=True):  # noqa: FBT002  Ansible says so
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        before = set(self._inside_now())
        # Not into pipes: whatever goes on in the background would keep them open, and the build waiting.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as error:
            command = ["chroot", os.fspath(self.folder), "/bin/sh", "-c", cmd]
            done = subprocess.run(command, input=in_data or b"", stdout=output, stderr=error, env=ENVIRONMENT, check=False)
            said = []
            for file in (output, error):
                file.seek(0)
                said.append(file.read())
        self._note(set(self._inside_now()) - before)
        return done.returncode, *said

    def put_file(self, in_path, out_path):
        super().put_file(in_path, out_path)
        shutil.copyfile(in_path, self._inside(out_path))

    def fetch_file(self, in_path, out_path):
        super().fetch_file(in_path, out_path)
        shutil.copyfile(self._inside(in_path), out_path)

    def close(self):
        self._connected = False

    def _inside(self, path):
        return self.folder / path.lstrip("/")

    def _inside_now(self):
        """The processes whose root is in the folder, as (pid, when it was started, in ticks)."""
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (place / "root").readlink().is_relative_to(self.folder):
                    yield int(place.name), (place / "stat").read_text().rpartition(")")[2].split()[19]

    def _note(self, left):
        """Keep by which task a process was left. One that ends by itself in time is never asked for."""
        role, task = self.get_option("role"), self.get_option("task")
        words = (f"The task “{task}”" if task else "A task without a name") + (f" of the role {role}" if role else "")
        for pid, started in left:
            with contextlib.suppress(OSError), (self.folder.parent / "left-running").open("a") as notes:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
                print(json.dumps({"pid": pid, "started": started, "task": words, "command": command[:200] or f"process {pid}"}), file=notes)
