"""What runs machines, seen from outside: plain values in, plain values out, no catalog and no libvirt types.

Every verb is idempotent and works under names that derive from the machine's id, so that a verb cut
off by a crash is simply called again and adopts what it finds. Seeds, snapshots and disks are spoken of by
their names; where they lie is the provider's own. Only copies of data disks are files, wherever an admin wants them.

A seed's name is `class/version`, a snapshot's that of its seed and `snapshot-<number>` below it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypedDict

from appliance.errors import Unavailable
from appliance.laps import Lap
from appliance.scenario.policy import Readiness
from appliance.scenario.rates import UNLIMITED, Rates

PERSONALISE_COMMAND = "/usr/lib/dpe/personalise"  # in every seed; see playbooks/roles/guest


class NoData(Unavailable):
    """A data disk is missing or damaged: no other machine would fare better with it."""


class Unfit(Unavailable):
    """The snapshot cannot be forked from on this host as it is now; another one has to be taken."""


@dataclass(frozen=True)
class Card:
    """A machine's network card and the only address that may be used behind it."""

    mac: str
    address: str
    prefix: int
    gateway: str


@dataclass(frozen=True)
class MachineSpec:
    """Everything needed to make one machine. `id` is a UUID and becomes the domain's; memory is MiB, disk_size and data_size GiB.

    seed: its name; cmdline: what the seed's kernel is told.
    """

    id: str
    name: str
    class_name: str
    seed: str
    cmdline: str
    disk_size: int
    vcpus: int
    memory: int
    card: Card
    application_port: int | None  # the application is asked for `application_ready` there; None: it has none
    application_ready: str
    boot_timeout: int
    screen_port: int | None = None  # where it serves a screen of its own, in RFB
    readiness: Readiness = "running"  # how it waits in the buffer
    snapshot: str | None = None  # name of the snapshot to fork it from; without one it is booted
    kept: str | None = None  # id of a disk that `keep` made, which `clone` copies instead of the seed's; such a machine has no snapshot
    data: str | None = None  # id of its data disk, made by `make_data`, which outlives it
    data_size: int = 0
    memory_room: int = 0  # MiB that it may be given besides while it runs; 0: never any
    further: tuple[tuple[int, str], ...] = ()  # port and ready path of each page besides, which has to answer as well
    rates: Rates = UNLIMITED

    @property
    def pages(self) -> tuple[tuple[int, str], ...]:
        """Port and ready path of all its pages."""
        own = () if self.application_port is None else ((self.application_port, self.application_ready),)
        return (*own, *self.further)


class Answering(TypedDict):
    """What of a MachineSpec says when the machine is ready."""

    application_port: int | None
    application_ready: str
    screen_port: int | None
    boot_timeout: int


def answering(described: Mapping[str, Any]) -> Answering:
    """The same of a class, as a scenario describes it; a class of an older version's says nothing of a screen."""
    application, screen = described.get("application"), described.get("screen")
    return Answering(
        application_port=application["port"] if application else None,
        application_ready=application["ready"] if application else "",
        screen_port=screen["port"] if screen else None,
        boot_timeout=described["boot_timeout"],
    )


class Power(StrEnum):
    """What the hypervisor says of a machine."""

    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"
    SAVED = "saved"  # off, with its memory kept on disk: the next start resumes it
    CRASHED = "crashed"


class MachineFound(NamedTuple):
    """One machine as the hypervisor has it. A stalled one is paused because it wanted to write and the disk was full."""

    id: str
    name: str
    power: Power
    stalled: bool = False


@dataclass(frozen=True)
class Remains:
    """What a machine's definition and disk tell of it when nothing else does. Empty and 0: they do not.

    base: name of the seed or snapshot that its disk lies on; mac: its card's; memory and memory_room (see MachineSpec) are MiB; bytes: what its files take; made: when its disk was.
    """

    name: str = ""
    class_name: str = ""
    base: str = ""
    mac: str = ""
    vcpus: int = 0
    memory: int = 0
    memory_room: int = 0
    bytes: int = 0
    made: datetime | None = None


class VolumeKind(StrEnum):
    """What is kept outside machines."""

    DATA = "data"
    KEPT = "kept"
    SNAPSHOT = "snapshot"


class VolumeFound(NamedTuple):
    """A data disk or a kept one, with its id, or a snapshot, with its name. bytes: what it takes; made: when it was last written to."""

    kind: VolumeKind
    id: str
    bytes: int = 0
    made: datetime | None = None


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


@dataclass(frozen=True)
class GuestSigns:
    """Whether somebody works in a machine, as it says itself.

    users: people with a terminal open, of the machine's own consoles only those at which a key was pressed since they were signed in; load: processes that want to run, over the last minute;
    last_input_seconds: since a key was last pressed in one of their terminals, None when there is none.
    """

    users: int
    load: float
    last_input_seconds: float | None


