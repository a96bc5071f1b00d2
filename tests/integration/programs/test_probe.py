"""KVM counts only when everything about it is true; the payload is real and runs, under emulation at least."""

import pytest

from appliance.hypervisor.libvirt import probe


def test_the_payload_runs() -> None:
    assert probe.runs("tcg")


def test_a_payload_that_does_not_end_well_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PAYLOAD", probe.PAYLOAD.replace(b"\xb0\x10", b"\xb0\x11"))
    assert not probe.runs("tcg")
    monkeypatch.setattr(probe, "PAYLOAD", b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa")  # jumps to itself for ever
    monkeypatch.setattr(probe, "SECONDS", 1)
    assert not probe.runs("tcg")
    assert not probe.runs("no-such-accelerator")
