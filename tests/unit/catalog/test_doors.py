"""The ports of the front door: a person keeps theirs, and no two machines have one."""

import random

import pytest

from appliance import catalog
from appliance.catalog import Machine, MachineState, machines
from appliance.catalog.models import KeptDoor
from appliance.services import machines as verbs

pytestmark = pytest.mark.hostile


def door_of(id: str) -> int:
    machine = machines.by_id(id)
    assert machine is not None
    return machine.door


def claim(actor) -> str:
    granted = verbs.request(actor, "small")
    assert granted.machine_id
    return granted.machine_id


def give_back(id: str) -> None:
    """The machine is gone for good."""
    with catalog.write():
        machines.change(id, machines.LIVE, MachineState.RECLAIMING)
        machines.end_lease(id, "released")
        machines.change(id, machines.LIVE, MachineState.RETIRED)


def test_a_person_keeps_a_port_from_machine_to_machine(ready, alice, bob):
    ready(3)
    first = claim(alice)
    port = door_of(first)
    other = claim(bob)
    give_back(first)
    for _ in range(5):
        ready(2)
        again = claim(alice)
        assert door_of(again) == port
        assert machines.behind(port).id == again
        give_back(again)
    assert door_of(other) != port


def test_a_port_is_kept_while_the_last_machine_is_still_being_reclaimed(ready, alice):
    ready(2)
    first = claim(alice)
    port = door_of(first)
    with catalog.write():
        machines.change(first, machines.LIVE, MachineState.RECLAIMING)
        machines.end_lease(first, "released")
    second = claim(alice)
    assert door_of(second) == port != door_of(first)


def test_whoever_holds_a_machine_keeps_their_port_when_another_wants_it(ready, alice, bob):
    """More people than ports: one who comes back finds another there, and gets one more."""
    ready(1)
    first = claim(alice)
    port = door_of(first)
    give_back(first)
    ready(1)
    with catalog.write():
        KeptDoor.insert(account=bob.account_id, machine_class="small", door=port, used_at=catalog.now()).execute()
    held = claim(bob)
    assert door_of(held) == port
    ready(1)
    mine = claim(alice)
    assert door_of(mine) != port
    assert door_of(held) == port


def test_no_two_machines_have_a_port_whatever_happens(ready, alice, bob, opened):
    chance, held = random.Random(7), []
    for _ in range(60):
        if held and chance.random() < 0.5:
            give_back(held.pop(chance.randrange(len(held))))
        else:
            ready(1)
            held.append(claim(chance.choice([alice, bob])) if len(held) < 3 else held[0])
        live = [machine.door for machine in Machine.select().where(Machine.state != MachineState.RETIRED)]
        assert len(set(live)) == len(live)
        assert all(0 <= door < opened.slots for door in live)


def test_a_machine_that_is_made_gets_a_port_that_is_free(ready, small, alice):
    ready(2)
    first = claim(alice)
    give_back(first)
    ready(1)
    second = claim(alice)  # behind the first one's port now, which another's slot has
    with catalog.write():
        machine = machines.create(small, Machine.get(Machine.id == second).seed, "fresh", door_of(second))
    assert machine.slot == door_of(second) != machine.door
