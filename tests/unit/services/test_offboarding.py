"""Deleting an account: what becomes of what its person has, all at once or not at all."""

import uuid
from collections.abc import Callable

import pytest

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Class,
    DataDisk,
    DiskState,
    Event,
    Grant,
    Group,
    KeptDisk,
    KeptState,
    Lease,
    Machine,
    MachineState,
    Member,
    Quota,
    Request,
    Run,
    RunState,
    Seed,
    Session,
    Token,
    WorkItem,
    data_disks,
    now,
)
from appliance.errors import BadInput, Conflict, NotAllowed, NotFound
from appliance.services import machines, offboarding, sessions, tokens
from appliance.services.offboarding import Plan
from tests import world


@pytest.fixture
def ruth(small: Class, ready: Callable[[int], list[Machine]], admin: Actor) -> Actor:
    """Somebody who has one of everything."""
    ready(1)
    person = world.account("ruth", "Ruth Root")
    id = person.account_id
    machines.request(person, "small")  # one at once
    Class.update(per_person=5).execute()
    machines.request(person, "small")  # and one that she waits for
    held = Machine.get(Machine.owner == id)
    sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    tokens.create(person, "script", ["read"], 7)
    with catalog.write():
        Machine.update(state=MachineState.IN_USE).where(Machine.id == held.id).execute()
        DataDisk.create(
            id=str(uuid.uuid4()), account=id, machine_class="small", name="thesis", size=1, state=DiskState.READY, machine=held.id
        )
        DataDisk.create(id=str(uuid.uuid4()), account=id, machine_class="small", name="notes", size=1, state=DiskState.READY)
        kept = {"machine_name": "small-0", "machine_class": "small", "seed": Seed.get().id, "size": 8, "bytes": 1, "until": now()}
        KeptDisk.create(id=str(uuid.uuid4()), account=id, **kept)
        Member.create(group=Group.create(name="physicists"), account=id)
        Grant.create(role="operator", account=id)
        Quota.create(account=id, each=True, machines=5)
        run = Run.create(kind="assign", state=RunState.WAITING, machine_class="small")
        WorkItem.create(run=run, number=1, kind="task", title="Look", account=id)
    return person


def delete(admin: Actor, ruth: Actor, **plan: str) -> None:
    assert offboarding.delete(admin, ruth.account_id or 0, Plan(**plan)) == "ruth"


def test_what_somebody_has_is_told(ruth: Actor) -> None:
    has = offboarding.belongings(ruth.account_id or 0)
    assert [len(getattr(has, name)) for name in ("machines", "disks", "retained", "groups", "grants", "requests", "asked")] == [
        1,
        2,
        1,
        1,
        1,
        1,
        1,
    ]
    assert (has.quotas, has.tokens) == (1, 1)


def test_everything_that_let_in_is_gone_and_the_record_keeps_the_name(admin: Actor, ruth: Actor) -> None:
    delete(admin, ruth)
    assert Account.get_or_none(Account.name == "ruth") is None
    for model in (Session, Token, Member, Quota):
        assert model.select().count() == 0, model
    assert Grant.select().where(Grant.role == "operator").count() == 0
    assert catalog.check() == []
    event = Event.get(Event.kind == "account.deleted")
    assert (event.message, event.object) == ("admin deleted the account ruth.", "account:ruth")
    assert event.data["before"]["data_disks"] == ["notes", "thesis"]
    assert Event.select().where(Event.actor == "ruth").count() > 0
    assert world.account("ruth").account_id != ruth.account_id  # the name is free for somebody else


def test_machines_are_reclaimed_requests_end_and_what_is_over_still_counts_for_forecasts(admin: Actor, ruth: Actor) -> None:
    delete(admin, ruth)
    machine = Machine.get(Machine.reclaim_reason != "")
    assert (machine.state, machine.owner_id) == (MachineState.RECLAIMING, None)
    assert [lease.account_id for lease in Lease.select()] == [None]
    assert Lease.get().ended_at is not None
    assert sorted((str(one.state), one.hit, one.account_id) for one in Request.select()) == [
        ("cancelled", False, None),
        ("granted", True, None),
    ]


def test_disks_stay_as_nobodys_unless_it_is_said(admin: Actor, ruth: Actor) -> None:
    delete(admin, ruth)
    assert {(disk.name, disk.account_id, str(disk.state)) for disk in DataDisk.select()} == {
        ("thesis", None, "ready"),
        ("notes", None, "ready"),
    }
    assert (KeptDisk.get().account_id, KeptDisk.get().state) == (None, KeptState.KEPT)
    assert WorkItem.get().account_id is None  # the workflow puts it before others


