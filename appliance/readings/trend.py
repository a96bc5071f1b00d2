"""When what grows reaches a level: by the peaks of days and a line through them that a few odd days do not bend (Theil and Sen's)."""

from collections.abc import Sequence
from itertools import combinations
from statistics import median

DAY = 86400  # seconds
LEAST_DAYS = 5  # with peaks, below which nothing is said
LEAST_EACH = 3  # values of a day, for it to have a peak


def days_until(times: Sequence[int], values: Sequence[float | None], level: float) -> float | None:
    """In how many days from the last one the values reach the level, when they go on as they did; `times` are seconds since 1970.

    None when there is too little to go by, when they do not clearly grow (three of four pairs of days do), or are there already.
    """
    days: dict[int, list[float]] = {}
    for at, value in zip(times, values, strict=True):
        if value is not None:
            days.setdefault(at // DAY, []).append(value)
    peaks = sorted((day, max(found)) for day, found in days.items() if len(found) >= LEAST_EACH)
    if len(peaks) < LEAST_DAYS:
        return None
    slopes = sorted((after - before) / (later - day) for (day, before), (later, after) in combinations(peaks, 2))
    slope, last = median(slopes), peaks[-1][0]
    if slopes[len(slopes) // 4] <= 0:
        return None
    present = median(peak + slope * (last - day) for day, peak in peaks)
    return (level - present) / slope if present < level else None
