"""Fixtures of the integration tier: a libvirtd of the tests' own, in namespaces of its own, and machines on it."""

import fcntl
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import layout
from appliance.errors import Unavailable
from appliance.hypervisor.libvirt import snapshot_files
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec
from appliance.lifecycle.specs import card
from appliance.run import run, start
from appliance.seeds.build import SeedFiles
from appliance.settings import REPOSITORY, Settings, environment, load
from tests import kept
from tests.browser.conftest import chromium
from tests.integration.look import identity
from tests.seeds import place, small_seed

__all__ = ["chromium", "small_seed"]

# Files that take longest, in the order of their minutes: they begin first, so that the workers end at about the same time.
LONGEST = (
    "test_firstpath",
    "test_backup_machines",
    "test_backup",
    "test_lifecycle",
    "test_fork",
    "test_seeds",
    "test_foreground",
    "test_hypervisor",
    "test_kills",
    "test_menu",
)

MakeSpec = Callable[..., MachineSpec]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


class Libvirtd:
    """The private libvirtd of an appliance, to be stopped and started at will."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.provider = LibvirtProvider(settings)

    @property
    def pid(self) -> int:
        """Of libvirtd itself; `process` is who buries its dead."""
        return int((self.settings.libvirt / "run/libvirtd.pid").read_text())

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self.settings.logs / "daemon.log").open("ab") as out:
            command = [sys.executable, "-m", "appliance.hypervisor.libvirt.daemon"]
            self.process = start(command, env=environment(self.settings), stdout=out.fileno(), stderr=out.fileno())
        deadline = time.monotonic() + 60
        while True:
            try:
                self.provider.list()
                return
            except Unavailable:
                assert self.process.poll() is None, (self.settings.logs / "daemon.log").read_text()
                assert time.monotonic() < deadline, "libvirtd does not answer"
                time.sleep(0.1)

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """End it with a signal; machines go on running."""
        if self.process:
            os.kill(self.pid, signum)
            self.process.wait()
            self.process = None

    def restart(self, signum: int = signal.SIGTERM) -> None:
        self.stop(signum)
        self.start()


@contextmanager
def own_addresses() -> Iterator[int]:
    """A number that is this process's alone on this host while it lasts: networks and ports are made from it."""
    routes = json.loads(run(["ip", "-json", "route"]))
    used = [ipaddress.ip_network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]
    for number in range(128):
        if any(net.overlaps(ipaddress.ip_network(f"10.{100 + number}.0.0/16")) for net in used):
            continue
        with (Path(tempfile.gettempdir()) / f"dpe-test-{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # a test beside this one has it, and may not have made its network yet
                continue
            yield number
            return
    raise RuntimeError("every network of the tests is in use")


@contextmanager
def own_appliance(letter: str = "t") -> Iterator[Settings]:
    """An appliance with state, network and addresses of its own; those of one process differ in the letter."""
    # Not pytest's own folder: sockets need a short path, and QEMU's user must pass through.
    state = Path(tempfile.mkdtemp(prefix="dpe-test-"))
    with own_addresses() as number:
        settings = load(
            {},
            state=state,
            network=f"{letter}{os.getpid() % 10**6}",
            subnet=f"10.{100 + number}.0.0/16",
            uplink=f"169.254.{100 + number}.0/30",
            slots=50,
            listen="127.0.0.1",
            https_port=18000 + number * 256,
            app_port=18001 + number * 256,
        )
        layout.prepare(settings)
        yield settings
    shutil.rmtree(state)


def destroy_all(provider: LibvirtProvider) -> None:
    """Every machine that the hypervisor has, or of which there are files."""
    for id in {machine.id for machine in provider.list()} | set(provider.disks()):
        provider.destroy(id)


def empty(settings: Settings) -> None:
    """Take away what the tests before left of catalog, machines and their disks, as on a fresh appliance; seeds stay. Its libvirtd runs."""
    provider = LibvirtProvider(settings)
    destroy_all(provider)
    provider.close()
    for file in settings.catalog.parent.glob("catalog*"):  # the mark beside it, too
        file.unlink()
    for folder in (settings.data, settings.kept, settings.labels):
        shutil.rmtree(folder)
    layout.prepare(settings)


@contextmanager
def serving(settings: Settings) -> Iterator[Libvirtd]:
    """That appliance's libvirtd, running; its machines are destroyed in the end."""
    libvirtd = Libvirtd(settings)
    libvirtd.start()
    yield libvirtd
    if libvirtd.process is None:
        libvirtd.start()
    for machine in libvirtd.provider.list():
        libvirtd.provider.destroy(machine.id)
    libvirtd.provider.close()
    libvirtd.stop()
    run([sys.executable, "-m", "appliance.hypervisor.libvirt.daemon", "--remove"], env=environment(settings))


@pytest.fixture(scope="session")
def appliance_settings() -> Iterator[Settings]:
    """The appliance that most tests share, for the whole session."""
    with own_appliance() as settings:
        yield settings


@pytest.fixture(scope="session")
def libvirtd(appliance_settings: Settings) -> Iterator[Libvirtd]:
    """Its libvirtd, running."""
    with serving(appliance_settings) as libvirtd:
        shared.append(libvirtd)
        yield libvirtd
        shared.remove(libvirtd)


shared: list[Libvirtd] = []


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Machines that a file's tests left have addresses that those of the next want."""
    yield
    for libvirtd in shared:
        if libvirtd.process is not None:
            destroy_all(libvirtd.provider)


@pytest.fixture
def provider(libvirtd: Libvirtd) -> Iterator[LibvirtProvider]:
    """A provider over the running libvirtd."""
    provider = LibvirtProvider(libvirtd.settings)
    yield provider
    provider.close()


def spec_maker(settings: Settings, small_seed: SeedFiles) -> MakeSpec:
    """Describe a machine of the small seed in a slot; anything may be said otherwise, as with dataclasses.replace."""
    seed = place(small_seed, settings)

    def make(slot: int, **changes: object) -> MachineSpec:
        id = str(uuid.uuid4())
        spec = MachineSpec(
            id=id,
            name=f"small-{id[:8]}",
            class_name="small",
            seed="small/1",
            cmdline=seed.cmdline,
            disk_size=2,
            vcpus=1,
            memory=256,
            card=card(settings, slot),
            application_port=8080,
            application_ready="/ready",
            boot_timeout=240,
        )
        return replace(spec, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def make_spec(appliance_settings: Settings, small_seed: SeedFiles) -> MakeSpec:
    """spec_maker for the appliance that is shared."""
    return spec_maker(appliance_settings, small_seed)


def take(provider: LibvirtProvider, spec: MachineSpec, name: str, look: Callable[[MachineSpec], object] = lambda _spec: None) -> None:
    """Take a snapshot of such a machine, as the product does it; `look` is shown the machine while it still runs."""
    provider.layout.snapshot(name).parent.mkdir(mode=0o711, exist_ok=True)
    try:
        provider.boot_template(spec, name)
        provider.wait(spec)
        look(spec)
        provider.take_snapshot(spec, name)
    finally:
        provider.destroy(spec.id)


def kept_snapshot(provider: LibvirtProvider, spec: MachineSpec, seed: SeedFiles, name: str) -> dict[str, str]:
    """A snapshot of such a machine under a name, taken now or when it was kept, and what its machine said of its identity.

    What is in its memory is the same wherever it is; the seed below its disk, and its facts, are those of this appliance.
    """
    hypervisor = provider.host()
    parts = hypervisor.hypervisor, hypervisor.acceleration, json.dumps([seed.manifest["files"], spec.memory, spec.memory_room, spec.vcpus])

    def make(fresh: Path) -> None:
        def look(template: MachineSpec) -> None:
            (fresh / "identity.json").write_text(json.dumps(identity(provider, template)))

        taken = f"{spec.class_name}/taken/snapshot-{spec.id}"
        take(provider, spec, taken, look)
        run(["cp", "--archive", "--sparse=always", *provider.layout.snapshot(taken).iterdir(), fresh])
        provider.remove_snapshot(taken)

    files = kept.kept("snapshot", kept.digest(*parts, REPOSITORY / "appliance/hypervisor"), make)
    folder = provider.layout.snapshot(name)
    folder.mkdir(mode=0o711, parents=True)
    run(
        [
            "cp",
            "--archive",
            "--sparse=always",
            *(files / name for name in (snapshot_files.MEMORY, snapshot_files.STATE, snapshot_files.DISK)),
            folder,
        ]
    )
    disk = folder / snapshot_files.DISK
    disk.chmod(0o600)
    run(["qemu-img", "rebase", "-u", "-F", "qcow2", "-b", provider.layout.seed_disk(spec.seed), disk])
    disk.chmod(0o444)
    with provider._connection.use() as connection:
        snapshot_files.keep(folder, provider._facts(spec, connection))
    was, now = (snapshot_files.read(one)["files"] for one in (files, folder))
    assert was[snapshot_files.MEMORY] == now[snapshot_files.MEMORY], f"{files} is damaged; remove it"
    told: dict[str, str] = json.loads((files / "identity.json").read_text())
    return told


@pytest.fixture(scope="session")
def small_snapshot(libvirtd: Libvirtd, make_spec: MakeSpec, small_seed: SeedFiles) -> str:
    """The name of a snapshot of the small seed: make_spec(slot, snapshot=small_snapshot) is a machine that can be forked.

    It lies beside no seed's files, so that no engine takes it for one of its own.
    """
    name = "small/shared/snapshot-1"
    kept_snapshot(libvirtd.provider, make_spec(49), small_seed, name)
    return name
