"""What is kept of a machine, copied of its data disk, and brought back, here or on another appliance."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from appliance import catalog, layout
from appliance.catalog import (
    Account,
    Backup,
    Class,
    DataDisk,
    Event,
    EventKind,
    KeptDisk,
    Lease,
    MachineState,
    Run,
    RunState,
    VersionState,
    data_disks,
    machines,
    now,
    options,
    sequences,
)
from appliance.catalog import Sequence as Row
from appliance.engine import Engine
from appliance.errors import BadInput, Conflict, DpeError, NotFound, Unavailable
from appliance.lifecycle import disk_copies
from appliance.services import disks as disk_verbs
from appliance.services import machines as verbs
from appliance.services import offboarding, recovery
from appliance.services.recovery import Choice
from appliance.settings import load as load_settings
from appliance.workflow import sequence
from appliance.workflow.load import load
from tests.unit.conftest import account, small_class
from tests.unit.engine.fake import FakeProvider, settle
from tests.unit.engine.test_data import got, hurry, read, write

S, R = MachineState, RunState


class Copying(FakeProvider):
    """A copy is a file, too, as the folder of copies is looked at without a provider."""

    def backup_data(self, source, target, id=None):
        super().backup_data(source, target, id)
        target.write_text(self.backups[str(target)].content)
        target.with_name(f"{target.name}.json").write_text(json.dumps({"sha256": "0" * 64}))

    def remove_backup(self, backup):
        super().remove_backup(backup)
        backup.unlink(missing_ok=True)


@pytest.fixture
def provider():
    return Copying()


@pytest.fixture
def giving(engine):
    Class.update(data_disk=5).execute()
    settle(engine)
    return engine


def follow(name, **moves):
    """The class follows a sequence with these activities: move, then before or after."""
    with catalog.write():
        Row.create(name=name, title=name)
        around = {move: sequence.Around.model_validate(parts) for move, parts in moves.items()}
        sequences.add(name, sequence.dump(around), VersionState.PROMOTED)
        Class.update(sequence=name).execute()


def activity(kind, **options):
    return {"before": [{"name": kind.replace("_", "-"), "kind": kind, "with": options}]}


def runs_of(kind):
    return list(Run.select().where(Run.kind == kind).order_by(Run.id))


# -- kept disks -----------------------------------------------------------------------------------


@pytest.fixture
def kept(giving, provider, alice):
    """A machine of alice's that was given back and kept, with a thesis on its data disk."""
    follow("keeps", reclaim=activity("keep_disk", days=3))
    machine = got(giving, alice)
    write(giving, provider, machine, "thesis")
    verbs.release(alice, machine.id)
    settle(giving)
    return KeptDisk.get()


def test_a_disk_is_kept_for_its_days_and_then_removed(giving, provider, kept):
    assert machines.by_id(kept.id).state is S.RETIRED
    assert provider.kept == {kept.id: 2}
    of_it = [verb for verb, id in provider.calls if id == kept.id]
    assert of_it[of_it.index("execute") :] == ["execute", "stop", "keep", "destroy"]  # it forgets its data disk first
    assert timedelta(days=2, hours=23) < kept.until - now() < timedelta(days=3)
    assert kept.data_id == DataDisk.get().id
    KeptDisk.update(until=now()).execute()
    settle(giving)
    assert provider.kept == {}
    assert KeptDisk.select().count() == 0
    assert "days are over" in Event.get(Event.kind == "kept_disk.removed").message


@pytest.mark.parametrize("to", ["bob", ""])
def test_what_is_kept_of_who_was_deleted_is_the_successors_or_nobodys(giving, provider, alice, bob, admin, to):
    """Machines are still being taken away when the account is gone."""
    follow("keeps", reclaim=activity("keep_disk", days=3))
    machine = got(giving, alice)
    write(giving, provider, machine, "thesis")
    offboarding.delete(admin, alice.account_id, offboarding.Plan(disks="hand over" if to else "delete", to=to))
    settle(giving, 20)
    assert machines.by_id(machine.id).state is S.RETIRED
    assert [(run.kind, run.state) for run in Run.select().where(Run.machine == machine.id)][-1] == ("reclaim", R.DONE)
    owner = bob.account_id if to else None
    assert KeptDisk.get().account_id == owner
    assert [disk.account_id for disk in DataDisk.select()] == ([owner] if to else [])  # deleted once no machine had it
    assert Event.select().where(Event.level == "error").count() == 0
    if to:
        recovery.bring_back_kept(bob, machine.id)
        settle(giving, 20)
        [mine] = verbs.my_machines(bob.account_id)
        assert read(giving, provider, mine) == "thesis"


