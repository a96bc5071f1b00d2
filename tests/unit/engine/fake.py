"""A provider without machines, to drive the engine through situations in milliseconds; the real one is tested in tests/integration.

What it knows lies in a `Store`: in memory here, in files in tests/disk_provider.py.
"""

import threading
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.errors import BadInput, Conflict, DpeError, NotFound, Unavailable
from appliance.hypervisor.provider import (
    Executed,
    Fill,
    GuestSigns,
    HostFacts,
    MachineFound,
    MachineSpec,
    NoData,
    Power,
    Provider,
    Remains,
    Stats,
    Unfit,
    VolumeFound,
    VolumeKind,
)
from appliance.laps import NAMING, Lap
from appliance.paths import below
from appliance.scenario.rates import Rates

if TYPE_CHECKING:  # who only wants machines need not load the engine
    from appliance.engine import Engine


@dataclass(frozen=True)
class Data:
    """A data disk, or a copy of one. size is GiB; `holder` is the machine that was given it last, and has it as long as that has a disk."""

    size: int
    holder: str = ""
    content: str = ""


@dataclass
class Store:
    """All that there is. Machines are keyed by id, disks that outlive them by theirs, copies by their path."""

    domains: MutableMapping[str, MachineFound] = field(default_factory=dict)
    files: MutableSet[str] = field(default_factory=set)
    forks: MutableSet[str] = field(default_factory=set)
    made_of: MutableMapping[str, str] = field(default_factory=dict)  # the name of what a machine's disk was made of
    snapshots: MutableMapping[str, dict[str, Any]] = field(default_factory=dict)  # what they depend on, by their names
    told: MutableMapping[str, bytes] = field(default_factory=dict)
    signs: MutableMapping[str, GuestSigns] = field(default_factory=dict)
    data: MutableMapping[str, Data] = field(default_factory=dict)
    backups: MutableMapping[str, Data] = field(default_factory=dict)
    kept: MutableMapping[str, int] = field(default_factory=dict)  # GiB, by the id of the machine whose disk it was
    rates: MutableMapping[str, Rates] = field(default_factory=dict)  # of machines that run
    fills: MutableMapping[str, Fill] = field(default_factory=dict)  # what machines say of their data disks
    grown: MutableMapping[str, int] = field(default_factory=dict)  # GiB of the file systems on data disks
    fails: MutableMapping[str, DpeError] = field(default_factory=dict)
    calls: MutableSequence[tuple[str, str]] = field(default_factory=list)


