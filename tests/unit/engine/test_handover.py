"""Hand-overs that fail, and fail again: few machines are used, and whoever waits, and whoever looks after them, reads why."""

import threading
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import (
    Class,
    Event,
    Handover,
    Machine,
    MachineState,
    Request,
    RequestState,
    Run,
    Step,
    handovers,
    machines,
    now,
    ssh_keys,
)
from appliance.errors import Conflict, DpeError
from appliance.hypervisor.provider import NoData
from appliance.laps import NAMING
from appliance.lifecycle import outcomes
from appliance.services import accounts, classes, overview, runs
from appliance.services import machines as verbs
from tests.unit.conftest import account
from tests.unit.engine.fake import Data, settle
from tests.unit.identity.test_ssh_keys import KEY
from tests.waiting import until

pytestmark = pytest.mark.lost

S = MachineState
WHY = "usermod ended with status 3."


@pytest.fixture
def refuses(provider, monkeypatch):
    """Machines do not take those whose names are in the set; returns the set."""
    who, wait = set(), provider.wait

    def waits(spec, *args, personalise=b"", **kwargs):
        if any(f'"name": "{name}"'.encode() in personalise for name in who):
            raise DpeError(WHY, "Look at its console.")
        return wait(spec, *args, personalise=personalise, **kwargs)

    monkeypatch.setattr(provider, "wait", waits)
    return who


def hours(engine, rounds: int = 16) -> None:
    """Let much time pass, but for waits that a person has: each wait of the engine is over at once."""
    for _ in range(rounds):
        settle(engine, 2)
        with catalog.write():
            Run.update(wake_at=now()).where(Run.wake_at.is_null(False), Run.ended_at.is_null()).execute()
            early = now() - timedelta(hours=1)
            Handover.update(failed_at=early).execute()


def used(reason: str = "failed") -> int:
    return Machine.select().where(Machine.reclaim_reason == reason).count()


def offer(who) -> verbs.Offer:
    [found] = verbs.offers(who.account_id)
    return found


def test_where_the_time_of_a_hand_over_went(engine, alice):
    settle(engine, 12)
    verbs.request(alice, "small")
    settle(engine)
    machine = Machine.get(Machine.owner == alice.account_id)
    found = verbs.waterfall(machine)
    assert [(lap.name, lap.inside) for lap in found.laps] == [
        ("waiting for one that is ready", False),
        ("until the engine is at it", False),
        ("waking it", False),
        (NAMING, False),
        ("writing it down", False),
        ("input", True),
        ("network", True),
    ]
    step = Step.get(Step.name == "hand_over")
    assert found.seconds == pytest.approx((step.ended_at - Request.get().created_at).total_seconds(), abs=0.002)
    # And of one that was handed over before anybody took the time, or never.
    Step.update(output={"forked": False}).where(Step.name == "hand_over").execute()
    assert verbs.waterfall(machine) is None
    Step.delete().execute()
    assert verbs.waterfall(machine) is None


def test_a_person_whom_no_machine_takes_uses_few_and_reads_why(engine, alice, bob, refuses):
    refuses.add("alice")
    asked = verbs.request(alice, "small")
    hours(engine)
    assert used() == handovers.TRIES
    asked = Request.get_by_id(asked.id)
    assert (asked.state, asked.machine_id) == (RequestState.REFUSED, None)
    assert WHY in asked.reason
    [told] = runs.refused(alice.account_id)
    assert WHY in told.reason
    assert WHY in offer(alice).refusal
    assert "minutes" in offer(alice).refusal
    with pytest.raises(Conflict, match=r"could not be made yours"):
        verbs.request(alice, "small")
    assert not Run.select().where(Run.ended_at.is_null(), Run.kind == "assign").exists()
    [pools] = overview.pools()
    assert (pools.handing.machines, pools.handing.problem, pools.handing.who) == (handovers.TRIES, WHY, ("alice",))
    # Nobody else is held up by it.
    assert pools.handing.until is None
    assert not offer(bob).refusal
    got = verbs.request(bob, "small")
    settle(engine)
    assert Machine.get(Machine.id == got.machine_id).state is S.IN_USE


def test_who_had_their_tries_is_served_no_more_while_that_is_undone(engine, alice, refuses, monkeypatch):
    waiting, real = [], outcomes.could_not_be_handed_over

    def seen(machine, error):
        real(machine, error)
        waiting.append(machines.waiting().get("small", 0))

    monkeypatch.setattr(outcomes, "could_not_be_handed_over", seen)
    refuses.add("alice")
    verbs.request(alice, "small")
    hours(engine)
    assert waiting == [1, 1, 0]


