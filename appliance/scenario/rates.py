"""How fast a machine is at most, as plain numbers that policy, catalog and hypervisor share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """0: as fast as it can. To and from it in Mbit/s; on all its disks together in MiB/s, and in operations a second. The names are the policy's."""

    network_in: int = 0
    network_out: int = 0
    disk_rate: int = 0
    disk_iops: int = 0


UNLIMITED = Rates()
