"""What outlives machines, with real bytes: data disks, a disk that was kept, and copies brought back where nothing else is left."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Backup,
    Class,
    KeptDisk,
    Machine,
    MachineState,
    Seed,
    SeedState,
    Sequence,
    Snapshot,
    SnapshotState,
    VersionState,
    data_disks,
    machines,
    options,
    sequences,
)
from appliance.catalog import seeds as seed_rows
from appliance.engine import Engine
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.seeds.build import SeedFiles
from appliance.services import disks as disk_verbs
from appliance.services import machines as verbs
from appliance.services import recovery
from appliance.services.recovery import Choice
from appliance.settings import Settings
from tests.integration.conftest import Libvirtd, empty
from tests.integration.test_verbs import ended, until
from tests.seeds import SMALL, place, small_scenario

pytestmark = pytest.mark.workflow
S = MachineState

KEEPS = {
    "reclaim": {
        "before": [
            {"name": "copy", "kind": "backup_data", "with": {"copies": 2}},
            {"name": "keep", "kind": "keep_disk", "with": {"days": 1}},
        ]
    }
}


def fresh_catalog(settings: Settings, seed: SeedFiles, snapshot: str, *people: str) -> dict[str, Actor]:
    """A catalog that knows nothing but the small class, whose machines have a data disk, and these people."""
    catalog.close()
    empty(settings)
    catalog.open(settings.catalog)
    files = place(seed, settings)
    with catalog.write():
        options.put("setup_done", True)
        Sequence.create(name="keeps", title="Keeps")
        sequences.add("keeps", json.dumps(KEEPS), VersionState.PROMOTED)
        Class.create(
            name="small", spec={**small_scenario().classes["small"].model_dump(mode="json"), "boot_timeout": 600}, minimum=0, maximum=3, buffer=0,
            lease_minutes=600, extend_minutes=30, extensions=1, per_person=3, sequence="keeps", data_disk=1,
        )  # fmt: skip
        seed_rows.promote(row := Seed.create(machine_class="small", version=1, state=SeedState.READY, stored=True, manifest=files.manifest))
        Snapshot.create(seed=row.id, state=SnapshotState.READY, name=snapshot)
        made = {name: Account.create(name=name, full_name=name.title(), password="!") for name in people}
    return {name: Actor(name, account.id) for name, account in made.items()}


@contextmanager
def running(settings: Settings, provider: LibvirtProvider) -> Iterator[None]:
    """The engine at work, in a thread; afterwards no machine is left."""
    engine = Engine(replace(settings, scenario=SMALL), provider)

    def work() -> None:
        engine.run()
        catalog.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        engine.stop()
        thread.join()
        engine.close()
        for machine in provider.list():
            provider.destroy(machine.id)


def in_use(person: Actor, but: tuple[str, ...] = ()) -> Machine:
    """Their machine that is none of these, once they can use it."""

    def mine() -> list[Machine]:
        return [m for m in verbs.my_machines(person.account_id or 0) if m.id not in but and m.state is S.IN_USE]

    until(lambda: bool(mine()), f"a machine of {person.name}'s in use")
    return mine()[0]


def test_what_was_written_outlives_machine_catalog_and_disk(libvirtd: Libvirtd, small_seed: SeedFiles, small_snapshot: str) -> None:
    settings, provider = libvirtd.settings, LibvirtProvider(libvirtd.settings)

    def inside(machine: Machine, command: str) -> str:
        done = provider.execute(machine.id, ["/bin/sh", "-c", command])
        assert done.status == 0, done
        return done.output.strip()

    def gone(machine: Machine) -> None:
        def retired() -> bool:
            found = machines.by_id(machine.id)
            return found is not None and found.state is S.RETIRED

        until(retired, f"{machine.name} is gone")

    people = fresh_catalog(settings, small_seed, small_snapshot, "alice", "bob", "grace")
    alice, bob = people["alice"], people["bob"]
    with running(settings, provider):
        # What is written to the data disk survives the machine.
        verbs.request(alice, "small")
        first = in_use(alice)
        inside(first, "echo thesis > /data/thesis && echo mine > /var/tmp/note && findmnt -no FSTYPE /data | grep -qx ext4")
        verbs.release(alice, first.id)
        gone(first)
        assert [(copy.machine_name, copy.problem) for copy in Backup.select()] == [(first.name, "")]
        verbs.request(alice, "small")
        second = in_use(alice)
        assert inside(second, "cat /data/thesis") == "thesis"
        assert provider.execute(second.id, ["test", "-e", "/var/tmp/note"]).status == 1

        # The first one's disk comes back beside it, and has another data disk, as its own is with the second.
        ended(recovery.bring_back_kept(alice, first.id))
        third = in_use(alice, (second.id,))
        assert inside(third, "cat /var/tmp/note") == "mine"
        assert inside(third, "hostname") == third.name
        assert provider.execute(third.id, ["test", "-e", "/data/thesis"]).status == 1
        inside(third, "echo other > /data/other")
        until(lambda: KeptDisk.select().count() == 0, "the kept disk is not needed any more")
        assert not settings.kept_disk(first.id).exists()

        # A copy while the machine runs, of what it is about to write too.
        inside(second, "echo chapter > /data/chapter")
        disk = data_disks.of_machine(second.id)
        assert disk is not None
        disk_verbs.back_up(alice, disk.id)
        until(lambda: not (data_disks.by_id(disk.id) or disk).backup_asked, "the copy")
        assert (data_disks.by_id(disk.id) or disk).backup_problem == ""
        before = {copy.path for copy in Backup.select()}
        assert len(before) == 2

    # Disaster: catalog and disks are lost. Another appliance finds the folder of copies, and nothing else.
    people = fresh_catalog(settings, small_seed, small_snapshot, "grace", "bob", "alice")
    grace, bob, alice = people["grace"], people["bob"], people["alice"]
    with running(settings, provider):
        until(lambda: {copy.path for copy in Backup.select()} == before, "the copies are found")
        newest, older = recovery.recoverable()
        assert (newest.newest, older.newest, newest.problem) == (True, False, "")
        assert newest.account is not None
        assert newest.account.name == "alice"
        one, other = recovery.bring_back(grace, [Choice(newest.copy.path), Choice(older.copy.path, "bob")])
        ended(one)
        ended(other)
        assert inside(in_use(alice), "cat /data/thesis /data/chapter") == "thesis\nchapter"
        theirs = in_use(bob)
        assert inside(theirs, "cat /data/thesis") == "thesis"
        assert provider.execute(theirs.id, ["test", "-e", "/data/chapter"]).status == 1

        # A copy that is damaged is refused before anything is made of it.
        copy = Path(newest.copy.path)
        with copy.open("r+b") as file:
            file.seek(copy.stat().st_size // 2)
            file.write(bytes(byte ^ 0xFF for byte in b"some bytes"))
        damaged = recovery.bring_back(grace, [Choice(newest.copy.path)])[0]
        until(lambda: (catalog.Run.get_by_id(damaged)).ended_at is not None, "the damaged copy is refused")
        run = catalog.Run.get_by_id(damaged)
        assert run.state == "failed"
        assert "damaged" in run.problem
        assert catalog.DataDisk.select().count() == 2
    provider.close()
