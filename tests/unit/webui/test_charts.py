"""Readings over time on pages and in the API: who sees and sends what, the same as tables, and what is missing."""

import contextlib
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from appliance import catalog
from appliance.catalog import Actor, EventKind, Machine, MachineState, now, record
from appliance.readings import FIGURES, METRICS_EACH, Kind, Store, Subject
from appliance.services import readings, tokens
from appliance.settings import Settings
from tests import world
from tests.unit.webui.conftest import HOST, Browser
from webui import charts

Call = Callable[..., TestResponse]


@pytest.fixture(autouse=True)
def _read(people: dict[str, Actor], opened: Settings) -> None:
    world.history(opened)


@pytest.fixture
def mine(people: dict[str, Actor]) -> Machine:
    """The notebook that ada holds."""
    found: Machine = Machine.get(Machine.owner == people["ada"].account_id, Machine.state == MachineState.IN_USE)
    return found


@pytest.fixture
def call(app: Flask, people: dict[str, Actor]) -> Call:
    """Ask the API as a program of somebody's: `call("ada", "GET", "/me")`."""

    def ask(name: str, method: str, path: str, *, json: object = None, scopes: tuple[str, ...] = ("read", "readings")) -> TestResponse:
        token = tokens.create(people[name], "script", list(scopes), 7)
        return app.test_client().open(
            f"/api/v1{path}", method=method, base_url=HOST, json=json, headers={"Authorization": f"Bearer {token}"}
        )

    return ask