def test_who_is_deleted_while_a_machine_is_made_theirs_leaves_nothing_behind(giving, provider, alice, bob, admin):
    follow("waits", assign={"after": [{"name": "rest", "kind": "wait", "with": {"time": "1h"}}]})
    Class.update(per_person=5).execute()
    verbs.request(alice, "small")
    giving.tick()
    for _ in range(3):
        verbs.request(alice, "small")
    assert Run.select().where(Run.kind == "assign", Run.ended_at.is_null()).count() == 4
    offboarding.delete(admin, alice.account_id, offboarding.Plan(disks="delete"))
    settle(giving, 30)
    assert Run.select().where(Run.ended_at.is_null()).count() == 0
    assert Event.select().where(Event.level == "error").count() == 0
    verbs.request(bob, "small")
    settle(giving, 20)
    assert [machine.state for machine in verbs.my_machines(bob.account_id)] == [S.IN_USE]


def test_a_kept_disk_comes_back_as_a_machine_of_its_owner_with_the_data_disk_it_had(giving, provider, alice, kept):
    recovery.bring_back_kept(alice, kept.id)
    settle(giving, 20)
    [mine] = verbs.my_machines(alice.account_id)
    assert mine.state is S.IN_USE
    assert mine.id != kept.id
    assert provider.made_of[mine.id] == kept.id
    assert read(giving, provider, mine) == "thesis"
    assert Lease.get(Lease.machine == mine.id).ends_at > now()
    [run] = runs_of("recover")
    assert (run.state, run.machine_id) == (R.DONE, mine.id)
    assert provider.kept == {}  # nobody needs it any more
    assert KeptDisk.select().count() == 0


def test_nobody_else_gets_a_machine_that_comes_back(giving, provider, alice, bob, kept):
    Class.update(buffer=0).execute()
    settle(giving)
    Class.update(maximum=0).execute()
    for machine in machines.dispensable("small", 9):
        giving._remove_ready(machine, "the test wants none")
    settle(giving)
    Class.update(maximum=20).execute()
    recovery.bring_back_kept(alice, kept.id)
    asked = verbs.request(bob, "small")
    settle(giving, 20)
    [mine] = verbs.my_machines(alice.account_id)
    assert provider.made_of[mine.id] == kept.id
    assert catalog.Request.get_by_id(asked.id).machine_id != mine.id


def test_bringing_back_fails_and_nothing_is_lost(giving, provider, alice, kept):
    provider.fails["clone"] = DpeError("The disk is full.")
    recovery.bring_back_kept(alice, kept.id)
    settle(giving, 20)
    [run] = runs_of("recover")
    assert run.state is R.FAILED
    assert "disk is full" in run.problem
    assert KeptDisk.get().state == "kept"
    assert provider.kept
    assert verbs.my_machines(alice.account_id) == []
    provider.fails.clear()
    recovery.bring_back_kept(alice, kept.id)
    settle(giving, 20)
    [mine] = verbs.my_machines(alice.account_id)
    assert read(giving, provider, mine) == "thesis"


@pytest.mark.badinput
def test_what_cannot_come_back_says_why(giving, provider, alice, bob, kept):
    with pytest.raises(NotFound):
        recovery.bring_back_kept(bob, kept.id)
    Class.update(per_person=1).execute()
    got(giving, alice)
    with pytest.raises(Conflict, match="You hold 1 of 1"):
        recovery.bring_back_kept(alice, kept.id)
    Class.update(per_person=2).execute()
    recovery.bring_back_kept(alice, kept.id)
    with pytest.raises(Conflict, match="coming back already"):
        recovery.bring_back_kept(alice, kept.id)
    with pytest.raises(Conflict, match="coming back"):
        recovery.forget_kept(alice, kept.id)


def test_a_kept_disk_can_be_forgotten_before_its_time(giving, provider, alice, kept):
    recovery.forget_kept(alice, kept.id)
    settle(giving)
    assert provider.kept == {}
    assert KeptDisk.select().count() == 0


def test_a_machine_that_vanished_is_reclaimed_although_nothing_of_it_can_be_kept(giving, provider, alice):
    follow("keeps", reclaim=activity("keep_disk"))
    machine = got(giving, alice)
    provider.destroy(machine.id)
    verbs.release(alice, machine.id)
    settle(giving)
    assert machines.by_id(machine.id).state is S.RETIRED
    assert KeptDisk.select().count() == 0


# -- copies -----------------------------------------------------------------------------------------


