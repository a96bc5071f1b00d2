"""Rules make pools follow what was read; each decision is an event with its numbers."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Actor, Class, Event, EventKind, Machine, MachineState, now
from appliance.engine import Engine
from appliance.lifecycle import calendars
from appliance.readings import Kind, Subject
from appliance.scenario.policy import Form
from appliance.services import classes, readings, rules
from appliance.settings import Settings
from tests.unit.engine.fake import settle

pytestmark = pytest.mark.policy
QUEUE = {
    "name": "queue",
    "of": "sent",
    "metric": "length",
    "each": 5.0,
    "statistic": "last",
    "most": 5,
    "cooldown_up": 0,
    "cooldown_down": 0,
}


def told() -> list[tuple[str, str]]:
    kinds = (EventKind.CLASS_SCALED, EventKind.CLASS_NOT_SCALED)
    return [(one.kind, one.message) for one in Event.select().where(Event.kind.in_(kinds)).order_by(Event.id)]


def ready() -> int:
    return int(Machine.select().where(Machine.state == MachineState.READY).count())


def read(engine: Engine, settings: Settings, **values: float) -> None:
    if values:
        readings.send(settings, Subject(Kind.CLASS, "small"), values)
    engine.schedule.hurry("rules")
    settle(engine, 4)


def test_a_pool_follows_a_queue_that_is_pushed_and_holds_when_it_stops(
    engine: Engine, opened: Settings, small: Class, admin: Actor
) -> None:
    classes.change_policy(admin, "small", Form.POLICY, {"buffer": 0})
    rules.put(admin, "small", "", QUEUE)
    read(engine, opened)
    assert (ready(), told()) == (
        0,
        [("class.not_scaled", "small: minimum stays 0, by the rule queue: no value of length was seen lately.")],
    )
    read(engine, opened, length=12)
    assert ready() == 3
    assert told()[1:] == [("class.scaled", "small: minimum from 0 to 3, by the rule queue: length (last) is 12, one machine for each 5.")]
    event = Event.select().where(Event.kind == "class.scaled").get()
    assert event.data["after"] == {"minimum": 3, "wanted": 3, "value": 12.0, "rule": "queue", "held": None}
    assert calendars.holding(Class.get()).minimum.parts == (("Rules", 3),)
    read(engine, opened, length=50)
    assert (ready(), told()[2][1].rsplit("; ", 1)[1]) == (5, "10 wanted, and its rules say 5 at most.")
    read(engine, opened)
    read(engine, opened)
    assert len(told()) == 3, "that it would want more is told once an hour"
    read(engine, opened, length=0)
    assert ready() == 0
    with catalog.write():
        Class.update(scaling={"minimum": {"machines": 2, "changed": now().timestamp(), "told": {}}}).execute()
    read(engine, opened, length=float(-3))
    assert told()[-1][1] == "small: minimum stays 2, by the rule queue: length is -3, which cannot be."
    rules.delete(admin, "small", "queue")
    read(engine, opened)
    assert (Class.get().scaling, ready()) == ({}, 0)


def test_the_preview_replays_yesterday(engine: Engine, opened: Settings, small: Class, admin: Actor) -> None:
    at = now() - timedelta(hours=20)
    store = engine.controllers.recorder.store
    for minute in range(0, 600, 10):
        value = 20.0 if 120 <= minute < 300 else 0.0
        store.record(at + timedelta(minutes=minute), {Subject(Kind.CLASS, "small", "length"): {"value": value}})
        store.thin(at + timedelta(minutes=minute + 2))
    found = rules.preview(opened, Class.get(), "", {**QUEUE, "minutes": 60})
    assert found.is_known
    assert [decision.machines for _, decision in found.replayed.told if decision.changes] == [4, 0]
    assert not rules.preview(opened, Class.get(), "", {**QUEUE, "metric": "other"}).is_known
