"""What can be tried of KVM on a host that emulates its guests: a few instructions in real mode, forked as machines are. It says so where not even these run.

A fork's mechanism is all here: memory in a file, device state without it (x-ignore-shared), a private mapping of the same file, and a
processor state that KVM saved and loads. No Linux starts in such a KVM, so that its clock and its devices are tried only by emulation.
"""

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.hypervisor.libvirt import probe
from appliance.settings import Settings

pytestmark = pytest.mark.fork

DEVICE = Path("/dev/kvm")
CPU = "qemu64"  # what KVM can give to guests on any host; "host" has QEMU abort on some
# Counts in memory, and writes its count as letters from a to p to the first serial port, for ever.
COUNTER = bytes.fromhex("31c0 8ed8 66ff060070 baf803 a00070 240f 0461 ee 66b900000100 6649 75fc ebe4").ljust(510, b"\0") + b"\x55\xaa"
STARTS_WITHIN = 20.0  # seconds: such a KVM is slower than emulation, and some never begin


class Guest:
    """A QEMU in the folder with the counter, and its monitor."""

    def __init__(self, folder: Path, name: str, accelerator: str, *, fork: bool) -> None:
        self.said, self.socket = folder / f"{name}.serial", folder / f"{name}.qmp"
        command: list[str | Path] = ["qemu-system-x86_64", "-machine", f"pc,accel={accelerator},memory-backend=m", "-cpu", CPU, "-m", "64"]
        command += ["-object", f"memory-backend-file,id=m,size=64M,mem-path={folder}/memory,share={'off' if fork else 'on'}"]
        command += ["-nodefaults", "-no-user-config", "-display", "none", "-chardev", f"file,id=s,path={self.said}"]
        command += ["-device", "isa-serial,chardev=s", "-drive", f"file={folder}/counter.img,format=raw,if=floppy"]
        command += ["-qmp", f"unix:{self.socket},server=on,wait=off", *(["-incoming", "defer"] if fork else [])]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self._monitor = socket.socket(socket.AF_UNIX)
        self._lines = self._monitor.makefile("rw")

    def connect(self) -> bool:
        """Whether it started; QEMU ends by itself when the accelerator is none."""
        while self.process.poll() is None:
            with contextlib.suppress(OSError):
                self._monitor.connect(os.fspath(self.socket))
                self._lines.readline()
                self.qmp("qmp_capabilities")
                return True
            time.sleep(0.02)
        return False

    def qmp(self, execute: str, **arguments: Any) -> Any:
        self._lines.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
        self._lines.flush()
        while "return" not in (answer := json.loads(self._lines.readline())):
            assert "error" not in answer, answer
        return answer["return"]

    def letters(self, least: int) -> str:
        """What it wrote, as soon as that is so much; less when that does not come."""
        deadline = time.monotonic() + STARTS_WITHIN
        while len(said := self.said.read_text()) < least and time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.02)
        return said

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._lines.close()
        self._monitor.close()


@pytest.fixture
def guests(tmp_path: Path) -> Iterator[list[Guest]]:
    (tmp_path / "counter.img").write_bytes(COUNTER)
    made: list[Guest] = []
    yield made
    for guest in made:
        guest.end()


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_a_fork_goes_on_where_its_template_stood(guests: list[Guest], tmp_path: Path, accelerator: str) -> None:
    if accelerator == "kvm" and not os.access(DEVICE, os.R_OK | os.W_OK):
        pytest.skip(f"This host has no {DEVICE}: of KVM nothing can be tried here.")
    template = Guest(tmp_path, "template", accelerator, fork=False)
    guests.append(template)
    if not template.connect() or not template.letters(20):
        pytest.skip(f"The {DEVICE} of this host runs not even a boot sector.")
    template.qmp("stop")
    template.qmp("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])
    template.qmp("migrate", uri=f"exec:cat > {tmp_path}/state")
    while (status := template.qmp("query-migrate")["status"]) != "completed":
        assert status != "failed"
        time.sleep(0.02)
    said = template.said.read_text()
    template.end()
    assert (tmp_path / "state").stat().st_size < 2 << 20, "the memory is in it"
    memory = (tmp_path / "memory").read_bytes()

    forks = [Guest(tmp_path, f"fork{number}", accelerator, fork=True) for number in range(2)]
    guests += forks
    for fork in forks:
        assert fork.connect()
        fork.qmp("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])
        fork.qmp("migrate-incoming", uri=f"exec:cat {tmp_path}/state")
        while (status := fork.qmp("query-status")["status"]) == "inmigrate":
            time.sleep(0.005)
        assert status == "paused"
        assert fork.said.read_text() == ""
    for fork in forks:
        fork.qmp("cont")
        first = fork.letters(3)[:3]
        begun = ord(said[-1]) - ord("a")
        assert first == "".join(chr(ord("a") + (begun + more) % 16) for more in (1, 2, 3)), (said, first)
    assert (tmp_path / "memory").read_bytes() == memory, "a fork wrote into the memory of all"


def test_such_a_kvm_is_never_taken_for_one_that_runs_machines() -> None:
    flags = {flag for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags") for flag in line.split()}
    if not DEVICE.exists() or flags & {"vmx", "svm"}:
        pytest.skip("This host has no KVM, or one with the processor's virtualisation, which the probe finds out by running a guest.")
    assert probe.probe(Settings())[0] == "emulation"