def copied(giving, provider, person, text="thesis"):
    """A machine whose data disk was copied because somebody asked for it."""
    machine = got(giving, person)
    write(giving, provider, machine, text)
    disk_verbs.back_up(person, data_disks.of_machine(machine.id).id)
    settle(giving)
    return machine


def test_a_data_disk_is_copied_when_somebody_asks(giving, provider, alice, monkeypatch):
    listed, tell = [], disk_copies.data_disks.record_disk_event

    def told(kind, *rest, **more):
        listed.append((kind, Backup.select().count()))
        tell(kind, *rest, **more)

    monkeypatch.setattr(disk_copies.data_disks, "record_disk_event", told)
    machine = copied(giving, provider, alice)
    assert (EventKind.DATA_DISK_COPIED, 1) in listed, "whoever hears of it finds it in the list"
    [copy] = Backup.select()
    assert (copy.machine_name, copy.class_name, copy.account_name, copy.size, copy.problem) == (machine.name, "small", "alice", 5, "")
    assert DataDisk.get().backup_at is not None
    told = disk_copies.read_manifest(Path(copy.path).with_name(Path(copy.path).stem + disk_copies.ABOUT))
    assert (told.format, told.sha256, told.owner) == (1, "0" * 64, "alice")


def test_a_sequence_copies_before_a_machine_goes_and_keeps_so_many(giving, provider, alice, monkeypatch):
    follow("copies", reclaim=activity("backup_data", copies=2))
    real = disk_copies.write_manifest
    for day, text in enumerate(("one", "two", "three")):
        later = timedelta(days=day)
        monkeypatch.setattr(
            disk_copies, "write_manifest", lambda disk, machine, since, *rest, later=later: real(disk, machine, since + later, *rest)
        )
        machine = got(giving, alice)
        write(giving, provider, machine, text)
        begun = [run.id for run in runs_of("reclaim")]
        verbs.release(alice, machine.id)
        settle(giving)
        assert [run.state for run in runs_of("reclaim") if run.id not in begun] == [R.DONE]
    assert sorted(copy.content for copy in provider.backups.values()) == ["three", "two"]


def test_copies_come_back_on_another_appliance_that_knows_nothing_of_them(giving, provider, alice, tmp_path):
    """Catalog, machines and disks are another's: the folder of copies is all there is."""
    copied(giving, provider, alice)
    there = load_settings({}, state=tmp_path / "elsewhere", network="other", slots=50, backup_folder=str(giving.settings.backups))
    catalog.close()
    layout.prepare(there)
    catalog.open(there.catalog)
    account("bob")
    alice_there = account("alice")
    small_class()
    with catalog.write():
        options.put("setup_done", True)
    elsewhere = Copying()
    elsewhere.backups.update(provider.backups)
    other = Engine(there, elsewhere)
    settle(other)
    [one] = recovery.recoverable()
    assert (one.account.name, one.machine_class.name, one.newest, one.missing) == ("alice", "small", True, "")
    [run] = recovery.bring_back(alice_there, [Choice(one.copy.path)])
    settle(other, 20)
    assert Run.get_by_id(run).state is R.DONE
    [mine] = verbs.my_machines(alice_there.account_id)
    assert mine.owner.name == "alice"
    assert read(other, elsewhere, mine) == "thesis"
    assert data_disks.of_machine(mine.id).id != one.copy.disk
    other.stop()
    other.close()
    catalog.close()
    catalog.open(giving.settings.catalog)


def test_whose_name_is_not_known_here_is_chosen(giving, provider, alice, bob, admin):
    machine = copied(giving, provider, alice)
    verbs.release(alice, machine.id)
    Account.update(name="alice-of-old").where(Account.id == alice.account_id).execute()
    settle(giving)
    [one] = recovery.recoverable()
    assert one.missing == "a person"
    with pytest.raises(BadInput, match="nobody here is called alice"):
        recovery.bring_back(admin, [Choice(one.copy.path)])
    recovery.bring_back(admin, [Choice(one.copy.path, "bob")])
    settle(giving, 20)
    [mine] = verbs.my_machines(bob.account_id)
    assert read(giving, provider, mine) == "thesis"


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda copy, about: copy.unlink(), "missing"),
        (lambda copy, about: copy.write_text("thes"), "4 bytes instead of 6"),
        (lambda copy, about: about.write_text("{"), "manifest is damaged"),
        (lambda copy, about: about.write_text("x" * 100_000), "too long"),
        (lambda copy, about: about.write_text(about.read_text().replace('"format": 1', '"format": 2')), "newer appliance"),
        (lambda copy, about: about.write_text(about.read_text().replace('"size": 5', '"size": -5')), "size"),
        (lambda copy, about: about.write_text(about.read_text().replace(copy.name, "other.qcow2")), "another copy's"),
        (lambda copy, about: about.write_text(about.read_text().replace(copy.name, "../../etc/passwd")), "copy_name"),
    ],
)
def test_a_spoiled_copy_says_so_and_is_not_brought_back(giving, provider, alice, admin, spoil, says):
    copied(giving, provider, alice)
    copy = Path(Backup.get().path)
    spoil(copy, copy.with_name(copy.stem + disk_copies.ABOUT))
    disk_copies.scan(giving.settings)
    [one] = recovery.recoverable()
    assert says in one.problem
    with pytest.raises(Conflict, match="cannot be brought back"):
        recovery.bring_back(admin, [Choice(one.copy.path)])
    assert runs_of("recover") == []


