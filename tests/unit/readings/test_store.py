"""The file of readings: what is kept how long and how fine, what is missing, how large it gets, and what a damaged one costs."""

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.errors import Unavailable
from appliance.readings import FIGURES, HOST, Damaged, Kind, Store, Subject, is_metric, plausible, store
from appliance.readings.store import POINTS, TIERS

BEGIN = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
MACHINE = Subject(Kind.MACHINE, "0000-1")
CLASS = Subject(Kind.CLASS, "notebook")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(tmp_path / "readings.db")) as made:
        yield made


def look(kept: Store, at: datetime, value: float | None, *subjects: Subject) -> None:
    kept.record(at, {subject: {"cpu": value} for subject in subjects or (MACHINE,)})


def rows(kept: Store, step: int) -> list[tuple[int, float, float]]:
    with contextlib.closing(sqlite3.connect(kept.path)) as connection:
        if step == 10:
            return connection.execute("SELECT t, cpu, NULL FROM look ORDER BY series, t").fetchall()
        return connection.execute("SELECT t, cpu, cpu_most FROM reading WHERE step = ? ORDER BY series, t", (step,)).fetchall()


def test_what_was_read_comes_back_as_it_was(kept: Store) -> None:
    for number in range(6):
        look(kept, BEGIN + timedelta(seconds=10 * number + 3), number / 10)
    found = kept.series(MACHINE, ["cpu", "memory"], HOUR, BEGIN + MINUTE)
    assert found.step == 10
    assert found.times == [int(BEGIN.timestamp()) + 10 * number for number in range(6)]
    assert found.mean == {"cpu": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5], "memory": [None] * 6}
    assert found.most == {}
    assert kept.series(Subject(Kind.MACHINE, "another"), ["cpu"], HOUR, BEGIN).times == []


def test_a_minute_is_the_mean_of_what_was_read_and_the_most(kept: Store) -> None:
    for second, value in ((0, 0.1), (20, 0.9), (40, 0.2), (60, 0.5)):
        look(kept, BEGIN + timedelta(seconds=second), value)
    kept.thin(BEGIN + timedelta(seconds=70))
    assert rows(kept, 60) == [(int(BEGIN.timestamp()), 0.4, 0.9)], "the minute that is not over is not told yet"
    kept.thin(BEGIN + timedelta(seconds=130))
    assert [row[1:] for row in rows(kept, 60)] == [(0.4, 0.9), (0.5, 0.5)]
    kept.thin(BEGIN + timedelta(minutes=10, seconds=5))
    assert rows(kept, 600) == [(int(BEGIN.timestamp()), 0.45, 0.9)], "the most of a minute is the most of ten"


