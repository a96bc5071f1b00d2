"""When what grows reaches a level: told of what clearly grows, and of nothing else."""

import random

import pytest

from appliance.readings.trend import DAY, days_until

EACH = 8  # readings a day


def over(days: int, value, each: int = EACH):
    """Times and values: `value(day)` says each."""
    times = [20_000 * DAY + day * DAY + number * DAY // each for day in range(days) for number in range(each)]
    return times, [value((at - times[0]) / DAY) for at in times]


def test_a_line_is_followed_to_where_it_leads():
    times, values = over(10, lambda day: 0.5 + 0.02 * int(day))
    assert days_until(times, values, 0.98) == pytest.approx(15, abs=0.1)


def test_a_few_odd_days_and_noise_do_not_bend_it():
    chance = random.Random(7)
    times, values = over(20, lambda day: 0.4 + 0.01 * int(day) + chance.uniform(-0.01, 0.01) + (0.3 if int(day) in (4, 11) else 0))
    assert days_until(times, values, 0.9) == pytest.approx(31, abs=4)


def test_nights_are_no_fall():
    times, values = over(10, lambda day: (0.5 + 0.02 * int(day)) * (1 if day % 1 > 0.5 else 0.2))
    assert days_until(times, values, 0.98) == pytest.approx(15, abs=0.1)


@pytest.mark.parametrize(
    "series",
    [
        ([], []),
        over(4, lambda day: 0.1 * day),  # too short
        over(20, lambda day: 0.1 * day, each=2),  # of no day there is enough
        over(20, lambda day: None),
        over(20, lambda day: 0.5),
        over(20, lambda day: 0.9 - 0.02 * day),
        over(20, lambda day: 0.5 + 0.1 * (int(day) % 2)),  # to and fro
        over(20, lambda day: 0.5 + (0.3 if day > 18 else 0)),  # one seed more
        over(20, lambda day: 0.9 + 0.02 * day),  # it is there already
    ],
)
def test_nothing_is_told_of_what_does_not_clearly_grow_or_too_little_is_known_of(series):
    assert days_until(*series, 0.98) is None
