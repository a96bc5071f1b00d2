"""What was written while the clock was ahead holds nobody up for longer than it ever may, and destroys nothing when it was only behind."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import (
    Class,
    Handover,
    Machine,
    OutgoingMail,
    Run,
    RunState,
    Seed,
    Session,
    Snapshot,
    SnapshotState,
    Token,
    handovers,
    is_to_come,
    now,
    outgoing_mail,
    runs,
    sessions,
    snapshots,
)
from appliance.catalog.events import Actor
from appliance.identity import totp
from appliance.lifecycle import sizing
from appliance.services import sessions as service
from appliance.services import tokens

pytestmark = pytest.mark.cases

YEAR, HOUR, MINUTE = timedelta(days=365), timedelta(hours=1), timedelta(minutes=1)


def test_a_wait_is_one_no_longer_than_it_may_be() -> None:
    moment = now()
    assert is_to_come(moment + MINUTE, HOUR, moment)
    assert is_to_come(moment + HOUR, HOUR, moment)
    for over in (None, moment, moment - MINUTE, moment + HOUR + MINUTE, moment + YEAR):
        assert not is_to_come(over, HOUR, moment)


def test_hand_overs_that_failed_then_hold_nobody_up(small: Class, alice: Actor, bob: Actor) -> None:
    for person in (alice, bob):
        for _ in range(handovers.TRIES):
            with catalog.write():
                handovers.failed("small", person.account_id or 0, "No.", "")
    assert set(handovers.held_up(alice.account_id or 0)) == {"small"}
    failing = handovers.failing("small")
    assert failing
    assert failing.until
    Handover.update(held_until=now() + YEAR, failed_at=now() + YEAR).execute()
    assert handovers.held_up(alice.account_id or 0) == {}
    failing = handovers.failing("small")
    assert failing
    assert (failing.until, failing.who) == (None, ())


def test_a_class_and_a_snapshot_are_tried_again(small: Class) -> None:
    moment = now()
    Class.update(failures=3, failing_until=moment + 5 * MINUTE, fork=True).execute()
    assert sizing._allowance(Class.get(), moment, None) == 0
    Class.update(failing_until=moment + YEAR).execute()
    assert sizing._allowance(Class.get(), moment, None) == 1
    Snapshot.create(seed=Seed.get().id, fingerprint="", state=SnapshotState.FAILED, retry_at=moment + HOUR)
    assert snapshots.due_snapshots() == []
    Snapshot.update(retry_at=moment + YEAR).execute()
    assert len(snapshots.due_snapshots()) == 1


def test_letters_are_sent(alice: Actor) -> None:
    with catalog.write():
        OutgoingMail.create(about="a", account=alice.account_id, subject="s", text="t", path="/", tries=1, next_at=now() + 30 * MINUTE)
    assert not outgoing_mail.is_mail_due(now())
    OutgoingMail.update(next_at=now() + YEAR).execute()
    assert outgoing_mail.is_mail_due(now())
    assert len(outgoing_mail.due_mail(now())) == 1


def test_sessions_and_tokens_from_then_are_good_when_it_is_then_and_no_longer(alice: Actor) -> None:
    token = tokens.create(alice, "backup", ["machines.use"], 30)
    with catalog.write():
        Session.create(id="s", account=alice.account_id, expires_at=now() + HOUR)
    assert sessions.live("s")
    assert sessions.accounts_of(["s"]) == {"s": alice.account_id}
    assert [one.id for one in service.of_account(alice.account_id or 0)] == ["s"]
    assert tokens.find(token, "")
    Session.update(created_at=now() + YEAR, expires_at=now() + YEAR + HOUR).execute()
    Token.update(created_at=now() + YEAR, expires_at=now() + YEAR + HOUR).execute()
    assert sessions.live("s") is None
    assert sessions.accounts_of(["s"]) == {}
    assert service.of_account(alice.account_id or 0) == []
    assert tokens.find(token, "") is None
    assert (Session.select().count(), Token.select().count()) == (1, 1), "it may be behind now, and then they are good again"


def test_a_code_of_then_does_not_use_up_those_of_now() -> None:
    secret, moment = totp.new_secret(), now()
    here = totp.step_at(moment)
    entered = totp.code(secret, here)
    assert totp.matching_step(secret, entered, moment, here) is None
    assert totp.matching_step(secret, entered, moment, totp.step_at(moment + YEAR)) == here


def test_runs_look_again_at_what_they_wait_for(small: Class, ready: Callable[[int], list[Machine]]) -> None:
    [machine] = ready(1)
    with catalog.write():
        waiting = Run.create(kind="stop", state=RunState.WAITING, machine=machine.id, wake_at=now() + YEAR)
    assert waiting.id not in [one.id for one in runs.due_steps(now())]
    with catalog.write():
        runs.look_again(now())
    assert waiting.id in [one.id for one in runs.due_steps(now())]