def fill(kept: Store, subject: Subject, step: int, first: datetime, last: datetime, every: int = 1) -> None:
    """Rows of one resolution, as if they had been read."""
    kept.record(last, {subject: {"cpu": 0.5}})
    times = range(int(first.timestamp()) // step * step, int(last.timestamp()), step * every)
    looks = "INSERT OR REPLACE INTO look (t, series, cpu) SELECT ?1, id, 0.5 FROM series WHERE kind = ?2"
    thinned = "INSERT OR REPLACE INTO reading (step, series, t, cpu, cpu_most) SELECT ?3, id, ?1, 0.5, 0.7 FROM series WHERE kind = ?2"
    with contextlib.closing(sqlite3.connect(kept.path)) as connection, connection:
        connection.executemany(
            *((looks, ((t, subject.kind) for t in times)) if step == 10 else (thinned, ((t, subject.kind, step) for t in times)))
        )


def test_every_age_has_its_resolution_and_nothing_lasts_longer(kept: Store) -> None:
    for subject in (MACHINE, CLASS, HOST):
        for tier in TIERS:
            fill(kept, subject, tier.step, BEGIN - 800 * DAY, BEGIN, 6 * 3600 // tier.step)
            fill(kept, subject, tier.step, BEGIN - 3 * HOUR, BEGIN)
    kept.thin(BEGIN)
    with contextlib.closing(sqlite3.connect(kept.path)) as connection:
        oldest = connection.execute(
            "SELECT step, kind, min(t) FROM reading JOIN series ON series.id = series GROUP BY step, kind"
        ).fetchall()
    ages = {(step, kind): BEGIN - datetime.fromtimestamp(t, UTC) for step, kind, t in oldest}
    for tier in TIERS:
        for kind in Kind:
            age = tier.kept(kind)
            assert age - 6 * HOUR <= ages.get((tier.step, kind), timedelta(0)) <= age, (tier, kind)
    assert ages[60, "machine"] > 40 * HOUR
    assert ages[3600, "host"] > 729 * DAY


@pytest.mark.parametrize("subject", [MACHINE, CLASS, HOST], ids=lambda subject: subject.kind)
@pytest.mark.parametrize("span", [HOUR, DAY, 7 * DAY, 30 * DAY, 365 * DAY, 730 * DAY], ids=str)
def test_a_chart_of_any_age_has_no_more_moments_than_can_be_seen(kept: Store, subject: Subject, span: timedelta) -> None:
    tier = next((tier for tier in TIERS if tier.kept(subject.kind) >= span), None) or [t for t in TIERS if t.kept(subject.kind)][-1]
    fill(kept, subject, tier.step, BEGIN - min(span, tier.kept(subject.kind)), BEGIN)
    found = kept.series(subject, ["cpu"], span, BEGIN)
    assert len(found.times) <= POINTS + 1
    assert len(found.times) >= 200 or span > tier.kept(subject.kind)
    assert found.step % tier.step == 0
    assert None not in found.mean["cpu"]
    assert set(found.most.get("cpu", [0.7])) == {0.7}


def test_what_is_missing_is_a_gap_and_a_look_that_came_late_is_none(kept: Store) -> None:
    for second, value in ((0, 0.1), (10, None), (30, 0.2), (300, 0.3)):
        look(kept, BEGIN + timedelta(seconds=second), value)
    found = kept.series(MACHINE, ["cpu"], HOUR, BEGIN + timedelta(minutes=6))
    first = int(BEGIN.timestamp())
    assert [t - first for t in found.times] == [0, 10, 30, 40, 300]
    assert found.mean["cpu"] == [0.1, None, 0.2, None, 0.3]


def test_within_ten_seconds_the_last_counts(kept: Store) -> None:
    for number in range(1000):
        look(kept, BEGIN + timedelta(milliseconds=number), float(number))
    assert rows(kept, 10) == [(int(BEGIN.timestamp()), 999.0, None)]


def test_the_file_is_bounded_and_the_oldest_of_every_resolution_goes_first(tmp_path: Path) -> None:
    subjects = [Subject(Kind.MACHINE, f"machine-{number}") for number in range(10)]
    with contextlib.closing(Store(tmp_path / "readings.db", limit=300 << 10)) as kept:
        for number in range(4 * 60):
            at = BEGIN + number * MINUTE
            kept.record(at, {subject: dict.fromkeys(FIGURES, 0.123) for subject in subjects})
            kept.thin(at)
        kept.thin(BEGIN + 4 * HOUR)
        assert kept.size() <= kept.limit
        hour, day = (kept.series(subjects[0], ["cpu"], span, at).times for span in (HOUR, DAY))
        assert hour[-1] == int(at.timestamp()), "what is new is there"
        assert 5 < len(day) < 4 * 60 / 2, "what is old is not"
        assert day == list(range(day[0], day[-1] + 1, day[1] - day[0])), "and nothing is missing between"


def test_a_machine_of_which_nothing_is_kept_is_forgotten(kept: Store) -> None:
    look(kept, BEGIN, 0.5, MACHINE, CLASS)
    kept.record(BEGIN, {MACHINE._replace(metric="jobs"): {"value": 3}})
    assert kept.metrics(MACHINE) == ["jobs"]
    kept.thin(BEGIN + 15 * DAY)
    with contextlib.closing(sqlite3.connect(kept.path)) as connection:
        assert connection.execute("SELECT kind FROM series").fetchall() == [], "nobody thinned within the two hours"
    assert kept.metrics(MACHINE) == []


def test_a_clock_that_was_ahead_leaves_nothing_and_holds_up_nothing(kept: Store) -> None:
    ahead = BEGIN + 400 * DAY
    look(kept, ahead, 0.9)
    kept.thin(ahead)
    for second in (0, 70):
        look(kept, BEGIN + timedelta(seconds=second), 0.1)
        kept.thin(BEGIN + timedelta(seconds=second))
    assert [row[1] for row in rows(kept, 10)] == [0.1, 0.1]
    kept.thin(BEGIN + timedelta(seconds=130))
    assert [row[1] for row in rows(kept, 60)][-1] == 0.1


def test_an_engine_that_was_away_goes_on_where_it_was(kept: Store) -> None:
    look(kept, BEGIN, 0.4)
    kept.thin(BEGIN)
    kept.thin(BEGIN + HOUR)  # nothing was thinned for as long
    assert [row[1] for row in rows(kept, 60)] == [0.4]


def test_a_file_that_is_no_database_is_said_to_be_and_set_aside(kept: Store) -> None:
    kept.path.write_bytes(b"of something else " * 1000)
    for call in (lambda: look(kept, BEGIN, 0.5), lambda: kept.series(MACHINE, ["cpu"], HOUR, BEGIN), lambda: kept.thin(BEGIN)):
        with pytest.raises(Damaged):
            call()
    aside = kept.set_aside()
    assert aside.read_bytes().startswith(b"of something")
    look(kept, BEGIN, 0.5)
    assert kept.series(MACHINE, ["cpu"], HOUR, BEGIN).mean["cpu"] == [0.5]
    assert kept.path.stat().st_mode & 0o777 == 0o660


def test_damage_in_the_middle_is_noticed_while_the_file_is_open(kept: Store) -> None:
    for number in range(2000):
        look(kept, BEGIN + timedelta(seconds=10 * number), 0.5)
    kept.close()
    content = bytearray(kept.path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    kept.path.write_bytes(content)
    with pytest.raises(Damaged):
        kept.series(MACHINE, ["cpu"], DAY, BEGIN + DAY / 2)


def test_another_file_under_the_name_is_opened(kept: Store) -> None:
    look(kept, BEGIN, 0.1)
    kept.path.unlink()
    look(kept, BEGIN, 0.2)
    with contextlib.closing(Store(kept.path)) as other:
        assert other.series(MACHINE, ["cpu"], HOUR, BEGIN).mean["cpu"] == [0.2]


def test_a_folder_that_cannot_be_written_is_no_bug(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Store(tmp_path / "gone" / "readings.db").record(BEGIN, {HOST: {}})


def test_a_file_from_before_a_figure_gets_it(kept: Store) -> None:
    with contextlib.closing(sqlite3.connect(kept.path)) as connection, connection:
        connection.execute("CREATE TABLE look (t INTEGER, series INTEGER, cpu, PRIMARY KEY (t, series)) WITHOUT ROWID")
        connection.execute("INSERT INTO look VALUES (?, 1, 0.3)", (int(BEGIN.timestamp()),))
    look(kept, BEGIN + MINUTE, 0.4)
    found = kept.series(MACHINE, ["cpu", "memory"], HOUR, BEGIN + MINUTE)
    assert found.mean == {"cpu": [0.3, None, 0.4], "memory": [None, None, None]}


@pytest.mark.hostile
@pytest.mark.parametrize(("value", "believed"), [(1.5, 1.5), (0, 0), (-1, None), (float("nan"), None), (float("inf"), None), (1e300, None)])
def test_values_that_cannot_be_are_none(value: float, believed: float | None) -> None:
    assert plausible(value) == believed
    assert plausible(value, 1) == (believed if believed is None or believed <= 1 else None)


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["", "Jobs", "a b", "1", "a" * 41, "x'; DROP TABLE reading; --", "ä", "a\n"])
def test_names_that_are_none(name: str) -> None:
    assert not is_metric(name)
    assert is_metric("queue.length_1-a")


def test_nothing_but_figures_is_asked_of_the_file(kept: Store) -> None:
    look(kept, BEGIN, 0.5)
    assert kept.series(MACHINE, ["cpu", "t); DROP TABLE reading; --"], HOUR, BEGIN).mean == {"cpu": [0.5]}
    assert store.FIGURES.keys() == set(store._COLUMNS[: len(FIGURES)])
