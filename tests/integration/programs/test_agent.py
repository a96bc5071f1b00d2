"""Speaking with the guest agent: what is tried again, and what is never sent twice."""

import subprocess

from appliance.hypervisor.libvirt import agent


def test_what_is_run_for_signs_is_understood() -> None:
    """By the shell that runs this; whoever does may have terminals open."""
    done = subprocess.run(["/bin/sh", "-c", agent.SIGNS], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()][:2] == ["load", "now"]
