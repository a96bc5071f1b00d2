"""Each application of the catalogue, from what it declares: built, its snapshot taken, forked, and every page of it opened.

`make test MARK=applications` does that for each on each release that it names, those without a page beside the web terminal. Else two share one seed.
"""

import shutil
import uuid
from datetime import UTC, datetime
from urllib.request import urlopen

import pytest

from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec
from appliance.lifecycle.specs import card
from appliance.scenario import applications
from appliance.scenario.schema import ClassSpec
from appliance.seeds.build import SeedFiles, SeedJob, build, seed_folder
from appliance.settings import REPOSITORY, Settings, load
from tests import kept
from tests.integration.conftest import Libvirtd, take
from tests.seeds import SMALL, SOURCES, place

pytestmark = pytest.mark.applications

TERMINAL = "terminal"  # whose page those are opened with that have none
PAIR = ("debian-12", ("pages", TERMINAL))
IDLE = 512  # MiB that a machine which only waits uses at most


def named(release: str, names: tuple[str, ...]) -> str:
    """The class with these."""
    return f"app-{'-'.join(names)}-{release[-2:]}"


PAIR_NAME = named(*PAIR)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each on each release where these tests are what is asked for."""
    each = [
        (release, (name,) if entry.manifest.web else (name, TERMINAL))
        for name, entry in applications.catalogue().items()
        for release in entry.manifest.releases
    ]
    chosen = each if metafunc.config.getoption("markexpr") == "applications" else [PAIR]
    metafunc.parametrize(("release", "names"), chosen, ids=[f"{'+'.join(names)}-{release}" for release, names in chosen])


def described(release: str, names: tuple[str, ...]) -> ClassSpec:
    """The smallest class with these applications."""
    memory, disk = applications.needed([applications.catalogue()[name] for name in names])
    chosen = [{"name": name} for name in names]
    size = {"memory": max(memory, 256), "disk": max(disk, 2)}
    spec = ClassSpec.model_validate({"title": "Applications", "os": release, "applications": chosen, "size": size})
    return applications.resolved(spec)


def seed_of(spec: ClassSpec, class_name: str, settings: Settings) -> SeedFiles:
    """Its seed: that of the pair is kept, all the others would be too many."""
    if class_name != PAIR_NAME:
        return build(SeedJob(1, class_name, 1, spec, SMALL), settings, lambda progress: None, lambda: False)
    folders = [entry.folder for _, entry in applications.of(spec)]
    made_of = kept.digest(spec.model_dump_json(), f"{datetime.now(UTC):%G-%V}", *folders, *(REPOSITORY / part for part in SOURCES))
    version, where = int(made_of[:8], 16), load({}, state=kept.CACHE)
    with kept.locked(f"seed-{class_name}"):
        files = build(SeedJob(version, class_name, version, spec, SMALL), where, lambda progress: None, lambda: False)
        kept.used(seed_folder(class_name, version, where))
    return place(files, settings, class_name)


def test_an_application_is_built_forked_and_opened(
    libvirtd: Libvirtd, provider: LibvirtProvider, request: pytest.FixtureRequest, release: str, names: tuple[str, ...]
) -> None:
    settings, spec = libvirtd.settings, described(release, names)
    class_name = named(release, names)
    seed = seed_of(spec, class_name, settings)
    request.addfinalizer(lambda: shutil.rmtree(seed_folder(class_name, 1, settings).parent))
    name = f"{class_name}/shared/snapshot-1"

    def machine(slot: int, snapshot: str | None = None) -> MachineSpec:
        id, page = str(uuid.uuid4()), applications.pages(spec.model_dump())[0]
        return MachineSpec(
            id=id, name=f"app-{id[:8]}", class_name=class_name, seed=f"{class_name}/1", cmdline=seed.cmdline, disk_size=spec.size.disk,
            vcpus=1, memory=spec.size.memory, card=card(settings, slot), application_port=page.port, application_ready=page.ready,
            boot_timeout=600, snapshot=snapshot, further=applications.further(spec.model_dump()),
        )  # fmt: skip

    take(provider, machine(49), name)
    fork = machine(5, name)
    request.addfinalizer(lambda: provider.destroy(fork.id))
    provider.fork(fork)
    provider.start(fork)
    provider.wait(fork)
    for page in applications.pages(spec.model_dump()):
        with urlopen(f"http://{fork.card.address}:{page.port}{page.path}", timeout=60) as answer:
            assert answer.status == 200
            assert answer.read(), f"{page.title} says nothing"
    free = provider.execute(fork.id, ["cat", "/proc/meminfo"])
    told = dict(line.split(":") for line in free.output.splitlines())
    used = (int(told["MemTotal"].split()[0]) - int(told["MemAvailable"].split()[0])) >> 10
    print(f"{class_name} {release}: {used} MiB used of {spec.size.memory}")
    assert used < IDLE
    assert provider.execute(fork.id, ["systemctl", "is-failed", "--quiet", "*.service"]).status != 0, "a service has failed"
