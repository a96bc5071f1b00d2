"""What the catalog does not know is set aside, never deleted; another or an older catalog makes and removes nothing until somebody decides."""

import shutil
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import (
    Account,
    Aside,
    Class,
    DataDisk,
    Event,
    KeptDisk,
    Lease,
    Machine,
    MachineState,
    Seed,
    aside,
    lineage,
    machines,
    now,
    options,
)
from appliance.engine import Engine, park
from appliance.errors import BadInput, Conflict, NotFound
from appliance.hypervisor.provider import MachineFound, Power
from appliance.lifecycle import labels, seed_builds
from appliance.services import aside as verbs
from appliance.services import machines as machine_verbs
from tests.unit.conftest import account, small_class
from tests.unit.engine.fake import Data, FakeProvider, settle

pytestmark = pytest.mark.lost

S, K = MachineState, catalog.AsideKind


def stray(provider: FakeProvider, power: Power = Power.RUNNING) -> str:
    """A machine that nobody knows."""
    id = str(uuid.uuid4())
    provider.domains[id] = MachineFound(id, "small-77", power)
    provider.files.add(id)
    return id


def look(engine: Engine) -> None:
    engine.controllers.set_aside.look_again()
    settle(engine)


def held(engine: Engine, person: catalog.Actor) -> Machine:
    settle(engine)
    machine_verbs.request(person, "small")
    settle(engine, 24)
    found: Machine = Machine.get(Machine.owner == person.account_id)
    assert found.state is S.IN_USE
    return found


@pytest.fixture
def again(engine, opened, provider):
    """Start another engine over the same state directory, as after a restart, with whatever catalog lies there by then."""
    engines: list[Engine] = []

    def start(change: Callable[[], None] = lambda: None, people: Callable[[], None] = lambda: None) -> Engine:
        for one in (engine, *engines):
            one.stop()
            one.close()
        catalog.close()
        change()
        catalog.open(opened.catalog)
        people()
        engines.append(Engine(opened, provider))
        return engines[-1]

    yield start
    for one in engines:
        one.stop()
        one.close()


def copied(opened, name: str = "older.db"):
    """A copy of the catalog, and what puts it in place."""
    target = opened.state / name
    catalog.copy(opened.catalog, target)

    def put_back() -> None:
        taken(opened)
        shutil.copyfile(target, opened.catalog)

    return put_back


def taken(opened) -> None:
    """The catalog is taken away."""
    for ending in ("", "-wal", "-shm"):
        opened.catalog.with_name(opened.catalog.name + ending).unlink(missing_ok=True)


def set_up(engine) -> None:
    """What the new catalog has: a class and grace."""
    small_class()
    with catalog.write():
        options.put("setup_done", True)


# -- what is found while the appliance runs ------------------------------------------------------------


def test_a_machine_that_nobody_knows_is_stopped_shown_and_never_deleted(engine, provider):
    settle(engine)
    mine = set(provider.domains)
    id = stray(provider)
    look(engine)
    [one] = verbs.everything()
    assert (one.kind, one.id, one.name, one.bytes, one.power) == (K.MACHINE, id, "small-77", 1 << 20, "saved")
    assert one.since
    assert set(provider.domains) == mine | {id}
    assert ("destroy", id) not in provider.calls
    assert Event.select().where(Event.kind == "aside.found", Event.machine_id == id).count() == 1
    look(engine)
    assert Event.select().where(Event.kind == "aside.found").count() == 1
    assert ("destroy", id) not in provider.calls


def test_disks_and_seeds_that_nobody_knows_stay_and_are_shown(engine, opened, provider):
    disk, kept, snapshot = str(uuid.uuid4()), str(uuid.uuid4()), "small/77/snapshot-9"
    provider.data[disk], provider.kept[kept], provider.snapshots[snapshot] = Data(1), 1, {}
    (opened.seeds / "small/77").mkdir(parents=True)
    look(engine)
    found = {(one.kind, one.id) for one in verbs.everything()}
    assert found == {(K.DATA_DISK, disk), (K.KEPT_DISK, kept), (K.SEED, "small/77"), (K.SNAPSHOT, snapshot)}
    assert {one.bytes for one in verbs.everything() if one.kind is not K.SEED} == {1 << 20}
    assert {disk, kept, snapshot} == {*provider.data, *provider.kept, *provider.snapshots}


