"""A whole appliance with a real machine that goes on running, backed up, lost and restored: what was written to its data disk by then is there."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Lease, Machine, options
from appliance.host.backup import restore
from appliance.seeds.build import SeedFiles
from appliance.services import machines as verbs
from tests.integration.conftest import Libvirtd, kept_snapshot, own_appliance, serving, spec_maker
from tests.integration.test_backup import Host, done
from tests.integration.test_outliving import fresh_catalog, in_use, running
from tests.seeds import SMALL

pytestmark = pytest.mark.backup


@pytest.fixture
def libvirtd() -> Iterator[Libvirtd]:
    """Of an appliance of the test's own: a restore takes away all that was there."""
    with own_appliance("r") as settings, serving(settings) as libvirtd:
        yield libvirtd


def test_a_running_machine_comes_back_with_its_data(libvirtd: Libvirtd, small_seed: SeedFiles) -> None:
    settings, provider = replace(libvirtd.settings, scenario=SMALL), libvirtd.provider
    snapshot = "small/shared/snapshot-1"
    kept_snapshot(provider, spec_maker(settings, small_seed)(49), small_seed, snapshot)
    alice = fresh_catalog(settings, small_seed, snapshot, "alice")["alice"]
    with catalog.write():
        options.put("scenario", {"name": "small", "title": "Small", "description": ""})

    def inside(machine: Machine, command: str) -> str:
        ended = provider.execute(machine.id, ["/bin/sh", "-c", command])
        assert ended.status == 0, ended
        return ended.output.strip()

    with ExitStack() as stack:
        target = Path(tempfile.mkdtemp(prefix="dpe-target-"))
        stack.callback(shutil.rmtree, target)
        host = Host(settings)
        stack.callback(host.close)
        host.ask("backup.configure", target={"kind": "folder", "path": str(target)})
        with running(settings, provider):
            verbs.request(alice, "small")
            before = in_use(alice)
            inside(before, "echo thesis > /data/thesis && echo note > /var/tmp/note")
            assert done(host.do("backup.run")).result["disks"] == 1
            inside(before, "echo later > /data/later")  # it runs, and was not disturbed
        [one] = host.ask("backup.list")
        done(host.do("restore.begin", snapshot=one["id"]))
        catalog.close()
        libvirtd.stop()
        assert restore.finish(settings)
        libvirtd.start()
        catalog.open(settings.catalog)
        with running(settings, provider):
            after = in_use(alice)
            assert (after.id, after.name) == (before.id, before.name)
            assert inside(after, "cat /data/thesis") == "thesis"
            assert inside(after, "hostname") == before.name
            for gone in ("/data/later", "/var/tmp/note"):
                assert provider.execute(after.id, ["test", "-e", gone]).status == 1
            assert Lease.select().where(Lease.ended_at.is_null()).count() == 1
            assert catalog.check() == []
