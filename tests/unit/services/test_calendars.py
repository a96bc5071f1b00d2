"""A class's calendar: changed by admins, taken from the scenario, and what holds by it."""

import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import Actor, Class, Event, options, policies, snapshots
from appliance.errors import BadInput, Conflict, NotFound
from appliance.lifecycle import calendars as rows
from appliance.pools import windows
from appliance.scenario.policy import Form
from appliance.services import calendars, classes
from appliance.services import machines as verbs
from appliance.services.classes import ForkState
from appliance.settings import Settings
from tests.unit.catalog.test_database import at_version

pytestmark = pytest.mark.policy

LESSONS = {"name": "Lessons", "days": ["mon", "tue"], "begin": "08:00", "end": "16:00", "holidays": "not", "start": 10, "buffer": 5}
EXAM = {"name": "Exam", "day": "2026-12-03", "begin": "09:00", "end": "12:00", "start": 60}


def names(kind: str = "windows") -> list[str]:
    return [one["name"] for one in getattr(Class.get(), kind)]


def test_windows_are_added_changed_moved_and_deleted_each_with_its_event(small: Class, admin: Actor) -> None:
    calendars.put(admin, "small", "windows", "", LESSONS)
    calendars.put(admin, "small", "windows", "", {**LESSONS, "name": "Night", "begin": "22:00", "end": "06:00", "start": None})
    calendars.move(admin, "small", "Night", later=False)
    calendars.move(admin, "small", "Night", later=False)  # it is the first already
    assert names() == ["Night", "Lessons"]
    calendars.put(admin, "small", "windows", "Lessons", {**LESSONS, "name": "School", "maximum": 20})
    assert (names(), Class.get().windows[1]["maximum"]) == (["Night", "School"], 20)
    calendars.delete(admin, "small", "windows", "Night")
    assert names() == ["School"]
    told = list(Event.select().where(Event.kind == "class.calendar").order_by(Event.id))
    assert [one.message for one in told] == ["admin changed the calendar of small."] * 5
    assert [len(one.data["after"]["windows"]) for one in told] == [1, 2, 2, 2, 1]
    with pytest.raises(NotFound, match="There is no window Night"):
        calendars.delete(admin, "small", "windows", "Night")


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("kind", "values", "field", "says"),
    [
        ("windows", {**LESSONS, "start": 21}, "start", "Start (21) of Lessons is above the class's maximum (20)"),
        ("windows", {**LESSONS, "start": 30, "maximum": 25}, "", "Start (30) of Lessons is above its maximum (25)"),
        ("windows", {**LESSONS, "begin": "8"}, "begin", "'8' is not a time of day"),
        ("windows", {**LESSONS, "name": "", "buffer": None}, "name", "at least 1 character"),
        ("windows", {**LESSONS, "start": None, "buffer": None}, "", "Lessons changes nothing"),
        ("one_offs", {**EXAM, "day": "tomorrow"}, "day", "'tomorrow' is not a day"),
        ("one_offs", {**EXAM, "start": 10_001}, "start", "less than or equal to 10000"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_changed(
    small: Class, admin: Actor, kind: calendars.Kind, values: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(BadInput) as told:
        calendars.put(admin, "small", kind, "", values)
    assert says.casefold() in told.value.message.casefold()
    assert told.value.field == field
    assert names(kind) == []


@pytest.mark.badinput
def test_two_of_one_name_are_refused(small: Class, admin: Actor) -> None:
    calendars.put(admin, "small", "windows", "", LESSONS)
    with pytest.raises(BadInput, match="There are two called Lessons"):
        calendars.put(admin, "small", "windows", "", LESSONS)


def test_what_a_lower_maximum_leaves_no_room_for_stays_and_can_be_deleted(small: Class, admin: Actor) -> None:
    for name in ("a", "b"):
        calendars.put(admin, "small", "windows", "", {**LESSONS, "name": name})
    classes.change_policy(admin, "small", Form.POLICY, {"maximum": 3})
    calendars.delete(admin, "small", "windows", "a")
    bounds = windows.at(rows.calendar_of(Class.get()), datetime(2026, 11, 30, 9, tzinfo=UTC))  # a Monday
    assert (names(), bounds.start.machines, bounds.start.is_bounded) == (["b"], 3, True)


def test_the_scenario_s_calendar_holds_until_an_admin_changes_it_and_again_after_that(small: Class, admin: Actor) -> None:
    canonical = {**LESSONS, "minimum": None, "maximum": None}
    spec = {**small.spec, "policy": {**small.spec["policy"], "windows": [canonical]}}
    with catalog.write():
        policies.follow(small, spec)
    assert names() == ["Lessons"]
    calendars.put(admin, "small", "windows", "", {**LESSONS, "name": "more"})
    assert names() == ["Lessons", "more"]
    classes.reset_policy(admin, "small", "windows")
    assert (names(), Class.get().overrides.get("windows")) == (["Lessons"], None)


def test_holidays_and_the_time_zone_count(small: Class, admin: Actor) -> None:
    calendars.put(admin, "small", "windows", "", {**LESSONS, "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]})
    calendars.set_holidays(admin, country="DE", part="", own={}, without=[])
    with catalog.write():
        options.put("time_zone", "Europe/Berlin")

    def buffer(moment: datetime) -> int:
        return windows.at(rows.calendar_of(Class.get(), moment), moment).buffer.machines

    assert [buffer(datetime(2027, 10, day, 6, 30, tzinfo=UTC)) for day in (2, 3, 4)] == [5, 2, 5], "8:30 in summer; the 3rd is a holiday"
    assert buffer(datetime(2027, 11, 2, 6, 30, tzinfo=UTC)) == 2, "7:30 in winter"


def test_the_week_has_its_holidays_the_clock_s_changes_and_what_holds(small: Class, admin: Actor) -> None:
    with catalog.write():
        options.put("time_zone", "Europe/Berlin")
    calendars.set_holidays(admin, country="DE", part="", own={}, without=[])
    calendars.put(admin, "small", "windows", "", {**LESSONS, "days": ["fri", "sun"]})
    week = calendars.week(Class.get(), date(2027, 3, 25))
    assert [one.day.day for one in week] == [22, 23, 24, 25, 26, 27, 28]
    assert (week[4].holiday, len(week[4].blocks)) == ("Good Friday", 1)
    assert [(block.begin, block.end) for block in week[6].blocks] == [(0, 480), (480, 960), (960, 1440)]
    assert [jump.is_forward for one in week for jump in one.jumps] == [True]
    assert week[6].jumps


def test_a_class_that_has_machines_only_by_its_calendar_is_no_closed_one(small: Class, alice: Actor, admin: Actor) -> None:
    Class.update(minimum=0, buffer=0, maximum=0, fork=True).execute()
    with pytest.raises(Conflict, match="None are made at present"):
        verbs.request(alice, "small")
    assert snapshots.missing() == []
    today = catalog.now().date()
    calendars.put(admin, "small", "one_offs", "", {**EXAM, "day": (today - timedelta(days=3)).isoformat()})
    assert policies.most(Class.get()) == 0, "it is over"
    calendars.put(admin, "small", "one_offs", "", {**EXAM, "day": (today + timedelta(days=1)).isoformat()})
    assert policies.most(Class.get()) == 60
    assert (classes.forking(Class.get()).state, len(snapshots.missing())) == (ForkState.TAKING, 1)
    assert verbs.request(alice, "small").machine_id is None, "they wait for its time"


def test_what_holds_now_and_next(small: Class, admin: Actor) -> None:
    assert calendars.holding(Class.get()).next is None
    tomorrow = catalog.now() + timedelta(days=1)
    calendars.put(admin, "small", "one_offs", "", {**EXAM, "day": tomorrow.date().isoformat()})
    found = calendars.holding(Class.get())
    assert (found.bounds.buffer.machines, found.bounds.sources) == (2, ())
    assert found.next is not None
    assert (found.next.bounds.start.machines, found.next.bounds.maximum.machines) == (60, 80)


def test_a_catalog_from_before_has_empty_calendars(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    at_version(path, 16)
    connection = sqlite3.connect(path)
    connection.execute(
        "INSERT INTO class (name, spec, minimum, maximum, buffer, lease_minutes, extend_minutes, extensions, per_person, updated_at)"
        " VALUES ('old', '{}', 0, 8, 5, 60, 240, 3, 2, '2026-01-01T00:00:00.000000+00:00')"
    )
    connection.commit()
    connection.close()
    catalog.open(path)
    try:
        found = Class.get()
        assert (found.windows, found.one_offs, found.holds, policies.most(found)) == ([], [], {}, 8)
    finally:
        catalog.close()


def test_settings_are_not_needed(opened: Settings) -> None:
    assert calendars.coming_holidays() == {}
