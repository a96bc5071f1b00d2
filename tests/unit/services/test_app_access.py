"""Whose connections go on: the one place that says so."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Grant, Machine, MachineState, Session, database, machines, now, options
from appliance.services import app_access
from appliance.services import machines as verbs
from appliance.services.app_access import Ticket

pytestmark = pytest.mark.revoked


def open_session(who: Actor, id: str) -> str:
    with catalog.write():
        Session.insert(id=id, account=who.account_id, expires_at=now() + timedelta(hours=1)).execute()
    return id


@pytest.fixture
def ticket(ready: Callable[[int], list[Machine]], alice: Actor) -> Ticket:
    """Alice's, for a machine of hers."""
    ready(1)
    granted = verbs.request(alice, "small")
    assert granted.machine_id
    return Ticket(open_session(alice, "hers"), granted.machine_id)


def holds(ticket: Ticket) -> bool:
    return app_access.good([ticket]) == {ticket}


def test_it_holds_while_nothing_ended(ticket: Ticket, bob: Actor) -> None:
    others = Ticket(open_session(bob, "his"), ticket.machine_id)
    assert app_access.good([ticket, others, Ticket("nobody's", ticket.machine_id), Ticket("hers", "nothing")]) == {ticket}
    assert app_access.good([]) == set()


@pytest.mark.parametrize("state", [MachineState.IN_USE, MachineState.SUSPENDED, MachineState.STOPPED, MachineState.REPROVISIONING])
def test_it_holds_whatever_its_person_does_with_the_machine(ticket: Ticket, state: MachineState) -> None:
    with catalog.write():
        machines.change(ticket.machine_id, machines.LIVE, state)
    assert holds(ticket)


ENDS: dict[str, Callable[[Ticket, Actor], object]] = {
    "the session": lambda ticket, _: Session.delete().execute(),
    "the session's time": lambda ticket, _: Session.update(expires_at=now()).execute(),
    "a session that waits for its code": lambda ticket, _: Session.update(waits=True).execute(),
    "the account": lambda ticket, _: Account.update(disabled=True).where(Account.name == "alice").execute(),
    "the lease": lambda ticket, _: machines.change(ticket.machine_id, machines.LIVE, MachineState.RECLAIMING),
    "the machine": lambda ticket, _: machines.change(ticket.machine_id, machines.LIVE, MachineState.RETIRED),
    "whose it is": lambda ticket, bob: Machine.update(owner=bob.account_id).execute(),
}


@pytest.mark.parametrize("what", ENDS)
def test_it_ends_with(ticket: Ticket, bob: Actor, what: str) -> None:
    assert holds(ticket)
    with catalog.write():
        ENDS[what](ticket, bob)
    assert not holds(ticket)


def test_an_admins_ends_with_the_grant_and_holds_not_before_it(ticket: Ticket, bob: Actor) -> None:
    theirs = Ticket(open_session(bob, "his"), ticket.machine_id)
    with catalog.write():
        grant = Grant.create(role="owner", account=bob.account_id, ends_at=now() + timedelta(hours=1))
    assert holds(theirs)
    with catalog.write():
        Grant.update(ends_at=now()).where(Grant.id == grant.id).execute()
    assert not holds(theirs)
    with catalog.write():
        Grant.update(ends_at=None, starts_at=now() + timedelta(hours=1)).where(Grant.id == grant.id).execute()
    assert not holds(theirs)
    with catalog.write():
        grant.delete_instance()
    assert not holds(theirs)
    assert holds(ticket)


def test_it_ends_when_codes_are_required_that_are_not_set_up(ticket: Ticket, alice: Actor) -> None:
    with catalog.write():
        Grant.create(role="owner", account=alice.account_id)
    assert holds(ticket)
    with catalog.write():
        options.put("codes_required", ["owner"])
    assert not holds(ticket)


def test_two_hundred_people_cost_little(ready: Callable[[int], list[Machine]], small: object) -> None:
    """It is asked twice a second."""
    made = ready(200)
    with catalog.write():
        for number, machine in enumerate(made):
            account = Account.create(name=f"p{number}", password="!")
            machines.change(machine.id, [MachineState.READY], MachineState.IN_USE, owner=account)
            Session.insert(id=f"s{number}", account=account, expires_at=now() + timedelta(hours=1)).execute()
    tickets = {Ticket(f"s{number}", machine.id) for number, machine in enumerate(made)}
    assert app_access.good(tickets) == tickets
    statements: list[str] = []
    database.db.connection().set_trace_callback(statements.append)
    begun = time.process_time()
    app_access.good(tickets)
    spent = time.process_time() - begun
    database.db.connection().set_trace_callback(None)
    assert len(statements) <= 3
    assert spent < 0.05
