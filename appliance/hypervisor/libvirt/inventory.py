"""What there is: machines, what they use, and the host."""

import contextlib
import os
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import libvirt
import psutil

from appliance import qcow2
from appliance.hypervisor.libvirt import daemon, xml
from appliance.hypervisor.libvirt.base import Base, find, is_id, version
from appliance.hypervisor.libvirt.memory import Taken
from appliance.hypervisor.provider import HostFacts, MachineFound, Power, Remains, Stats, VolumeFound

NOT_MEASURED = Taken(0, 0)
OVERHEAD = 64  # MiB that QEMU needs beside a machine's memory
LARGEST_LOG, KEPT_OF_LOG = 1 << 20, 64 << 10
END_OF_CONSOLE = 8000  # characters

_POWER = {
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: Power.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
    libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
}
# Named one by one: asking for all of them takes seconds just after several guests have started.
_STATS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)


class Inventory(Base):
    """Looks, and changes nothing."""

    def host(self) -> HostFacts:
        with self._connection.use() as connection:
            hypervisor = f"QEMU {version(connection.getVersion())}, libvirt {version(connection.getLibVersion())}"
        acceleration, reason = daemon.acceleration(self.settings)
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        return HostFacts(
            acceleration=acceleration,
            reason=reason,
            hypervisor=hypervisor,
            cpus=os.cpu_count() or 1,
            memory=memory.total >> 20,
            memory_available=memory.available >> 20,
            disk_free=self._disk_free(),
            disk=shutil.disk_usage(self.settings.machines).total >> 20,
            swap=swap.total >> 20,
            swap_used=swap.used >> 20,
            overhead=OVERHEAD + (xml.TRANSLATED if acceleration == "emulation" else 0),
        )

    def list(self) -> Sequence[MachineFound]:
        with self._connection.use() as connection:
            states = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0)
        saved = {file.stem for file in (self.settings.libvirt / "lib/qemu/save").glob("*.save")}  # libvirt would be asked for each
        found = []
        for domain, values in states:
            power = _POWER.get(values["state.state"], Power.OFF)
            if power is Power.OFF and domain.name() in saved:
                power = Power.SAVED
            stalled = power is Power.PAUSED and values.get("state.reason") == libvirt.VIR_DOMAIN_PAUSED_IOERROR
            found.append(MachineFound(domain.UUIDString(), domain.name(), power, stalled))
        return found

    def disks(self) -> Sequence[str]:
        return [entry.name for entry in os.scandir(self.settings.machines) if is_id(entry.name)]

    def volumes(self) -> Sequence[VolumeFound]:
        found = []
        for kind, id, path in self.layout.volumes():
            with contextlib.suppress(FileNotFoundError):  # it went just now
                made = datetime.fromtimestamp(path.lstat().st_mtime, UTC)
                found.append(VolumeFound(kind, id, sum(file.lstat().st_blocks * 512 for file in (path, *path.rglob("*"))), made))
        return found

    def console(self, id: str) -> str:
        try:
            return self.layout.serial_log(id).read_text(errors="replace")[-END_OF_CONSOLE:]
        except FileNotFoundError:
            return ""

    def stats(self) -> Sequence[Stats]:
        flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        with self._connection.use() as connection:
            readings = connection.getAllDomainStats(_STATS, flags)
        for domain, _ in readings:
            _shorten(self.layout.serial_log(domain.UUIDString()))
            _shorten(self.layout.log(domain.name()))
        taken = self._memory.look({domain.UUIDString(): self.layout.pid_file(domain.name()) for domain, _ in readings})
        return [_reading(domain.UUIDString(), values, taken.get(domain.UUIDString(), NOT_MEASURED)) for domain, values in readings]

    def examine(self, id: str) -> Remains:
        disk = self.layout.disk(id)
        with self._connection.use() as connection:
            domain = find(connection, id)
            described = None if domain is None else ET.fromstring(domain.XMLDesc())  # noqa: S314  our own libvirtd's
        files = [file.lstat() for file in disk.parent.rglob("*")] if disk.parent.is_dir() else []
        found = Remains(
            base=self.layout.base(qcow2.backing(disk)) if disk.exists() else "",
            bytes=sum(file.st_blocks * 512 for file in files),
            made=datetime.fromtimestamp(disk.parent.stat().st_ctime, UTC) if files else None,
        )
        if described is None:
            return found
        told = described.find(f"metadata/{{{xml.NAMESPACE}}}machine")
        mac = described.find("devices/interface/mac")
        return replace(
            found,
            name=described.findtext("name", ""),
            class_name="" if told is None else told.get("class", ""),
            mac="" if mac is None else mac.get("address", ""),
            vcpus=int(described.findtext("vcpu", "0")),
            memory=int(described.findtext("memory", "0")) >> 10,
            memory_room=xml.memory_room(described),
        )


def _reading(id: str, values: dict[str, Any], taken: Taken) -> Stats:
    def total(prefix: str, name: str) -> int:
        return sum(int(values.get(f"{prefix}.{index}.{name}", 0)) for index in range(values.get(f"{prefix}.count", 0)))

    memory = int(values.get("balloon.current", 0)) >> 10
    usable, available = values.get("balloon.usable"), values.get("balloon.available")
    # A guest without a balloon, as forks are, is judged by its resident size, which counts the emulator's own memory in.
    resident = min(int(values.get("balloon.rss", 0)) >> 10, memory)
    return Stats(
        id=id,
        cpu_ns=int(values.get("cpu.time", 0)),
        vcpus=int(values.get("vcpu.current", 1)),
        memory=memory,
        memory_used=resident if usable is None or available is None else (int(available) - int(usable)) >> 10,
        disk_read=total("block", "rd.bytes"),
        disk_written=total("block", "wr.bytes"),
        net_received=total("net", "rx.bytes"),
        net_sent=total("net", "tx.bytes"),
        memory_private=taken.private,
        memory_shared=taken.shared,
    )


def _shorten(file: Path) -> None:
    """Keep a guest that writes without end to its serial port, or has QEMU complain without end, from filling the host's disk; QEMU goes on at the new end."""
    try:
        if file.stat().st_size > LARGEST_LOG:
            with file.open("r+b") as open_file:
                open_file.seek(-KEPT_OF_LOG, os.SEEK_END)
                rest = open_file.read()
                open_file.seek(0)
                open_file.truncate()
                open_file.write(rest)
    except FileNotFoundError:
        pass
