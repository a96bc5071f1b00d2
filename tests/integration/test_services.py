"""A service of real forks under load: replicas come, go, are replaced and die, and the engine does what there is to do."""

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from appliance import catalog
from appliance.catalog import Class, Event, Seed, SeedState, Snapshot, SnapshotState, options, replicas
from appliance.catalog import seeds as seed_rows
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.seeds.build import SeedFiles
from appliance.settings import Settings
from tests.balanced import Haproxy, Load
from tests.integration.conftest import Libvirtd, empty
from tests.integration.test_outliving import running
from tests.integration.test_verbs import until
from tests.seeds import place, small_scenario

pytestmark = pytest.mark.elastic

CLIENTS = int(os.environ.get("DPE_TEST_CLIENTS", "2"))
ROUNDS = int(os.environ.get("DPE_TEST_ROUNDS", "1"))


def promote(settings: Settings, seed: SeedFiles, snapshot: str, version: int) -> None:
    """Another version of the seed, with the same content and snapshot."""
    files = place(seed, settings, version=version)
    with catalog.write():
        row = Seed.create(machine_class="small", version=version, state=SeedState.READY, stored=True, manifest=files.manifest)
        Snapshot.create(seed=row.id, state=SnapshotState.READY, name=snapshot)
        seed_rows.promote(row)


@pytest.fixture
def site(libvirtd: Libvirtd, small_seed: SeedFiles, small_snapshot: str) -> Iterator[Haproxy]:
    settings = libvirtd.settings
    catalog.close()
    empty(settings)
    catalog.open(settings.catalog)
    service = {"name": "www.example.org", "path": "/", "sticky": False, "drain": 60, "connections": 100}
    with catalog.write():
        options.put("setup_done", True)
        spec = {**small_scenario().classes["small"].model_dump(mode="json"), "boot_timeout": 600, "service": service}
        Class.create(
            name="small",
            spec=spec,
            minimum=2,
            maximum=4,
            buffer=0,
            lease_minutes=60,
            extend_minutes=0,
            extensions=0,
            per_person=1,
            sequence="",
        )
    promote(settings, small_seed, small_snapshot, 1)
    made = Haproxy(settings)
    yield made
    made.kill()
    catalog.close()


def serving(count: int, version: int = 1) -> bool:
    """Whether there are so many replicas, all of that seed, which answer."""
    there = replicas.all()
    return [one.machine.seed.version for one in there if one.up and one.state == "serving"] == [version] * count and len(there) == count


def scale(count: int, version: int = 1) -> None:
    with catalog.write():
        Class.update(minimum=count).execute()
    until(lambda: serving(count, version), f"{count} replicas serve")


def process(id: str) -> psutil.Process:
    """The QEMU of a machine."""
    [found] = [one for one in psutil.process_iter(["cmdline"]) if id in " ".join(one.info["cmdline"] or []) and "qemu" in one.name()]
    return found


def tells(kind: str, id: str) -> bool:
    return bool(Event.select().where(Event.kind == kind, Event.machine_id == id).exists())


def test_replicas_follow_what_is_wanted_under_load_and_nothing_is_lost(
    libvirtd: Libvirtd, site: Haproxy, small_seed: SeedFiles, small_snapshot: str
) -> None:
    settings, provider = libvirtd.settings, LibvirtProvider(libvirtd.settings)
    with running(settings, provider):
        until(lambda: serving(2), "two replicas serve")
        with Load(site, CLIENTS, 0.1) as load:
            for number in range(1, ROUNDS + 1):
                scale(3, number)
                scale(2, number)
                promote(settings, small_seed, small_snapshot, number + 1)
                until(lambda version=number + 1: serving(2, version), "the other seed's replicas serve")  # type: ignore[misc]
            assert load.lost == []
            assert load.done > 20
            killed = replicas.all()[0].machine.id
            process(killed).send_signal(signal.SIGKILL)
            until(lambda: tells("machine.revived", killed), "it is made again")
            until(lambda: serving(2, ROUNDS + 1), "it serves again")
            assert len(load.lost) <= 5
        # One that is made again may be back before anybody noticed; one that stands still is not.
        stalled = replicas.all()[0].machine.id
        process(stalled).suspend()
        until(lambda: tells("replica.down", stalled), "nothing is sent to one that does not answer")
        process(stalled).resume()
        until(lambda: serving(2, ROUNDS + 1), "it answers again, or another one does")
    told = [event.kind for event in Event.select().where(Event.kind.startswith("replica.")).order_by(Event.id)]
    assert {"replica.serving", "replica.draining", "replica.drained", "replica.down"} <= set(told)
    provider.close()