@pytest.mark.badinput
def test_a_copy_that_turns_out_damaged_leaves_nothing_behind(giving, provider, alice, admin):
    copied(giving, provider, alice)
    provider.fails["restore_data"] = DpeError("The copy is damaged and not used.", "Use another copy.")
    [run] = recovery.bring_back(admin, [Choice(Backup.get().path)])
    for _ in range(4):
        hurry(giving)
    row = Run.get_by_id(run)
    assert row.state is R.FAILED
    assert "damaged" in row.problem
    assert DataDisk.select().count() == 1
    assert len(verbs.my_machines(alice.account_id)) == 1
    assert Backup.select().count() == 1


@pytest.mark.badinput
def test_all_or_none_are_brought_back(giving, provider, alice, admin):
    copied(giving, provider, alice)
    good = Choice(Backup.get().path)
    for bad in (Choice("/nowhere"), good):
        with pytest.raises(DpeError):
            recovery.bring_back(admin, [good, bad])
    with pytest.raises(BadInput, match="Nothing is chosen"):
        recovery.bring_back(admin, [])
    with pytest.raises(BadInput, match="no class"):
        recovery.bring_back(admin, [Choice(good.path, class_name="nothing")])
    with pytest.raises(BadInput):
        recovery.bring_back(admin, [Choice(good.path, account="no-one")])
    assert runs_of("recover") == []
    recovery.bring_back(admin, [good])
    with pytest.raises(Conflict, match="already"):
        recovery.bring_back(admin, [good])


def test_a_copy_that_fails_says_so_with_the_disk(giving, provider, alice):
    provider.fails["backup_data"] = Unavailable("There is no room for a disk.")
    copied(giving, provider, alice)
    assert "no room" in DataDisk.get().backup_problem
    assert Backup.select().count() == 0
    assert Event.get(Event.kind == "data_disk.not_copied").level == "error"


@pytest.mark.parametrize("verb", ["restore_data", "clone", "start", "wait"])
def test_a_killed_engine_brings_back_one_machine_and_one_disk(giving, provider, alice, admin, opened, monkeypatch, verb):
    machine = copied(giving, provider, alice)
    verbs.release(alice, machine.id)
    settle(giving)
    [run] = recovery.bring_back(admin, [Choice(Backup.get().path)])
    real = getattr(provider, verb)
    died = []

    def die_after(*args, **options):
        done = real(*args, **options)
        if not died:
            died.append(verb)
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(provider, verb, die_after)
    for _ in range(12):
        giving.tick()
        for job in giving.jobs.under_way():
            job.exception(10)
        if died:
            break
    assert died
    giving.stop()
    again = Engine(opened, provider)
    settle(again, 20)
    assert Run.get_by_id(run).state is R.DONE
    [mine] = verbs.my_machines(alice.account_id)
    assert DataDisk.select().count() == 2  # the one there was, and the copy's
    assert read(again, provider, mine) == "thesis"
    again.close()


def test_the_shipped_sequence_fits(engine):
    shipped = load(Path("playbooks/workflows/recovery.yml"))
    planned_steps = sequence.planned_steps("recover", sequence.dump(shipped.moves))
    assert [planned.name for planned in planned_steps if planned.part == "core"] == ["recover", "make", "hand_over"]
    assert any(planned.part == "after" for planned in planned_steps)


def test_what_recovery_asks_first_is_asked(giving, provider, alice, admin):
    copied(giving, provider, alice)
    with catalog.write():
        Row.create(name="recovery", title="Recovery")
        around = {"recover": sequence.Around.model_validate(activity("approval"))}
        sequences.add("recovery", sequence.dump(around), VersionState.PROMOTED)
    [run] = recovery.bring_back(admin, [Choice(Backup.get().path)])
    settle(giving)
    assert Run.get_by_id(run).state is R.WAITING
    assert catalog.WorkItem.get().state == "open"
