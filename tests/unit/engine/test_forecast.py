"""The engine forecasts once a week, from the requests; it only advises until an admin lets it act."""

from datetime import datetime, timedelta

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Class, Event, EventKind, Machine, MachineState, Request, RequestState, demand, now, timezone
from appliance.engine import Engine
from appliance.engine import forecasts as made
from appliance.lifecycle import calendars, forecasts
from appliance.pools.windows import wall
from appliance.scenario.calendar import DAYS
from appliance.scenario.policy import Form
from appliance.services import classes
from tests.unit.engine.fake import settle

pytestmark = pytest.mark.policy


def asked(moment: datetime, people: int, *, hit: bool = True) -> None:
    """So many requests for machines of small, some seconds apart."""
    account = Account.get()
    with catalog.write():
        for number in range(people):
            at = moment + timedelta(seconds=number * 4)
            granted = at if hit else at + timedelta(seconds=90)
            Request.create(account=account, machine_class="small", state=RequestState.GRANTED, hit=hit, created_at=at, granted_at=granted)


def each_week(people: int = 6, weeks: int = 5) -> None:
    """They ask at the beginning of what is this quarter of an hour, every week so far."""
    quarter = now().replace(minute=now().minute // 15 * 15, second=0, microsecond=0)
    for week in range(1, weeks + 1):
        asked(quarter - timedelta(weeks=week), people)


def forecast_events() -> list[str]:
    return [one.message for one in Event.select().where(Event.kind == EventKind.CLASS_FORECAST)]


def test_it_advises_once_a_week_and_acts_when_an_admin_says_so(engine: Engine, small: Class, admin: Actor) -> None:
    Class.update(fork=False).execute()
    each_week()
    settle(engine)
    assert len(forecast_events()) == 1
    found = forecasts.kept(Class.get())
    assert found is not None
    assert found.numbers is not None
    assert not found.is_fixed
    assert max(found.numbers) >= 4
    assert calendars.holding(Class.get()).buffer.parts == (("", 2),), "it only advises"
    assert Machine.select().where(Machine.state == MachineState.READY).count() == 2
    classes.change_policy(admin, "small", Form.POLICY, {"forecast_acts": True})
    settle(engine, 30)
    holds = calendars.holding(Class.get())
    local = wall(now(), timezone.current())
    assert holds.buffer.parts == (("Forecast", found.numbers[local.weekday() * 96 + local.hour * 4 + local.minute // 15]),)
    assert Machine.select().where(Machine.state == MachineState.READY).count() >= holds.buffer.machines
    assert len(forecast_events()) == 1
    told = [one.message for one in Event.select().where(Event.kind == EventKind.CLASS_HOLDS)]
    assert len(told) == 1
    assert told[0].endswith("by Forecast.")


def test_until_two_weeks_are_known_the_buffer_counts_though_it_may_act(engine: Engine, small: Class, admin: Actor) -> None:
    classes.change_policy(admin, "small", Form.POLICY, {"forecast_acts": True})
    asked(now() - timedelta(days=3), 5)
    settle(engine)
    assert forecast_events() == []
    assert calendars.holding(Class.get()).buffer.parts == (("", 2),)
    assert made.due() == [], "and it is looked at again next week"


def test_another_service_level_makes_another_forecast(engine: Engine, small: Class, admin: Actor) -> None:
    each_week()
    settle(engine)
    classes.change_policy(admin, "small", Form.POLICY, {"service_level": 90})
    assert [key["level"] for _, key in made.due()] == [90]
    made.make(engine.settings)
    assert made.due() == []
    assert len(forecast_events()) == 2


def test_a_window_with_a_service_level_has_a_forecast_of_its_own_that_acts(engine: Engine, small: Class, admin: Actor) -> None:
    Class.update(fork=False, maximum=20).execute()
    each_week()
    settle(engine)
    always = {"name": "Always", "begin": "00:00", "end": "00:00", "days": list(DAYS), "service_level": 80}
    classes.change_policy(admin, "small", Form.CALENDAR, {"windows": [always]})
    assert [key["further"] for _, key in made.due()] == [[80]]
    before = calendars.holding(Class.get())
    assert before.buffer.parts == (("", 2),), "nothing is forecast for it yet"
    made.make(engine.settings)
    assert made.due() == []
    kept = forecasts.kept(Class.get())
    assert kept is not None
    assert kept.numbers is not None
    assert kept.further[80] is not None
    local = wall(now(), timezone.current())
    slot = local.weekday() * 96 + local.hour * 4 + local.minute // 15
    assert calendars.holding(Class.get()).buffer.parts == (("Always", kept.further[80][slot]),), "though the forecast may not act otherwise"
    settle(engine, 30)
    assert Machine.select().where(Machine.state == MachineState.READY).count() >= kept.further[80][slot]
    held = Event.select().where(Event.kind == EventKind.CLASS_HOLDS).count()
    quarters = [slot % 96 for slot in range(96)]
    row = dict(Class.get().forecast)
    Class.update(forecast={**row, "further": {"80": [3 + quarter % 2 for quarter in quarters] * 7}}).execute()
    settle(engine)
    assert Event.select().where(Event.kind == EventKind.CLASS_HOLDS).count() == held, "its numbers change each quarter, and are no event"


def test_what_fell_into_a_one_off_is_no_history(engine: Engine, small: Class, admin: Actor) -> None:
    moment = wall(now() - timedelta(days=8), timezone.current()).replace(hour=10, minute=0, second=0, microsecond=0)
    one_off = {"name": "Exam", "day": moment.date().isoformat(), "begin": "09:00", "end": "11:00", "start": 5}
    Class.update(one_offs=[one_off]).execute()
    asked(moment.replace(tzinfo=timezone.current()), 3)
    asked(now() - timedelta(days=1), 2)
    known = forecasts.demand_of(Class.get(), now())
    assert len(known.arrivals) == 2
    assert len(known.without) == 1


def test_misses_are_told_with_how_long_each_waited(engine: Engine, small: Class, admin: Actor) -> None:
    asked(now() - timedelta(days=1), 2)
    asked(now() - timedelta(hours=1), 1, hit=False)
    [miss] = demand.misses("small", 10)
    assert miss.granted is not None
    assert miss.granted - miss.asked == timedelta(seconds=90)
