"""Forks, against cold boots of the same seed to the same point: made, claimed from a paused buffer and from an empty one, and twenty at once;
against themselves with the snapshot out of the page cache; and twenty people who press the button in the same moment.

Everything is real: engine, libvirtd, web page and front door, driven over HTTPS as a browser would. The
point that is timed is always the same: the application answers.
"""

import os
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance.catalog import Account, Class, Machine, MachineState, doorbell
from appliance.errors import DpeError
from appliance.hypervisor.libvirt import snapshot_files
from appliance.hypervisor.provider import MachineSpec
from appliance.laps import Waterfall
from appliance.lifecycle import batch
from appliance.services import machines as machine_verbs
from appliance.settings import Settings, load
from tests.bench._bare import forked
from tests.bench.build import _spec, by_virt_clone, hypervisor
from tests.bench.claim import Person, serving
from tests.integration.conftest import Libvirtd
from tests.integration.conftest import serving as hypervisor_of
from tests.seeds import SMALL
from tests.waiting import until

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
        "ratio": round(baseline_value / max(value, 1e-4), 2),
    }


def _until(ready: Callable[[], bool], what: str) -> None:
    """Asked for as often as a page might ask; more would take the processor from what is measured."""
    until(ready, what, PATIENCE, every=0.03)


def snapshot_of_small(libvirtd: Libvirtd) -> str:
    """Take a snapshot of the small seed; returns its name."""
    template = _spec(libvirtd.settings, 0)
    name = f"{template.seed}/snapshot-1"
    libvirtd.provider.boot_template(template, name)
    libvirtd.provider.wait(template)
    libvirtd.provider.take_snapshot(template, name)
    return name


def _until_it_answers(libvirtd: Libvirtd, spec: MachineSpec, make: Callable[[MachineSpec], None]) -> float:
    """Seconds until a machine is made and started and its application answers; it is taken away again."""
    provider = libvirtd.provider

    def work() -> None:
        make(spec)
        provider.start(spec)
        provider.wait(spec)

    seconds = _timed(work)
    provider.destroy(spec.id)
    return seconds


def _cold(libvirtd: Libvirtd) -> float:
    """Seconds until a linked clone has booted and its application answers."""
    return _until_it_answers(libvirtd, _spec(libvirtd.settings, 1), libvirtd.provider.clone)


def _paused(libvirtd: Libvirtd, snapshot: str) -> float:
    spec = replace(_spec(libvirtd.settings, 2), snapshot=snapshot)
    seconds = _timed(lambda: libvirtd.provider.fork(spec))
    libvirtd.provider.destroy(spec.id)
    return seconds


def _bare(libvirtd: Libvirtd, snapshot: str) -> float:
    """Seconds for the same by QEMU alone."""
    spec = replace(_spec(libvirtd.settings, 2), snapshot=snapshot)
    begun = time.perf_counter()
    with forked(libvirtd, spec):
        return time.perf_counter() - begun


def _used(libvirtd: Libvirtd, snapshot: str) -> float:
    """Seconds until a fork is made, goes on, and its application answers."""
    return _until_it_answers(libvirtd, replace(_spec(libvirtd.settings, 2), snapshot=snapshot), libvirtd.provider.fork)


def _forget(libvirtd: Libvirtd, snapshot: str) -> None:
    """Have the kernel give up what it keeps of the snapshot's files and the seed's disk, which nobody has open."""
    layout = libvirtd.provider.layout
    files = [layout.snapshot(snapshot) / name for name in (snapshot_files.MEMORY, snapshot_files.STATE, snapshot_files.DISK)]
    for file in (*files, layout.seed_disk(_spec(libvirtd.settings, 2).seed)):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert not any(_is_cached(file) for file in files), "some of the snapshot is still in memory"


def _is_cached(file: Path) -> bool:
    """Whether the beginning of a file can be read without waiting for a disk."""
    with file.open("rb", buffering=0) as opened:
        try:
            return os.preadv(opened.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT) > 0
        except BlockingIOError:
            return False


def _out_of_cache(libvirtd: Libvirtd, snapshot: str) -> Iterator[dict[str, Any]]:
    _used(libvirtd, snapshot)  # tells which pages will be wanted
    warm, cold = [], []
    for _ in range(TIMES):
        warm.append(_used(libvirtd, snapshot))
        _forget(libvirtd, snapshot)
        cold.append(_used(libvirtd, snapshot))
    value = statistics.median(cold) / statistics.median(warm)
    unit = "times a fork and its use take with the snapshot out of the page cache"
    yield _result("fork.cold", value, unit, "the same with the snapshot in it", 1.0)


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
        snapshot = snapshot_of_small(libvirtd)
        _paused(libvirtd, snapshot)  # the first reads the snapshot whole
        rounds = [(_cold(libvirtd), _paused(libvirtd, snapshot), _bare(libvirtd, snapshot)) for _ in range(TIMES)]
        cold, paused, bare = (statistics.median(times) for times in zip(*rounds, strict=True))
        yield _result("fork.paused", paused, "s for a paused fork", "a cold boot of the same seed until its application answers", cold)
        yield _result("fork.limit", paused / bare, "times what QEMU alone takes for a paused fork", "QEMU alone", 1.0)

        yield from _out_of_cache(libvirtd, snapshot)

        specs = [_spec(libvirtd.settings, slot) for slot in range(3, 3 + MACHINES)]
        twenty = _batch(libvirtd, [replace(spec, snapshot=snapshot, readiness="paused") for spec in specs])
        booted = _batch(libvirtd, [_elsewhere(spec) for spec in specs])
        unit = f"s for {MACHINES} ready machines in a batch"
        yield _result("fork.twenty", twenty, unit, f"{MACHINES} linked clones that boot, in a batch", booted)
        cloned = by_virt_clone(libvirtd, MACHINES)
        yield _result("fork.twenty_virt_clone", twenty, unit, f"virt-clone and start of {MACHINES}, until the agent answers", cloned)


