"""What people read has times in the appliance's time zone, made in one place."""

import re
from datetime import UTC, datetime

import pytest

from appliance import catalog
from appliance.catalog import options, timezone
from appliance.settings import REPOSITORY

pytestmark = pytest.mark.cases

# A time in words, or one that is said to be UTC; what machines read (2026-11-29T10:42) is none.
IN_WORDS = re.compile(r"%d[ ,]+%H|[{\"' :]%H:%M|%[dSM]\}? UTC")
ELSEWHERE = {
    "appliance/catalog/timezone.py": "the place",
    "appliance/access/own_certificate.py": "a certificate says UTC, and every other program shows it so",
    "appliance/seeds/build.py": "the log of a build, as other logs",
    "appliance/host/system/clock.py": "timedatectl is told so",
    "webui/format.py": "the pages' own, which shows UTC to who hovers",
    "webui/language.py": "the same patterns, as other languages have them",
    "webui/rescue/__init__.py": "without the catalog no zone is known",
    "webui/rescue/actions.py": "without the catalog no zone is known",
}


def test_times_in_words_are_made_in_one_place() -> None:
    found = {}
    for folder in ("appliance", "webui"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            if lines := [line.strip() for line in file.read_text().splitlines() if IN_WORDS.search(line)]:
                found[file.relative_to(REPOSITORY).as_posix()] = lines
    assert found.keys() == ELSEWHERE.keys(), {file: found[file] for file in found.keys() - ELSEWHERE.keys()}
    assert len(found["appliance/host/system/clock.py"]) == 1


def test_a_time_names_its_zone(opened: object) -> None:
    winter, summer = datetime(2026, 11, 29, 23, 42, 31, tzinfo=UTC), datetime(2026, 7, 1, 10, 0, tzinfo=UTC)
    assert timezone.timestamp(winter) == "2026-11-29 23:42 UTC"
    with catalog.write():
        options.put("time_zone", "Europe/Berlin")
    assert timezone.timestamp(winter) == "2026-11-30 00:42 CET"
    assert timezone.timestamp(summer) == "2026-07-01 12:00 CEST"
    assert timezone.clock(winter) == "00:42 CET"
    assert timezone.date(winter) == "2026-11-30"
