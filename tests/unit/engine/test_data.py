"""Data disks: what a person wrote is there on their next machine, whatever happened to the last one."""

import pytest

from appliance import catalog
from appliance.catalog import Class, DataDisk, DiskState, Event, Machine, MachineState, Run, data_disks, machines, now
from appliance.engine import Engine
from appliance.errors import Conflict, DpeError, Unavailable
from appliance.services import machines as verbs
from tests.unit.engine.fake import Data, settle

S, D = MachineState, DiskState


@pytest.fixture
def giving(engine):
    """The class gives each machine a data disk of 5 GiB."""
    Class.update(data_disk=5).execute()
    settle(engine)
    return engine


def got(engine, person) -> Machine:
    """A machine, in use by this person."""
    id = verbs.request(person, "small").machine_id
    settle(engine)
    return machines.by_id(id)


def hurry(engine):
    """What waits for a while goes on now."""
    Run.update(wake_at=now()).where(Run.ended_at.is_null(), Run.wake_at.is_null(False)).execute()
    settle(engine)


def write(engine, provider, machine, text):
    """Somebody writes to the machine's data disk."""
    id = data_disks.of_machine(machine.id).id
    provider.data[id] = Data(provider.data[id].size, provider.data[id].holder, text)


def read(engine, provider, machine):
    return provider.data[data_disks.of_machine(machine.id).id].content


def test_what_was_written_is_there_on_the_next_machine(giving, provider, alice):
    first = got(giving, alice)
    write(giving, provider, first, "thesis")
    verbs.release(alice, first.id)
    settle(giving)
    [disk] = DataDisk.select()
    assert (disk.machine_id, disk.state, disk.size, disk.name) == (None, D.READY, 5, "small")
    assert disk.last_used_at is not None
    second = got(giving, alice)
    assert second.id != first.id
    assert read(giving, provider, second) == "thesis"
    assert DataDisk.select().count() == 1
    assert [e.kind for e in Event.select().where(Event.kind.startswith("data_disk."))] == ["data_disk.made", *2 * ["data_disk.attached"]]


def test_two_machines_at_once_have_two_disks_and_other_people_others(giving, provider, alice, bob):
    mine = [got(giving, alice), got(giving, alice)]
    theirs = got(giving, bob)
    held = [data_disks.of_machine(machine.id) for machine in (*mine, theirs)]
    assert len({disk.id for disk in held}) == 3
    assert [disk.account_id for disk in held] == [alice.account_id, alice.account_id, bob.account_id]
    assert [disk.name for disk in held] == ["small", "small 2", "small"]
    assert len(provider.data) == 3


def test_a_class_that_gives_none_gives_none(engine, provider, alice):
    settle(engine)
    machine = got(engine, alice)
    assert data_disks.of_machine(machine.id) is None
    assert provider.data == {}


def test_who_gives_back_and_asks_at_once_waits_for_the_disk_instead_of_getting_an_empty_one(giving, provider, alice):
    first = got(giving, alice)
    write(giving, provider, first, "thesis")
    provider.fails["destroy"] = Unavailable("It is busy.")
    verbs.release(alice, first.id)
    second = got(giving, alice)
    assert second.state is S.ASSIGNED
    assert "is being taken away" in second.step
    del provider.fails["destroy"]
    hurry(giving)
    hurry(giving)
    assert machines.by_id(second.id).state is S.IN_USE
    assert read(giving, provider, second) == "thesis"
    assert DataDisk.select().count() == 1


def test_a_machine_that_does_not_take_its_owner_gives_the_disk_to_the_next(giving, provider, alice):
    first = got(giving, alice)
    write(giving, provider, first, "thesis")
    verbs.release(alice, first.id)
    settle(giving)
    provider.fails["wait"] = DpeError("The agent does not answer.")
    verbs.request(alice, "small")
    for _ in range(6):
        hurry(giving)
    provider.fails.clear()
    Class.update(failing_until=None, failures=0).execute()
    for _ in range(6):
        hurry(giving)
    [mine] = verbs.my_machines(alice.account_id)
    assert mine.state is S.IN_USE
    assert read(giving, provider, mine) == "thesis"
    assert DataDisk.select().count() == 1


def test_a_killed_engine_gives_no_second_disk(giving, provider, alice, opened, monkeypatch):
    """The row is chosen, the file made, and each time the engine dies before it can say so."""
    real = provider.make_data

    def die_after(path, size):
        real(path, size)
        raise KeyboardInterrupt

    monkeypatch.setattr(provider, "make_data", die_after)
    id = verbs.request(alice, "small").machine_id
    giving.tick()
    for job in giving.jobs.under_way():
        with pytest.raises(KeyboardInterrupt):
            job.result(10)
    giving.stop()
    monkeypatch.setattr(provider, "make_data", real)
    again = Engine(opened, provider)
    settle(again)
    assert machines.by_id(id).state is S.IN_USE
    assert DataDisk.select().count() == len(provider.data) == 1
    again.close()


@pytest.mark.badinput
def test_a_disk_that_is_missing_is_put_aside_and_told(giving, provider, alice):
    first = got(giving, alice)
    verbs.release(alice, first.id)
    settle(giving)
    provider.data.clear()
    second = got(giving, alice)
    assert second.state is S.IN_USE
    old, new = sorted(DataDisk.select(), key=lambda disk: disk.created_at)
    assert (old.state, old.machine_id) == (D.TROUBLED, None)
    assert "is missing" in old.problem
    assert (new.state, new.machine_id) == (D.READY, second.id)
    assert Event.get(Event.kind == "data_disk.troubled").level == "error"


@pytest.mark.badinput
def test_no_room_for_a_disk_keeps_the_person_waiting_and_the_machine(giving, provider, alice):
    provider.fails["make_data"] = Unavailable("There is no room for a disk.")
    machine = got(giving, alice)
    hurry(giving)
    assert machines.by_id(machine.id).state is S.ASSIGNED
    assert "no room" in machines.by_id(machine.id).step
    provider.fails.clear()
    hurry(giving)
    assert machines.by_id(machine.id).state is S.IN_USE
    assert DataDisk.select().count() == 1


def test_a_disk_grows_with_its_class_and_never_shrinks(giving, provider, alice):
    first = got(giving, alice)
    write(giving, provider, first, "thesis")
    for size, expected in ((9, 9), (3, 9)):
        [mine] = verbs.my_machines(alice.account_id)
        verbs.release(alice, mine.id)
        settle(giving)
        Class.update(data_disk=size).execute()
        machine = got(giving, alice)
        assert data_disks.of_machine(machine.id).size == expected
        assert read(giving, provider, machine) == "thesis"
        [there] = provider.data.values()
        assert there.size == expected


def test_quotas_count_data_disks_used_or_not_and_those_to_be_made(giving, alice):
    def limit(gib):
        catalog.Quota.update(disk=gib).execute()

    def refused():
        with pytest.raises(Conflict, match="GiB of disk in use"):
            verbs.request(alice, "small")

    with catalog.write():
        catalog.Quota.create(account=alice.account_id, each=True, disk=6)
    refused()  # 2 and a data disk of 5
    limit(7)
    got(giving, alice)
    limit(13)
    refused()
    limit(14)
    got(giving, alice)
    for machine in verbs.my_machines(alice.account_id):
        verbs.release(alice, machine.id)
    settle(giving)
    limit(11)
    refused()  # 10 lie there unused, and 2 more are wanted
    limit(12)
    assert got(giving, alice).state is S.IN_USE
    refused()
    limit(14)
    verbs.request(alice, "small")  # the other disk is used again