def test_a_new_seed_takes_no_version_whose_folder_is_there(opened, small):
    (opened.seeds / "small/2").mkdir(parents=True)
    with catalog.write():
        seed = Seed.create(machine_class="small", version=2)
    assert seed_builds._free_version(seed, opened) == 3


def test_the_slot_of_a_machine_set_aside_that_runs_is_given_to_nobody(opened, small):
    with catalog.write():
        Aside.insert(kind=K.MACHINE, id="one", slot=0, power="running").execute()
        Aside.insert(kind=K.MACHINE, id="two", slot=1, power="saved").execute()
    assert machines.next_slots(3, 4) == [2, 3, 1]
    assert machines.next_slots(9, 4) == [2, 3, 1]


def test_it_is_adopted_for_whoever_an_admin_chooses(engine, provider, alice, opened):
    machine = held(engine, alice)
    seed, slot = machine.seed.version, machine.slot
    label = labels.read_label((K.MACHINE, machine.id), opened.labels)
    assert (label["account_name"], label["seed"], label["slot"]) == ("alice", seed, slot)
    with catalog.write():
        Machine.update(memory=384, memory_more=128, memory_room=512).where(Machine.id == machine.id).execute()
    label = catalog.aside.labels()[K.MACHINE, machine.id]
    assert (label["memory"], label["memory_room"]) == (256, 512), "what it starts with: it is given more when it is known again"
    id, bob = stray(provider), account("bob")
    labels.file_of((K.MACHINE, id), opened.labels).write_text(
        '{"name": "small-77", "class": "small", "account_name": "carol", "seed": 1, "slot": 40, "memory_room": 512}'
    )
    seed_files(opened, machine.seed)
    look(engine)
    [one] = verbs.everything()
    assert one.doubt
    with pytest.raises(BadInput, match="nobody of that name"):
        verbs.adopt(alice, one.number)
    verbs.adopt(alice, one.number, "bob")
    look(engine)
    found = machines.by_id(id)
    assert (found.owner_id, found.state, found.slot, found.name) == (bob.account_id, S.SUSPENDED, 40, "small-77")
    assert (found.memory, found.memory_room) == (256, 512)
    assert Lease.select().where(Lease.machine == id, Lease.account == bob.account_id).count() == 1
    assert verbs.everything() == []
    assert id in provider.domains


def test_an_admin_removes_it_and_only_it(engine, provider, alice):
    settle(engine)
    first, other = stray(provider), stray(provider)
    look(engine)
    one = Aside.get(Aside.id == first)
    verbs.remove(alice, one.number)
    look(engine)
    assert first not in provider.domains
    assert first not in provider.files
    assert other in provider.domains
    assert [one.id for one in verbs.everything()] == [other]
    with pytest.raises(NotFound):
        verbs.remove(alice, one.number)
    assert Event.select().where(Event.kind == "aside.removed", Event.machine_id == first).count() == 1


def test_it_goes_by_itself_after_its_days_and_never_when_that_is_nought(engine, provider, alice):
    settle(engine)
    id = stray(provider)
    look(engine)
    with catalog.write():
        Aside.update(since=now() - timedelta(days=29)).execute()
    look(engine)
    assert id in provider.domains
    verbs.keep_for(alice, "0")
    with catalog.write():
        Aside.update(since=now() - timedelta(days=4000)).execute()
    look(engine)
    assert id in provider.domains
    for wrong in ("-1", "x", "", "3651", "٣"):
        with pytest.raises(BadInput):
            verbs.keep_for(alice, wrong)
    verbs.keep_for(alice, "30")
    look(engine)
    assert id not in provider.domains


