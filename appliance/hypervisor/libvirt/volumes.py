"""Disks that outlive machines: data disks, copies of them, and disks that are kept."""

import logging
import os
import time
from pathlib import Path

import libvirt

from appliance.errors import Conflict, DpeError, NotFound, Unavailable
from appliance.hypervisor.libvirt import agent, disks, xml
from appliance.hypervisor.libvirt.base import QEMUS, find, has_disk, targets
from appliance.hypervisor.libvirt.guest import DATA_FOLDER, Guest
from appliance.hypervisor.libvirt.layout import Boot
from appliance.hypervisor.provider import Fill, MachineSpec

log = logging.getLogger(__name__)

DATA_COMMAND = "/usr/lib/dpe/data"
TELLS_WITHIN = 5  # seconds for a machine to say how full its data disk is
GROWS_WITHIN = 120  # seconds for its file system to grow, while it is written to, on a host without virtualisation
LETS_GO_WITHIN = 120  # seconds for a machine to let go of a disk or a card, on a host without virtualisation


class Volumes(Guest):
    """Each is one file; disks.py has what is done to the files alone."""

    def make_data(self, id: str, size: int) -> None:
        path = self.layout.data_disk(id)
        if not path.exists():
            disks.make_room(self.settings.data, self.settings.disk_reserve)
            disks.make(path, size, QEMUS)
        elif size << 30 > disks.virtual_size(path):
            self._grow_data(path, size << 30)

    def _grow_data(self, path: Path, size: int) -> None:
        folder = disks.holder(path)
        with self._connection.use() as connection:
            domain = None if folder is None else find(connection, folder.name)
            if domain is not None and domain.isActive() and has_disk(domain, path):
                domain.blockResize(os.fspath(path), size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
            elif domain is not None and domain.hasManagedSaveImage():
                raise Conflict(f"The data disk {path.name} belongs to {domain.name()}, which is suspended.", "Resume the machine first.")
            else:
                disks.grow(path, size)

    def fill(self, spec: MachineSpec) -> Fill:
        assert spec.data is not None
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(spec.id)
            with agent.listening(domain, TELLS_WITHIN):
                size = disks.virtual_size(self.layout.data_disk(spec.data))
                return agent.fill(domain, DATA_FOLDER, size, within=TELLS_WITHIN)

    def grow_data(self, spec: MachineSpec) -> None:
        assert spec.data is not None
        self.make_data(spec.data, spec.data_size)
        done = self.execute(spec.id, [DATA_COMMAND], timeout=GROWS_WITHIN)
        if done.status:
            raise Unavailable(
                f"{spec.name} does not use the room that its data disk has got: {(done.error or done.output).strip()[-200:]}",
                f"Look at {DATA_COMMAND} in the machine.",
            )

    def remove_data(self, id: str) -> None:
        disks.remove(self.layout.data_disk(id))

    def detach_data(self, spec: MachineSpec) -> None:
        assert spec.data is not None
        data = self.layout.data_disk(spec.data)
        with self._connection.use() as connection:
            domain = find(connection, spec.id)
            if domain is not None and domain.hasManagedSaveImage():
                raise Conflict(f"{spec.name} is suspended.", "Resume or stop it first.")
            if domain is not None and domain.isActive() and has_disk(domain, data):
                if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                    raise Conflict(f"{spec.name} is paused.", "Resume or stop it first.")
                self._unplug(domain, data)
        disks.release(data, self.layout.machine(spec.id))

    def _take_other_away(self, domain: libvirt.virDomain, spec: MachineSpec) -> None:
        """A machine whose data disk was found to be of no use is given another one."""
        for file, target in targets(domain).items():
            if target == xml.DATA_TARGET:
                self._unplug(domain, Path(file))
                disks.release(Path(file), self.layout.machine(spec.id))

    def _attach(self, domain: libvirt.virDomain, data: Path) -> None:
        try:
            domain.attachDeviceFlags(_data_xml(data), libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError:
            if not has_disk(domain, data):  # somebody else, who was quicker
                raise

    def _unplug(self, domain: libvirt.virDomain, data: Path) -> None:
        # It has nothing to unmount when it was never told of the disk, or was cut off here before.
        done = self.execute(domain.UUIDString(), ["/bin/sh", "-c", f"[ ! -e /etc/dpe/data ] || {DATA_COMMAND} away"])
        if done.status:
            raise Conflict(
                f"{domain.name()} is busy with its data disk: {done.error.strip()[-200:]}", "Close what uses it, or stop the machine."
            )
        domain.detachDeviceFlags(_data_xml(data), libvirt.VIR_DOMAIN_AFFECT_LIVE)
        if not self._connection.until(lambda: not domain.isActive() or not has_disk(domain, data), time.monotonic() + LETS_GO_WITHIN, 1):
            raise Unavailable(f"{domain.name()} does not let go of its data disk.", "Stop the machine.")

    def backup_data(self, id: str, target: Path, machine: str | None = None) -> None:
        source = self.layout.data_disk(id)
        if disks.has_copy(target):
            return
        disks.virtual_size(source)
        with disks.held(source), self._connection.use() as connection:
            domain = None if machine is None else find(connection, machine)
            if domain is not None and domain.isActive() and has_disk(domain, source):
                disks.make_room(source.parent, self.settings.disk_reserve, source)
                disks.make_room(target.parent, self.settings.disk_reserve, source)
                part = disks.copying(source)
                try:
                    self._copy_out(domain, source, part)
                    disks.make_copy(part, target, source)
                finally:
                    part.unlink(missing_ok=True)
            else:
                disks.make_room(target.parent, self.settings.disk_reserve, source)
                disks.check(source)
                disks.make_copy(source, target, source)

    def _copy_out(self, domain: libvirt.virDomain, source: Path, part: Path) -> None:
        """Have the machine's QEMU write the disk, as it is now, to a file; the machine goes on writing meanwhile."""
        if domain.jobStats().get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP:  # of somebody who was killed over it
            try:
                domain.abortJob()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:  # it ended by itself just now
                    raise
            self._job_over(domain, LETS_GO_WITHIN)
        try:  # what programs have written, but the kernel not yet; then the copy is as after a power cut just now, which ext4 is made for
            self.execute(domain.UUIDString(), ["sync"], timeout=LETS_GO_WITHIN)
        except DpeError as error:
            log.warning("%s has not written all it has before its data disk is copied: %s", domain.name(), error)
        disks.blank(part, disks.virtual_size(source), QEMUS)
        names = targets(domain)
        wanted = xml.CopyOfDisk(names.pop(os.fspath(source)), tuple(names.values()), part)
        domain.backupBegin(xml.to_text(wanted.to_xml()), None, libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)
        self._job_over(domain, disks.LONGEST)
        ended = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        if ended.get("success") != 1:
            raise Unavailable(f"The data disk of {domain.name()} could not be copied: {ended.get('errmsg', 'it was interrupted')}.")

    def _job_over(self, domain: libvirt.virDomain, seconds: float) -> None:
        over = self._connection.until(lambda: domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE, time.monotonic() + seconds, 1)
        if not over:
            raise Unavailable(f"A job of {domain.name()} does not end.", "Look at libvirtd's log.")

    def restore_data(self, backup: Path, id: str) -> None:
        target = self.layout.data_disk(id)
        if not target.exists():
            disks.make_room(target.parent, self.settings.disk_reserve, *([backup] if backup.exists() else []))
        disks.restore(backup, target, QEMUS)

    def remove_backup(self, backup: Path) -> None:
        disks.remove_copy(backup)

    def keep(self, spec: MachineSpec) -> int:
        target = self.layout.kept_disk(spec.id)
        if not target.exists():
            self._keep(spec, target)
        return target.stat().st_blocks * 512

    def _keep(self, spec: MachineSpec, target: Path) -> None:
        with self._connection.use() as connection:
            domain = find(connection, spec.id)
            if domain is not None and domain.isActive():
                raise Conflict(f"{spec.name} runs, so that its disk cannot be kept.", "Stop it first.")
        disk = self.layout.disk(spec.id)
        if not disk.exists():
            raise NotFound(f"{spec.name} has no disk to be kept.")
        disks.make_room(target.parent, self.settings.disk_reserve, disk)
        disks.give_boot(self._boot(spec), target)
        disks.compress(disk, target)

    def _boot(self, spec: MachineSpec) -> Boot:
        """A machine that was made of a kept disk has its own."""
        return disks.own_boot(self.layout.disk(spec.id)) or self.layout.seed_boot(spec.seed, spec.cmdline)

    def data_size(self, id: str) -> int:
        return -(-disks.virtual_size(self.layout.data_disk(id)) // (1 << 30))

    def kept_size(self, id: str) -> int:
        return -(-disks.virtual_size(self.layout.kept_disk(id), alone=False) // (1 << 30))

    def forget_kept(self, id: str) -> None:
        disks.remove_kept(self.layout.kept_disk(id))


def _data_xml(path: Path) -> str:
    return xml.to_text(xml.data_disk(path, disks.serial(path.stem)).to_xml())
