"""Tickets to screens and serial lines: who is given one, what it is good for, and when what it opened ends."""

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Event, Grant, Lease, Machine, MachineState, Session, machines, now
from appliance.errors import BadInput, Conflict, NotAllowed, NotFound
from appliance.services import consoles, one_shot
from appliance.services import machines as verbs
from appliance.services.consoles import Admission
from appliance.services.one_shot import OneShot
from appliance.settings import Settings

pytestmark = [pytest.mark.console, pytest.mark.revoked]
HERE = "https://appliance.test:8443"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Seconds since some moment, which a test sets."""
    clock = SimpleNamespace(at=1000.0)
    monkeypatch.setattr(consoles.time, "monotonic", lambda: clock.at)
    monkeypatch.setattr(consoles, "_tickets", OneShot())
    monkeypatch.setattr(consoles, "_noted", {})
    return clock


def session(who: Actor, id: str) -> str:
    with catalog.write():
        Session.insert(id=id, account=who.account_id, expires_at=now() + timedelta(hours=1)).execute()
    return id


@pytest.fixture
def machine(ready: Callable[[int], list[Machine]], alice: Actor, clock: SimpleNamespace) -> Machine:
    """One that Alice holds, who is signed in, as are Bob and an admin."""
    ready(2)
    id = verbs.request(alice, "small").machine_id
    assert id
    session(alice, "hers")
    with catalog.write():
        machines.change(id, [MachineState.ASSIGNED], MachineState.IN_USE)
    found = machines.by_id(id)
    assert found
    return found


def give(who: Actor, session_id: str, machine: Machine, settings: Settings, target: str = "screen", *, take_over: bool = False) -> str:
    return consoles.issue(who, session_id, machine.id, target, HERE, settings, take_over=take_over)


def test_an_owner_comes_in_and_may_type(alice: Actor, machine: Machine, settings: Settings) -> None:
    found = consoles.redeem(give(alice, "hers", machine, settings), "hers", machine.id, "screen", HERE)
    assert found == Admission("hers", machine.id, alice.account_id or 0, alice.account_id, "screen", control=True, address=found.address)
    assert found.address == settings.address(machine.slot)
    assert Admission.load(found.dump()) == found
    assert not Event.select().where(Event.kind.startswith("machine.w")).exists()


def test_a_ticket_is_good_once(alice: Actor, machine: Machine, settings: Settings) -> None:
    token = give(alice, "hers", machine, settings)
    consoles.redeem(token, "hers", machine.id, "screen", HERE)
    with pytest.raises(NotAllowed):
        consoles.redeem(token, "hers", machine.id, "screen", HERE)


@pytest.mark.parametrize(("after", "is_good"), [(0, True), (30, True), (30.1, False), (31, False), (3600, False)])
def test_it_lasts_for_half_a_minute(
    alice: Actor, machine: Machine, settings: Settings, clock: SimpleNamespace, after: float, *, is_good: bool
) -> None:
    token = give(alice, "hers", machine, settings)
    clock.at += after
    if is_good:
        consoles.redeem(token, "hers", machine.id, "screen", HERE)
    else:
        with pytest.raises(NotAllowed):
            consoles.redeem(token, "hers", machine.id, "screen", HERE)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "other",
    [
        {"session_id": "his"}, {"machine_id": "another"}, {"target": "serial"}, {"target": "tcp/22"}, {"target": "screen/"}, {"target": ""},
        {"origin": "https://appliance.test:9000"}, {"origin": "http://appliance.test:8443"}, {"origin": ""}, {"token": "guessed"}, {"token": ""},
    ],
    ids=str,
)  # fmt: skip
def test_it_is_good_for_nothing_else_and_used_up_by_the_try(
    alice: Actor, bob: Actor, machine: Machine, settings: Settings, other: dict[str, str]
) -> None:
    session(bob, "his")
    token = give(alice, "hers", machine, settings)
    asked = {"token": token, "session_id": "hers", "machine_id": machine.id, "target": "screen", "origin": HERE}
    with pytest.raises(NotAllowed):
        consoles.redeem(**{**asked, **other})
    if "token" not in other:
        with pytest.raises(NotAllowed):
            consoles.redeem(**asked)


def test_a_right_that_ended_meanwhile_lets_nobody_in(alice: Actor, machine: Machine, settings: Settings) -> None:
    token = give(alice, "hers", machine, settings)
    verbs.release(alice, machine.id)
    with pytest.raises(NotAllowed):
        consoles.redeem(token, "hers", machine.id, "screen", HERE)


@pytest.mark.badinput
@pytest.mark.parametrize(
    "target", ["", "screens", "vnc", "tcp/", "tcp/0", "tcp/65536", "tcp/22/x", "tcp/2 2", "serial/1", "tcp/٢٢", "\nscreen"]
)
def test_a_target_that_is_none_is_refused(alice: Actor, machine: Machine, settings: Settings, target: str) -> None:
    with pytest.raises(BadInput):
        give(alice, "hers", machine, settings, target)


def test_others_do_not_learn_that_the_machine_exists(bob: Actor, machine: Machine, settings: Settings) -> None:
    with pytest.raises(NotFound):
        give(bob, session(bob, "his"), machine, settings)


@pytest.mark.parametrize("state", [MachineState.ASSIGNED, MachineState.STOPPED, MachineState.SUSPENDED, MachineState.REPROVISIONING])
def test_a_machine_that_shows_nothing_gives_none(alice: Actor, machine: Machine, settings: Settings, state: MachineState) -> None:
    with catalog.write():
        machines.change(machine.id, machines.LIVE, state)
    with pytest.raises(Conflict):
        give(alice, "hers", machine, settings)


def test_a_session_has_a_bounded_number_of_tickets(alice: Actor, bob: Actor, machine: Machine, settings: Settings) -> None:
    first, *_, last = [give(alice, "hers", machine, settings) for _ in range(one_shot.EACH + 1)]
    assert len(consoles._tickets) == one_shot.EACH
    with pytest.raises(NotAllowed):
        consoles.redeem(first, "hers", machine.id, "screen", HERE)
    consoles.redeem(last, "hers", machine.id, "screen", HERE)


# -- somebody else's machine -----------------------------------------------------------------


def kinds() -> list[str]:
    return [event.kind for event in Event.select().order_by(Event.id) if event.kind.startswith(("machine.watched", "machine.taken_over"))]


def test_an_operator_watches_and_takes_over_by_a_step_that_is_written_down(admin: Actor, machine: Machine, settings: Settings) -> None:
    session(admin, "theirs")
    for _ in range(2):  # the second one is a look that goes on
        watching = consoles.redeem(give(admin, "theirs", machine, settings), "theirs", machine.id, "screen", HERE)
        assert not watching.control
    assert kinds() == ["machine.watched"]
    with pytest.raises(BadInput, match="Take over first"):
        give(admin, "theirs", machine, settings, "tcp/22")
    for _ in range(2):
        typing = consoles.redeem(give(admin, "theirs", machine, settings, take_over=True), "theirs", machine.id, "screen", HERE)
        assert typing.control
    assert kinds() == ["machine.watched", "machine.taken_over", "machine.taken_over"]
    assert Event.get(Event.kind == "machine.taken_over").message == f"admin took over the screen of alice's {machine.name}."


def test_a_machine_of_nobodys_is_watched_until_it_is_somebodys(admin: Actor, alice: Actor, machine: Machine, settings: Settings) -> None:
    session(admin, "theirs")
    waiting = Machine.get(Machine.state == MachineState.READY)
    found = consoles.redeem(give(admin, "theirs", waiting, settings), "theirs", waiting.id, "screen", HERE)
    assert not found.control
    assert kinds() == ["machine.watched"]
    assert verbs.request(alice, "small").machine_id == waiting.id
    assert consoles.good([found]) == set()
    assert consoles.why_ended(found) == "The machine is somebody else's now."


def test_who_is_there_is_known_to_the_owner_and_nobody_after_a_start(
    admin: Actor, alice: Actor, machine: Machine, settings: Settings
) -> None:
    session(admin, "theirs")
    found = consoles.redeem(give(admin, "theirs", machine, settings), "theirs", machine.id, "screen", HERE)
    hers = consoles.redeem(give(alice, "hers", machine, settings), "hers", machine.id, "screen", HERE)
    rows = [consoles.begin(found), consoles.begin(hers)]
    assert alice.account_id
    [seen] = consoles.others([machine], alice.account_id)[machine.id]
    assert (seen.account.name, seen.target, seen.control) == ("admin", "screen", False)
    consoles.end(rows[0])
    assert consoles.others([machine], alice.account_id) == {}
    assert [row.account.name for row in consoles.others([machine], admin.account_id or 0)[machine.id]] == ["alice"]
    consoles.forget()
    assert consoles.others([machine], 0) == {}


# -- when it ends ------------------------------------------------------------------------------

ENDS: dict[str, tuple[Callable[[Machine, Actor, Actor], object], str]] = {
    "sign-out": (lambda *_: Session.delete().execute(), "You are signed out."),
    "account": (lambda *_: Account.update(disabled=True).where(Account.name == "alice").execute(), "You are signed out."),
    "lease": (
        lambda machine, *_: machines.change(machine.id, machines.LIVE, MachineState.RECLAIMING, reclaim_reason="lease ended"),
        "Its lease has ended.",
    ),
    "give-back": (
        lambda machine, *_: machines.change(machine.id, machines.LIVE, MachineState.RECLAIMING, reclaim_reason="released"),
        "The machine was given back.",
    ),
    "take-back": (
        lambda machine, *_: machines.change(machine.id, machines.LIVE, MachineState.RETIRED, reclaim_reason="taken back by an admin"),
        "The machine was taken back.",
    ),
    "reprovision": (
        lambda machine, *_: machines.change(machine.id, machines.LIVE, MachineState.REPROVISIONING),
        "The machine is being made anew.",
    ),
    "transfer": (
        lambda machine, _, bob: Machine.update(owner=bob.account_id).where(Machine.id == machine.id).execute(),
        "The machine is somebody else's now.",
    ),
}


@pytest.mark.parametrize("what", ENDS)
def test_it_ends_with_a_reason(alice: Actor, bob: Actor, machine: Machine, settings: Settings, what: str) -> None:
    found = consoles.redeem(give(alice, "hers", machine, settings), "hers", machine.id, "screen", HERE)
    assert consoles.good([found]) == {found}
    end, reason = ENDS[what]
    with catalog.write():
        end(machine, alice, bob)
    assert consoles.good([found]) == set()
    assert consoles.why_ended(found) == reason
    assert Lease.select().count() == 1


def test_an_operators_ends_with_the_grant(bob: Actor, machine: Machine, alice: Actor, settings: Settings) -> None:
    session(bob, "his")
    with catalog.write():
        grant = Grant.create(role="owner", account=bob.account_id)
    found = consoles.redeem(give(bob, "his", machine, settings, "serial"), "his", machine.id, "serial", HERE)
    assert consoles.good([found]) == {found}
    with catalog.write():
        grant.delete_instance()
    assert consoles.good([found]) == set()
    assert consoles.why_ended(found) == "You may not see it any more."
