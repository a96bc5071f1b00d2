"""Where all that this provider has lies on this host, by the names that others know it by. No other module of it makes a path of a name.

Seeds are put here by `appliance.seeds`; everything else is made and removed by the provider.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import BadInput
from appliance.hypervisor.provider import VolumeKind
from appliance.paths import below
from appliance.settings import Settings

DISK, KERNEL, INITRD = "disk.qcow2", "vmlinuz", "initrd"  # of a seed; a snapshot's and a machine's disk are called so, too
SNAPSHOT = "snapshot-"  # which the last part of a snapshot's name begins with


@dataclass(frozen=True)
class Boot:
    """How a disk starts: its kernel lies beside it, which saves firmware and boot menu."""

    kernel: Path
    initrd: Path
    cmdline: str


class Layout:
    """Below the state directory of these settings. Raises BadInput for a name that is none, or would lead elsewhere."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    # -- what machines are made of --------------------------------------------------------------

    def seed(self, name: str) -> Path:
        """The folder of a seed."""
        return self._named(name, 2)

    def seed_disk(self, name: str) -> Path:
        return self.seed(name) / DISK

    def seed_boot(self, name: str, cmdline: str) -> Boot:
        """What the seed boots with."""
        folder = self.seed(name)
        return Boot(folder / KERNEL, folder / INITRD, cmdline)

    def snapshot(self, name: str) -> Path:
        """The folder of a snapshot, beside its seed's files."""
        folder = self._named(name, 3)
        if not folder.name.startswith(SNAPSHOT):
            raise BadInput(f"{name[:200]!r} is not the name of a snapshot.")
        return folder

    def snapshot_work(self, name: str) -> Path:
        """Where it is made, until it is whole."""
        return below(self._settings.state, "work", self.snapshot(name).name)

    def pid_file(self, name: str) -> Path:
        """Where libvirt keeps the process of a running machine, by its name."""
        return self._settings.libvirt / f"run/qemu/{name}.pid"

    @property
    def verified(self) -> Path:
        """What is known of snapshots that were read whole."""
        return self._settings.run / "verified"

    def _named(self, name: str, parts: int) -> Path:
        found = name.split("/")
        if len(found) != parts:
            raise BadInput(f"{name[:200]!r} is not the name of a {'seed' if parts == 2 else 'snapshot'}.")
        return below(self._settings.seeds, *found)

    def base(self, disk: str) -> str:
        """The name of the seed or snapshot whose disk lies at this path; empty when there is none."""
        for root in (self._settings.seeds, self._settings.seeds.resolve()):
            path = Path(disk)
            if path.is_relative_to(root):
                *parts, file = path.relative_to(root).parts or ("",)
                if file == DISK and ".." not in parts and (len(parts) == 2 or (len(parts) == 3 and parts[2].startswith(SNAPSHOT))):
                    return "/".join(parts)
        return ""

    # -- machines -------------------------------------------------------------------------------

    def machine(self, id: str) -> Path:
        """The folder of a machine, which goes last of it."""
        return below(self._settings.machines, id)

    def disk(self, id: str) -> Path:
        return self.machine(id) / DISK

    def serial_log(self, id: str) -> Path:
        """What the machine said on its serial port."""
        return self.machine(id) / "serial.log"

    def log_link(self, id: str) -> Path:
        """Leads to a fork's log, as libvirt forgets its name when it goes off."""
        return self.machine(id) / "qemu.log"

    def log(self, name: str) -> Path:
        """What QEMU and libvirt say of the machine of this name."""
        return below(self._settings.libvirt / "log/qemu", f"{name}.log")

    def socket(self, id: str) -> Path:
        """For a machine's device state. Its name is short, as those of sockets must be."""
        return below(self._settings.run / "fork", id[:13])

    # -- disks that outlive machines ------------------------------------------------------------

    def data_disk(self, id: str) -> Path:
        return self._settings.data_disk(id)

    def kept_disk(self, id: str) -> Path:
        return self._settings.kept_disk(id)

    def volumes(self) -> Iterator[tuple[VolumeKind, str, Path]]:
        """All that lies here outside machines: what it is, its id or name, and its file or folder."""
        for kind, folder in ((VolumeKind.DATA, self._settings.data), (VolumeKind.KEPT, self._settings.kept)):
            yield from ((kind, file.stem, file) for file in folder.glob("*.qcow2"))
        for folder in self._settings.seeds.glob(f"*/*/{SNAPSHOT}*"):
            yield VolumeKind.SNAPSHOT, "/".join(folder.parts[-3:]), folder
