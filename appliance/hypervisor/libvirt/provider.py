"""Machines on the appliance's own libvirtd (see daemon.py)."""

from appliance.hypervisor.libvirt.inventory import Inventory
from appliance.hypervisor.libvirt.snapshots import Snapshots


class LibvirtProvider(Inventory, Snapshots):
    """The Provider over our own libvirtd; may be used from many threads at once."""
