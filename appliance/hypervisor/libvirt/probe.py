"""Whether hardware virtualisation works, found out by running something: the device node alone proves nothing.

A nested or half-working KVM shows /dev/kvm, opens it, even creates a VM, and still cannot run an
ordinary kernel. So three things are asked, each of which has been seen to be the one that is missing.
"""

import os
import tempfile
from pathlib import Path

from appliance.errors import CommandFailed
from appliance.run import run
from appliance.settings import Settings

QEMU = "qemu-system-x86_64"
SECONDS = 20

# A boot sector: mov al, 0x10; out 0xf4, al; hlt. QEMU's isa-debug-exit then ends with (0x10 << 1) | 1.
PAYLOAD = bytes([0xB0, 0x10, 0xE6, 0xF4, 0xF4]).ljust(510, b"\0") + b"\x55\xaa"
PAYLOAD_STATUS = 33


def probe(settings: Settings, *, cpuinfo: Path = Path("/proc/cpuinfo"), device: Path = Path("/dev/kvm")) -> tuple[str, str]:
    """("kvm" or "emulation", the reason in plain words). Takes up to SECONDS when KVM hangs."""
    if settings.emulate:
        return "emulation", "The setting emulate asks for it."
    flags = {flag for line in cpuinfo.read_text().splitlines() if line.startswith("flags") for flag in line.split()}
    if not flags & {"vmx", "svm"}:
        return (
            "emulation",
            "The processor does not offer virtualisation (VT-x or AMD-V): it may be switched off in the firmware, or this is a virtual machine.",
        )
    if not os.access(device, os.R_OK | os.W_OK):
        return "emulation", f"The kernel does not offer {device}: the module kvm_intel or kvm_amd is not loaded."
    if not runs("kvm"):
        return "emulation", "KVM is there, but a guest of a few instructions did not run in it."
    return "kvm", "The processor's virtualisation works: a guest ran in it."


def runs(accelerator: str) -> bool:
    """Whether QEMU runs a guest of a few instructions with this accelerator, within SECONDS."""
    with tempfile.NamedTemporaryFile(suffix=".img") as disk:
        disk.write(PAYLOAD)
        disk.flush()
        try:
            run(
                [
                    *(QEMU, "-machine", f"pc,accel={accelerator}", "-cpu", "host" if accelerator == "kvm" else "max", "-m", "64"),
                    *("-nodefaults", "-no-user-config", "-display", "none"),
                    *("-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-drive", f"file={disk.name},format=raw,if=floppy"),
                ],
                timeout=SECONDS,
            )
        except CommandFailed as ended:
            return ended.status == PAYLOAD_STATUS
    return False
