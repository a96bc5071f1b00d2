"""How fast a machine is at most: what its class's policy says, and in place of any of that what an admin said of this machine."""

from dataclasses import asdict

from appliance.catalog import Class, Machine, policies
from appliance.scenario.rates import Rates

_SHORT = {"network_in": "in {} Mbit/s", "network_out": "out {} Mbit/s", "disk_rate": "disk {} MiB/s", "disk_iops": "{} IOPS"}
NAMES = tuple(asdict(Rates()))  # as the policy has them, too


def of_class(machine_class: Class) -> Rates:
    """What its machines have."""
    return Rates(**{name: policies.value(machine_class, name) for name in NAMES})


def wanted(machine: Machine) -> Rates:
    """What counts."""
    return Rates(**{**asdict(of_class(machine.machine_class)), **machine.rates})


def plain(found: Rates) -> dict[str, int]:
    """Those that limit anything."""
    return {name: value for name, value in asdict(found).items() if value}


def words(found: Rates) -> str:
    """The same in short, as it is read in any language."""
    return ", ".join(_SHORT[name].format(value) for name, value in plain(found).items()) or "0"
