"""The providers of the tests keep to what the real one does, and the one on disk outlives whoever uses it."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Conflict, DpeError, NotFound, Unavailable
from appliance.hypervisor.provider import GuestSigns, MachineFound, Power, Unfit
from tests.disk_provider import VERBS, DiskProvider
from tests.unit.engine.fake import Data, FakeProvider
from tests.unit.hypervisor.test_provider import spec

DATA, OTHER, COPY = "1", "2", Path("/b/1.qcow2")


@pytest.fixture(params=["memory", "disk"])
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> FakeProvider:
    return FakeProvider() if request.param == "memory" else DiskProvider(tmp_path)


def test_a_machine_stops_and_starts(provider: FakeProvider) -> None:
    with pytest.raises(NotFound):
        provider.stop(spec().id)
    provider.fork(replace(spec(), snapshot="small/1/snapshot-1"))
    provider.start(spec())
    for _ in range(2):
        provider.stop(spec().id)
        assert [found.power for found in provider.list()] == [Power.OFF]
    assert spec().id not in provider.forks
    assert provider.disks() == [spec().id]
    provider.start(spec())
    provider.save(spec().id)
    provider.stop(spec().id)
    provider.destroy(spec().id)
    assert (provider.list(), provider.disks(), dict(provider.made_of)) == ([], [], {})


def test_a_data_disk_is_one_machines_and_outlives_it(provider: FakeProvider) -> None:
    first, second = replace(spec(1), data=DATA), replace(spec(2), data=DATA)
    for each in (first, second):
        provider.clone(each)
    with pytest.raises(Unavailable, match="missing"):
        provider.start(first)
    provider.make_data(DATA, 5)
    provider.make_data(DATA, 2)
    assert provider.data[DATA].size == 5
    provider.start(first)
    provider.start(first)
    provider.wait(first)
    with pytest.raises(Conflict, match=first.id):
        provider.start(second)
    with pytest.raises(Conflict, match=first.id):
        provider.remove_data(DATA)
    provider.stop(first.id)
    with pytest.raises(Conflict):
        provider.start(second)
    provider.destroy(first.id)
    provider.start(second)
    provider.detach_data(second)
    provider.detach_data(second)
    provider.remove_data(DATA)
    provider.remove_data(DATA)
    assert dict(provider.data) == {}


def test_copies_of_a_data_disk(provider: FakeProvider) -> None:
    with pytest.raises(Unavailable):
        provider.backup_data(DATA, COPY)
    provider.data[DATA] = Data(1, content="mine")
    running = replace(spec(), data=DATA)
    provider.clone(running)
    provider.start(running)
    with pytest.raises(Conflict):
        provider.backup_data(DATA, COPY)
    provider.backup_data(DATA, COPY, running.id)
    provider.data[DATA] = Data(1, running.id, "changed since")
    provider.backup_data(DATA, COPY, running.id)
    for _ in range(2):
        provider.restore_data(COPY, OTHER)
        assert provider.data[OTHER] == Data(1, content="mine")
    with pytest.raises(Conflict):
        provider.restore_data(COPY, DATA)
    provider.remove_backup(COPY)
    with pytest.raises(DpeError):
        provider.restore_data(COPY, OTHER)


def test_a_kept_disk_is_what_another_machine_begins_with(provider: FakeProvider) -> None:
    with pytest.raises(NotFound):
        provider.keep(spec())
    provider.clone(spec())
    provider.start(spec())
    with pytest.raises(Conflict):
        provider.keep(spec())
    provider.stop(spec().id)
    provider.keep(spec())
    provider.destroy(spec().id)
    provider.keep(spec())
    again = replace(spec(3), kept=spec().id)
    provider.clone(again)
    assert provider.made_of[again.id] == spec().id
    provider.forget_kept(spec().id)
    provider.forget_kept(spec().id)
    with pytest.raises(Unavailable, match="missing"):
        provider.clone(replace(again, id=spec(4).id))


def test_signs_come_from_machines_that_run(provider: FakeProvider) -> None:
    with pytest.raises(NotFound):
        provider.signs(spec().id)
    provider.clone(spec())
    provider.start(spec())
    assert provider.signs(spec().id) == GuestSigns(0, 0.0, None)
    provider.store.signs[spec().id] = GuestSigns(1, 0.5, 3.0)
    assert provider.signs(spec().id) == GuestSigns(1, 0.5, 3.0)
    provider.suspend(spec().id)
    with pytest.raises(Unavailable):
        provider.signs(spec().id)


def test_what_one_process_made_the_next_one_finds(tmp_path: Path) -> None:
    first, second = DiskProvider(tmp_path), DiskProvider(tmp_path)
    first.fails["fork"] = Unfit("It is damaged.", "Wait.")
    with pytest.raises(Unfit, match="It is damaged"):
        second.fork(spec())
    del second.fails["fork"]
    first.clone(spec())
    first.start(spec())
    first.wait(spec(), personalise="user é\n".encode())
    first.away = True
    with pytest.raises(Unavailable):
        second.list()
    second.away = False
    assert first.list() == second.list() == [MachineFound(spec().id, spec().name, Power.RUNNING)]
    assert second.told[spec().id] == "user é\n".encode()
    assert second.calls == [("fork", spec().id), ("clone", spec().id), ("start", spec().id), ("wait", spec().id)]
    assert {"fork", "start", "stop", "destroy", "keep", "backup_data", "list"} <= set(VERBS)


def test_a_verb_takes_its_time(tmp_path: Path) -> None:
    slow = DiskProvider(tmp_path, delay={"clone": 0.1})
    begun = time.monotonic()
    slow.clone(spec())
    assert time.monotonic() - begun >= 0.1
    begun = time.monotonic()
    slow.start(spec())
    assert time.monotonic() - begun < 0.1
