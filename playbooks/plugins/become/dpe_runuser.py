"""Lets a role's `become` work where there is no sudo: whoever runs the modules is root already."""

import shlex

from ansible.plugins.become import BecomeBase

DOCUMENTATION = """
name: dpe_runuser
short_description: Become another user with runuser
description:
  - For connections that run everything as root. To become root is nothing to do; another user is become without a password.
options:
  become_user:
    description: Who to become.
    default: root
    keyword:
      - name: become_user
    vars:
      - name: ansible_become_user
"""


class BecomeModule(BecomeBase):
    """With runuser, which every Debian has."""

    name = "dpe_runuser"

    def build_become_command(self, cmd, shell):
        super().build_become_command(cmd, shell)
        user = self.get_option("become_user") or "root"
        if not cmd or user == "root":
            return cmd
        # The connection `local` waits for the word of success, and runs everything in a folder that only root may enter.
        command = self._build_success_command(f"cd / && {cmd}", shell)
        return shlex.join(["runuser", "--shell", "/bin/sh", "--command", command, user])  # such accounts often have no shell
