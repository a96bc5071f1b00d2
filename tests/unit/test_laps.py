"""Where the time of a hand-over goes, and how it is drawn."""

import pytest

from appliance import laps
from appliance.hypervisor.libvirt import guest
from appliance.laps import NAMING, Bar, Lap, Stopwatch, Waterfall


def test_a_lap_ends_where_the_next_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([10.0, 10.25, 11.0])
    monkeypatch.setattr(laps.time, "monotonic", lambda: next(moments))
    watch = Stopwatch()
    watch.begin("waking it")
    watch.begin(NAMING)
    assert watch.laps() == [Lap("waking it", 0.25), Lap(NAMING, 0.75)]


def test_nothing_begun_is_no_lap() -> None:
    assert Stopwatch().laps() == []


def test_the_machines_own_laps_begin_where_it_is_named() -> None:
    found = Waterfall(
        [Lap("waking it", 1.0), Lap(NAMING, 2.0), Lap("writing it down", 1.0), Lap("input", 0.5, True), Lap("network", 1.0, True)]
    )
    assert found.seconds == 4.0
    assert [(bar.begin, bar.length) for bar in found.bars] == [(0, 25), (25, 50), (75, 25), (25, 12.5), (37.5, 25)]


def test_a_hand_over_of_no_time_is_drawn() -> None:
    assert Waterfall([Lap("waking it", 0.0)]).bars == [Bar(Lap("waking it", 0.0), 0, 0)]


@pytest.mark.badinput
@pytest.mark.parametrize(
    "line", ["", "a hook prints this", "input 1.00", "input x y", "two words 1.00 2.00", "input 1.00 2.00 3.00", "1.00 2.00"]
)
def test_other_lines_of_the_machine_are_no_laps(line: str) -> None:
    said = f"input 71.02 71.10\n{line}\nnetwork 71.10 71.21\n"
    assert guest._laps(said) == [Lap("input", 0.08, inside=True), Lap("network", 0.11, inside=True)]