def test_disks_and_what_waits_become_somebody_elses(admin: Actor, ruth: Actor, bob: Actor) -> None:
    with catalog.write():
        DataDisk.create(id=str(uuid.uuid4()), account=bob.account_id, machine_class="small", name="notes", size=1, state=DiskState.READY)
    delete(admin, ruth, disks="hand over", retained="hand over", to="bob")
    assert sorted(data_disks.names(bob.account_id or 0)) == ["notes", "small", "thesis"]
    assert KeptDisk.get().account_id == bob.account_id
    assert WorkItem.get().account_id == bob.account_id
    assert Machine.get(Machine.state == MachineState.RECLAIMING).owner_id == bob.account_id  # so its disk, if retained, is theirs, too
    assert machines.my_machines(bob.account_id or 0) == []


def test_disks_are_deleted_once_no_machine_has_them(admin: Actor, ruth: Actor) -> None:
    delete(admin, ruth, disks="delete", retained="delete")
    assert {disk.state for disk in DataDisk.select()} == {DiskState.REMOVING}
    assert [disk.name for disk in data_disks.due_disks()] == ["notes"]
    with catalog.write():
        data_disks.detach(DataDisk.get(DataDisk.name == "thesis").machine_id)
    assert {disk.name for disk in data_disks.due_disks()} == {"notes", "thesis"}
    assert KeptDisk.get().state is KeptState.REMOVING


@pytest.mark.badinput
def test_what_cannot_be_deleted_is_refused_and_nothing_has_changed(admin: Actor, ruth: Actor, bob: Actor, alice: Actor) -> None:
    id = ruth.account_id or 0
    with catalog.write():
        Account.update(disabled=True).where(Account.id == alice.account_id).execute()
    before = (Event.select().count(), [str(list(model.select().dicts())) for model in (Account, Machine, DataDisk, KeptDisk, Request)])
    for wrong, plan, said in (
        (BadInput, Plan(disks="hand over"), "Nobody is named"),
        (BadInput, Plan(disks="burn"), "cannot become"),
        (BadInput, Plan(disks="hand over", to="bbo"), "no account bbo"),
        (BadInput, Plan(disks="hand over", to="ruth"), "is to be deleted"),
        (BadInput, Plan(retained="hand over", to="alice"), "is disabled"),
    ):
        with pytest.raises(wrong, match=said):
            offboarding.delete(admin, id, plan)
    with pytest.raises(Conflict, match="your own"):
        offboarding.delete(admin, admin.account_id or 0, Plan())
    with catalog.write():
        KeptDisk.update(state=KeptState.RETURNING).execute()
    with pytest.raises(Conflict, match="coming back"):
        offboarding.delete(admin, id, Plan())
    with catalog.write():
        KeptDisk.update(state=KeptState.KEPT).execute()
    assert before == (
        Event.select().count(),
        [str(list(model.select().dicts())) for model in (Account, Machine, DataDisk, KeptDisk, Request)],
    )


@pytest.mark.authz
def test_a_delegate_deletes_nobody_who_may_more_and_nobody_elsewhere(admin: Actor, ruth: Actor, bob: Actor) -> None:
    with catalog.write():
        unit = catalog.OrgUnit.create(parent=catalog.ROOT, name="Science")
        Grant.create(role="delegated_admin", account=bob.account_id, over_unit=unit.id)
    with pytest.raises(NotFound):
        offboarding.delete(bob, ruth.account_id or 0, Plan())
    with catalog.write():
        Account.update(org_unit=unit.id).where(Account.id == ruth.account_id).execute()
    with pytest.raises(NotAllowed, match="more than you"):  # an operator over everything
        offboarding.delete(bob, ruth.account_id or 0, Plan())
    with catalog.write():
        Grant.delete().where(Grant.account == ruth.account_id).execute()
    with pytest.raises(BadInput, match="There is no account admin"):  # to nobody whom they do not know
        offboarding.delete(bob, ruth.account_id or 0, Plan(disks="hand over", to="admin"))
    delete(bob, ruth)


def test_the_last_owner_and_a_directorys_people_stay(admin: Actor, ruth: Actor) -> None:
    with catalog.write():
        Account.update(directory_id="x").where(Account.id == ruth.account_id).execute()
    with pytest.raises(Conflict, match="in the directory"):
        offboarding.delete(admin, ruth.account_id or 0, Plan())
    with catalog.write():
        Account.update(directory_off=True, disabled=True).where(Account.id == ruth.account_id).execute()
    delete(admin, ruth)
    second = world.account("second", is_admin=True)
    offboarding.delete(second, admin.account_id or 0, Plan())
    with pytest.raises(Conflict):
        offboarding.check(Actor("engine"), Account.get(Account.name == "second"))
