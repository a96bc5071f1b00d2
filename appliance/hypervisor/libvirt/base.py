"""What the parts of the provider share: connection, network, layout, and questions to libvirt about a domain."""

import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import libvirt

from appliance.hypervisor.libvirt import daemon, disks
from appliance.hypervisor.libvirt.connection import Connection
from appliance.hypervisor.libvirt.layout import Layout
from appliance.hypervisor.libvirt.memory import Gauge
from appliance.hypervisor.libvirt.network import Network
from appliance.settings import Settings

_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
QEMUS = disks.Owner(daemon.USER, 0o600)


class Base:
    """One connection to our own libvirtd; may be used from many threads at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.layout = Layout(settings)
        self.network = Network(settings)
        self._connection = Connection(daemon.uri(settings))
        self._machine_type = ""
        self._cpu = ""
        self._memory = Gauge()

    def watch(self, changed: Callable[[str], None]) -> None:
        self._connection.watch(changed)

    def close(self) -> None:
        self._connection.close()

    def _disk_free(self) -> int:
        return shutil.disk_usage(self.settings.machines).free >> 20

    def _socket(self, id: str) -> Path:
        """For a machine's device state, in a folder where QEMU may make it."""
        socket = self.layout.socket(id)
        socket.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.chown(socket.parent, daemon.USER, daemon.USER)
        return socket


def is_id(name: str) -> bool:
    return _ID.fullmatch(name) is not None


def find(connection: libvirt.virConnect, id: str) -> libvirt.virDomain | None:
    try:
        return connection.lookupByUUIDString(id)
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG):
            return None
        raise


def lasting(domain: libvirt.virDomain, connection: libvirt.virConnect) -> libvirt.virDomain:
    """A fork has libvirt forget it when it goes off, unless it is defined before."""
    if domain.isPersistent():
        return domain
    return connection.defineXML(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))


def targets(domain: libvirt.virDomain) -> dict[str, str]:
    """The name of each disk of a machine, as it runs or else is defined, by its file."""
    described = ET.fromstring(domain.XMLDesc())  # noqa: S314  our own libvirtd's
    found = {}
    for disk in described.findall("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is not None and target is not None:
            found[source.get("file", "")] = target.get("dev", "")
    return found


def has_disk(domain: libvirt.virDomain, disk: Path) -> bool:
    return os.fspath(disk) in targets(domain)


def version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
