"""A provider that is only memory, to drive the engine through situations in milliseconds; the real one is tested in tests/integration."""

from collections.abc import Callable, Sequence

from appliance.engine import Engine
from appliance.errors import DpeError, Unavailable
from appliance.hypervisor.provider import Executed, Found, HostFacts, MachineSpec, Power, Provider, Stats


class FakeProvider(Provider):
    """Machines are entries of `domains` and `files`; what should fail is said in `fails`, by verb."""

    def __init__(self, memory: int = 16_384) -> None:
        self.domains: dict[str, Found] = {}
        self.files: set[str] = set()
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

    def wait(self, spec: MachineSpec, report: Callable[[str], None] | None = None) -> None:
        self._call("wait", spec.id)

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