def _elsewhere(spec: MachineSpec) -> MachineSpec:
    """The same machine under another id."""
    id = str(uuid.uuid4())
    return replace(spec, id=id, name=f"{spec.name}-booted")


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


def _click(settings: Settings, person: Person) -> tuple[float, Waterfall]:
    """Seconds from the press of the button until the application answers through the front door, and where they went; the machine is given back."""
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
    machine = Machine.get(Machine.id == machine.id)
    assert machine.origin == "fork"
    spent = machine_verbs.waterfall(machine)
    assert spent is not None
    person.ask("POST", f"/machines/{machine.id}/release", {"csrf_token": person.csrf})
    _until(lambda: not held.count() and not Machine.select().where(Machine.state == MachineState.RECLAIMING).count(), "the end of it")
    return seconds, spent


def _rush(settings: Settings, names: Sequence[str]) -> tuple[float, float]:
    """All press the button in the same moment: how long the first and the last of them waited. All is given back."""
    people = {Account.get(Account.name == name).id: Person(settings, name) for name in names}
    start = threading.Barrier(len(people))
    held = Machine.select().where(Machine.state.in_((MachineState.ASSIGNED, MachineState.IN_USE)))

    def one(account: int) -> float:
        person = people[account]
        start.wait()
        begun = time.perf_counter()
        person.claim()
        mine = held.where(Machine.owner == account)
        _until(lambda: bool(mine.count()), "a machine")
        machine = mine.get()
        at_the_door = Person.__new__(Person)
        at_the_door.settings, at_the_door.cookie = settings, person.cookie
        at_the_door.go_to(settings.app_port + machine.door)
        _until(lambda: at_the_door.ask("GET", "/ready")[0] == 204, "the application at the front door")
        at_the_door.close()
        return time.perf_counter() - begun

    with ThreadPoolExecutor(len(people)) as threads:
        waited = list(threads.map(one, people))
    for account, name in zip(people, names, strict=True):
        machine = held.where(Machine.owner == account).get()
        person = Person(settings, name)  # the other one went on at the machine's door
        person.ask("POST", f"/machines/{machine.id}/release", {"csrf_token": person.csrf})
    _until(lambda: not held.count() and not Machine.select().where(Machine.state == MachineState.RECLAIMING).count(), "the end of it")
    return min(waited), max(waited)


def _where(clicks: list[tuple[float, Waterfall]]) -> Iterator[dict[str, Any]]:
    """Where the time of the clicks went, lap by lap; what is left is the way to the front door."""
    whole = statistics.median(seconds for seconds, _ in clicks)
    laps = dict.fromkeys(((lap.name, lap.inside) for _, spent in clicks for lap in spent.laps))
    at_the_door = [max(0.0, seconds - spent.seconds) for seconds, spent in clicks]
    for (name, inside), took in [
        *((lap, [one.seconds for _, spent in clicks for one in spent.laps if (one.name, one.inside) == lap]) for lap in laps),
        (("at the front door", False), at_the_door),
    ]:
        yield _result(
            f"fork.lap.{name.replace(' ', '_')}",
            statistics.median(took),
            f"s of a click{', in the machine' if inside else ''}",
            "the whole click",
            whole,
        )


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
        yield _result("fork.click", statistics.median(seconds for seconds, _ in full), unit, base, cold)
        yield _result("fork.click_empty", statistics.median(seconds for seconds, _ in empty), f"{unit}; the buffer is empty", base, cold)
        yield from _where(full)
        names = [f"person{number}" for number in range(MACHINES)]
        for name, buffer in (("fork.rush", MACHINES), ("fork.rush_empty", 0)):
            _buffer(buffer)
            time.sleep(SETTLED)
            first, last = _rush(settings, names)
            unit = f"times as long as the first the last of {MACHINES} waited who pressed at once; the buffer was {'full' if buffer else 'empty'}"
            yield _result(name, last / first, unit, "the first of them", 1.0)


def run() -> Iterator[dict[str, Any]]:
    cold = 0.0
    for result in _making():
        if result["name"] == "fork.paused":
            cold = result["baseline_value"]
        yield result
    yield from _clicks(cold)
