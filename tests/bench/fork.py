"""Forks, against cold boots of the same seed to the same point: made, claimed from a paused buffer and from an empty one, and twenty at once.

Everything is real: engine, libvirtd, web page and front door, driven over HTTPS as a browser would. The
point that is timed is always the same: the application answers.
"""

import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance.catalog import Class, Machine, MachineState, doorbell
from appliance.errors import DpeError
from appliance.hypervisor.provider import MachineSpec
from appliance.lifecycle import batch
from appliance.settings import Settings, load
from tests.bench.build import _spec, by_virt_clone, hypervisor
from tests.bench.claim import Person, serving
from tests.integration.conftest import Libvirtd
from tests.integration.conftest import serving as hypervisor_of
from tests.seeds import SMALL

TIMES = 5
MACHINES = 20
SMALLEST = {"TIMES": 1, "MACHINES": 1}
PATIENCE = 180  # seconds
SETTLED = 3  # seconds after which the playbook that filled the buffer has ended, too


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _result(name: str, value: float, unit: str, baseline: str, baseline_value: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value, 4),
        "unit": unit,
        "baseline": baseline,
        "baseline_value": round(baseline_value, 4),
        "ratio": round(baseline_value / value, 2),
    }


def _until(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.03)  # as often as a page might ask; more would take the processor from what is measured


def snapshot_of_small(libvirtd: Libvirtd) -> Path:
    """Take a snapshot of the small seed; returns its folder."""
    folder = libvirtd.settings.seeds / "small" / "snapshot"
    folder.mkdir(parents=True, mode=0o711)
    template = replace(_spec(libvirtd.settings, 0), disk=folder / "disk.qcow2")
    libvirtd.provider.boot_template(template, folder)
    libvirtd.provider.wait(template)
    libvirtd.provider.take_snapshot(template, folder)
    return folder


def _cold(libvirtd: Libvirtd) -> float:
    """Seconds until a linked clone has booted and its application answers."""
    provider, spec = libvirtd.provider, _spec(libvirtd.settings, 1)

    def work() -> None:
        provider.clone(spec)
        provider.start(spec)
        provider.wait(spec)

    seconds = _timed(work)
    provider.destroy(spec.id)
    return seconds


def _paused(libvirtd: Libvirtd, folder: Path) -> float:
    spec = replace(_spec(libvirtd.settings, 2), snapshot=folder)
    seconds = _timed(lambda: libvirtd.provider.fork(spec))
    libvirtd.provider.destroy(spec.id)
    return seconds


def _batch(libvirtd: Libvirtd, specs: Sequence[MachineSpec]) -> float:
    """Seconds for the machines to be made in a batch, all of them ready as they should wait."""
    failed: list[DpeError] = []

    def done(_id: str, built: batch.Built) -> None:
        failed.extend(error for error in (built.error, built.fork_error) if error)

    seconds = _timed(
        lambda: batch.build(libvirtd.provider, [batch.Order(spec) for spec in specs], libvirtd.settings, lambda _id, _text: None, done)
    )
    assert not failed, failed
    for spec in specs:
        libvirtd.provider.destroy(spec.id)
    return seconds


def _making() -> Iterator[dict[str, Any]]:
    with hypervisor() as libvirtd:
        folder = snapshot_of_small(libvirtd)
        _paused(libvirtd, folder)  # the first reads the snapshot whole
        pairs = [(_cold(libvirtd), _paused(libvirtd, folder)) for _ in range(TIMES)]
        cold, paused = (statistics.median(times) for times in zip(*pairs, strict=True))
        yield _result("fork.paused", paused, "s for a paused fork", "a cold boot of the same seed until its application answers", cold)

        specs = [_spec(libvirtd.settings, slot) for slot in range(3, 3 + MACHINES)]
        twenty = _batch(libvirtd, [replace(spec, snapshot=folder, readiness="paused") for spec in specs])
        booted = _batch(libvirtd, [_elsewhere(spec) for spec in specs])
        unit = f"s for {MACHINES} ready machines in a batch"
        yield _result("fork.twenty", twenty, unit, f"{MACHINES} linked clones that boot, in a batch", booted)
        cloned = by_virt_clone(libvirtd, MACHINES)
        yield _result("fork.twenty_virt_clone", twenty, unit, f"virt-clone and start of {MACHINES}, until the agent answers", cloned)


def _elsewhere(spec: MachineSpec) -> MachineSpec:
    """The same machine under another id."""
    id = str(uuid.uuid4())
    return replace(spec, id=id, name=f"{spec.name}-booted", disk=spec.disk.parent.parent / id / "disk.qcow2")


@contextmanager
def _appliance() -> Iterator[Settings]:
    """The whole appliance with the small class and its seed."""
    with tempfile.TemporaryDirectory(prefix="dpe-bench-") as folder:
        Path(folder).chmod(0o711)  # QEMU is another user
        state = Path(folder) / "s"
        changes = {"network": "benchf", "subnet": "10.234.0.0/16", "uplink": "169.254.234.0/30", "scenario": SMALL, "app_port": 12100}
        settings = load({}, state=state, **changes)
        try:
            with serving(state=state, whole=True, **changes) as served:
                yield served
        finally:  # machines outlive the appliance, and those of a run that failed would be in the way of the next
            with hypervisor_of(settings):
                pass


def _buffer(count: int, origin: str = "fork") -> None:
    """Want this many ready machines, and wait for them to be there, made as told."""
    Class.update(buffer=count).where(Class.name == "small").execute()
    doorbell.ring()
    ready = Machine.select().where(Machine.state == MachineState.READY, Machine.origin == origin)
    _until(lambda: ready.count() == count, f"{count} ready machines")


def _click(settings: Settings, person: Person) -> float:
    """Seconds from the press of the button until the application answers through the front door; the machine is given back."""
    mine = (MachineState.ASSIGNED, MachineState.IN_USE)
    begun = time.perf_counter()
    person.claim()
    held = Machine.select().where(Machine.state.in_(mine))
    _until(lambda: bool(held.count()), "a machine")
    machine = held.get()
    at_the_door = Person.__new__(Person)
    at_the_door.settings, at_the_door.cookie = settings, person.cookie
    at_the_door.go_to(settings.app_port + machine.door)
    _until(lambda: at_the_door.ask("GET", "/ready")[0] == 204, "the application at the front door")
    seconds = time.perf_counter() - begun
    assert Machine.get(Machine.id == machine.id).origin == "fork"
    person.ask("POST", f"/machines/{machine.id}/release", {"csrf_token": person.csrf})
    _until(lambda: not held.count() and not Machine.select().where(Machine.state == MachineState.RECLAIMING).count(), "the end of it")
    return seconds


def _clicks(cold: float) -> Iterator[dict[str, Any]]:
    with _appliance() as settings:
        person = Person(settings, "person0")
        _buffer(1)
        full, empty = [], []
        for _ in range(TIMES):
            time.sleep(SETTLED)
            full.append(_click(settings, person))
            _buffer(1)
        _buffer(0)
        for _ in range(TIMES):
            empty.append(_click(settings, person))
        base = "a cold boot of the same seed until its application answers"
        unit = "s from the click until the application answers at the front door"
        yield _result("fork.click", statistics.median(full), unit, base, cold)
        yield _result("fork.click_empty", statistics.median(empty), f"{unit}; the buffer is empty", base, cold)


def run() -> Iterator[dict[str, Any]]:
    cold = 0.0
    for result in _making():
        if result["name"] == "fork.paused":
            cold = result["baseline_value"]
        yield result
    yield from _clicks(cold)
