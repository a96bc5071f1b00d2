"""What holds when, against brute force; and that what is to hold is there when it begins, and no earlier made than it has to be."""

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from appliance.pools import windows
from appliance.pools.planner import Capacity, Demand, Policy, Pools, plan
from appliance.pools.windows import Bounds, Calendar, Number, Pace, Start
from appliance.scenario.calendar import DAYS, OneOff, Window

pytestmark = pytest.mark.policy

ZONES = (
    "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Beirut", "Antarctica/Troll", "Africa/Casablanca", "America/Havana",
    "America/St_Johns",
)  # fmt: skip
STEP = int(os.environ.get("DPE_TEST_STEP", "15"))  # minutes between looks at a zone's offset, which changes at quarters of an hour
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
WEEK = tuple(DAYS)
FIRST, LAST = date(2026, 12, 29), date(2028, 1, 3)
BEGIN, END = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
HOLIDAYS = frozenset({date(2027, 1, 1), date(2027, 3, 26), date(2027, 3, 29), date(2027, 10, 31), date(2027, 12, 25), date(2027, 12, 31)})
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # each example is a simulation: to shrink one takes minutes
PLENTY = Capacity(memory=1 << 20, disk=1 << 20, slots=1000, room=1 << 20)


def window(begin: str, end: str, days: tuple[str, ...] = WEEK, name: str = "w", holidays: str = "any", **amounts: int) -> Window:
    return Window.model_validate({"name": name, "begin": begin, "end": end, "days": days, "holidays": holidays, **amounts})


def one_off(day: str, begin: str, end: str, name: str = "exam", **amounts: int) -> OneOff:
    return OneOff.model_validate({"name": name, "day": day, "begin": begin, "end": end, **amounts})


YEAR = Calendar(
    Policy(0, 250, 9),
    (
        window("08:00", "16:30", WEEK[:5], holidays="not", buffer=1),
        window("22:00", "06:00", buffer=2),
        window("02:00", "03:00", ("sun",), buffer=3),  # in the hour that most of Europe skips and repeats
        window("00:00", "00:30", ("fri",), buffer=4),  # Cairo skips and repeats it
        window("12:00", "12:00", ("sat",), buffer=5),  # a whole day from noon on
        window("23:45", "00:15", ("sat", "sun"), buffer=6),
        window("01:40", "02:10", ("sun",), buffer=7),
        window("10:07", "10:08", holidays="only", buffer=8),
        window("18:00", "02:30", ("thu",), holidays="only", buffer=10),
    ),
    (
        one_off("2027-03-27", "20:00", "02:30", buffer=100),
        one_off("2027-10-31", "01:30", "02:30", buffer=50),
        one_off("2027-12-03", "09:00", "12:00", buffer=60),
    ),
    HOLIDAYS,
)


def shown_on_the_wall() -> bytes:
    """What holds at each minute of wall time from FIRST to LAST, each window and one-off written over the minutes of each of its days."""
    minutes = bytearray([YEAR.policy.buffer] * ((LAST - FIRST).days + 1) * 1440)
    for one in YEAR.windows:
        begin, length = _minutes(one.begin, one.end)
        for number in range((LAST - FIRST).days):
            day = FIRST + number * DAY
            is_holiday = day in HOLIDAYS
            if WEEK[day.weekday()] in one.days and {"any": True, "not": not is_holiday, "only": is_holiday}[one.holidays]:
                at = number * 1440 + begin
                minutes[at : at + length] = bytes([one.buffer or 0]) * length
    for other in YEAR.one_offs:
        begin, length = _minutes(other.begin, other.end)
        for at in range((other.day - FIRST).days * 1440 + begin, (other.day - FIRST).days * 1440 + begin + length):
            minutes[at] += other.buffer or 0
    return bytes(minutes)


def _minutes(begin: time, end: time) -> tuple[int, int]:
    first, last = (clock.hour * 60 + clock.minute for clock in (begin, end))
    return first, last - first if last > first else last - first + 1440


