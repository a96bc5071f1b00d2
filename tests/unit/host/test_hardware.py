"""The hardware in plain words."""

from dataclasses import replace

import pytest

from appliance.host.interface.network import Card
from appliance.host.system import hardware
from appliance.host.system.hardware import Finding, Hardware
from appliance.settings import Settings

CARD = Card("enp1s0", "52:54:00:12:34:56", connected=True, speed=1000, addresses=[])
GOOD = Hardware(
    processor="AMD EPYC", cpus=16, intel=False, virtualisation=True, kvm=True, virtual=False, memory=65536, disk=960000, disk_free=412000,
    spinning=False, cards=[CARD],
)  # fmt: skip


def found(made: Hardware, about: str, acceleration: str = "kvm") -> Finding:
    return next(one for one in hardware.findings(made, acceleration, "A guest ran in it.", []) if one.about == about)


def test_a_good_server_has_nothing_to_complain_of() -> None:
    assert {one.level for one in hardware.findings(GOOD, "kvm", "A guest ran in it.", [])} == {"ok"}


@pytest.mark.parametrize(
    ("changed", "acceleration", "level", "said"),
    [
        ({"virtualisation": False, "kvm": False}, "emulation", "bad", "AMD-V, also called SVM"),
        ({"virtualisation": False, "kvm": False, "intel": True}, "emulation", "bad", "Intel VT-x"),
        ({"kvm": False, "intel": True}, "emulation", "bad", "Linux may not use it"),
        ({"virtualisation": False, "kvm": False, "virtual": True}, "emulation", "warning", "nested virtualisation in the settings"),
        ({}, "emulation", "warning", "Machines are emulated"),
        ({}, "", "warning", "The engine tries it"),
        ({"virtual": True}, "kvm", "ok", "nearly the speed"),
    ],
)
def test_virtualisation_and_what_to_do(changed: dict[str, bool], acceleration: str, level: str, said: str) -> None:
    one = found(replace(GOOD, **changed), "kvm", acceleration)  # type: ignore[arg-type]
    assert one.level == level
    assert said in one.text


def test_what_is_small_slow_or_not_plugged_in_is_said_with_what_to_do() -> None:
    assert "add memory" in found(replace(GOOD, memory=2048), "memory").text
    assert found(replace(GOOD, memory=2048), "memory").title == "2.0 GiB of memory"
    assert "second disk" in found(replace(GOOD, disk_free=5000), "disk").text
    assert "SSD" in found(replace(GOOD, spinning=True), "disk").text
    assert found(replace(GOOD, spinning=None), "disk").level == "ok"
    slow = found(replace(GOOD, cards=[replace(CARD, speed=100)]), "network")
    assert (slow.level, slow.title) == ("warning", "The network at enp1s0 runs at 100 Mbit/s")
    assert "cable" in slow.text
    unplugged = found(replace(GOOD, cards=[replace(CARD, connected=False, speed=0)]), "network")
    assert (unplugged.level, unplugged.title) == ("bad", "No network cable is plugged in")
    assert found(replace(GOOD, cards=[replace(CARD, speed=10000)]), "network").title == "The network at enp1s0 runs at 10 Gbit/s"


def test_what_the_disks_say_of_themselves_is_said() -> None:
    [one] = [each for each in hardware.findings(GOOD, "kvm", "", ["Disk X fails."]) if each.level == "bad"]
    assert one.title == "Disk X fails."


def test_this_machine_can_be_looked_at(settings: Settings) -> None:
    here = hardware.read_hardware(settings)
    assert here.cpus > 0
    assert here.memory > 100
    assert here.disk_free <= here.disk
    assert len(hardware.findings(here, "", "", [])) >= 4