def test_each_later_try_costs_one_machine_and_a_longer_wait(engine, alice, refuses):
    refuses.add("alice")
    verbs.request(alice, "small")
    hours(engine)
    waits = []
    for more in range(1, 4):
        before = Handover.get().held_until - now()
        with catalog.write():
            Handover.update(held_until=now()).execute()
        verbs.request(alice, "small")
        hours(engine, 10)
        assert used() == handovers.TRIES + more
        waits.append((Handover.get().held_until - now()) / before)
    assert all(1.9 < wait < 2.1 for wait in waits)


def test_who_changes_their_keys_may_try_at_once_and_success_forgets_all(engine, alice, refuses):
    refuses.add("alice")
    verbs.request(alice, "small")
    hours(engine)
    accounts.add_ssh_keys(alice, KEY)
    assert not offer(alice).refusal
    refuses.clear()
    verbs.request(alice, "small")
    settle(engine)
    assert [machine.state for machine in verbs.my_machines(alice.account_id)] == [S.IN_USE]
    assert not Handover.select().exists()


def test_an_admin_can_let_them_try_again(engine, alice, admin, refuses):
    refuses.add("alice")
    verbs.request(alice, "small")
    hours(engine)
    classes.retry(admin, "small")
    assert not offer(alice).refusal


def test_a_class_whose_machines_take_nobody_is_tried_one_at_a_time(engine, refuses, monkeypatch):
    people = [account(name) for name in ("ann", "ben", "cat", "dan", "eve")]
    refuses |= {who.name for who in people}
    for who in people:
        verbs.request(who, "small")
    for _ in range(12):  # the class waits, whatever else is over
        settle(engine, 2)
        with catalog.write():
            Run.update(wake_at=now()).where(Run.wake_at.is_null(False), Run.ended_at.is_null()).execute()
    found = handovers.failing("small")
    assert found.until is not None
    assert found.until > now()
    assert found.people >= handovers.PEOPLE
    assert used() <= len(people)
    assert [event.kind for event in Event.select().where(Event.kind == "class.not_handed_over")] == ["class.not_handed_over"]
    waits = [machine.step for machine in Machine.select().where(Machine.state == S.ASSIGNED)]
    assert waits
    assert all(WHY in text for text in waits)
    [pools] = overview.pools()
    assert pools.handing.until == found.until
    before = used()
    with catalog.write():
        Handover.update(failed_at=now() - timedelta(hours=1)).execute()
    for _ in range(6):
        settle(engine, 1)
        with catalog.write():
            Run.update(wake_at=now()).where(Run.wake_at.is_null(False), Run.ended_at.is_null()).execute()
    assert used() == before + 1
    # Once it works again, all that wait are served, whoever was refused meanwhile excepted.
    refuses.clear()
    hours(engine)
    held = {machine.owner.name for machine in Machine.select().where(Machine.state == S.IN_USE)}
    refused = {asked.account.name for asked in Request.select().where(Request.state == RequestState.REFUSED)}
    assert held | refused == {who.name for who in people}
    assert not refused
    assert handovers.failing("small") is None


def test_an_unusable_key_in_the_catalog_costs_no_machine(engine, provider, alice):
    with catalog.write():  # as an older version, or a backup, may have it
        ssh_keys.add(alice.account_id, [f"{KEY} alice@home", "ssh-ed25519 AAAA\x07"])
    settle(engine)
    asked = verbs.request(alice, "small")
    settle(engine)
    assert Machine.get(Machine.id == asked.machine_id).state is S.IN_USE
    assert f"ssh_key {KEY} alice@home\n".encode() in provider.told[asked.machine_id]
    assert used() == 0


def test_a_machine_that_takes_no_data_disk_is_not_given_one_after_the_other(engine, provider, alice, monkeypatch):
    with catalog.write():
        Class.update(data_disk=1).execute()

    def start(spec):
        if spec.data is not None:
            raise NoData("It is left as it is.")

    monkeypatch.setattr(provider, "start", lambda spec, real=provider.start: (start(spec), real(spec)))
    verbs.request(alice, "small")
    hours(engine)
    assert used() == handovers.TRIES
    assert len(provider.data) <= handovers.TRIES
    assert all(isinstance(disk, Data) for disk in provider.data.values())


def test_whoever_gives_back_while_it_is_made_theirs_has_it_taken_away_at_once(engine, alice, provider, monkeypatch):
    """Nobody waits any longer for a machine that does not answer then, and its class is not held to be at fault."""
    waits, real = threading.Event(), provider.wait

    def hangs(spec, *args, given_up=None, **kwargs):
        if given_up is None:
            return real(spec, *args, **kwargs)
        waits.set()
        until(given_up, every=0.01)
        raise Conflict("It is not wanted any more.")

    monkeypatch.setattr(provider, "wait", hangs)
    settle(engine)
    got = verbs.request(alice, "small")
    engine.tick()
    assert waits.wait(30)
    verbs.release(alice, got.machine_id)
    settle(engine)
    assert Machine.get(Machine.id == got.machine_id).state is S.RETIRED
    assert not Handover.select().exists()
    assert (Class.get().failures, Class.get().problem) == (0, "")
