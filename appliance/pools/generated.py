"""Demand that is made up, to try a policy on before there is any: who asks when, in seconds from a Monday 00:00 on. Pure functions of their chance."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

HOUR, DAY, WEEK = 3600, 86400, 7 * 86400
# What part of the busiest hour each hour of a working day has.
OFFICE_DAY = (0, 0, 0, 0, 0, 0, 0.1, 0.5, 1, 1, 0.8, 0.7, 0.5, 0.8, 0.8, 0.6, 0.4, 0.2, 0.1, 0.05, 0.05, 0.05, 0, 0)
WEEKEND = 0.04  # of a working day
UNEVEN = 0.35  # standard deviation of a day's factor, whose mean is 1
LESSONS = ((0, 9), (1, 11), (2, 9), (2, 14), (3, 14), (4, 9))  # day and hour
CANCELLED, COMES, VARIES = 0.05, 0.88, 0.06  # lessons; the share of a course that comes, and its standard deviation
LATE, APART = 90.0, 100.0  # seconds: standard deviation of a lesson's begin; mean time after it at which each asks
BREAK = (12, 13)  # weeks of each half-year without lessons
OFFICE_OF_SCHOOL = 4  # a school has one whose busiest hour is this part of an office's
BURSTS = 1.5  # shape of the gamma distribution of what an hour's requests are multiplied with, where there is no pattern


@dataclass(frozen=True)
class Numbers:
    """What demand is made of: requests in the busiest hour (of `flat`: in each), people of a course, percent that a week has more than the one before."""

    hourly: float = 12.0
    course: int = 25
    growth: float = 5.0


def _asked(rate: Callable[[int], float], weeks: int, chance: random.Random) -> list[float]:
    """A Poisson process with a rate of its own, in requests an hour, in each hour."""
    found = []
    for hour in range(weeks * 168):
        if (hourly := rate(hour)) <= 0:
            continue
        moment = chance.expovariate(hourly / HOUR)
        while moment < HOUR:
            found.append(hour * HOUR + moment)
            moment += chance.expovariate(hourly / HOUR)
    return found


def office(numbers: Numbers, weeks: int, chance: random.Random, growth: float = 0.0) -> list[float]:
    """Requests follow the working day; each day has a factor of its own, so that counts vary more than chance alone would have it."""
    shape = 1 / UNEVEN**2
    days = [chance.gammavariate(shape, 1 / shape) * (WEEKEND if day % 7 > 4 else 1) for day in range(weeks * 7)]
    return _asked(
        lambda hour: numbers.hourly * OFFICE_DAY[hour % 24] * days[hour // 24] * (1 + growth / 100) ** (hour / 168), weeks, chance
    )


def growing(numbers: Numbers, weeks: int, chance: random.Random) -> list[float]:
    """An office that has more to do every week."""
    return office(numbers, weeks, chance, numbers.growth)


def school(numbers: Numbers, weeks: int, chance: random.Random) -> list[float]:
    """Courses that all ask at the hour, and a small office; some lessons are cancelled, and twice a year there is a break."""
    found = office(Numbers(numbers.hourly / OFFICE_OF_SCHOOL), weeks, chance)
    courses = {lesson: chance.randint(numbers.course * 4 // 5, numbers.course * 6 // 5) for lesson in LESSONS}
    for week in range(weeks):
        for (day, hour), size in courses.items():
            if week % 26 in BREAK or chance.random() < CANCELLED:
                continue
            share = min(1.0, max(0.5, chance.normalvariate(COMES, VARIES)))
            begins = week * WEEK + day * DAY + hour * HOUR + chance.normalvariate(0, LATE)
            found += [begins + chance.expovariate(1 / APART) for _ in range(size) if chance.random() < share]
    return sorted(moment for moment in found if moment < weeks * WEEK)


def flat(numbers: Numbers, weeks: int, chance: random.Random) -> list[float]:
    """No pattern at all, day and night, in bursts."""
    return _asked(lambda _: numbers.hourly * chance.gammavariate(BURSTS, 1 / BURSTS), weeks, chance)


KINDS: Mapping[str, Callable[[Numbers, int, random.Random], list[float]]] = {
    "school": school,
    "office": office,
    "growing": growing,
    "flat": flat,
}