def told(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json
    return found


def test_the_api_says_what_was_read_of_server_class_and_machine(call: Call, mine: Machine) -> None:
    for path, figure in (("/server", "memory_allocatable"), ("/classes/notebook", "queue"), (f"/machines/{mine.id}", "memory")):
        found = told(call("grace", "GET", f"{path}/readings"))
        assert found["step"] == 10
        assert len(found["times"]) == len(found["figures"][figure]["mean"]) > 100
        assert set(found["figures"]) <= set(FIGURES)
        gap = found["figures"]["cpu"]["mean"].index(None)
        assert found["times"][gap + 1] - found["times"][gap] > 200, "the engine was away"


def test_a_longer_span_has_the_most_besides_the_mean(call: Call, opened: Settings) -> None:
    with contextlib.closing(Store(opened.readings)) as store:
        store.thin(now())
    found = told(call("grace", "GET", "/server/readings?span=day"))
    cpu = found["figures"]["cpu"]
    assert len(cpu["most"]) == len(cpu["mean"]) == len(found["times"])
    assert any(most > mean for most, mean in zip(cpu["most"], cpu["mean"], strict=True) if mean is not None)


@pytest.mark.authz
def test_a_machine_is_seen_by_its_owner_and_who_may_see_machines(call: Call, mine: Machine) -> None:
    assert call("ada", "GET", f"/machines/{mine.id}/readings").status_code == 200
    assert call("grace", "GET", f"/machines/{mine.id}/readings").status_code == 200
    assert call("alan", "GET", f"/machines/{mine.id}/readings").status_code == 404
    assert call("ada", "GET", "/server/readings").status_code == 403
    assert call("ada", "GET", "/classes/notebook/readings").status_code == 403


@pytest.mark.authz
def test_only_its_owner_sends_for_a_machine_and_with_a_token_that_is_good_for_it(call: Call, mine: Machine) -> None:
    path, sent = f"/machines/{mine.id}/readings", {"jobs": 5}
    assert call("alan", "POST", path, json=sent).status_code == 404
    assert call("grace", "POST", path, json=sent).status_code == 404, "an admin is not its application"
    assert call("ada", "POST", path, json=sent, scopes=("read", "machines")).status_code == 403
    assert call("ada", "POST", path, json=sent, scopes=("readings",)).status_code == 201


def test_what_an_application_sends_comes_back_and_is_drawn(call: Call, mine: Machine, grace: Browser) -> None:
    told(call("ada", "POST", f"/machines/{mine.id}/readings", json={"jobs": 5, "degrees": -3.5}))
    told(call("ada", "POST", f"/machines/{mine.id}/readings", json={"jobs": 7}))
    sent = told(call("ada", "GET", f"/machines/{mine.id}/readings"))["sent"]
    assert sent["jobs"]["figures"]["value"]["mean"][-1] == 7
    assert sent["degrees"]["figures"]["value"]["mean"] == [-3.5]
    page = grace.get(f"/admin/machines/{mine.id}").text
    assert "<h3>jobs</h3>" in page


@pytest.mark.badinput
@pytest.mark.hostile
def test_what_is_no_reading_is_refused_and_nothing_is_kept(call: Call, mine: Machine) -> None:
    for sent in (
        {}, [], "x", None, {"jobs": "5"}, {"jobs": None}, {"jobs": True}, {"jobs": float("nan")}, {"jobs": float("inf")}, {"jobs": 10**400},
        {"jobs": 1e16}, {"Jobs": 1}, {"": 1}, {"a" * 41: 1}, {"<script>": 1}, {"ok": 1, "not ok": 2},
    ):  # fmt: skip
        assert call("ada", "POST", f"/machines/{mine.id}/readings", json=sent).status_code == 400, str(sent)[:40]
    assert told(call("ada", "GET", f"/machines/{mine.id}/readings"))["sent"] == {}


@pytest.mark.hostile
def test_an_application_has_only_so_many_names(call: Call, mine: Machine) -> None:
    path = f"/machines/{mine.id}/readings"
    told(call("ada", "POST", path, json={f"name-{number}": number for number in range(METRICS_EACH)}))
    assert call("ada", "POST", path, json={"one-more": 1}).status_code == 400
    told(call("ada", "POST", path, json={"name-3": 8}))


@pytest.mark.badinput
def test_a_span_that_is_none(call: Call, grace: Browser, mine: Machine) -> None:
    for span in ("", "century", "%00", "hour%27"):
        assert call("grace", "GET", f"/server/readings?span={span}").status_code == 400
        assert grace.get(f"/admin/server/metrics/?span={span}&as={span}").status_code == 200
    assert call("ada", "GET", f"/machines/{mine.id}/readings?span=year").status_code == 400
    assert readings.spans(Kind.MACHINE) == ["hour", "day", "week"]
    assert "year" in readings.spans(Kind.CLASS)


def test_decisions_are_marked_and_name_nobody(call: Call, people: dict[str, Actor], grace: Browser) -> None:
    with catalog.write():
        for name in ("notebook", "studio"):
            record(EventKind.CLASS_POLICY, f"grace changed the policy of {name}.", people["grace"], class_name=name)
    [mark] = [one for one in told(call("grace", "GET", "/classes/notebook/readings"))["marks"] if one["kind"] == "class.policy"]
    assert mark["text"] == "Somebody changed the policy of a class."
    assert "Somebody changed the policy of a class." in grace.get("/admin/classes/notebook").text


@pytest.mark.parametrize(
    ("path", "titles"),
    [
        ("/admin/server/metrics/", ["Memory", "Processors", "Machines", "Requests", "Longest wait", "Disk usage", "Disk", "Network"]),
        ("/admin/classes/notebook", ["Machines", "Requests", "Longest wait", "Processors", "Memory", "Disk", "Network"]),
        ("/admin/machines/{id}", ["Processors", "Memory", "Disk", "Network"]),
    ],
)
def test_pages_have_charts_and_the_same_as_tables(grace: Browser, mine: Machine, path: str, titles: list[str]) -> None:
    page = unescape(grace.get(path.format(id=mine.id)).text)
    assert [title for title in titles if f"<h3>{title}</h3>" not in page] == []
    assert 'data-readings="/api/v1/' in page
    assert "charts.js" in page
    table = unescape(grace.get(path.format(id=mine.id) + "?as=table").text)
    assert "charts.js" not in table
    assert [title for title in titles if f"<h3>{title}</h3>" not in table] == []
    assert 11 <= table.count('data-label="Busy"') <= 13, "a row every five minutes"


def test_the_live_part_has_the_last_values(grace: Browser, mine: Machine, opened: Settings) -> None:
    with contextlib.closing(Store(opened.readings)) as store:
        store.record(now(), {Subject(Kind.MACHINE, mine.id): {"cpu": 0.42}})
    page = grace.live(f"/admin/machines/{mine.id}").text
    assert '<strong class="num" data-last="cpu">42 %</strong>' in page
    assert '<strong class="num" data-last="memory_used">missing</strong>' in page


@pytest.mark.lost
def test_a_damaged_file_is_said_and_the_page_is_there(grace: Browser, call: Call, opened: Settings) -> None:
    opened.readings.write_bytes(b"rubbish " * 4096)
    page = grace.get("/admin/server/metrics/")
    assert page.status_code == 200
    assert "The readings cannot be used" in page.text
    assert "Memory by class" in page.text
    assert call("grace", "GET", "/server/readings").status_code == 503


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (None, "mib", "missing"), (512, "mib", "512 MiB"), (65_536, "mib", "64 GiB"), (0.123, "share", "12 %"), (0, "bytes", "0 B/s"),
        (2048, "bytes", "2 KiB/s"), (5 << 20, "bytes", "5 MiB/s"), (90, "seconds", "90 s"), (600, "seconds", "10 min"),
        (9000, "seconds", "2.5 h"), (1.5, "hourly", "1.5 an hour"), (3.0, "count", "3"),
    ],
)  # fmt: skip
def test_values_in_words(value: float | None, unit: str, said: str) -> None:
    assert charts.words(value, unit) == said


def test_every_figure_that_is_drawn_is_one_that_is_read() -> None:
    drawn = {line.figure for found in charts.CHARTS.values() for chart in found for line in chart.lines}
    assert drawn <= set(FIGURES)
    assert set(FIGURES) - drawn == {"value"}
    assert set(charts.ROWS) == set(charts.LABELS) == set(readings.SPANS)
    assert all(span / charts.ROWS[name] <= 31 for name, span in readings.SPANS.items())
    assert readings.SPANS["week"] <= timedelta(days=14)
