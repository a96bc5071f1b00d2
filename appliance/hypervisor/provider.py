"""What runs machines, seen from outside: plain values in, plain values out, no catalog and no libvirt types.

Every verb is idempotent and works under names that derive from the machine's id, so that a verb cut
off by a crash is simply called again and adopts what it finds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import TypeAdapter

from appliance.scenario.schema import Readiness


@dataclass(frozen=True)
class Boot:
    """How a seed starts: its kernel is kept beside its disk, which saves firmware and boot menu."""

    kernel: Path
    initrd: Path
    cmdline: str


@dataclass(frozen=True)
class Card:
    """A machine's network card and the only address that may be used behind it."""

    mac: str
    address: str
    prefix: int
    gateway: str
    tap: str


@dataclass(frozen=True)
class MachineSpec:
    """Everything needed to make one machine. `id` is a UUID and becomes the domain's; memory is MiB, disk_size GiB."""

    id: str
    name: str
    class_name: str
    seed_disk: Path
    disk: Path
    disk_size: int
    boot: Boot
    vcpus: int
    memory: int
    card: Card
    application_port: int
    application_ready: str
    boot_timeout: int
    readiness: Readiness = "running"  # how it waits in the buffer
    snapshot: Path | None = None  # folder of the snapshot to fork it from; without one it is booted

    def to_json(self) -> dict[str, Any]:
        """The spec as plain values, for a playbook."""
        dumped: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return dumped

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "MachineSpec":
        """The spec that `to_json` gave. Raises pydantic.ValidationError when it is not one."""
        return _ADAPTER.validate_python(data)


_ADAPTER = TypeAdapter(MachineSpec)


class Power(StrEnum):
    """What the hypervisor says of a machine."""

    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"
    SAVED = "saved"  # off, with its memory kept on disk: the next start resumes it
    CRASHED = "crashed"


class Found(NamedTuple):
    """One machine as the hypervisor has it."""

    id: str
    name: str
    power: Power


@dataclass(frozen=True)
class Stats:
    """One reading of a machine. cpu_ns counts up; memory figures are MiB, disk and net bytes count up.

    memory_used is what the guest says; of the host's memory, memory_private is what is taken by this machine alone, and memory_shared
    its part of what it shares with others. Both are 0 while they have not been measured.
    """

    id: str
    cpu_ns: int
    vcpus: int
    memory: int
    memory_used: int
    disk_read: int
    disk_written: int
    net_received: int
    net_sent: int
    memory_private: int = 0
    memory_shared: int = 0


@dataclass(frozen=True)
class HostFacts:
    """What the host offers. memory, swap and disk are MiB; `acceleration` is "kvm" or "emulation", with the reason.

    overhead: MiB that the hypervisor may need for a machine beside its memory.
    """

    acceleration: str
    reason: str
    hypervisor: str
    cpus: int
    memory: int
    memory_available: int
    disk_free: int
    disk: int = 0
    swap: int = 0
    swap_used: int = 0
    overhead: int = 64


@dataclass(frozen=True)
class Executed:
    """What a command in a machine ended with."""

    status: int
    output: str
    error: str


class Provider(Protocol):
    """What runs machines. All verbs raise errors.Unavailable when the hypervisor cannot be reached."""

    def host(self) -> HostFacts: ...

    def list(self) -> Sequence[Found]:
        """All machines known to the hypervisor, running or not, in one call."""

    def disks(self) -> Sequence[str]:
        """Ids of the machines that have files on disk here."""

    def clone(self, spec: MachineSpec) -> None:
        """Make the machine's disk, a thin overlay on its seed's."""

    def start(self, spec: MachineSpec) -> None:
        """Define the machine when it is not, admit its card to the network, and see that it runs (resumes a saved one)."""

    def fork(self, spec: MachineSpec) -> None:
        """Make the machine from spec.snapshot, paused, with its own disk and card; `start` resumes it.

        What an earlier try left is removed first. Raises snapshot.Unfit when the snapshot is damaged or does not
        fit the host; then, and after any other error, nothing of the machine is left.
        """

    def suspend(self, id: str) -> None:
        """Pause a running machine; `start` resumes it."""

    def wait(self, spec: MachineSpec, report: Callable[[str], None] | None = None, *, personalise: bytes = b"") -> None:
        """Return when the agent answers, the machine has its address, is no copy of another, and its application answers.

        `personalise` is for the machine's personalise command, to be told with the address in one go (see seeds/guest.py).
        Raises Unavailable, saying which of them did not come, after spec.boot_timeout seconds.
        """

    def check_snapshot(self, spec: MachineSpec, folder: Path) -> None:
        """Raise snapshot.Unfit unless machines such as `spec` can be forked here from the snapshot in `folder`."""

    def boot_template(self, spec: MachineSpec, folder: Path) -> None:
        """Start a machine whose memory is a file in `folder`, for `take_snapshot`."""

    def take_snapshot(self, spec: MachineSpec, folder: Path) -> None:
        """Keep memory, device state and disk of a machine started by `boot_template`, when it is idle, and remove it.

        `folder` is a snapshot afterwards; see snapshot.py.
        """

    def execute(self, id: str, command: Sequence[str], *, input: bytes = b"", timeout: float = 60) -> Executed:
        """Run a command in the machine through its agent."""

    def save(self, id: str) -> None:
        """Keep the machine's memory on disk and stop it."""

    def destroy(self, id: str) -> None:
        """Remove the machine: domain, disk, saved memory and network entry. Nothing to remove is fine."""

    def stats(self) -> Sequence[Stats]:
        """One reading of every running machine, in one call."""

    def watch(self, changed: Callable[[str], None]) -> None:
        """Call `changed(id)`, from a thread of the provider's own, whenever a machine's power changes."""

    def close(self) -> None: ...
