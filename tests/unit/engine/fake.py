"""A provider that is only memory, to drive the engine through situations in milliseconds; the real one is tested in tests/integration."""

from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.engine import Engine
from appliance.errors import DpeError, Unavailable
from appliance.hypervisor import snapshot
from appliance.hypervisor.provider import Executed, Found, HostFacts, MachineSpec, Power, Provider, Stats


class FakeProvider(Provider):
    """Machines are entries of `domains` and `files`; what should fail is said in `fails`, by verb; "answer" fails for forks alone."""

    def __init__(self, memory: int = 16_384) -> None:
        self.domains: dict[str, Found] = {}
        self.files: set[str] = set()
        self.forks: set[str] = set()
        self.told: dict[str, bytes] = {}
        self.fails: dict[str, DpeError] = {}
        self.calls: list[tuple[str, str]] = []
        self.memory = memory
        self.away = False

    def _call(self, verb: str, id: str = "") -> None:
        if self.away:
            raise Unavailable("libvirtd does not answer.", "It comes back by itself.")
        if id:
            self.calls.append((verb, id))
        if verb in self.fails:
            raise self.fails[verb]

    def host(self) -> HostFacts:
        self._call("host")
        used = 0
        return HostFacts("emulation", "it is a test", "fake", 2, self.memory, self.memory - used, 100_000)

    def list(self) -> Sequence[Found]:
        self._call("list")
        return list(self.domains.values())

    def disks(self) -> Sequence[str]:
        return list(self.files)

    def clone(self, spec: MachineSpec) -> None:
        self._call("clone", spec.id)
        self.files.add(spec.id)

    def start(self, spec: MachineSpec) -> None:
        self._call("start", spec.id)
        assert spec.id in self.files
        self.domains[spec.id] = Found(spec.id, spec.name, Power.RUNNING)

    def fork(self, spec: MachineSpec) -> None:
        self._call("fork", spec.id)
        assert spec.snapshot is not None
        self.files.add(spec.id)
        self.domains[spec.id] = Found(spec.id, spec.name, Power.PAUSED)
        self.forks.add(spec.id)

    def suspend(self, id: str) -> None:
        self._call("suspend", id)
        self.domains[id] = Found(id, self.domains[id].name, Power.PAUSED)

    def wait(self, spec: MachineSpec, report: Callable[[str], None] | None = None, *, personalise: bytes = b"") -> None:
        self._call("wait", spec.id)
        if spec.id in self.forks and "answer" in self.fails:
            raise self.fails["answer"]
        assert self.domains[spec.id].power is Power.RUNNING
        self.told[spec.id] = personalise

    def check_snapshot(self, spec: MachineSpec, folder: Path) -> None:
        self._call("check", spec.id)

    def boot_template(self, spec: MachineSpec, folder: Path) -> None:
        self._call("template", spec.id)
        self.domains[spec.id] = Found(spec.id, spec.name, Power.RUNNING)

    def take_snapshot(self, spec: MachineSpec, folder: Path) -> None:
        self._call("snapshot", spec.id)
        for name in (snapshot.MEMORY, snapshot.STATE, snapshot.DISK):
            (folder / name).write_bytes(b"of a test")
        snapshot.keep(folder, snapshot.Facts("QEMU 7.2.0", "qemu", "pc-q35-7.2", "any", spec.memory, "any"))
        del self.domains[spec.id]

    def execute(self, id: str, command: Sequence[str], *, input: bytes = b"", timeout: float = 60) -> Executed:
        self._call("execute", id)
        assert self.domains[id].power is Power.RUNNING
        return Executed(0, "", "")

    def save(self, id: str) -> None:
        self._call("save", id)
        self.domains[id] = Found(id, self.domains[id].name, Power.SAVED)

    def destroy(self, id: str) -> None:
        self._call("destroy", id)
        self.domains.pop(id, None)
        self.files.discard(id)
        self.forks.discard(id)

    def stats(self) -> Sequence[Stats]:
        self._call("stats")
        return [Stats(id, 10**9, 1, 256, 100, 0, 0, 0, 0) for id in self.domains]

    def watch(self, changed: Callable[[str], None]) -> None:
        self.changed = changed

    def close(self) -> None: ...


def settle(engine: Engine, ticks: int = 12) -> None:
    """Tick, and let the jobs of each tick end."""
    for _ in range(ticks):
        engine.tick()
        for job in engine.jobs():
            job.result(10)