@pytest.mark.parametrize(
    ("kind", "id"), [(K.SEED, "../labels"), (K.SEED, ".."), (K.SEED, "small"), (K.SNAPSHOT, "small/1/.."), (K.DATA_DISK, "../data/x"), (K.KEPT_DISK, "a/b")]
)  # fmt: skip
def test_nothing_is_removed_by_a_name_that_leads_elsewhere(engine, opened, kind, id):
    (opened.seeds / "small/1").mkdir(parents=True)
    with catalog.write():  # by a web process that was taken over
        one = Aside.create(kind=kind, id=id, wish="remove", wished_by="grace", since=now())
    engine.controllers.set_aside._attend(one)
    assert aside.by_number(one.number).problem
    assert opened.labels.is_dir()
    assert (opened.seeds / "small/1").is_dir()


def test_what_something_set_aside_lies_on_cannot_be_removed(engine, opened, alice):
    folder = opened.seeds / "small/77"
    folder.mkdir(parents=True)
    look(engine)
    [one] = verbs.everything()
    with catalog.write():
        Aside.insert(kind=K.MACHINE, id="fork", base="small/77/snapshot-1").execute()
    verbs.remove(alice, one.number)
    engine.controllers.set_aside._attend(aside.by_number(one.number))
    assert folder.exists()
    assert "lies on it" in aside.by_number(one.number).problem


# -- another catalog, or an older one --------------------------------------------------------------------


def seed_files(opened, seed) -> None:
    """A seed as it lies on the disk."""
    (opened.seeds / seed.name).mkdir(parents=True, exist_ok=True)


def test_an_older_copy_destroys_nothing_and_what_is_certain_is_adopted(engine, again, opened, provider, alice):
    settle(engine)
    seed_files(opened, Seed.get())
    put_back = copied(opened)
    machine = held(engine, alice)
    before = dict(provider.domains)
    settle(engine)
    provider.calls.clear()
    other = again(put_back)
    settle(other)
    assert provider.domains == before
    assert {verb for verb, _ in provider.calls} <= {"examine"}
    asked = verbs.undecided()
    assert (asked["why"], asked["choice"]) == ("older", "")
    assert Event.select().where(Event.kind == "catalog.undecided").count() == 1
    known = machines.by_id(machine.id)  # it waited in the buffer when the copy was made: whose it is, is noted beside it
    assert (known.owner_id, known.state) == (alice.account_id, S.IN_USE)
    verbs.decide(alice, "adopt")
    settle(other)
    assert verbs.undecided() == {}
    assert set(before) <= set(provider.domains) | {one.id for one in verbs.everything()}
    assert machine.id in provider.domains
    assert machines.by_id(machine.id).owner_id == alice.account_id
    with pytest.raises(Conflict, match="decided already"):
        verbs.decide(alice, "aside")


def test_a_machine_younger_than_the_copy_is_its_owners_again(engine, again, opened, provider, alice):
    with catalog.write():
        Class.update(buffer=0).execute()
    settle(engine)
    seed_files(opened, Seed.get())
    put_back = copied(opened)
    machine = held(engine, alice)
    name, slot = machine.name, machine.slot
    disk = str(uuid.uuid4())
    other = again(put_back)
    assert machines.by_id(machine.id) is None
    settle(other)
    assert [(one.id, one.doubt, one.account_id) for one in verbs.everything()] == [(machine.id, "", alice.account_id)]
    assert provider.domains[machine.id].power is Power.RUNNING
    verbs.decide(alice, "adopt")
    settle(other)
    found = machines.by_id(machine.id)
    assert (found.name, found.slot, found.owner_id, found.state) == (name, slot, alice.account_id, S.IN_USE)
    assert provider.domains[machine.id].power is Power.RUNNING
    assert Lease.get(Lease.machine == machine.id).ends_at > now() + timedelta(hours=23)
    assert verbs.everything() == []
    assert disk not in provider.data
    next_one = held(other, account("bob"))
    assert next_one.name != name


def test_a_fork_is_adopted_together_with_the_snapshot_that_it_lies_on(engine, again, opened, provider, alice):
    with catalog.write():
        Class.update(buffer=0).execute()
    settle(engine)
    seed_files(opened, Seed.get())
    put_back = copied(opened)
    machine = held(engine, alice)
    provider.made_of[machine.id] = "small/1/snapshot-77"
    provider.snapshots["small/1/snapshot-77"] = {}
    other = again(put_back)
    settle(other)
    assert {one.id for one in verbs.everything()} == {machine.id, "small/1/snapshot-77"}
    verbs.decide(alice, "adopt")
    settle(other)
    look(other)
    assert machines.by_id(machine.id).snapshot.name == "small/1/snapshot-77"
    assert verbs.everything() == [], "it is known from then on"


