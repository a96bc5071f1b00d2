"""Machines on a libvirtd and its QEMU on this host: the provider that ships. The modules here import libvirt, this one does not."""

import sys

from appliance.hypervisor.provider import Provider, Service
from appliance.settings import Settings


def connect(settings: Settings) -> Provider:
    """The provider over our own libvirtd, which need not run yet."""
    from appliance.hypervisor.libvirt.provider import LibvirtProvider

    return LibvirtProvider(settings)


def service(settings: Settings) -> Service:
    """Our own libvirtd."""
    from appliance.hypervisor.libvirt import daemon

    command = (sys.executable, "-m", "appliance.hypervisor.libvirt.daemon")
    return Service("libvirtd", command, daemon.socket_path(settings), daemon.USER, remove=(*command, "--remove"))
