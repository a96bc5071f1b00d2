"""The record: what it keeps, what it finds, and that a line changed, removed or added shows."""

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import Actor, Event, Level, events, now, record
from appliance.catalog.event_kinds import Area
from appliance.settings import Settings
from tests.unit.catalog.test_database import at_version


def write(count: int, kind: str = "support.bundle") -> None:
    with catalog.write():
        for number in range(count):
            record(
                kind, f"Event {number} happened.", Actor("ada", 7, "192.0.2.1"), object="account:ada", before={"n": number}, after={"n": 0}
            )


def tamper(settings: Settings, statement: str) -> None:
    """What somebody does who can write the file, and knows how to get past the triggers."""
    connection = sqlite3.connect(settings.catalog, isolation_level=None)
    connection.executescript("DROP TRIGGER event_append_only_update; DROP TRIGGER event_append_only_delete;")
    connection.execute(statement)
    connection.close()


def test_an_untouched_record_is_whole(opened: Settings) -> None:
    assert events.verify() == events.Chain(0, 0, 0, "", [])
    write(12)
    chain = events.verify()
    assert (chain.lines, chain.first, chain.last, chain.problems) == (12, 1, 12, [])
    assert chain.hash == Event.get_by_id(12).hash


def test_the_hash_is_the_documented_one(opened: Settings) -> None:
    write(2)
    first, second = Event.select().order_by(Event.id)
    data = '{"before":{"n":1},"after":{"n":0}}'
    line = [
        second.at.isoformat(timespec="microseconds"),
        "support.bundle",
        "info",
        "Event 1 happened.",
        "ada",
        "192.0.2.1",
        7,
        None,
        None,
        None,
        data,
        "account:ada",
    ]
    assert second.hash == hashlib.sha256((first.hash + "\n" + json.dumps(line, separators=(",", ":"))).encode()).hexdigest()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE event SET message = 'Nothing happened.' WHERE id = 5", "Line 5 is not as it was written"),
        ("UPDATE event SET actor = 'bob' WHERE id = 12", "Line 12 is not as it was written"),
        ("UPDATE event SET data = '{}' WHERE id = 5", "Line 5 is not as it was written"),
        ("UPDATE event SET at = '2020' WHERE id = 1", "Line 1 was changed"),
        ("DELETE FROM event WHERE id = 5", "Line 5 is missing"),
        ("DELETE FROM event WHERE id IN (1, 2)", "Lines 1 to 2 are missing"),
        ("DELETE FROM event WHERE id > 9", "Lines 10 to 12 are missing"),
        ("UPDATE event SET hash = '' WHERE id = 5", "Line 5 was added by something else"),
        ("UPDATE event SET id = id + 1000 WHERE id = 12", "Lines 13 to 1011 are missing|Lines 12 to 1011 are missing"),
        ("INSERT INTO event (at, kind, message) VALUES ('2026', 'test', 'I was here.')", "Line 13 was added by something else"),
        ("INSERT INTO event (at, kind, message, hash) VALUES ('2026', 'test', 'I was here.', 'abc')", "Line 13 is not as it was written"),
    ],
)  # fmt: skip
def test_whatever_is_done_to_a_line_shows(opened: Settings, statement: str, said: str) -> None:
    write(12)
    tamper(opened, statement)
    problems = events.verify().problems
    assert len(problems) == 1
    assert any(one in problems[0] for one in said.split("|"))


def test_a_removed_line_whose_place_was_closed_shows(opened: Settings) -> None:
    write(12)
    tamper(opened, "DELETE FROM event WHERE id = 5")
    tamper_again = sqlite3.connect(opened.catalog, isolation_level=None)
    for id in range(6, 13):
        tamper_again.execute("UPDATE event SET id = id - 1 WHERE id = ?", (id,))
    tamper_again.execute("UPDATE sqlite_sequence SET seq = 11 WHERE name = 'event'")
    tamper_again.close()
    assert events.verify().problems == ["Line 5 is not as it was written."]