def test_setting_all_aside_adopts_nothing_and_deletes_nothing(engine, again, opened, provider, alice):
    with catalog.write():
        Class.update(buffer=0).execute()
    settle(engine)
    put_back = copied(opened)
    machine = held(engine, alice)
    other = again(put_back)
    settle(other)
    verbs.decide(alice, "aside")
    look(other)
    assert [one.id for one in verbs.everything()] == [machine.id]
    assert provider.domains[machine.id].power is Power.SAVED
    assert machines.by_id(machine.id) is None


def test_a_missing_catalog_destroys_nothing_before_or_after_set_up(engine, again, opened, provider, alice):
    machine = held(engine, alice)
    kept = str(uuid.uuid4())
    provider.data[kept] = Data(5)
    before = dict(provider.domains)
    other = again(lambda: taken(opened))
    settle(other)
    assert provider.domains == before
    assert verbs.undecided()["why"] == "other"
    assert verbs.count() == len(before) + 1
    set_up(other)
    settle(other)
    assert provider.domains == before
    grace = account("grace")
    verbs.decide(grace, "adopt")  # nothing is certain: whether this alice is the same only a person can tell
    look(other)
    assert before.keys() <= provider.domains.keys()
    assert kept in provider.data
    one = Aside.get(Aside.id == machine.id)
    assert (one.account_name, one.class_name, one.account_id) == ("alice", "small", None)
    assert one.doubt


def test_an_emptied_catalog_is_another_one(engine, again, opened, provider, alice):
    held(engine, alice)
    before = dict(provider.domains)

    def emptied() -> None:
        taken(opened)
        opened.catalog.touch()

    other = again(emptied)
    settle(other)
    assert provider.domains == before
    assert verbs.undecided()["why"] == "other"


def test_a_catalog_from_before_there_were_marks_goes_on_when_it_knows_all(engine, again, opened, provider, alice):
    held(engine, alice)
    other = again(lambda: opened.mark.unlink())
    settle(other)
    assert verbs.undecided() == {}
    assert lineage.read_mark(opened.mark) is not None


def test_without_a_mark_machines_that_nobody_knows_are_asked_about(engine, again, opened, provider, alice):
    settle(engine)
    id = stray(provider)
    other = again(lambda: opened.mark.unlink())
    settle(other)
    assert verbs.undecided()["why"] == "unmarked"
    assert id in provider.domains


def test_the_same_catalog_goes_on_after_a_restart_and_a_generation_later(engine, again, opened, alice):
    held(engine, alice)
    before = lineage.here().generation
    other = again()
    settle(other)
    assert verbs.undecided() == {}
    assert lineage.here().generation == before + 1


def test_what_was_decided_beforehand_is_not_asked_again(engine, again, opened, provider, alice):
    settle(engine)
    put_back = copied(opened)
    machine = held(engine, alice)

    def going_back() -> None:
        lineage.decide_beforehand(opened.mark, "adopt", "going back to 1.0")
        put_back()

    other = again(going_back)
    settle(other)
    assert verbs.undecided() == {}
    assert machine.id in provider.domains
    assert lineage.read_mark(opened.mark).decision == ""


def test_nothing_is_there_so_nothing_is_asked(engine, again, opened, provider):
    settle(engine)
    provider.domains.clear()
    provider.files.clear()
    other = again(lambda: taken(opened))
    settle(other)
    assert verbs.undecided() == {}