class MemoryGiven(NamedTuple):
    """MiB that a running machine was asked to take beside what it started with, and that it has taken of it, or not given back yet."""

    asked: int
    has: int


class GuestMemory(NamedTuple):
    """What a machine's own kernel says: MiB that it has, and that programs could still have without anything being ended for it."""

    total: int
    available: int


@dataclass(frozen=True)
class Fill:
    """How full the file system on a data disk is: bytes."""

    used: int
    size: int


@dataclass(frozen=True)
class Service:
    """A process that a provider needs, to be started before the engine and stopped after it.

    It answers when its socket takes connections; it, or what it starts, runs as `user`; `remove` is run after it was stopped, and takes away
    what it left on the host.
    """

    name: str
    command: Sequence[str]
    socket: Path
    user: str
    remove: Sequence[str]


class Provider(Protocol):
    """What runs machines. All verbs raise errors.Unavailable when the hypervisor cannot be reached."""

    def host(self) -> HostFacts: ...

    def list(self) -> Sequence[MachineFound]:
        """All machines known to the hypervisor, running or not, in one call."""

    def disks(self) -> Sequence[str]:
        """Ids of the machines that have files on disk here."""

    def volumes(self) -> Sequence[VolumeFound]:
        """All that is kept here outside machines, whether anybody knows of it or not."""

    def clone(self, spec: MachineSpec) -> None:
        """Make the machine's disk, a thin overlay on its seed's, or a copy of spec.kept, whose kernel it boots then too."""

    def start(self, spec: MachineSpec) -> None:
        """Define the machine when it is not, admit its card to the network, and see that it runs (resumes a saved one) with its data disk.

        A machine that runs without spec.data has it plugged in; no one runs faster than spec.rates. Raises Conflict while another machine has that disk, and
        NoData when the disk is missing or damaged. After it, `wait` sets clock and address of a machine that was saved.
        """

    def fork(self, spec: MachineSpec) -> None:
        """Make the machine from spec.snapshot, paused, with its own disk and card; `start` resumes it.

        What an earlier try left is removed first. Raises Unfit when the snapshot is damaged or does not
        fit the host; then, and after any other error, nothing of the machine is left.
        """

    def suspend(self, id: str) -> None:
        """Pause a running machine; `start` resumes it."""

    def wait(
        self,
        spec: MachineSpec,
        report: Callable[[str], None] | None = None,
        *,
        personalise: bytes = b"",
        given_up: Callable[[], bool] | None = None,
    ) -> Sequence[Lap]:
        """Return when the agent answers, the machine has its address, is no copy of another, and its application and its own screen answer.

        Returns what its personalise command said of its own steps, in their order; `report` is told when each of the host's begins.

        `personalise` is for the machine's personalise command, to be told with the address in one go (see seeds/guest.py).
        Raises Unavailable, saying which of them did not come, after spec.boot_timeout seconds, and Conflict soon after `given_up`, which
        is asked once a second, says that nobody wants the machine any more.
        """

    def check_snapshot(self, spec: MachineSpec, snapshot: str) -> None:
        """Read a snapshot whole, and raise Unfit unless machines such as `spec` can be forked here from it."""

    def boot_template(self, spec: MachineSpec, snapshot: str) -> None:
        """Start a machine whose memory is kept in a snapshot that is to have this name, for `take_snapshot`. One that runs for it already is adopted.

        Raises Unavailable when there is no room for it.
        """

    def take_snapshot(self, spec: MachineSpec, snapshot: str) -> None:
        """Keep memory, device state and disk of a machine started by `boot_template`, when it is idle, and remove it.

        The snapshot is there afterwards, whole; until then there is none of that name.
        """

    def describe_snapshot(self, snapshot: str) -> Mapping[str, Any]:
        """What a snapshot depends on, in words where a person may read it, and its `size` on disk in MiB. Raises Unfit."""

    def remove_snapshot(self, snapshot: str) -> None:
        """Remove a snapshot that no machine lies on, or what a try to take it left. None is fine."""

    def execute(self, id: str, command: Sequence[str], *, input: bytes = b"", timeout: float = 60) -> Executed:
        """Run a command in the machine through its agent."""

    def rates(self) -> Mapping[str, Rates]:
        """The rates in force of each machine that runs or is paused, by its id, read from what enforces them."""

    def limit(self, spec: MachineSpec) -> None:
        """Have spec.rates be in force for a machine that runs or is paused, at once. Raises Unavailable when this host cannot."""

    def console(self, id: str) -> str:
        """The end of what the machine said on its console; empty when it is not known."""

    # While a machine runs, its screen is served in RFB on the socket `settings.screen(id)`, its first serial line on `settings.serial_line(id)`,
    # both in folders of `layout.share_folder`; a provider without them has no consoles.

    def signs(self, id: str, *, timeout: float = 10) -> GuestSigns:
        """Whether somebody works in a running machine. Raises Unavailable when its agent does not answer in time."""

    # -- memory that a machine is given while it runs, of which its spec says how much at most; who cannot has these as they are here -------

    def memory_given(self, id: str) -> MemoryGiven | None:
        """How much a running machine has besides; None when it does not run, or can never be given any, by this provider or as it was made."""
        return None

    def give_memory(self, id: str, more: int) -> None:
        """Ask a running machine to have so many MiB besides, of which it may take its time. Less than it has is only asked of a machine that
        has so much available: what is in use it would end programs for. A machine that is saved and resumed has it still, one that boots anew has none."""
        raise Unavailable("No machine can be given memory while it runs here.")

    def guest_memory(self, id: str, *, timeout: float = 5) -> GuestMemory:
        """What a running machine says of its memory. Raises Unavailable when its agent does not answer in time."""
        raise Unavailable("No machine is asked for its memory here.")

    def save(self, id: str) -> None:
        """Keep the machine's memory on disk and stop it. `start` and then `wait` resume it, with its clock set."""

    def stop(self, id: str, *, timeout: float = 60) -> None:
        """Have the machine shut down, and switch it off when it has not within `timeout` seconds. Its disk and definition stay.

        A paused or saved machine is resumed for that, so that nothing it has not written yet is lost. Raises NotFound.
        """

    def destroy(self, id: str) -> None:
        """Remove the machine: domain, disk, saved memory and network entry, but never its data disk. Nothing to remove is fine."""

    def examine(self, id: str) -> Remains:
        """What can be told of a machine that nobody knows. Changes nothing."""

    def rest(self, id: str, *, memory: bool) -> None:
        """Stop a machine without ending what it does: its memory is kept on disk when that is wanted and there is room, else it shuts down.

        Its disk and definition stay; its card may be used no more until `start`. Nothing that runs is fine.
        """

    # -- disks that outlive machines; each is named by an id, a UUID as a rule, and lies where the provider keeps such -----

    def make_data(self, id: str, size: int) -> None:
        """Make an empty data disk of `size` GiB with a file system on it, or let one that is there grow to that. It never shrinks.

        A machine that runs has the room in its file system at its next `wait` or boot.
        """

    def fill(self, spec: MachineSpec) -> Fill:
        """How full spec.data is, as its running machine says: its own word. Raises Unavailable when it does not say so, or nothing that can be."""

    def grow_data(self, spec: MachineSpec) -> None:
        """Let spec.data, which a running machine has, grow to spec.data_size, and the file system on it, while it is written to.

        Raises Conflict while the machine is saved, Unavailable when the guest did not follow: then the disk is larger, and its file system not yet.
        """

    def remove_data(self, id: str) -> None:
        """Remove a data disk for good. None is fine. Raises Conflict while a machine has it, running or not."""

    def detach_data(self, spec: MachineSpec) -> None:
        """Take spec.data away from its machine, which may run, so that another one may have it. Raises Conflict while it is busy there."""

    def backup_data(self, id: str, target: Path, machine: str | None = None) -> None:
        """Write a copy of a data disk, as it is at one moment, to the file `target`, with a manifest beside it; `machine` is the id of the one that has it.

        A whole copy at `target` is left as it is. Raises Conflict when another machine runs with the disk.
        """

    def restore_data(self, backup: Path, id: str) -> None:
        """Make a data disk from a copy that `backup_data` made. Raises DpeError when it is not as it was written.

        A disk of that id that is there already and has the same content is adopted; with another content Conflict is raised.
        """

    def remove_backup(self, backup: Path) -> None:
        """Remove a copy that `backup_data` made, and its manifest. None is fine."""

    def keep(self, spec: MachineSpec) -> int:
        """Keep the disk of a machine that does not run, and what it boots from, whole and without need of its seed, under the machine's id.

        Returns the bytes that it takes. The machine stays. What is kept under that id already is left. Raises Conflict while it runs, NotFound when it has no disk.
        """

    def data_size(self, id: str) -> int:
        """GiB that a data disk has, rounded up. Raises NoData when it is missing or damaged."""

    def kept_size(self, id: str) -> int:
        """The same of a kept disk."""

    def forget_kept(self, id: str) -> None:
        """Remove what `keep` wrote. None is fine, and machines made of it need it no more."""

    def stats(self) -> Sequence[Stats]:
        """One reading of every running machine, in one call."""

    def watch(self, changed: Callable[[str], None]) -> None:
        """Call `changed(id)`, from a thread of the provider's own, whenever a machine's power changes."""

    def close(self) -> None: ...
