"""Holidays, as an admin chose them: a country's, of one of its parts if need be, with days of one's own and without those that are left out.

Kept in the option `holidays`: country (two letters, empty for none), part, own (day -> name) and without (days), days as in ISO 8601.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache, lru_cache

from holidays import country_holidays
from holidays.registry import COUNTRIES

from appliance.catalog import options

YEARS = range(2000, 2100)  # that are known well enough


@cache
def countries() -> dict[str, str]:
    """Those that there are holidays of: their names, by two letters."""
    named = {code: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name) for name, code, *_ in COUNTRIES.values()}
    return dict(sorted(named.items(), key=lambda one: one[1]))


@lru_cache(maxsize=8)
def parts(country: str) -> dict[str, str]:
    """The parts of a country, like states, that have holidays of their own: their names, by code."""
    if country not in countries():
        return {}
    found = country_holidays(country)
    names = found.get_subdivision_aliases()
    return dict(sorted(((code, (names.get(code) or [code])[0]) for code in found.subdivisions), key=lambda one: one[1]))


def chosen() -> Mapping[str, object]:
    """What an admin chose: country, part, own and without."""
    return {"country": "", "part": "", "own": {}, "without": [], **options.get("holidays")}


def of(years: Iterable[int]) -> dict[date, str]:
    """The holidays of these years, with their names, in order."""
    found: dict[date, str] = {}
    said = options.get("holidays")
    wanted = {year for year in years if year in YEARS}
    for year in wanted:
        found |= _published(said.get("country", ""), said.get("part", ""), year)
    for day in said.get("without", []):
        found.pop(date.fromisoformat(day), None)
    own = {date.fromisoformat(day): name for day, name in said.get("own", {}).items()}
    found |= {day: name for day, name in own.items() if day.year in wanted}
    return dict(sorted(found.items()))


@lru_cache(maxsize=64)
def _published(country: str, part: str, year: int) -> Mapping[date, str]:
    if country not in countries():
        return {}
    known = country_holidays(country, subdiv=part if part in parts(country) else None, years=year, language="en_US")
    return {day: name for day, name in known.items() if day.year == year}