def test_data_and_kept_disks_younger_than_the_copy_are_their_owners_again(engine, again, opened, provider, alice):
    settle(engine)
    seed_files(opened, Seed.get())
    put_back = copied(opened)
    disk, kept = str(uuid.uuid4()), str(uuid.uuid4())
    with catalog.write():
        DataDisk.create(id=disk, account=alice.account_id, machine_class="small", name="Thesis", size=5, state=catalog.DiskState.READY)
        KeptDisk.create(
            id=kept, machine_name="small-9", account=alice.account_id, machine_class="small", seed=Seed.get(), size=2, bytes=1,
            until=now() + timedelta(days=2),
        )  # fmt: skip
        catalog.record("data_disk.made", "A data disk is there.")
    provider.data[disk], provider.kept[kept] = Data(5), 2
    settle(engine)
    other = again(put_back)
    settle(other)
    verbs.decide(alice, "adopt")
    settle(other)
    assert (DataDisk.get_by_id(disk).account_id, DataDisk.get_by_id(disk).name) == (alice.account_id, "Thesis")
    assert KeptDisk.get_by_id(kept).account_id == alice.account_id
    assert Account.get_by_id(alice.account_id).name == "alice"
    assert verbs.everything() == []


# -- what an older copy believes -----------------------------------------------------------------------


def test_what_went_to_somebody_else_meanwhile_is_theirs_and_what_is_gone_is_said(engine, again, opened, provider, alice):
    bob = account("bob")
    moved = held(engine, alice)
    machine_verbs.request(alice, "small")
    settle(engine, 24)
    gone = Machine.get(Machine.owner == alice.account_id, Machine.id != moved.id)
    put_back = copied(opened)
    with catalog.write():  # a transfer, and a machine that was given back
        Machine.update(owner=bob.account_id).where(Machine.id == moved.id).execute()
        catalog.record("machine.transferred", "It is bob's.", machine_id=moved.id)
    settle(engine)
    machine_verbs.release(alice, gone.id)
    settle(engine, 24)
    assert gone.id not in provider.domains
    other = again(put_back)
    assert machines.by_id(moved.id).owner_id == alice.account_id  # so the older copy has it
    settle(other)
    assert machines.by_id(moved.id).owner_id == bob.account_id
    assert machines.lease_of(moved.id).account_id == bob.account_id
    assert machines.by_id(gone.id).state is S.QUARANTINED
    assert verbs.undecided()["why"] == "older"


def test_switching_off_meanwhile_saves_machines_that_an_older_copy_takes_for_the_buffers(engine, again, opened, provider, alice):
    settle(engine)
    with catalog.write():
        Machine.update(origin="fork").execute()
    waiting = set(machines.forked_and_ready())
    assert waiting
    put_back = copied(opened)
    held(engine, alice)
    again(put_back)  # and it does not get to work before the server is switched off
    provider.calls.clear()
    for id in waiting:
        provider.domains[id] = MachineFound(id, "small", Power.RUNNING)
    park(opened, provider)
    assert "destroy" not in {verb for verb, _ in provider.calls}
    assert waiting <= set(provider.domains)


def test_what_only_an_older_copy_has_in_the_slot_moves_on(engine, again, opened, provider, alice):
    with catalog.write():
        Class.update(buffer=0).execute()
    settle(engine)
    seed_files(opened, Seed.get())
    put_back = copied(opened)
    younger = held(engine, alice)
    other = again(put_back)
    with catalog.write():
        aside.number_above(1000)
        ghost = machines.create(Class.get(), Seed.get(), str(uuid.uuid4()), younger.slot)
    settle(other)
    verbs.decide(alice, "adopt")
    settle(other)
    assert machines.by_id(younger.id).slot == younger.slot
    found = machines.by_id(ghost.id)
    assert found.slot != younger.slot


def test_labels_take_no_more_of_a_tick_than_they_may_and_are_all_written_in_the_end(engine, opened, alice):
    held(engine, alice)
    shutil.rmtree(opened.labels)
    opened.labels.mkdir()
    noting = labels.Labels(opened.labels)
    assert not noting.keep(-1.0)
    assert list(opened.labels.iterdir()) == []
    assert noting.keep()
    assert {file.stem for file in opened.labels.iterdir()} == {f"machine-{id}" for id in machines.live_ids()}


def test_a_label_that_cannot_be_written_is_tried_again(engine, opened, alice, monkeypatch):
    held(engine, alice)
    noting = labels.Labels(opened.state / "elsewhere")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(labels.durable, "write", full)
        assert not noting.keep()
    assert noting.keep()
    assert len(list((opened.state / "elsewhere").iterdir())) == len(machines.live_ids())
