"""Building machines: N of them in a batch, against virt-clone plus start, both until the guest agent answers.

Real machines of the tests' small seed, on a libvirtd of the benchmark's own.
"""

import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance import layout
from appliance.errors import DpeError
from appliance.hypervisor.libvirt import daemon
from appliance.hypervisor.provider import MachineSpec, answering
from appliance.lifecycle import batch
from appliance.lifecycle.specs import card
from appliance.run import run as command
from appliance.settings import Settings, environment, load
from tests.integration.conftest import Libvirtd, kept_snapshot
from tests.seeds import SMALL, cached_seed, place, small_scenario

MACHINES = 4
SMALLEST = {"MACHINES": 1}


@contextmanager
def hypervisor() -> Iterator[Libvirtd]:
    """A libvirtd of our own, taken away with all that is on it."""
    state = Path(tempfile.mkdtemp(prefix="dpe-bench-"))
    settings = load({}, state=state, network="benchb", subnet="10.232.0.0/16", uplink="169.254.232.0/30", slots=50)
    layout.prepare(settings)
    libvirtd = Libvirtd(settings)
    libvirtd.start()
    try:
        yield libvirtd
    finally:
        for machine in libvirtd.provider.list():
            libvirtd.provider.destroy(machine.id)
        libvirtd.provider.close()
        libvirtd.stop()
        command([sys.executable, "-m", "appliance.hypervisor.libvirt.daemon", "--remove"], env=environment(settings))
        shutil.rmtree(state)


def _spec(settings: Settings, slot: int, class_name: str = "small", scenario: Path = SMALL) -> MachineSpec:
    seed, id = place(cached_seed(class_name, scenario), settings, class_name), str(uuid.uuid4())
    described = small_scenario(scenario).classes[class_name]
    return MachineSpec(
        id=id, name=f"bench-{slot}", class_name=class_name, seed=f"{class_name}/1", cmdline=seed.cmdline,
        disk_size=described.size.disk, vcpus=described.size.vcpus, memory=described.size.memory,
        card=card(settings, slot), **{**answering(described.model_dump()), "boot_timeout": 300},
    )  # fmt: skip


def snapshot(libvirtd: Libvirtd, template: MachineSpec, scenario: Path = SMALL) -> str:
    """The name of a snapshot of such a machine, the last one's of the same seed if there was one: which machine it was taken of changes no figure."""
    name = f"{template.seed}/snapshot-1"
    kept_snapshot(libvirtd.provider, template, cached_seed(template.class_name, scenario), name)
    return name


def _answers(libvirtd: Libvirtd, id: str, failed: Sequence[DpeError] = ()) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if failed:
            raise failed[0]
        try:
            libvirtd.provider.execute(id, ["/bin/true"], timeout=5)
            return
        except DpeError:
            time.sleep(0.1)
    raise AssertionError(f"the agent of {id} did not answer")


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def by_batch(libvirtd: Libvirtd) -> float:
    """Seconds for a batch until every agent answers; the batch itself goes on until the applications do, too."""
    specs = [_spec(libvirtd.settings, slot) for slot in range(MACHINES)]
    failed: list[DpeError] = []
    with ThreadPoolExecutor(1) as pool:
        done = lambda _id, built: failed.append(built.error) if built.error else None  # noqa: E731
        building = pool.submit(
            batch.build, libvirtd.provider, [batch.Order(spec) for spec in specs], libvirtd.settings, lambda _id, _text: None, done
        )
        seconds = _timed(lambda: [_answers(libvirtd, spec.id, failed) for spec in specs])
        building.result()
    assert not failed, failed
    for spec in specs:
        libvirtd.provider.destroy(spec.id)
    return seconds


def by_virt_clone(libvirtd: Libvirtd, count: int) -> float:
    """Seconds for as many by virt-clone, each started as soon as it is cloned."""
    settings, provider = libvirtd.settings, libvirtd.provider
    original = _spec(settings, 40)
    provider.clone(original)
    provider.start(original)
    _answers(libvirtd, original.id)
    uri = daemon.uri(settings)
    command(["virsh", "--connect", uri, "destroy", original.id])
    clones = [str(uuid.uuid4()) for _ in range(count)]

    def work() -> None:
        for id in clones:
            folder = settings.machines / id
            folder.mkdir(mode=0o711)
            command(
                [
                    "virt-clone",
                    "--connect",
                    uri,
                    "--original",
                    original.name,
                    "--name",
                    f"clone-{id[:8]}",
                    "--uuid",
                    id,
                    "--file",
                    folder / "disk.qcow2",
                ],
                timeout=300,
            )
            shutil.chown(folder / "disk.qcow2", daemon.USER, daemon.USER)
            command(["virsh", "--connect", uri, "start", id])
        for id in clones:
            _answers(libvirtd, id)

    seconds = _timed(work)
    for id in (*clones, original.id):
        provider.destroy(id)
    return seconds


def run() -> Iterator[dict[str, Any]]:
    with hypervisor() as libvirtd:
        base, value = by_virt_clone(libvirtd, MACHINES), by_batch(libvirtd)
    yield {
        "name": "build.batch",
        "value": round(value, 2),
        "unit": f"s for {MACHINES} machines",
        "baseline": f"virt-clone and start of {MACHINES}, until the agent answers",
        "baseline_value": round(base, 2),
        "ratio": round(base / value, 3),
    }
