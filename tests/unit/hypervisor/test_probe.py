"""KVM counts only when everything about it is true; the payload is real and runs, under emulation at least."""

from pathlib import Path

import pytest

from appliance.hypervisor.libvirt import probe
from appliance.settings import Settings


@pytest.mark.parametrize(
    ("emulate", "flags", "device", "runs", "kind", "reason"),
    [
        (False, "fpu vmx sse", True, True, "kvm", "a guest ran in it"),
        (False, "fpu svm sse", True, True, "kvm", "a guest ran in it"),
        (True, "fpu vmx sse", True, True, "emulation", "setting emulate"),
        (False, "fpu sse", True, True, "emulation", "does not offer virtualisation"),
        (False, "fpu xvmx vmxx", True, True, "emulation", "does not offer virtualisation"),
        (False, "fpu vmx sse", False, True, "emulation", "module kvm_intel or kvm_amd"),
        (False, "fpu vmx sse", True, False, "emulation", "did not run"),
    ],
)
def test_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emulate: bool, flags: str, device: bool, runs: bool, kind: str, reason: str
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nmodel name : vmx svm\nflags\t\t: {flags}\n")
    if device:
        (tmp_path / "kvm").touch()
    monkeypatch.setattr(probe, "runs", lambda accelerator: runs and accelerator == "kvm")
    found = probe.probe(Settings(emulate=emulate), cpuinfo=tmp_path / "cpuinfo", device=tmp_path / "kvm")
    assert found[0] == kind
    assert reason in found[1]
