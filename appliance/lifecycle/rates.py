"""How fast a machine is at most: what its class's policy and calendar say, and in place of any of that what an admin said of this machine."""

from dataclasses import asdict, replace
from datetime import datetime

from appliance.catalog import Class, Machine, now, policies
from appliance.lifecycle.calendars import calendar_of
from appliance.pools.windows import begun, wall
from appliance.scenario.rates import Rates

_SHORT = {"network_in": "in {} Mbit/s", "network_out": "out {} Mbit/s", "disk_rate": "disk {} MiB/s", "disk_iops": "{} IOPS"}
NAMES = tuple(asdict(Rates()))  # as the policy has them, too


def of_class(machine_class: Class, moment: datetime | None = None) -> Rates:
    """What its machines have now, or at that moment: of windows of its calendar that hold at once, the last that says it."""
    found = Rates(**{name: policies.value(machine_class, name) for name in NAMES})
    if any(one.get("network") is not None for one in machine_class.windows):
        moment = moment or now()
        calendar = calendar_of(machine_class, moment)
        shown = wall(moment, calendar.zone)
        for window in calendar.windows:
            if window.network is not None and begun(calendar, window, shown) is not None:
                found = replace(found, network_in=window.network, network_out=window.network)
    return found


def wanted(machine: Machine, says: Rates | None = None) -> Rates:
    """What counts; `says` is what its class says, where that is known."""
    return Rates(**{**asdict(says or of_class(machine.machine_class)), **machine.rates})


def plain(found: Rates) -> dict[str, int]:
    """Those that limit anything."""
    return {name: value for name, value in asdict(found).items() if value}


def words(found: Rates) -> str:
    """The same in short, as it is read in any language."""
    return ", ".join(_SHORT[name].format(value) for name, value in plain(found).items()) or "0"
