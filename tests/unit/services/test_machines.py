"""Asking for a machine, holding it, giving it back: the rules, without a hypervisor."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Class, Event, Lease, Machine, MachineState, Request, RequestState, machines, now
from appliance.catalog import seeds as seed_rows
from appliance.errors import Conflict, DpeError, NotAllowed, NotFound
from appliance.lifecycle import leases, outcomes
from appliance.services import app_access
from appliance.services import machines as verbs

S = MachineState
NO_AGENT = DpeError("The agent does not answer.", "Look at the machine's console.")


def test_a_ready_machine_is_mine_at_once(ready, alice):
    [machine] = ready(1)
    asked = verbs.request(alice, "small")
    assert (asked.state, asked.machine_id, asked.hit) == (RequestState.GRANTED, machine.id, True)
    [mine] = verbs.my_machines(alice.account_id)
    assert mine.id == machine.id
    assert mine.state is S.ASSIGNED
    assert timedelta(minutes=59) < mine.lease.ends_at - now() <= timedelta(minutes=60)
    assert Event.select().where(Event.kind == "machine.assigned").get().data == {"hit": True}


def test_an_empty_buffer_queues_people_in_order_and_serves_them_as_machines_come_up(ready, small, alice, bob):
    first, second = verbs.request(alice, "small"), verbs.request(bob, "small")
    assert (first.state, first.hit) == (RequestState.WAITING, False)
    assert machines.ahead(second).people == 1
    ready(1)
    assert outcomes.serve_waiting("small") == 1
    assert Request.get_by_id(first.id).state is RequestState.GRANTED
    assert Request.get_by_id(second.id).state is RequestState.WAITING


def test_a_machine_that_comes_up_goes_to_who_waits(ready, small, alice):
    [machine] = ready(1)
    machines.change(machine.id, [S.READY], S.CREATING)
    verbs.request(alice, "small")
    outcomes.came_up(machines.by_id(machine.id))
    assert [m.id for m in verbs.my_machines(alice.account_id)] == [machine.id]


def test_nobody_holds_more_than_the_class_allows_waiting_counted(ready, alice):
    ready(1)
    verbs.request(alice, "small")
    verbs.request(alice, "small")
    with pytest.raises(Conflict, match=r"You hold 2 of 2 already. Give one back first."):
        verbs.request(alice, "small")


@pytest.mark.badinput
def test_a_class_that_is_not_there_or_withdrawn_is_not_found(ready, alice):
    ready(1)
    Class.update(enabled=False).execute()
    for name in ("small", "nosuch", "'; DROP TABLE machine; --"):
        with pytest.raises(NotFound):
            verbs.request(alice, name)


def test_newest_seed_first_then_the_machine_that_waited_longest(ready, small, alice):
    old = ready(2)
    with catalog.write():
        fresh = catalog.Seed.create(machine_class="small", version=2, state=catalog.SeedState.READY)
        seed_rows.promote(fresh)
    new = ready(1)
    verbs.request(alice, "small")
    verbs.request(alice, "small")
    assert {m.id for m in verbs.my_machines(alice.account_id)} == {new[0].id, old[0].id}


def test_stop_waiting(small, alice, bob):
    asked = verbs.request(alice, "small")
    with pytest.raises(NotFound):
        verbs.cancel_request(bob, asked.id)
    verbs.cancel_request(alice, asked.id)
    assert machines.waiting() == {}
    with pytest.raises(NotFound):
        verbs.cancel_request(alice, asked.id)


def held(ready, person, state=S.IN_USE):
    ready(1)
    asked = verbs.request(person, "small")
    if state is not S.ASSIGNED:
        machines.change(asked.machine_id, [S.ASSIGNED], state)
    return asked.machine_id


def test_extend_by_rule_and_no_further(ready, alice, admin):
    id = held(ready, alice)
    before = machines.lease_of(id).ends_at
    assert verbs.extend(alice, id) == before + timedelta(minutes=30)
    verbs.extend(alice, id)
    with pytest.raises(Conflict, match="as often as it may be"):
        verbs.extend(alice, id)
    assert verbs.extend(admin, id) == before + timedelta(minutes=90)


def test_give_back_ends_the_lease_and_reclaims(ready, alice):
    id = held(ready, alice)
    verbs.release(alice, id)
    machine = machines.by_id(id)
    assert (machine.state, machine.reclaim_reason) == (S.RECLAIMING, "released")
    assert Lease.get(Lease.machine == id).end_reason == "released"
    assert verbs.my_machines(alice.account_id) == []
    verbs.release(alice, id)  # twice is fine
    assert Event.select().where(Event.kind == "machine.reclaiming").count() == 1


@pytest.mark.badinput
def test_another_s_machine_does_not_exist_for_me(ready, alice, bob):
    id = held(ready, alice)
    for verb in (verbs.get_machine, verbs.extend, verbs.release):
        with pytest.raises(NotFound):
            verb(bob, id)
    assert machines.by_id(id).state is S.IN_USE


def test_a_lease_that_ends_reclaims_after_a_warning(ready, alice):
    id = held(ready, alice)
    Lease.update(began_at=now() - timedelta(hours=1), ends_at=now() + timedelta(minutes=5)).execute()
    assert (leases.warn(), leases.warn()) == (1, 0)
    leases.expire()
    assert machines.by_id(id).state is S.IN_USE
    Lease.update(ends_at=now() - timedelta(seconds=1)).execute()
    leases.expire()
    assert machines.by_id(id).state is S.RECLAIMING
    assert Lease.get(Lease.machine == id).end_reason == "lease ended"


def test_an_extension_takes_the_warning_back(ready, alice):
    id = held(ready, alice)
    Lease.update(began_at=now() - timedelta(hours=1), ends_at=now() + timedelta(minutes=5)).execute()
    assert leases.warn() == 1
    verbs.extend(alice, id)
    assert leases.warn() == 0
    Lease.update(ends_at=now() + timedelta(minutes=5), warned_at=now() - timedelta(minutes=30)).execute()  # half an hour later
    assert leases.warn() == 1


def test_a_machine_that_cannot_be_handed_over_costs_nobody_their_turn(ready, alice, bob):
    id = held(ready, alice, S.ASSIGNED)
    later = verbs.request(bob, "small")
    outcomes.could_not_be_handed_over(machines.by_id(id), NO_AGENT)
    assert machines.first_waiting("small").account_id == alice.account_id
    assert machines.ahead(later).people == 1
    assert machines.by_id(id).state is S.FAILED
    assert machines.lease_of(id) is None


def test_failures_hold_the_class_back_doubling_and_success_forgives(ready, small):
    waits = []
    for _ in range(3):
        [machine] = ready(1)
        Machine.update(state=S.CREATING).where(Machine.id == machine.id).execute()
        outcomes.did_not_come_up(machines.by_id(machine.id), NO_AGENT)
        machine_class = Class.get()
        waits.append(round((machine_class.failing_until - now()).total_seconds() / 5))
    assert waits == [1, 2, 4]
    assert machine_class.problem.startswith("The agent does not answer.")
    [machine] = ready(1)
    Machine.update(state=S.CREATING).where(Machine.id == machine.id).execute()
    outcomes.came_up(machines.by_id(machine.id))
    assert (Class.get().failures, Class.get().failing_until, Class.get().problem) == (0, None, "")


def test_the_door_opens_for_the_owner_and_for_an_admin_who_is_recorded(ready, alice, bob, admin, opened):
    id = held(ready, alice)
    port = verbs.ways(machines.by_id(id), opened)[0].port
    target = app_access.admit(alice, port, opened)
    assert (target.address, target.port) == (opened.address(machines.by_id(id).slot), 8080)
    assert machines.lease_of(id).opened_at is not None
    assert Event.select().where(Event.kind == "machine.entered").count() == 0
    with pytest.raises(NotAllowed, match="not your machine"):
        app_access.admit(bob, port, opened)
    app_access.admit(admin, port, opened)
    app_access.admit(admin, port, opened)
    [entered] = Event.select().where(Event.kind == "machine.entered")
    assert (entered.actor, entered.machine_id) == ("admin", id)


def test_the_door_is_closed_before_hand_over_and_after_the_lease(ready, alice, opened):
    id = held(ready, alice, S.ASSIGNED)
    port = verbs.ways(machines.by_id(id), opened)[0].port
    with pytest.raises(Conflict, match="not ready"):
        app_access.admit(alice, port, opened)
    machines.change(id, [S.ASSIGNED], S.IN_USE)
    verbs.release(alice, id)
    with pytest.raises((Conflict, NotAllowed)):
        app_access.admit(alice, port, opened)
    with pytest.raises(NotFound):
        app_access.admit(alice, port + 1, opened)


def test_nothing_is_left_of_a_machine_that_is_gone_but_its_history(ready, alice):
    id = held(ready, alice)
    verbs.release(alice, id)
    outcomes.gone(machines.by_id(id))
    machine = machines.by_id(id)
    assert (machine.state, machine.owner_id) == (S.RETIRED, None)
    assert Lease.get(Lease.machine == id).account_id == alice.account_id


@pytest.mark.badinput
def test_nobody_is_put_in_a_line_that_never_moves(small, alice):
    Class.update(maximum=0, buffer=0).execute()
    [offer] = verbs.offers(alice.account_id)
    assert "set their number to nought" in offer.refusal
    with pytest.raises(Conflict, match="Ask your admin"):
        verbs.request(alice, "small")
    assert Request.select().count() == 0
