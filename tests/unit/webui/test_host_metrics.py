"""The host's page: its chart, the same as a table, and what machines take."""

import re
from datetime import timedelta
from html import unescape

import pytest

from appliance import catalog
from appliance.catalog import Class, Engine, HostReading, Machine, MachineState, Reading, memory, now
from tests.unit.webui.conftest import Browser
from webui import chart


def row(minutes_ago: float, **values: int) -> HostReading:
    defaults = {
        "cpu": 0.1, "memory": 8000, "memory_available": 5000, "machines_private": 1000, "machines_shared": 500, "machines_nominal": 4000,
        "machines_limit": 7000,
    }  # fmt: skip
    return HostReading(at=END - timedelta(minutes=minutes_ago), **{**defaults, **values})


END = now().replace(second=0, microsecond=0)
HOUR = timedelta(hours=1)


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.-]+)", path)]


def test_areas_lie_on_each_other_and_end_at_the_present() -> None:
    drawn = chart.draw([row(60), row(59), row(58), row(1), row(0)], HOUR, END)
    assert drawn
    assert (drawn.top, drawn.ticks) == (8192, [8192, 6144, 4096, 2048, 0])
    height = chart.HEIGHT
    assert points(drawn.areas["private"])[-4:] == [(983.3, 280.9), (1000.0, 280.9), (1000.0, height), (983.3, height)]
    tops = {name: points(path)[0][1] for name, path in drawn.areas.items()}
    used = {name: round((1 - y / height) * drawn.top) for name, y in tops.items()}
    assert used == {"private": pytest.approx(1000, abs=3), "shared": pytest.approx(1500, abs=3), "other": pytest.approx(3500, abs=3)}
    assert drawn.last.free == 8000 - 3500


def test_nothing_is_drawn_where_nothing_was_read() -> None:
    drawn = chart.draw([row(minute) for minute in (60, 59, 58, 20, 19)], HOUR, END)
    assert drawn
    assert drawn.lines["limit"].count("M") == 2
    assert chart.draw([row(1)], HOUR, END) is None
    assert chart.draw([], HOUR, END) is None


def test_a_day_has_no_more_points_than_can_be_seen() -> None:
    drawn = chart.draw([row(minute) for minute in range(24 * 60, -1, -1)], timedelta(hours=24), END)
    assert drawn
    assert len(points(drawn.lines["memory"])) <= chart.POINTS + 1
    assert drawn.lines["memory"].count("M") == 1
    assert len(drawn.bands) <= 61


def test_a_limit_far_above_the_host_does_not_flatten_all_else() -> None:
    drawn = chart.draw([row(1, machines_limit=70_000), row(0, machines_limit=70_000)], HOUR, END)
    assert drawn
    assert drawn.top == 8192
    assert all(y < 0 for _, y in points(drawn.lines["limit"]))


def test_host_page(grace: Browser) -> None:
    page = unescape(grace.get("/admin/server/metrics/").text)
    for words in (
        "A test machine ran in 42 ms.",
        "QEMU 10.0.2",
        "Machines, shared",
        "Ready, paused (forked)",
        "34 MiB",
        "63 GiB",
        "There is no swap.",
    ):
        assert words in page, words
    assert "<svg class=" in page
    day = grace.get("/admin/server/metrics/?span=day").text
    assert 'aria-current="true">Last day' in day
    assert 'href="/admin/server/metrics/"' in grace.get("/admin/").text
    assert 'href="/admin/server/metrics/"' in grace.get("/admin/server/").text


def test_the_same_as_a_table(grace: Browser) -> None:
    page = grace.get("/admin/server/metrics/?as=table").text
    assert '<svg class="plot"' not in page
    assert 11 <= page.count('data-label="Allocated"') <= 14
    assert 'aria-current="true">Table' in page


def test_host_page_before_there_is_anything_to_say(grace: Browser) -> None:
    HostReading.delete().where(HostReading.at < now() - timedelta(minutes=2)).execute()
    HostReading.delete().where(HostReading.at != HostReading.select(HostReading.at).limit(1)).execute()
    Engine.delete().execute()
    with catalog.write():
        Machine.update(state=MachineState.RETIRED).execute()
    page = grace.get("/admin/server/metrics/").text
    for words in (
        "Nothing is known of the host",
        "There is nothing to draw yet.",
        "There are no machines of it.",
        "The engine is not running.",
    ):
        assert words in page, words


@pytest.mark.badinput
@pytest.mark.parametrize("query", ["span=year", "as=csv", "span=%00&as=%27", "span=day&span=hour"])
def test_strange_questions_about_the_host(grace: Browser, query: str) -> None:
    assert grace.get(f"/admin/server/metrics/?{query}").status_code == 200


def test_the_host_is_the_admin_s_business(ada: Browser) -> None:
    assert ada.get("/admin/server/metrics/").status_code == 403


def test_what_was_not_measured_is_not_made_up(grace: Browser) -> None:
    Reading.update(memory_private=0, memory_shared=0).execute()
    page = grace.get("/admin/server/metrics/").text
    assert "not measured yet" in page
    machine = Machine.get(Machine.state == MachineState.IN_USE)
    assert "Host memory" not in grace.get(f"/admin/machines/{machine.id}").text
    Reading.update(memory_private=388, memory_shared=21).execute()
    found = unescape(grace.get(f"/admin/machines/{machine.id}").text)
    assert f"388 MiB alone and 21 MiB of what is shared, of up to {(machine.memory + memory.allowed().overhead) / 1024:.1f} GiB" in found


def test_who_waits_for_memory_is_told_so(ada: Browser, opened: object) -> None:
    with catalog.write():
        memory.allow(memory.Allowed(limit=5000))
        Class.update(per_person=9).execute()
    page = unescape(ada.get("/").text)
    assert "The server's memory is all given out: yours comes as soon as somebody gives one back." in page
    assert "ready, yours at once" not in page