@pytest.mark.parametrize("name", ZONES)
def test_every_minute_of_a_year_is_as_brute_force_has_it(name: str) -> None:
    zone, shown, expected = ZoneInfo(name), shown_on_the_wall(), bytearray()
    moment, base = BEGIN, datetime.combine(FIRST, time())
    while moment < END:
        at = (moment.astimezone(zone).replace(tzinfo=None) - base) // MINUTE
        expected += shown[at : at + STEP]
        moment += STEP * MINUTE
    calendar = replace(YEAR, zone=zone)
    found = bytearray()
    segments = windows.timeline(calendar, BEGIN, END)
    for segment, after in zip(segments, [*(one.begins for one in segments[1:]), END], strict=True):
        found += bytes([segment.bounds.buffer.machines]) * ((after - segment.begins) // MINUTE)
    assert bytes(found) == bytes(expected)
    if STEP == 1:
        assert bytes(windows.at(calendar, BEGIN + number * MINUTE).buffer.machines for number in range(len(expected))) == bytes(expected)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    calendar = Calendar(Policy(0, 9, 1), (window("22:00", "02:00", ("fri",), buffer=5),), holidays=frozenset())

    def buffer(day: int, hour: int) -> int:
        return windows.at(calendar, datetime(2026, 12, day, hour, tzinfo=UTC)).buffer.machines

    assert [buffer(4, 21), buffer(4, 22), buffer(5, 1), buffer(5, 2), buffer(5, 23)] == [1, 5, 5, 1, 1]  # the 4th is a Friday
    not_then = replace(
        calendar, windows=(window("22:00", "02:00", ("fri",), holidays="not", buffer=5),), holidays=frozenset({date(2026, 12, 5)})
    )
    assert windows.at(not_then, datetime(2026, 12, 5, 1, tzinfo=UTC)).buffer.machines == 5, "the holiday is the day after"


def test_a_window_can_name_a_service_level_and_has_the_forecasts_numbers_then() -> None:
    """Against brute force: each quarter of an hour of a week; a level for which nothing is forecast says nothing."""
    busy = windows.Forecast(95, tuple(slot % 96 % 7 for slot in range(7 * 96)))
    lessons = Window(name="Lessons", begin=time(8), end=time(16, 30), days=("mon", "tue"), service_level=95)
    calendar = Calendar(Policy(0, 50, 9), (lessons,), zone=ZoneInfo("Europe/Berlin"), forecasts=(busy,))
    monday = datetime.combine(date(2026, 12, 7), time())
    for slot in range(7 * 96):
        shown = monday + slot * timedelta(minutes=15)
        found = windows.at_wall(calendar, shown).buffer
        within = shown.weekday() < 2 and time(8) <= shown.time() < time(16, 30)
        assert found == (Number(busy.numbers[slot], (("Lessons", busy.numbers[slot]),)) if within else Number(9, (("", 9),))), shown
    unknown = replace(calendar, forecasts=())
    assert windows.at_wall(unknown, monday + timedelta(hours=9)).buffer == Number(9, (("", 9),))
    begins = datetime(2026, 12, 7, tzinfo=ZoneInfo("Europe/Berlin"))
    found = {segment.begins: segment.bounds.buffer.machines for segment in windows.timeline(calendar, begins, begins + DAY)}
    assert found[begins.replace(hour=8).astimezone(UTC)] == busy.numbers[32]
    assert len(found) == 1 + 34 + 1, "from midnight, each quarter of the window, and after it"


def test_the_last_in_the_list_wins_number_by_number_and_one_offs_are_added() -> None:
    calendar = Calendar(
        Policy(1, 10, 2),
        (window("08:00", "18:00", name="Lessons", buffer=5, maximum=40), window("12:00", "13:00", name="Lunch", buffer=0)),
        (one_off("2026-12-03", "09:00", "14:00", name="Exam", start=60),),
    )
    bounds = windows.at(calendar, datetime(2026, 12, 3, 12, 30, tzinfo=UTC))
    assert bounds == Bounds(
        Number(1, (("", 1),)),
        Number(100, (("Lessons", 40), ("Exam", 60))),
        Number(0, (("Lunch", 0),)),
        Number(60, (("Exam", 60),)),
        (Start(60, datetime.combine(date(2026, 12, 3), time(9))),),
    )
    assert bounds.sources == ("Lessons", "Exam", "Lunch")
    assert windows.words(bounds) == "60 ready at the start, 0 ready, at least 1, at most 100"


def test_no_number_is_above_the_maximum_and_it_says_so() -> None:
    calendar = Calendar(Policy(6, 10, 8), (window("08:00", "18:00", maximum=4),))
    bounds = windows.at(calendar, datetime(2026, 12, 3, 9, tzinfo=UTC))
    assert (bounds.minimum.machines, bounds.buffer.machines, bounds.maximum.machines) == (4, 4, 4)
    assert (bounds.buffer.is_bounded, bounds.maximum.is_bounded) == (True, False)


@pytest.mark.parametrize(
    ("zone", "hours", "expected"),
    [
        ("Europe/Berlin", ("02:00", "03:00", "sun"), [("2027-03-28", 0), ("2027-10-31", 120)]),
        ("Europe/Berlin", ("22:00", "06:00", "sat"), [("2027-03-27", 420), ("2027-10-30", 540)]),
        ("Europe/Berlin", ("08:00", "16:00", "sun"), []),
        ("Africa/Cairo", ("00:00", "00:30", "fri"), [("2027-04-30", 0)]),
        ("Antarctica/Troll", ("02:00", "03:00", "sun"), [("2027-03-28", 0), ("2027-10-31", 120)]),
        ("Australia/Lord_Howe", ("01:00", "03:00", "sun"), [("2027-04-04", 150), ("2027-10-03", 90)]),
    ],
)
def test_what_the_clock_makes_of_a_window_is_known_beforehand(
    zone: str, hours: tuple[str, str, str], expected: list[tuple[str, int]]
) -> None:
    begin, end, day = hours
    one = window(begin, end, (day,), buffer=1)
    found = list(windows.oddities(Calendar(Policy(0, 1, 0), (one,), zone=ZoneInfo(zone)), one, BEGIN))
    assert [(odd.day.isoformat(), odd.lasts // MINUTE) for odd in found] == expected


@pytest.mark.parametrize(
    ("one", "lasts"),
    [
        (("2027-03-28", "02:00", "03:00"), 0),
        (("2027-10-31", "01:30", "02:30"), 90),
        (("2027-03-27", "22:00", "06:00"), 420),
        (("2027-05-01", "09:00", "12:00"), None),
    ],
)
def test_what_the_clock_makes_of_a_one_off_is_known_beforehand(one: tuple[str, str, str], lasts: int | None) -> None:
    found = windows.oddity(Calendar(Policy(0, 1, 0), zone=ZoneInfo("Europe/Berlin")), one_off(*one, start=1))
    assert (found and found.lasts // MINUTE) == lasts


def test_what_holds_next_is_found_however_far_it_is() -> None:
    calendar = Calendar(Policy(0, 10, 1), (), (one_off("2027-03-03", "09:00", "12:00", start=5),))
    found = windows.following(calendar, datetime(2026, 12, 1, tzinfo=UTC))
    assert found is not None
    assert (found.begins, found.bounds.start.machines) == (datetime(2027, 3, 3, 9, tzinfo=UTC), 5)
    assert windows.following(calendar, datetime(2027, 3, 4, tzinfo=UTC)) is None
    assert windows.following(Calendar(Policy(0, 10, 1)), BEGIN) is None


def test_a_day_is_shown_from_midnight_to_midnight() -> None:
    calendar = Calendar(
        Policy(0, 40, 1), (window("22:00", "06:00", buffer=0, name="Night"),), (one_off("2026-12-03", "09:00", "12:00", start=5),)
    )
    found = [(block.begin, block.end, block.bounds and block.bounds.sources) for block in windows.blocks(calendar, date(2026, 12, 3))]
    assert found == [(0, 360, ("Night",)), (360, 540, None), (540, 720, ("exam",)), (720, 1320, None), (1320, 1440, ("Night",))]


def test_what_lies_in_an_hour_that_the_clock_skips_is_not_shown() -> None:
    zone = ZoneInfo("Europe/Berlin")
    calendar = Calendar(Policy(0, 9, 1), (window("01:30", "03:30", buffer=5),), zone=zone)
    changes = list(windows.jumps(zone, BEGIN, END))
    found = [(block.begin, block.end, block.bounds is not None) for block in windows.blocks(calendar, date(2027, 3, 28), changes)]
    assert found == [(0, 90, False), (90, 120, True), (120, 180, False), (180, 210, True), (210, 1440, False)]


# -- ahead of time ------------------------------------------------------------------------------------

NINE = datetime(2026, 12, 3, 9, tzinfo=UTC)
LESSON = Calendar(Policy(0, 100, 2), (window("09:00", "10:00", start=30), window("10:00", "11:00", start=30, name="second")))
PACE = Pace(20, 4)
NEEDS = timedelta(seconds=7 * 20 * 1.25 + 5)  # 28 more than the two that wait anyhow, four at once


def at(moment: datetime, calendar: Calendar = LESSON, preparing: datetime | None = None, pace: Pace = PACE) -> windows.Ahead:
    return windows.ahead(calendar, moment, lambda: pace, preparing)


def test_making_begins_as_long_before_as_it_takes_and_no_sooner() -> None:
    second = timedelta(seconds=1)
    assert at(NINE - NEEDS - second).policy() == Policy(0, 100, 2)
    assert at(NINE - NEEDS) == at(NINE - second)
    assert (at(NINE - NEEDS).policy(), at(NINE - NEEDS).prepares) == (Policy(0, 100, 30), NINE)
    assert (at(NINE).policy(), at(NINE).prepares) == (Policy(0, 100, 30), None)


def test_what_is_handed_out_counts_off_the_start_and_the_next_one_is_whole_again() -> None:
    def out(since: datetime) -> int:
        return 25 if since <= NINE else 0

    assert at(NINE + 5 * MINUTE).policy(out) == Policy(0, 100, 5)
    assert at(NINE + 5 * MINUTE).policy(lambda since: 40) == Policy(0, 100, 2), "the buffer is kept all the while"
    second = at(NINE + timedelta(hours=1) - NEEDS)
    assert (second.policy(out), second.prepares) == (Policy(0, 100, 30), NINE + timedelta(hours=1))


def test_what_was_handed_out_before_a_second_start_counts_off_the_first_alone() -> None:
    calendar = Calendar(Policy(0, 100, 0), (window("08:00", "12:00", start=10),), (one_off("2026-12-03", "09:00", "12:00", start=20),))
    found = at(NINE + MINUTE, calendar)
    assert found.policy(lambda since: 15 if since < NINE else 3).buffer == 17
    assert found.policy(lambda since: 8 if since < NINE else 3).buffer == 10 - 5 + 20 - 3


def test_what_was_begun_goes_on_when_machines_are_made_quicker() -> None:
    quick = Pace(1, 4)
    assert at(NINE - NEEDS, pace=quick).prepares is None
    assert at(NINE - NEEDS, pace=quick, preparing=NINE).policy() == Policy(0, 100, 30)


def test_changes_that_follow_each_other_closely_are_begun_so_that_each_is_there() -> None:
    calendar = Calendar(Policy(0, 100, 0), (window("09:00", "12:00", buffer=20), window("09:01", "12:00", buffer=60, name="more")))
    first = NINE + MINUTE - PACE.needs(40) - PACE.needs(20)
    assert at(first - timedelta(seconds=1), calendar).policy().buffer == 0
    assert at(first, calendar).policy().buffer == 20
    assert at(NINE + MINUTE - PACE.needs(40), calendar).policy().buffer == 60


def test_a_buffer_that_comes_back_while_a_start_still_holds_is_there_though_the_start_was_all_handed_out() -> None:
    lunch = window("08:30", "09:00", buffer=0, name="break")
    calendar = Calendar(Policy(0, 100, 8), (window("08:00", "12:00", start=30), lunch))
    assert at(NINE - PACE.needs(8), calendar).policy(lambda since: 30).buffer == 8
    assert at(NINE - PACE.needs(8) - timedelta(seconds=1), calendar).policy(lambda since: 30).buffer == 0


def test_a_start_that_a_maximum_kept_away_is_there_when_that_maximum_ends() -> None:
    calendar = Calendar(Policy(0, 12, 0), (window("08:00", "12:00", start=9), window("08:30", "09:00", maximum=2, name="few")))
    assert at(NINE - PACE.needs(7), calendar).policy().buffer == 9
    assert at(NINE - PACE.needs(7) - timedelta(seconds=1), calendar).policy().buffer == 2


def test_a_larger_maximum_holds_while_it_is_prepared_for_and_a_lower_one_from_its_time_on() -> None:
    calendar = Calendar(Policy(0, 5, 2), (window("09:00", "10:00", start=30, maximum=40),))
    assert at(NINE - MINUTE, calendar).policy() == Policy(0, 40, 30)
    lower = Calendar(Policy(0, 40, 30), (window("09:00", "10:00", buffer=1, maximum=4),))
    assert at(NINE - MINUTE, lower).policy() == Policy(0, 40, 30)
    assert at(NINE, lower).policy() == Policy(0, 4, 1)


# -- with the planner -----------------------------------------------------------------------------------


@dataclass
class House:
    """A class whose machines are made a batch at a time, as the engine does."""

    pace: Pace
    ready: int = 0
    production: int = 0
    planned: int = 0
    batch: int = 0
    batch_ends: datetime = BEGIN
    made: list[datetime] = field(default_factory=list)

    def tick(self, moment: datetime, policy: Policy) -> int:
        """One look of the engine; returns how many machines it began to plan."""
        if self.batch and moment >= self.batch_ends:
            self.ready, self.batch = self.ready + self.batch, 0
        pools = Pools(creation=self.planned + self.batch, ready=self.ready, production=self.production)
        [decision] = plan([Demand("a", policy, pools, memory=256, disk=512, cost=40)], PLENTY)
        self.ready -= decision.remove + decision.shed
        self.planned += decision.create
        self.made += [moment] * decision.create
        if self.planned and not self.batch:
            self.batch = min(self.planned, self.pace.at_once)
            self.planned -= self.batch
            self.batch_ends = moment + timedelta(seconds=self.pace.seconds)
        return decision.create


numbers = st.one_of(st.none(), st.integers(0, 12))
clocks = st.integers(0, 11).map(lambda five: f"09:{five * 5:02}")


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    found = []
    for number in range(draw(st.integers(1, 3))):
        amounts = {name: draw(numbers) for name in ("start", "buffer", "minimum")}
        said = {name: value for name, value in amounts.items() if value is not None}
        maximum = draw(st.one_of(st.none(), st.integers(max([0, *said.values()]), 20)))
        said |= {} if maximum is None else {"maximum": maximum}
        assume(said)
        found.append(window(draw(clocks), draw(clocks), name=str(number), **said))
    once = tuple(
        one_off("2026-12-03", draw(clocks), "10:30", name=f"once {n}", start=draw(st.integers(1, 9)))
        for n in range(draw(st.integers(0, 1)))
    )
    return Calendar(Policy(0, draw(st.integers(12, 16)), draw(st.integers(0, 3))), tuple(found), once)


@settings(max_examples=12, phases=PHASES)
@given(calendars(), st.sampled_from([Pace(20, 1), Pace(30, 4), Pace(60, 3)]))
def test_what_is_to_hold_is_there_when_it_begins_and_not_begun_too_soon(calendar: Calendar, pace: Pace) -> None:
    house, moment, end, tick = House(pace), NINE - timedelta(minutes=50), NINE + timedelta(hours=1), timedelta(seconds=2)
    policy = at(moment, calendar, pace=pace).policy()
    house.ready = min(policy.maximum, max(policy.minimum, policy.buffer))
    changes = {segment.begins: segment.bounds for segment in windows.timeline(calendar, moment, end)}
    preparing = None
    while moment < end:
        found = at(moment, calendar, preparing, pace)
        preparing = found.prepares
        created = house.tick(moment, found.policy())
        exist = house.ready + house.planned + house.batch + house.production
        assert not created or exist <= found.policy().maximum
        if bounds := changes.get(moment):
            assert house.ready >= bounds.ready, (moment, bounds)
            assert house.ready >= min(bounds.minimum.machines, bounds.maximum.machines)
        if created:
            later = [begins for begins in changes if begins > moment]
            now = windows.at(calendar, moment)
            needed = exist > max(now.ready, now.minimum.machines)
            assert not needed or any(begins - moment <= _chain(calendar, moment, begins, pace) for begins in later)
        moment += tick


def _chain(calendar: Calendar, moment: datetime, begins: datetime, pace: Pace) -> timedelta:
    """The longest that making all that is to be made up to then can take."""
    segments = windows.timeline(calendar, moment, begins)
    return sum((pace.needs(one.bounds.ready + one.bounds.minimum.machines) for one in segments[1:]), timedelta(seconds=2))


@settings(max_examples=20, phases=PHASES)
@given(calendars(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=90, max_size=90))
def test_nothing_is_made_above_a_maximum_and_nothing_that_is_held_is_taken_away(calendar: Calendar, people: list[tuple[int, int]]) -> None:
    house, moment, out = House(Pace(30, 4)), NINE - timedelta(minutes=30), []
    for come, go in people:
        taken = min(come, house.ready)
        house.ready, house.production = house.ready - taken, house.production + taken
        out += [moment] * taken
        house.production -= min(go, house.production)
        held = house.production
        policy = at(moment, calendar, pace=house.pace).policy(lambda since, out=tuple(out): sum(one >= since for one in out))
        created = house.tick(moment, policy)
        assert house.production == held
        assert house.ready >= 0
        assert not created or house.ready + house.planned + house.batch + house.production <= policy.maximum
        moment += MINUTE
