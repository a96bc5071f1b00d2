"""The engine goes by the calendar: what holds is made, prepared for, recorded, and nothing that is held is taken for it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from appliance.catalog import Actor, Class, Event, EventKind, Machine, MachineState, machines, now
from appliance.engine import Engine
from appliance.lifecycle import sizing
from appliance.services import calendars
from appliance.services import machines as verbs
from tests.unit.engine.fake import settle

pytestmark = pytest.mark.policy
S = MachineState


def put(admin: Actor, begins: datetime, minutes: int = 600, name: str = "Exam", **amounts: int) -> None:
    """A one-off of the class small, which begins then (UTC, to the minute)."""
    values: dict[str, Any] = {"name": name, "day": begins.date().isoformat(), **amounts}
    ends = begins + timedelta(minutes=minutes)
    calendars.put(admin, "small", "one_offs", "", {**values, "begin": f"{begins:%H:%M}", "end": f"{ends:%H:%M}"})


def ready() -> int:
    return machines.counts().get("small", {}).get(S.READY, 0)


def told() -> list[str]:
    return [one.message for one in Event.select().where(Event.kind == EventKind.CLASS_HOLDS).order_by(Event.id)]


def test_what_holds_is_made_and_recorded_with_its_numbers_and_goes_again(engine: Engine, small: Class, admin: Actor) -> None:
    settle(engine)
    assert (ready(), told(), Class.get().holds) == (2, [], {})
    put(admin, now() - timedelta(minutes=2), start=5, buffer=1)
    settle(engine, 30)
    assert ready() == 5
    assert told() == ["small has from now on: 5 ready at the start, 3 ready, at most 25, by Exam."]
    event = Event.get(Event.kind == EventKind.CLASS_HOLDS)
    assert event.data["before"] == {}
    assert event.data["after"]["maximum"] == {"machines": 25, "parts": [["", 20], ["Exam", 5]]}
    [key] = [one.key for one in (calendars.OneOff.model_validate(one) for one in Class.get().one_offs)]
    calendars.delete(admin, "small", "one_offs", key)
    settle(engine, 30)
    assert (ready(), Class.get().holds) == (2, {})
    assert told()[1:] == ["small has from now on: 2 ready, at most 20, by the policy alone."]


def test_each_machine_that_is_handed_out_counts_off_the_start(engine: Engine, small: Class, admin: Actor, alice: Actor, bob: Actor) -> None:
    Class.update(buffer=0).execute()
    put(admin, now() - timedelta(minutes=2), start=4)
    settle(engine, 30)
    assert ready() == 4
    for person in (alice, alice, bob):
        assert verbs.request(person, "small").machine_id is not None
    settle(engine, 30)
    assert ready() == 1


def test_a_window_s_maximum_takes_nothing_that_is_held(engine: Engine, small: Class, admin: Actor, alice: Actor, bob: Actor) -> None:
    Class.update(buffer=3).execute()
    settle(engine, 20)
    held = {verbs.request(person, "small").machine_id for person in (alice, alice, bob)}
    every = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    window = {"name": "Quiet", "days": every, "begin": "00:00", "end": "00:00", "maximum": 1, "buffer": 1}
    calendars.put(admin, "small", "windows", "", window)
    settle(engine, 30)
    assert {one.id for one in Machine.select().where(Machine.state == S.IN_USE)} == held
    assert ready() == 0


def test_what_begins_soon_is_prepared_for_as_long_before_as_machines_took(
    engine: Engine, small: Class, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(engine)
    begins = now().replace(second=0, microsecond=0) + timedelta(minutes=10)
    put(admin, begins, start=6)
    settle(engine)
    assert (ready(), told()) == (2, []), "these are made in no time, so there is none to lose"
    monkeypatch.setattr(sizing.machines, "creation_times", lambda name: [timedelta(minutes=9)] * 20)
    engine.controllers.pools.sizing._paces.clear()
    settle(engine, 30)
    assert ready() == 6
    assert told()[0].startswith("small is prepared for ")
    assert Class.get().holds["prepares"] == begins.isoformat(timespec="microseconds")
    monkeypatch.undo()
    engine.controllers.pools.sizing._paces.clear()
    settle(engine)
    assert ready() == 6, "what was begun is not given up"