def test_lines_from_before_the_chain_are_vouched_for_by_its_first(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    at_version(path, 4)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executemany(
        "INSERT INTO event (at, kind, message) VALUES (?, 'old', 'Long ago.')", [(f"2026-01-0{day}",) for day in (1, 2, 3)]
    )
    connection.close()
    catalog.open(path)
    assert events.verify().first == 0
    write(2)
    assert events.verify() == events.Chain(5, 4, 5, Event.get_by_id(5).hash, [])
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript("DROP TRIGGER event_append_only_update; UPDATE event SET message = 'Never.' WHERE id = 2;")
    connection.close()
    assert events.verify().problems == ["Line 4 was changed, or a line before it."]
    catalog.close()


def test_what_was_rolled_back_leaves_no_gap(opened: Settings) -> None:
    write(3)
    with pytest.raises(ZeroDivisionError), catalog.write():
        record("support.bundle", "This never happened.")
        raise ZeroDivisionError
    write(1)
    assert events.verify().problems == []
    assert events.verify().last == 4


def test_many_threads_write_one_chain(opened: Settings) -> None:
    def work() -> None:
        for _ in range(25):
            write(1)
        catalog.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain = events.verify()
    assert (chain.lines, chain.problems) == (200, [])


def test_what_is_written_while_one_looks_is_no_gap(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write(3)
    lines = events._lines

    def slowly(after: int = 0) -> Iterator[tuple[Any, ...]]:
        yield from list(lines(after))
        write(2)

    monkeypatch.setattr(events, "_lines", slowly)
    assert events.verify().problems == []


def test_an_event_is_only_written_with_its_change(opened: Settings) -> None:
    with pytest.raises(AssertionError, match="inside write"):
        record("support.bundle", "All by itself.")


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"area": Area.SIGN}, ["sign_in.failed"]),
        ({"text": "adA signed"}, ["sign_in.failed"]),
        ({"text": "account:ma"}, ["account.changed"]),
        ({"levels": (Level.WARNING,)}, ["sign_in.failed"]),
        ({"actor": "grace"}, ["account.changed"]),
        ({"address": "192.0.2.7"}, ["sign_in.failed"]),
        ({"object": "class:notebook"}, ["class.policy"]),
        ({"text": "100%"}, []),
        ({"actor": "grace", "area": Area.SIGN}, []),
    ],
)
def test_what_is_looked_for_is_found(opened: Settings, search: dict[str, object], expected: list[str]) -> None:
    with catalog.write():
        record("sign_in.failed", "ada signed in with a wrong password.", Actor("ada", None, "192.0.2.7"), level=Level.WARNING)
        record("account.changed", "grace changed mary.", Actor("grace", 1, "192.0.2.8"), object="account:mary")
        record("class.policy", "The policy of notebook is another.", class_name="notebook")
    assert [event.kind for event in events.list_events(**search)] == expected
    assert [event.kind for event in events.every(**search)] == expected


def test_from_a_day_to_another(opened: Settings) -> None:
    write(1)
    moment = now()
    assert events.list_events(since=moment) == []
    assert len(events.list_events(until=moment)) == len(events.list_events(since=moment - timedelta(minutes=1), until=moment)) == 1


def test_all_events_come_in_order_however_few_at_a_time(opened: Settings) -> None:
    write(10)
    assert [event.id for event in events.every(batch_size=3, after=2)] == list(range(3, 11))


def test_a_line_costs_little(opened: Settings, record_property: Callable[[str, object], None]) -> None:
    """The chain must not slow a claim: what it adds is a look at the last line and one hash."""
    write(2000)
    begun = time.thread_time()
    with catalog.write():
        for _ in range(500):
            events.link(
                events._end(),
                ("2026-01-01T00:00:00.000000+00:00", "test", "info", "x" * 80, "ada", "192.0.2.1", 1, None, None, None, "{}", ""),
            )
    each = (time.thread_time() - begun) / 500
    record_property("microseconds", round(each * 1e6))
    assert each < 0.001
