"""Runs Ansible's modules inside a machine through its guest agent: the machine need be reachable by no network.

The machine's id is the inventory's `ansible_host`. Who speaks with the agent is appliance/seeds/agents.py, on the socket that DPE_AGENTS names: what runs here
is in a sandbox, and may reach no other machine.
"""

import base64
import json
import os
import socket
import uuid
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: dpe_agent
short_description: Run modules in a machine through its guest agent
description:
  - Everything is run by root, a command at a time; what a command writes is kept in memory until it ends.
options:
  remote_addr:
    description: The id of the machine.
    default: inventory_hostname
    vars:
      - name: ansible_host
"""

LONGEST = 24 * 3600  # seconds for one command; whoever runs the playbook ends it sooner
AT_ONCE = 32 << 10  # bytes that are sent in one go: an agent that reads a large message answers nothing else meanwhile
FROM_FILE = 'file=$1; shift; "$@" < "$file"; status=$?; rm -f "$file"; exit $status'


class Connection(ConnectionBase):
    """One machine."""

    transport = "dpe_agent"
    has_pipelining = True

    def _connect(self):
        if not self._connected:
            self.id = self.get_option("remote_addr")
            self.asking = socket.socket(socket.AF_UNIX)
            self.asking.connect(os.environ["DPE_AGENTS"])
            self.answers = self.asking.makefile("rb")
            self._connected = True
        return self

    def exec_command(self, cmd, in_data=None, sudoable=True):  # noqa: FBT002  Ansible says so
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        command = ["/bin/sh", "-c", cmd]
        if len(in_data or b"") > AT_ONCE:
            path = f"/run/dpe-{uuid.uuid4()}"
            self._put(in_data, path)
            done = self._run(["/bin/sh", "-c", FROM_FILE, "from", path, *command])
        else:
            done = self._run(command, in_data or b"")
        return done["status"], done["output"].encode(), done["error"].encode()

    def put_file(self, in_path, out_path):
        super().put_file(in_path, out_path)
        self._put(Path(in_path).read_bytes(), out_path)

    def fetch_file(self, in_path, out_path):
        super().fetch_file(in_path, out_path)
        Path(out_path).write_bytes(base64.b64decode(self._demand(["base64", "--", in_path])["output"]))

    def close(self):
        if self._connected:
            self.answers.close()
            self.asking.close()
            self._connected = False

    def _put(self, content, path):
        for begin in range(0, len(content) or 1, AT_ONCE):
            where = '> "$1"' if begin == 0 else '>> "$1"'
            self._demand(["/bin/sh", "-c", f"umask 077; cat {where}", "put", path], content[begin : begin + AT_ONCE])

    def _run(self, command, content=b""):
        asked = {"id": self.id, "command": command, "input": base64.b64encode(content).decode(), "timeout": LONGEST}
        try:
            self.asking.sendall(json.dumps(asked).encode() + b"\n")
            done = json.loads(self.answers.readline())
        except (OSError, ValueError) as error:
            raise AnsibleConnectionFailure(f"The appliance does not answer: {error}") from error
        if "problem" in done:
            raise AnsibleConnectionFailure(done["problem"])
        return done

    def _demand(self, command, content=b""):
        done = self._run(command, content)
        if done["status"]:
            raise AnsibleConnectionFailure(f"{command[0]} ended with status {done['status']}: {done['error'].strip()}")
        return done
