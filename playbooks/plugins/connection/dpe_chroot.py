"""Runs Ansible's modules inside a root file system in a folder, as it will be in the machine.

The folder is the inventory's `ansible_host`. Nothing is mounted here: seed.yml does it, in the mount
namespace that the whole build lives in, so that a mount never outlives a build.
"""

import os
import shutil
import subprocess
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: dpe_chroot
short_description: Run modules in a root file system in a folder
description:
  - Enters the folder with chroot, with an environment that holds nothing of the host's.
options:
  remote_addr:
    description: The folder.
    default: inventory_hostname
    vars:
      - name: ansible_host
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
        done = subprocess.run(
            ["chroot", os.fspath(self.folder), "/bin/sh", "-c", cmd],
            input=in_data or b"",
            capture_output=True,
            env=ENVIRONMENT,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

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
