"""A booted machine's memory kept in a file, and machines forked from it."""

import contextlib
import hashlib
import os
import shutil
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt

from appliance import durable
from appliance.errors import DpeError, Unavailable
from appliance.hypervisor.libvirt import daemon, monitor, read_ahead, snapshot_files, xml
from appliance.hypervisor.libvirt.base import find, version
from appliance.hypervisor.libvirt.machines import Machines
from appliance.hypervisor.libvirt.volumes import LETS_GO_WITHIN
from appliance.hypervisor.provider import MachineSpec

STILL_COMMAND = "/usr/lib/dpe/still"
IDLE = 0.1  # of one processor, over a second: what a guest that waits uses under emulation
BUSY_AT_MOST = 60  # seconds for a guest to become idle before its snapshot is taken as it is
READ_ONLY_MEMORY = 8_002_000  # the QEMU that first took a read-only file for private memory
BOOTING = "booting"  # lies beside what a template writes as long as nothing was done to it but booting


class Snapshots(Machines):
    """Taken, checked, and forked from."""

    def boot_template(self, spec: MachineSpec, snapshot: str) -> None:
        work = self.layout.snapshot_work(snapshot)
        with _writing(), self._connection.use() as connection:
            domain = find(connection, spec.id)
            if domain is None or not domain.isActive() or not (work / BOOTING).exists():
                domain = self._boot_anew(spec, work, connection)
            if not _has_card(domain):  # nor has one whose engine was killed just now
                self._plug_in(domain, spec)

    def _boot_anew(self, spec: MachineSpec, work: Path, connection: libvirt.virConnect) -> libvirt.virDomain:
        """Without what an earlier try left."""
        seed, memory, disk = self._seed_disk(spec), work / snapshot_files.MEMORY, work / snapshot_files.DISK
        free, kept_back = shutil.disk_usage(self.settings.state).free >> 20, self.settings.disk_reserve
        if free < kept_back + spec.memory:
            raise Unavailable(
                f"A snapshot may take {spec.memory} MiB, and {free} MiB are free, of which {kept_back} MiB are kept back.",
                "Remove old seeds, or put the state on a larger disk. Until then machines are booted.",
            )
        self.destroy(spec.id)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o711, parents=True)
        (work / BOOTING).touch()
        self.layout.machine(spec.id).mkdir(mode=0o711, exist_ok=True)
        self._overlay(spec, seed, disk)
        with memory.open("wb") as file:
            file.truncate(spec.memory << 20)
        shutil.chown(memory, daemon.USER, daemon.USER)
        described = self._describe(spec, connection, xml.MemoryFile(memory, shared=True, incoming=False), disk)
        return connection.createXML(xml.to_text(described.to_xml()))

    def _plug_in(self, domain: libvirt.virDomain, spec: MachineSpec) -> None:
        self.network.admit(spec.id, spec.card)
        domain.attachDeviceFlags(xml.to_text(self._card(spec).to_xml()), libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def take_snapshot(self, spec: MachineSpec, snapshot: str) -> None:
        with _writing():
            folder = self.layout.snapshot_work(snapshot)
            (folder / BOOTING).unlink(missing_ok=True)
            self._take(spec, folder)
            os.sync()  # its directory entries, too, before anybody says that it is there
            durable.replace(folder, self.layout.snapshot(snapshot))

    def _take(self, spec: MachineSpec, folder: Path) -> None:
        with self._connection.use() as connection:
            _wait_until_idle(connection.lookupByUUIDString(spec.id))  # what it has left to do each fork would do again
        if spec.memory_room and (loaded := self.execute(spec.id, ["/sbin/modprobe", "virtio_mem"], timeout=spec.boot_timeout)).status:
            raise DpeError(
                f"Its kernel cannot be given memory later: {(loaded.error or loaded.output).strip()[-300:]}",
                "It needs the module virtio_mem; or have the class's machines keep the memory that they start with.",
            )
        done = self.execute(spec.id, [STILL_COMMAND], timeout=spec.boot_timeout)
        if done.status:
            raise DpeError(
                f"{STILL_COMMAND} ended with status {done.status}: {(done.error or done.output).strip()[-300:]}",
                "Look at the seed's role guest.",
            )
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(spec.id)
            facts = self._facts(spec, connection)
            # Forks have cards of their own. Plugged in until now, it has left its driver warm in the memory that they share.
            domain.detachDeviceFlags(xml.to_text(self._card(spec).to_xml()), libvirt.VIR_DOMAIN_AFFECT_LIVE)
            if not self._connection.until(lambda: not _has_card(domain), time.monotonic() + LETS_GO_WITHIN, 0.1):
                raise Unavailable(f"{spec.name} does not let go of its network card.", "Does its kernel know how to unplug PCI devices?")
            _wait_until_idle(domain)
            read_only = _reads_only(connection)
            domain.suspend()
            monitor.keep_state(domain, self._socket(spec.id), folder / snapshot_files.STATE, daemon.USER)
        self.destroy(spec.id)
        for name in (snapshot_files.STATE, snapshot_files.DISK):
            shutil.chown(folder / name, 0, 0)
            (folder / name).chmod(0o444)
        # An older QEMU opens even what it maps privately for writing, and only then finds that it need not.
        group, mode = (0, 0o444) if read_only else (daemon.USER, 0o660)
        shutil.chown(folder / snapshot_files.MEMORY, 0, group)
        (folder / snapshot_files.MEMORY).chmod(mode)
        snapshot_files.keep(folder, facts)

    def _facts(self, spec: MachineSpec, connection: libvirt.virConnect) -> snapshot_files.Facts:
        """What a snapshot of such a machine depends on here and now."""
        anyone = replace(spec, id=str(uuid.UUID(int=0)), name="any", class_name="any")
        described = self._describe(anyone, connection, _forked_memory(Path("memory"), connection), Path("disk"))
        told = xml.to_text(described.to_xml()) + self._cpu
        return snapshot_files.Facts(
            hypervisor=f"QEMU {version(connection.getVersion())}",
            acceleration=described.kind,
            machine=described.machine,
            cpu=type(described.cpu).__name__ if not self._cpu else ET.fromstring(self._cpu).findtext("model", "host"),  # noqa: S314
            memory=spec.memory,
            domain=hashlib.sha256(told.encode()).hexdigest(),
        )

    def describe_snapshot(self, snapshot: str) -> Mapping[str, Any]:
        folder = self.layout.snapshot(snapshot)
        facts = {name: value for name, value in snapshot_files.read(folder).items() if name != "files"}
        return {**facts, "size": sum(file.stat().st_blocks * 512 for file in folder.iterdir()) >> 20}

    def remove_snapshot(self, snapshot: str) -> None:
        for folder in (self.layout.snapshot(snapshot), self.layout.snapshot_work(snapshot)):
            shutil.rmtree(folder, ignore_errors=True)
        snapshot_files.forget(self.layout.snapshot(snapshot), self.layout.verified)

    def check_snapshot(self, spec: MachineSpec, snapshot: str) -> None:
        snapshot_files.forget(self.layout.snapshot(snapshot), self.layout.verified)
        self._check(spec, snapshot)

    def _check(self, spec: MachineSpec, snapshot: str) -> None:
        with self._connection.use() as connection:
            snapshot_files.check(self.layout.snapshot(snapshot), self._facts(spec, connection), self.layout.verified)

    def fork(self, spec: MachineSpec) -> None:
        assert spec.snapshot is not None
        folder, disk = self.layout.snapshot(spec.snapshot), self.layout.disk(spec.id)
        try:
            self._check(spec, spec.snapshot)
            with self._connection.use() as connection:
                if find(connection, spec.id) is not None or disk.parent.exists():
                    self.destroy(spec.id)
                self._overlay(spec, folder / snapshot_files.DISK, disk)
                read_ahead.read_ahead(folder)
                self.layout.log_link(spec.id).symlink_to(self.layout.log(spec.name))
                described = self._describe(spec, connection, _forked_memory(folder / snapshot_files.MEMORY, connection))
                domain = connection.createXML(xml.to_text(described.to_xml()), libvirt.VIR_DOMAIN_START_PAUSED)
                monitor.load_state(domain, self._socket(spec.id), (folder / snapshot_files.STATE).read_bytes())
                self._plug_in(domain, spec)
        except (DpeError, OSError) as error:
            with contextlib.suppress(DpeError):
                self.destroy(spec.id)
            if isinstance(error, OSError):
                raise Unavailable(f"{spec.name} could not be forked: {error}") from error
            raise


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"The snapshot cannot be written: {error}.", "Look at the disk that holds it.") from error


def _reads_only(connection: libvirt.virConnect) -> bool:
    """Whether a snapshot's memory is a file that QEMU cannot write to."""
    return bool(connection.getVersion() >= READ_ONLY_MEMORY)


def _forked_memory(file: Path, connection: libvirt.virConnect) -> xml.MemoryFile:
    return xml.MemoryFile(file, shared=False, incoming=True, read_only=_reads_only(connection))


def _has_card(domain: libvirt.virDomain) -> bool:
    return "<interface" in domain.XMLDesc()


def _wait_until_idle(domain: libvirt.virDomain) -> None:
    """Return when the guest has little to do, or will not stop. The hypervisor only counts processor time, so it has to be looked at now and then."""
    deadline = time.monotonic() + BUSY_AT_MOST
    before = domain.info()[4]
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        time.sleep(1)
        now = domain.info()[4]
        quiet = quiet + 1 if now - before < IDLE * 1e9 else 0
        before = now
