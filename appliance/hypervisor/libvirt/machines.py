"""The life of a machine: its disk, its domain, on, off and gone."""

import errno
import logging
import os
import shutil
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import libvirt

from appliance import durable, run
from appliance.errors import BadInput, CommandFailed, Conflict, NotFound, Unavailable
from appliance.hypervisor.libvirt import agent, daemon, disks, read_ahead, xml
from appliance.hypervisor.libvirt.base import QEMUS, find, has_disk, is_id, lasting
from appliance.hypervisor.libvirt.connection import ignoring
from appliance.hypervisor.libvirt.growing import Growing
from appliance.hypervisor.libvirt.rates import Limits
from appliance.hypervisor.libvirt.volumes import Volumes
from appliance.hypervisor.provider import MachineSpec
from appliance.scenario.rates import UNLIMITED

log = logging.getLogger(__name__)

PLUGS_WITHIN = 5  # seconds
# So that memory which was given later can be taken back whole, and so that Linux does not keep 64 MiB back for devices that cannot reach it: all can.
GROWS = "memhp_default_state=online_movable swiotlb=noforce modules_load=virtio_mem"
SHUT_DOWN = ("systemctl", "--no-block", "poweroff")


class Machines(Volumes, Growing, Limits):
    """Made, started, stopped and removed."""

    def clone(self, spec: MachineSpec) -> None:
        disk = self.layout.disk(spec.id)
        if disk.exists():
            return
        if spec.kept is not None:
            self._copy_kept(spec, self.layout.kept_disk(spec.kept))
            return
        self._overlay(spec, self._seed_disk(spec), disk)

    def _seed_disk(self, spec: MachineSpec) -> Path:
        disk = self.layout.seed_disk(spec.seed)
        if not disk.exists():
            raise Unavailable(f"The seed's disk {disk} is missing.", "Build a new seed of the class.")
        return disk

    def _overlay(self, spec: MachineSpec, below: Path, disk: Path) -> None:
        """A disk that takes only what the machine writes, on top of another."""
        if self._disk_free() < self.settings.disk_reserve:
            raise self._disk_full(spec)
        fresh = disk.with_suffix(".new")
        size = max(
            spec.disk_size << 30, disks.virtual_size(below, "Build a new seed of the class.", alone=False)
        )  # smaller than what is below, it would lack the end of the file system
        try:
            disk.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            run.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below.resolve(), fresh, str(size)])
            shutil.chown(fresh, daemon.USER, daemon.USER)
            fresh.chmod(0o600)
            durable.replace(fresh, disk)
        except (CommandFailed, OSError) as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise self._disk_full(spec) from error
            raise Unavailable(f"The disk of {spec.name} could not be made: {error}") from error

    def _copy_kept(self, spec: MachineSpec, kept: Path) -> None:
        """The machine's disk from one that was kept, and beside it what it boots from: its seed may be gone, or have another kernel."""
        boot = disks.own_boot(kept)
        if boot is None or not kept.exists():
            raise Unavailable(f"The kept disk {kept} is missing.", "Its days may be over.")
        disks.make_room(self.settings.machines, self.settings.disk_reserve, kept)
        disk = self.layout.disk(spec.id)
        disk.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        disks.give_boot(boot, disk)
        disks.expand(kept, disk, QEMUS, spec.disk_size << 30)

    def _disk_full(self, spec: MachineSpec) -> Unavailable:
        return Unavailable(
            f"There is no room for the disk of {spec.name}: {self._disk_free()} MiB are free in {self.settings.machines},"
            f" of which {self.settings.disk_reserve} MiB are kept back.",
            "Give machines back, remove old seeds, or put the state on a larger disk.",
        )

    def start(self, spec: MachineSpec) -> None:
        data = None if spec.data is None else self.layout.data_disk(spec.data)
        with self._connection.use() as connection:
            domain = find(connection, spec.id)
            if data is not None and not (domain is not None and domain.isActive() and has_disk(domain, data)):
                disks.claim(data, self.layout.machine(spec.id))
                self._check_free(domain, data)
            if domain is None or not domain.isActive():
                # Anew each time, because host and QEMU may have changed; a saved machine keeps what it was saved with.
                domain = connection.defineXML(xml.to_text(self._describe(spec, connection).to_xml()))
            self.network.admit(spec.id, spec.card)
            if not domain.isActive():
                self._power_on(domain)
            if data is not None and not has_disk(domain, data):
                self._take_other_away(domain, spec)
                self._attach(domain, data)
            if spec.rates != UNLIMITED:
                self._limit_at_start(domain, spec)
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                if spec.snapshot is not None:
                    read_ahead.read_ahead(self.layout.snapshot(spec.snapshot))
                domain.resume()

    def _limit_at_start(self, domain: libvirt.virDomain, spec: MachineSpec) -> None:
        """Before it goes on. Where this host cannot, it is no reason to have no machines: who asks for `rates` sees it."""
        try:
            self._limit(domain, spec)
        except (Unavailable, libvirt.libvirtError) as error:
            log.warning("%s starts without its rates: %s", spec.name, error)

    def _check_free(self, domain: libvirt.virDomain | None, data: Path) -> None:
        """Raise NoData and Conflict as `disks.check` does; but of a start that was cut off while it plugged the disk in, libvirt does the rest by itself."""
        try:
            disks.check(data)
        except Conflict:
            plugged = domain is not None and domain.isActive()
            if not (plugged and self._connection.until(lambda: has_disk(domain, data), time.monotonic() + PLUGS_WITHIN, 0.1)):
                raise

    def _power_on(self, domain: libvirt.virDomain) -> None:
        try:
            domain.create()
        except libvirt.libvirtError as error:
            if domain.isActive() or not domain.hasManagedSaveImage():
                raise
            log.warning("%s cannot be resumed and boots instead: %s", domain.name(), error)
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_FORCE_BOOT)

    def _describe(
        self, spec: MachineSpec, connection: libvirt.virConnect, memory: xml.MemoryFile | None = None, disk: Path | None = None
    ) -> xml.Domain:
        """The machine; one whose memory is a file has its card and data disk plugged in afterwards. `disk` takes the place of its own."""
        kvm = daemon.acceleration(self.settings)[0] == "kvm"
        kind = "kvm" if kvm else "qemu"
        if not self._machine_type:
            # By its versioned name, so that a saved machine resumes on the very type it was made with.
            capabilities = ET.fromstring(connection.getDomainCapabilities(None, "x86_64", "q35", kind))  # noqa: S314  our own libvirtd's
            self._machine_type = capabilities.findtext("machine") or "q35"
            host_cpu = capabilities.find("cpu/mode[@name='host-model']")
            self._cpu = "" if host_cpu is None or not kvm else ET.tostring(host_cpu, encoding="unicode")
        boot = None if memory and memory.incoming else self._boot(spec)
        if boot is not None and spec.memory_room:
            boot = replace(boot, cmdline=f"{boot.cmdline} {GROWS}")
        return xml.Domain(
            id=spec.id,
            name=spec.name,
            class_name=spec.class_name,
            kind=kind,
            machine=self._machine_type,
            cpu=xml.HostCpu() if kvm else xml.EmulatedCpu(),
            vcpus=spec.vcpus,
            memory=spec.memory,
            boot=boot,
            devices=(
                xml.Disk(disk or self.layout.disk(spec.id)),
                *(() if memory else (self._card(spec),)),
                *(() if memory or spec.data is None else (xml.data_disk(self.layout.data_disk(spec.data), disks.serial(spec.data)),)),
                xml.Agent(),
                xml.Serial(self.layout.serial_log(spec.id), self.settings.serial_line(spec.id)),
                xml.Screen(self.settings.screen(spec.id)),
                xml.Video(),
                xml.Random(),
                xml.NoBalloon() if memory else xml.Balloon(),
            ),
            memory_file=memory,
            growth=xml.Growth(spec.memory_room) if spec.memory_room else None,
        )

    def _card(self, spec: MachineSpec) -> xml.Interface:
        return xml.Interface(self.network.bridge, spec.card.mac, self.network.tap(spec.card))

    def suspend(self, id: str) -> None:
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(id)
            if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
                domain.suspend()

    def save(self, id: str) -> None:
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(id)
            if domain.isActive():
                lasting(domain, connection).managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)

    def stop(self, id: str, *, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        with self._connection.use() as connection:
            domain = find(connection, id)
            if domain is None:
                if not self.layout.machine(id).exists():
                    raise NotFound(f"The hypervisor has no machine {id}.")
                return  # a fork that went off by itself
            if not domain.isActive():
                if not domain.hasManagedSaveImage():
                    return
                self._power_on(domain)
            domain = lasting(domain, connection)
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()
            self._ask_to_shut_down(domain, deadline)
            if not self._connection.until(lambda: not domain.isActive(), deadline, 5):
                log.warning("%s has not shut down within %.0f s and is switched off", domain.name(), timeout)
                with ignoring(libvirt.VIR_ERR_OPERATION_INVALID):  # it was quicker
                    domain.destroy()

    def _ask_to_shut_down(self, domain: libvirt.virDomain, deadline: float) -> None:
        """Through its agent, which is surer than its power button: a machine without people at its console minds none."""

        def is_off_or_listens() -> bool:
            return not domain.isActive() or agent.connected(domain)

        patience = (deadline - time.monotonic()) / 3
        try:
            self._connection.until(is_off_or_listens, time.monotonic() + patience, 1)  # it may have been resumed just now
            with agent.hurried(domain, patience):
                agent.begin(domain, SHUT_DOWN, within=patience)
        except (libvirt.libvirtError, Unavailable) as error:
            if domain.isActive():
                log.info("the agent of %s takes no order to shut down: %s", domain.name(), error)
                domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

    def rest(self, id: str, *, memory: bool) -> None:
        with self._connection.use() as connection:
            domain = find(connection, id)
            if domain is not None and domain.isActive():
                given = self.memory_given(id)
                needed = (domain.info()[1] >> 10) + (given.has if given else 0)
                if memory and self._disk_free() > self.settings.disk_reserve + needed:
                    self.save(id)
                elif memory:
                    self.stop(id)
                else:
                    lasting(domain, connection).destroy()
        self.network.expel(id)

    def destroy(self, id: str) -> None:
        if not is_id(id):
            raise BadInput(f"{id!r} is not the id of a machine.")
        folder = self.layout.machine(id)
        with self._connection.use() as connection:
            domain = find(connection, id)
            if domain is not None:
                with ignoring(libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):  # it was quicker
                    if domain.isActive():
                        domain.destroy()
            # The folder and the domain go after all else: by these a destroy that was cut off is found again.
            self.network.expel(id)
            for socket in (self._socket(id), self.settings.screen(id), self.settings.serial_line(id)):  # QEMU that is killed leaves some
                socket.unlink(missing_ok=True)
            if self.layout.log_link(id).is_symlink():
                self.layout.log_link(id).readlink().unlink(missing_ok=True)
            if domain is not None:
                self.layout.log(domain.name()).unlink(missing_ok=True)
                flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
                with ignoring(libvirt.VIR_ERR_NO_DOMAIN):
                    domain.undefineFlags(flags)
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Unavailable(f"The files of machine {id} could not be removed: {error}.", f"Look at {folder}.") from error
