"""Machines that nobody uses, in the engine: found, warned of, given up."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Class, Event, Lease, Machine, MachineState, Run, machines, now, runs
from appliance.errors import NotFound, Unavailable
from appliance.hypervisor.provider import GuestSigns
from appliance.lifecycle import idle
from appliance.services import app_access, moves
from appliance.services import machines as verbs
from tests.unit.engine.fake import settle

S = MachineState
HOUR = timedelta(hours=1)


@pytest.fixture
def held(engine, provider, alice):
    """A machine that alice holds, of a class in which an hour without use is idle; nothing told of use for two."""
    with catalog.write():
        Class.update(idle_minutes=60, idle_grace=15, buffer=1, lease_minutes=600).execute()
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    assert machines.by_id(id).state is S.IN_USE
    unused(engine, 2 * HOUR)
    return id


def unused(engine, time: timedelta) -> None:
    """As if that much time had passed in which nobody used it, and the engine had looked all the while."""
    before = now() - time
    engine.controllers.heartbeat.watched_since = before
    Machine.update(state_since=before).where(Machine.state == S.IN_USE).execute()
    Lease.update(began_at=before, busy_at=None).execute()


def look(engine) -> None:
    engine.schedule.hurry("unopened", "idle")
    settle(engine)


def warned(engine, ago: timedelta) -> None:
    look(engine)
    Lease.update(idle_warned_at=now() - ago).where(Lease.idle_warned_at.is_null(False)).execute()


def test_its_owner_is_warned_once_and_then_it_is_taken_back(engine, provider, held, alice):
    look(engine)
    look(engine)
    event = Event.get(Event.kind == "lease.idle")
    assert "has not been used since" in event.message
    assert event.account_id == alice.account_id
    assert Event.select().where(Event.kind == "lease.idle").count() == 1
    assert machines.by_id(held).state is S.IN_USE
    warned(engine, timedelta(minutes=14))
    look(engine)
    assert machines.by_id(held).state is S.IN_USE
    warned(engine, timedelta(minutes=15))
    look(engine)
    assert machines.by_id(held).state is S.RETIRED
    lease = Lease.get()
    assert (lease.end_reason, machines.by_id(held).reclaim_reason) == ("idle", "idle")
    assert machines.counts()["small"] == {S.READY: 1}, "a clean one takes its place"


def test_or_it_is_suspended_and_not_judged_at_once_when_it_goes_on(engine, provider, held):
    Class.update(idle_then="suspend").execute()
    warned(engine, timedelta(minutes=15))
    look(engine)
    assert machines.by_id(held).state is S.SUSPENDED
    assert Lease.get().idle_warned_at is None
    moves.resume(catalog.Actor("alice", machines.by_id(held).owner_id), held)
    settle(engine)
    assert machines.by_id(held).state is S.IN_USE
    look(engine)
    assert Lease.get().idle_warned_at is None


def test_any_load_that_is_read_is_use(engine, provider, held, monkeypatch):
    warned(engine, timedelta(minutes=14))
    assert Lease.get().idle_warned_at is not None
    busy = iter(range(1, 1000))
    stats = provider.stats
    monkeypatch.setattr(provider, "stats", lambda: [type(one)(**{**one.__dict__, "net_received": next(busy) * 10**9}) for one in stats()])
    for _ in range(2):
        engine.schedule.hurry("readings")
        settle(engine)
    lease = Lease.get()
    assert lease.idle_warned_at is None
    assert now() - lease.busy_at < timedelta(minutes=1)
    look(engine)
    assert Lease.get().idle_warned_at is None


def test_the_guest_is_asked_only_when_all_else_is_quiet(engine, provider, held):
    Lease.update(busy_at=now()).execute()
    look(engine)
    assert not [call for call in provider.calls if call[0] == "signs"]
    Lease.update(busy_at=None).execute()
    provider.store.signs[held] = GuestSigns(1, 0.0, 300.0)
    look(engine)
    assert ("signs", held) in provider.calls
    lease = Lease.get()
    assert lease.idle_warned_at is None
    assert timedelta(minutes=4) < now() - lease.busy_at < timedelta(minutes=6), "so it is not asked again for a while"


def test_a_guest_that_does_not_answer_says_nothing(engine, provider, held):
    provider.fails["signs"] = Unavailable("The agent does not answer.")
    look(engine)
    assert Lease.get().idle_warned_at is not None


def test_opening_it_is_use(engine, opened, held, alice):
    warned(engine, timedelta(minutes=14))
    app_access.admit(alice, opened.app_port + machines.by_id(held).slot, opened)
    lease = Lease.get()
    assert lease.idle_warned_at is None
    assert now() - lease.busy_at < timedelta(minutes=1)


def test_a_page_that_asks_much_costs_one_write_a_minute(engine, opened, held, alice, monkeypatch):
    port = opened.app_port + machines.by_id(held).slot
    app_access.admit(alice, port, opened)
    written: list[object] = []
    monkeypatch.setattr(app_access.usage, "note_usage", lambda *args: written.append(args))
    for _ in range(50):
        app_access.admit(alice, port, opened)
    assert written == []
    Lease.update(busy_at=now() - timedelta(seconds=61)).execute()
    app_access.admit(alice, port, opened)
    assert len(written) == 1
    Class.update(idle_minutes=0).execute()
    app_access.admit(alice, port, opened)
    assert len(written) == 1, "a class that does not look for it costs nothing"


def test_who_says_that_they_are_there_keeps_it(engine, held, alice, bob):
    warned(engine, timedelta(minutes=14))
    with pytest.raises(NotFound):
        verbs.still_here(bob, held)
    assert Lease.get().idle_warned_at is not None
    verbs.still_here(alice, held)
    assert Lease.get().idle_warned_at is None
    look(engine)
    assert Lease.get().idle_warned_at is None
    assert Event.get(Event.kind == "lease.kept").actor == "alice"


def test_a_lease_that_ends_sooner_is_left_to_its_end(engine, held):
    Lease.update(ends_at=now() + timedelta(minutes=14)).execute()
    look(engine)
    assert Lease.get().idle_warned_at is None


def test_the_buffer_and_what_is_worked_on_are_never_idle(engine, held):
    Machine.update(state_since=now() - 9 * HOUR).execute()
    with catalog.write():
        id = runs.begin_run("reprovision", machine_id=held, waits="a test")
    look(engine)
    assert Lease.get().idle_warned_at is None
    assert machines.counts()["small"] == {S.READY: 1, S.IN_USE: 1}
    Run.update(ended_at=now(), state=catalog.RunState.DONE).where(Run.id == id).execute()
    look(engine)
    assert Lease.get().idle_warned_at is not None


def test_time_in_which_nobody_looked_does_not_count(engine, provider, held):
    provider.away = True
    settle(engine)
    provider.away = False
    look(engine)
    assert Lease.get().idle_warned_at is None
    Lease.update(idle_warned_at=now() - HOUR).execute()
    engine.controllers.heartbeat.watched_since = now() - timedelta(minutes=14)
    look(engine)
    assert machines.by_id(held).state is S.IN_USE


def test_classes_that_do_not_look_for_it_cost_nothing(engine, provider, held):
    Class.update(idle_minutes=0).execute()
    look(engine)
    assert Lease.get().idle_warned_at is None
    assert not [call for call in provider.calls if call[0] == "signs"]


def test_who_comes_back_in_the_last_moment_keeps_it(engine, provider, held, alice, monkeypatch):
    warned(engine, timedelta(minutes=15))
    ask = provider.signs

    def signs(id, **kwargs):
        verbs.still_here(alice, id)
        return ask(id, **kwargs)

    monkeypatch.setattr(provider, "signs", signs)
    look(engine)
    assert machines.by_id(held).state is S.IN_USE
    assert Lease.get().idle_warned_at is None


def test_what_is_never_opened_is_taken_back_and_what_was_opened_is_not(engine, opened, held, alice):
    with catalog.write():
        Class.update(idle_minutes=0, connect_minutes=130, per_person=5).execute()
    assert idle.take_back_unopened() == 0, "they have ten minutes yet"
    other = verbs.request(alice, "small").machine_id
    settle(engine)
    app_access.admit(alice, opened.app_port + machines.by_id(other).slot, opened)
    unused(engine, timedelta(minutes=131))
    look(engine)
    assert machines.by_id(held).state is S.RETIRED
    assert machines.by_id(other).state is S.IN_USE
    assert Lease.get(Lease.machine == held).end_reason == "never opened"
