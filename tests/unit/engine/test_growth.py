"""Data disks that fill grow: by rule, within bounds, told with their numbers; and whoever is killed over it goes on afterwards."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Class, DataDisk, Event, Machine, Quota, data_disks, machines, policies
from appliance.errors import Unavailable
from appliance.hypervisor.provider import Fill
from appliance.lifecycle import growth
from appliance.pools.storage import GIB
from appliance.services import machines as verbs
from appliance.services import moves
from tests.unit.engine.fake import settle

pytestmark = pytest.mark.resources


class Killed(BaseException):
    """What follows is not done any more."""


@pytest.fixture
def held(engine, alice) -> Machine:
    """A machine in use by alice, with a data disk of 4 GiB that grows up to 10."""
    with catalog.write():
        policies.change(Class.get(), {"data_disk": 4, "data_most": 10, "data_cooldown": 0})
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    return machines.by_id(id)


@pytest.fixture
def look(engine, provider, opened, held):
    """The machine says how full its disk is, in percent of what its file system has, and what becomes of that is done."""

    def go(percent=None, disk_free=100_000):
        disk = DataDisk.get()
        if percent is not None:
            size = provider.store.grown.get(disk.id, 4) * GIB
            provider.store.fills[held.id] = Fill(size * percent // 100, size)
        growth.look(disk.id, opened, provider, disk_free)
        return DataDisk.get()

    return go


def told():
    return [(one.kind, one.data["before"]["size"], one.data["after"]["size"]) for one in Event.select().where(Event.kind.contains("grow"))]


def test_the_engine_makes_a_disk_that_fills_larger_and_tells_why(engine, provider, held):
    provider.store.fills[held.id] = Fill(3900 << 20, 4 * GIB)
    engine.schedule.hurry("growth")
    settle(engine)
    disk = DataDisk.get()
    assert (disk.size, disk.growing, provider.data[disk.id].size, provider.store.grown[disk.id]) == (5, False, 5, 5)
    (event,) = Event.select().where(Event.kind == "data_disk.grows")
    assert event.message == "The data disk small grows from 4 to 5 GiB: 95 % of it is full."
    assert (event.data["before"], event.data["after"], event.data["filled"], event.data["quota"]) == ({"size": 4}, {"size": 5}, 95.2, None)
    assert event.data["host"] > 0
    assert event.machine_id == held.id


def test_it_grows_up_to_its_class_and_says_once_that_it_does_no_more(look):
    for size in (5, 7, 9, 10):
        assert look(90).size == size
    for _ in range(3):
        assert look(99).size == 10
    assert told()[-1] == ("data_disk.not_grown", 10, 10)
    assert [kind for kind, *_ in told()].count("data_disk.not_grown") == 1
    assert DataDisk.get().not_grown["why"] == "The data disk small does not grow: 99 % of it is full, and its class gives 10 GiB at most."
    assert look(50).not_grown == {}  # somebody has made room


def test_the_owners_quota_and_the_host_bound_it(look, alice, opened):
    with catalog.write():
        quota = Quota.create(account=alice.account_id, each=True, disk=2 + 4)  # the machine's disk has 2
    assert look(90).size == 4
    assert "the quotas of its owner leave 0 GiB" in DataDisk.get().not_grown["why"]
    with catalog.write():
        Quota.update(disk=100).where(Quota.id == quota.id).execute()
    reserve = opened.disk_reserve
    assert look(90, disk_free=reserve + 1024).size == 4  # a tenth of what is left is left
    assert "the server has room for 0 GiB more" in DataDisk.get().not_grown["why"]
    assert look(90, disk_free=reserve + 2300).size == 5
    # What it may yet write to the room that it was given is no other's.
    assert growth.room_of(DataDisk.get(), 10 << 10).host == 9 - 2
    assert [kind for kind, *_ in told()] == ["data_disk.not_grown", "data_disk.not_grown", "data_disk.grows"]


def test_killed_at_each_step_it_goes_on_and_nothing_is_decided_twice(look, provider, monkeypatch):
    def kill(*_args, **_options):
        raise Killed

    size = 4
    for step in ("make_data", "grow_data", "after"):
        with monkeypatch.context() as patch:
            if step == "after":
                real = provider.grow_data
                patch.setattr(provider, "grow_data", lambda spec, real=real: (real(spec), kill()))
            else:
                patch.setattr(provider, step, kill)
            with pytest.raises(Killed):
                look(90)
        size += -(-size // 4)
        assert (DataDisk.get().size, DataDisk.get().growing) == (size, True)
        found = look()  # whatever the machine says meanwhile
        assert (found.size, found.growing) == (size, False)
        assert provider.data[found.id].size == provider.store.grown[found.id] == size
    assert [after for _, _, after in told()] == [5, 7, 9]


def test_one_that_is_suspended_waits_and_one_that_is_silent_is_asked_again_later(look, provider, engine, held, alice):
    look(50)
    provider.store.fills.clear()
    with pytest.raises(Unavailable):
        look()
    assert not growth.due()
    with catalog.write():
        told_before = DataDisk.get().not_grown
        DataDisk.update(not_grown={**told_before, "tried": told_before["tried"] - 31}).execute()
    assert growth.due()
    moves.plain(alice, held.id, "suspend")
    settle(engine)
    assert not growth.due()
    assert told() == []


def test_what_was_decided_of_a_disk_whose_machine_went_is_done_on_the_next(look, provider, engine, held, alice):
    provider.fails["grow_data"] = Unavailable("The file system does not grow.")
    with pytest.raises(Unavailable):
        look(90)
    assert told() == [("data_disk.grows", 4, 5), ("data_disk.not_grown", 5, 5)]
    del provider.fails["grow_data"]
    verbs.release(alice, held.id)
    settle(engine)
    assert verbs.request(alice, "small").machine_id != held.id
    settle(engine)
    with catalog.write():
        DataDisk.update(not_grown={}).execute()
    engine.schedule.hurry("growth")
    settle(engine)
    disk = DataDisk.get()
    assert (disk.growing, provider.store.grown[disk.id]) == (False, 5)


def test_a_disk_that_fills_fast_is_given_what_fills_in_two_minutes(look, held, provider):
    look(50)
    with catalog.write():
        disk = DataDisk.get()
        DataDisk.update(filled_at=disk.filled_at - timedelta(seconds=60)).execute()
    assert look(90).size == 8  # 1.6 GiB a minute


def test_a_class_whose_disks_do_not_grow_asks_no_machine(engine, provider, held):
    with catalog.write():
        policies.change(Class.get(), {"data_most": 0})
    provider.calls.clear()
    engine.schedule.hurry("growth")
    settle(engine)
    assert "fill" not in [verb for verb, _ in provider.calls]
    assert data_disks.of_machine(held.id).filled is None