class FakeProvider(Provider):
    """Machines are entries of `domains` and `files`; what should fail is said in `fails`, by verb; "answer" fails for forks alone."""

    away = False

    def __init__(self, memory: int = 16_384, store: Store | None = None) -> None:
        self.store = store = store or Store()
        self.domains, self.files, self.forks, self.made_of = store.domains, store.files, store.forks, store.made_of
        self.told, self.fails, self.calls = store.told, store.fails, store.calls
        self.data, self.backups, self.kept, self.snapshots = store.data, store.backups, store.kept, store.snapshots
        self.memory = memory
        self._one_holder = threading.Lock()

    def _call(self, verb: str, id: str = "") -> None:
        if self.away:
            raise Unavailable("libvirtd does not answer.", "It comes back by itself.")
        if id:
            self.calls.append((verb, id))
        if verb in self.fails:
            raise self.fails[verb]

    def _set(self, id: str, power: Power, name: str = "") -> None:
        if power not in (Power.RUNNING, Power.PAUSED):
            self.store.rates.pop(id, None)
        self.domains[id] = MachineFound(id, name or self.domains[id].name, power)

    def _runs(self, id: str) -> bool:
        return id in self.domains and self.domains[id].power in (Power.RUNNING, Power.PAUSED)

    # -- looking ------------------------------------------------------------------------------

    def host(self) -> HostFacts:
        self._call("host")
        used = 0
        return HostFacts("emulation", "it is a test", "fake", 2, self.memory, self.memory - used, 100_000)

    def list(self) -> Sequence[MachineFound]:
        self._call("list")
        return list(self.domains.values())

    def disks(self) -> Sequence[str]:
        return list(self.files)

    def volumes(self) -> Sequence[VolumeFound]:
        kinds: dict[VolumeKind, Mapping[str, object]] = {
            VolumeKind.DATA: self.data,
            VolumeKind.KEPT: self.kept,
            VolumeKind.SNAPSHOT: self.snapshots,
        }
        return [VolumeFound(kind, id, 1 << 20) for kind, there in kinds.items() for id in there]

    def stats(self) -> Sequence[Stats]:
        self._call("stats")
        return [Stats(id, 10**9, 1, 256, 100, 0, 0, 0, 0) for id in self.domains]

    def signs(self, id: str, *, timeout: float = 10) -> GuestSigns:
        self._call("signs", id)
        if id not in self.domains:
            raise NotFound("The hypervisor has no such machine.")
        if self.domains[id].power is not Power.RUNNING:
            raise Unavailable(f"The guest agent of {self.domains[id].name} is not there.")
        return self.store.signs.get(id, GuestSigns(0, 0.0, None))

    def watch(self, changed: Callable[[str], None]) -> None:
        self.changed = changed

    # -- making -------------------------------------------------------------------------------

    def clone(self, spec: MachineSpec) -> None:
        self._call("clone", spec.id)
        if spec.id in self.files:
            return
        if spec.kept is not None and spec.kept not in self.kept:
            raise Unavailable(f"The kept disk {spec.kept} is missing.")
        self.made_of[spec.id] = spec.kept or _named(spec.seed, 2)
        self.files.add(spec.id)

    def rates(self) -> Mapping[str, Rates]:
        self._call("rates")
        return {id: self.store.rates.get(id, Rates()) for id in self.domains if self._runs(id)}

    def limit(self, spec: MachineSpec) -> None:
        self._call("limit", spec.id)
        if self._runs(spec.id):
            self.store.rates[spec.id] = spec.rates

    def start(self, spec: MachineSpec) -> None:
        self._call("start", spec.id)
        if "limit" not in self.fails:
            self.store.rates[spec.id] = spec.rates
        assert spec.id in self.files
        if spec.data is not None:
            self._take_data(spec, spec.data)
        self._set(spec.id, Power.RUNNING, spec.name)

    def _take_data(self, spec: MachineSpec, id: str) -> None:
        with self._one_holder:
            if id not in self.data:
                raise NoData(f"The data disk {id} is missing.")
            if (holder := self.holder(id)) not in ("", spec.id):
                raise Conflict(f"The data disk {id} is in use by another machine, {holder}.")
            if holder != spec.id:
                self.data[id] = replace(self.data[id], holder=spec.id)

    def holder(self, id: str) -> str:
        """The machine that has a data disk, running or not."""
        disk = self.data.get(id)
        return disk.holder if disk and disk.holder in self.files else ""

    def fork(self, spec: MachineSpec) -> None:
        self._call("fork", spec.id)
        assert spec.snapshot is not None
        self.made_of[spec.id] = _named(spec.snapshot, 3)
        self.files.add(spec.id)
        self.forks.add(spec.id)
        self._set(spec.id, Power.PAUSED, spec.name)

    def suspend(self, id: str) -> None:
        self._call("suspend", id)
        self._set(id, Power.PAUSED)

    def wait(
        self,
        spec: MachineSpec,
        report: Callable[[str], None] | None = None,
        *,
        personalise: bytes = b"",
        given_up: Callable[[], bool] | None = None,
    ) -> Sequence[Lap]:
        self._call("wait", spec.id)
        if report:
            report(NAMING)
        if spec.id in self.forks and "answer" in self.fails:
            raise self.fails["answer"]
        assert self.domains[spec.id].power is Power.RUNNING
        assert spec.data is None or self.holder(spec.data) == spec.id
        self.told[spec.id] = personalise
        return [Lap("input", 0.1, inside=True), Lap("network", 0.05, inside=True)]

    def check_snapshot(self, spec: MachineSpec, snapshot: str) -> None:
        self._call("check", spec.id)
        self.describe_snapshot(snapshot)

    def boot_template(self, spec: MachineSpec, snapshot: str) -> None:
        self._call("template", spec.id)
        _named(snapshot, 3)
        self._set(spec.id, Power.RUNNING, spec.name)

    def take_snapshot(self, spec: MachineSpec, snapshot: str) -> None:
        self._call("snapshot", spec.id)
        self.snapshots[_named(snapshot, 3)] = {"hypervisor": "QEMU 7.2.0", "memory": spec.memory, "size": 0}
        del self.domains[spec.id]

    def describe_snapshot(self, snapshot: str) -> Mapping[str, Any]:
        if _named(snapshot, 3) not in self.snapshots:
            raise Unfit(f"The snapshot {snapshot} is missing.")
        return self.snapshots[snapshot]

    def remove_snapshot(self, snapshot: str) -> None:
        self.snapshots.pop(_named(snapshot, 3), None)

    def execute(self, id: str, command: Sequence[str], *, input: bytes = b"", timeout: float = 60) -> Executed:
        self._call("execute", id)
        assert self.domains[id].power is Power.RUNNING
        return Executed(0, "", "")

    def console(self, id: str) -> str:
        return f"{self.domains[id].name} login: " if id in self.domains else ""

    # -- ending -------------------------------------------------------------------------------

    def save(self, id: str) -> None:
        self._call("save", id)
        if self._runs(id):
            self._set(id, Power.SAVED)

    def stop(self, id: str, *, timeout: float = 60) -> None:
        self._call("stop", id)
        if id not in self.files and id not in self.domains:
            raise NotFound("The hypervisor has no such machine.")
        self.forks.discard(id)  # it boots next time
        if id in self.domains:
            self._set(id, Power.OFF)

    def destroy(self, id: str) -> None:
        self._call("destroy", id)
        self.domains.pop(id, None)
        self.forks.discard(id)
        self.made_of.pop(id, None)
        self.files.discard(id)

    # -- what nobody knows ----------------------------------------------------------------------

    def examine(self, id: str) -> Remains:
        self._call("examine", id)
        there = self.domains.get(id)
        return Remains(name=there.name if there else "", base=self.made_of.get(id, ""), bytes=1 << 20)

    def rest(self, id: str, *, memory: bool) -> None:
        self._call("rest", id)
        if self._runs(id):
            self._set(id, Power.SAVED if memory else Power.OFF)

    # -- disks that outlive machines --------------------------------------------------------------

    def make_data(self, id: str, size: int) -> None:
        self._call("make_data", _named(id))
        there = self.data.get(id, Data(0))
        if there.size < size:
            self.data[id] = replace(there, size=size)

    def fill(self, spec: MachineSpec) -> Fill:
        self._call("fill", spec.id)
        if spec.id not in self.store.fills or self.domains[spec.id].power is not Power.RUNNING:
            raise Unavailable(f"{spec.name} does not say how full its data disk is.")
        return self.store.fills[spec.id]

    def grow_data(self, spec: MachineSpec) -> None:
        assert spec.data is not None
        self.make_data(spec.data, spec.data_size)
        self._call("grow_data", spec.id)
        self.store.grown[spec.data] = spec.data_size

    def remove_data(self, id: str) -> None:
        self._call("remove_data", _named(id))
        if holder := self.holder(id):
            raise Conflict(f"The data disk {id} is in use by a machine, {holder}.")
        self.data.pop(id, None)

    def detach_data(self, spec: MachineSpec) -> None:
        self._call("detach_data", spec.id)
        assert spec.data is not None
        if self.holder(spec.data) == spec.id:
            self.data[spec.data] = replace(self.data[spec.data], holder="")

    def backup_data(self, id: str, target: Path, machine: str | None = None) -> None:
        self._call("backup_data", _named(id))
        if id not in self.data:
            raise Unavailable(f"The data disk {id} is missing.")
        holder = self.holder(id)
        if holder != (machine or "") and self._runs(holder):
            raise Conflict(f"The data disk {id} is in use by another machine, {holder}.")
        self.backups.setdefault(str(target), replace(self.data[id], holder=""))

    def restore_data(self, backup: Path, id: str) -> None:
        self._call("restore_data", _named(id))
        if str(backup) not in self.backups:
            raise DpeError(f"The copy {backup} cannot be read.")
        copy, there = self.backups[str(backup)], self.data.get(id)
        if there is None:
            self.data[id] = copy
        elif there.content != copy.content:
            raise Conflict(f"There is a data disk {id} already.")

    def remove_backup(self, backup: Path) -> None:
        self._call("remove_backup", str(backup))
        self.backups.pop(str(backup), None)

    def keep(self, spec: MachineSpec) -> int:
        self._call("keep", spec.id)
        if spec.id not in self.kept:
            if self._runs(spec.id):
                raise Conflict(f"{spec.name} runs.", "Stop it first.")
            if spec.id not in self.files:
                raise NotFound(f"{spec.name} has no disk.")
            self.kept[spec.id] = 2
        return 1 << 20

    def data_size(self, id: str) -> int:
        self._call("data_size", _named(id))
        if id not in self.data:
            raise NoData(f"The data disk {id} is missing.")
        return self.data[id].size

    def kept_size(self, id: str) -> int:
        self._call("kept_size", _named(id))
        if id not in self.kept:
            raise NoData(f"The kept disk {id} is missing.")
        return self.kept[id]

    def forget_kept(self, id: str) -> None:
        self._call("forget_kept", _named(id))
        self.kept.pop(id, None)

    def close(self) -> None: ...


def _named(name: str, parts: int = 1) -> str:
    """The id of a disk, or the name of a seed or snapshot, which have more parts. Raises BadInput when it is none, or leads elsewhere."""
    found = name.split("/")
    if len(found) != parts or not found[-1].startswith("snapshot-" if parts == 3 else ""):
        raise BadInput(f"{name!r} is no name.")
    return str(below(Path("/"), *found))[1:]


def settle(engine: "Engine", ticks: int = 12) -> None:
    """Tick, and let the jobs of each tick end."""
    for _ in range(ticks):
        engine.tick()
        for job in engine.jobs.under_way():
            job.result(10)
