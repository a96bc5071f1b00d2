"""What Prometheus reads: who may, what it is called, that all of it is documented and drawn, and what a scrape of a full house costs."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from flask import Flask
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from appliance import catalog
from appliance.catalog import (
    Actor,
    DeliveryState,
    Engine,
    Machine,
    Request,
    RequestState,
    Run,
    Webhook,
    WebhookDelivery,
    events,
    memory,
    now,
)
from appliance.catalog.database import rows
from appliance.catalog.metrics import Counted
from appliance.catalog.models import RunState
from appliance.services import metrics, tokens
from appliance.settings import REPOSITORY, Settings
from tests import world
from tests.plans import scans, statements
from tests.unit.webui.conftest import HOST, Browser
from webui import dashboard

pytestmark = pytest.mark.metrics

Scrape = Callable[..., TestResponse]
INSIDE = {"start_time_seconds": 1.0, "ticks_total": 5, "tick_seconds_total": 0.25, "jobs": {"short": {"running": 1, "waiting": 2}}}


@pytest.fixture
def scrape(app: Flask, people: dict[str, Actor]) -> Scrape:
    """Ask as Prometheus does, with a token of somebody's."""
    with catalog.write():
        Engine.update(internals=INSIDE).execute()

    def ask(name: str = "grace", scope: str = "metrics", accept: str = "") -> TestResponse:
        token = tokens.create(people[name], "prometheus", [scope], 7)
        return app.test_client().get("/metrics", base_url=HOST, headers={"Authorization": f"Bearer {token}", "Accept": accept})

    return ask


def values(answer: TestResponse) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.get_data(as_text=True))
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def exposed(answer: TestResponse) -> set[str]:
    """The names of all samples."""
    return {name for name, _ in values(answer)}


# -- who may ------------------------------------------------------------------------------------------


def test_a_token_of_its_scope_lets_in_and_no_other_does(scrape: Scrape, app: Flask, visitor: Browser, grace: Browser, ada: Browser) -> None:
    assert scrape().content_type.startswith("text/plain; version=")
    assert scrape(accept="application/openmetrics-text;version=1.0.0").get_data().endswith(b"# EOF\n")
    refused = scrape(scope="read")
    assert (refused.status_code, refused.mimetype) == (403, "application/problem+json")
    assert scrape("ada").status_code == 403, "it is for who may read the record"
    answer = visitor.get("/metrics")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    wrong = app.test_client().get("/metrics", base_url=HOST, headers={"Authorization": "Bearer dpe_no"})
    assert wrong.status_code == 401
    assert (grace.get("/metrics").status_code, ada.get("/metrics").status_code) == (200, 403)


def test_a_token_for_metrics_is_good_for_nothing_else(app: Flask, people: dict[str, Actor]) -> None:
    token = tokens.create(people["grace"], "prometheus", ["metrics"], 7)
    assert app.test_client().get("/api/v1/me", base_url=HOST, headers={"Authorization": f"Bearer {token}"}).status_code == 403


def test_who_may_read_them_is_told_where_they_are_and_given_the_dashboard(app: Flask, grace: Browser) -> None:
    page = grace.get("/admin/server/metrics/").text
    found = re.search(r'href="(/static/grafana-dashboard\.json\?v=\w+)" download', page)
    assert found
    with grace.get(found[1]) as answer:
        assert answer.get_data(as_text=True) == dashboard.text()


# -- what it says --------------------------------------------------------------------------------------


def test_it_says_what_is_so(scrape: Scrape, people: dict[str, Actor]) -> None:
    asked = now() - timedelta(hours=3)
    with catalog.write():
        Request.delete().execute()
        for seconds in (0.05, 3.0, 20.0):
            Request.create(
                account=people["ada"].account_id, machine_class="notebook", state=RequestState.GRANTED, hit=seconds < 1,
                created_at=asked, granted_at=asked + timedelta(seconds=seconds),
            )  # fmt: skip
        Request.create(account=people["ada"].account_id, machine_class="notebook", state=RequestState.WAITING, hit=False, created_at=asked)
        hook = Webhook.create(name="Chat", url="https://example.org", secret="x", position=0)
        WebhookDelivery.create(webhook=hook.id, event=events.last_id(), state=DeliveryState.DEAD)
    found = values(scrape())
    assert found[key("dpe_claims_total", **{"class": "notebook", "result": "hit"})] == 1
    assert found[key("dpe_claims_total", **{"class": "notebook", "result": "miss"})] == 3
    waits = {
        bound: found[key("dpe_claim_wait_seconds_bucket", le=bound, **{"class": "notebook"})] for bound in ("0.1", "2.5", "5", "30", "+Inf")
    }
    assert waits == {"0.1": 1, "2.5": 1, "5": 2, "30": 3, "+Inf": 3}
    assert found[key("dpe_claim_wait_seconds_sum", **{"class": "notebook"})] == pytest.approx(23.05, abs=0.001)
    assert found[key("dpe_claims_waiting", **{"class": "notebook"})] == 1
    assert found[key("dpe_claim_longest_wait_seconds", **{"class": "notebook"})] == pytest.approx(3 * 3600, abs=60)
    ready = Machine.select().where(Machine.state == "ready", Machine.machine_class == "notebook").count()
    assert found[key("dpe_machines", **{"class": "notebook", "state": "ready"})] == ready
    assert found[key("dpe_pool_machines", **{"class": "notebook", "pool": "buffer"})] == ready
    forked = key("dpe_machine_creation_seconds_count", **{"class": "notebook", "origin": "fork"})
    assert found[forked] == Machine.select().where(Machine.origin == "fork", Machine.machine_class == "notebook").count() > 0
    assert found[key("dpe_engine_up")] == found[key("dpe_hypervisor_up")] == 1
    assert found[key("dpe_engine_ticks_total")] == 5
    assert found[key("dpe_engine_jobs", queue="short", state="waiting")] == 2
    assert found[key("dpe_host_memory_bytes")] == world.HOST["memory"] * (1 << 20)  # type: ignore[operator]
    assert found[key("dpe_webhook_deliveries", webhook="Chat", state="dead")] == 1
    assert found[key("dpe_events_total")] == events.last_id()


def test_what_only_grows_is_counted_on_and_each_of_it_once(scrape: Scrape, people: dict[str, Actor]) -> None:
    """A request that waits, a machine that is made and a run that goes on count when they have come to rest, whatever came before or after them."""
    seen: dict[str, float] = {}

    def more(*names: str) -> list[float]:
        """By how much each has grown since the last time."""
        found = values(scrape())
        now_there = {name: sum(value for (one, _), value in found.items() if one == name) for name in names}
        grown = [now_there[name] - seen.get(name, 0.0) for name in names]
        seen.update(now_there)
        return grown

    def request(**given: Any) -> Request:
        made: Request = Request.create(account=people["ada"].account_id, machine_class="notebook", **given)
        return made

    names = ("dpe_claims_total", "dpe_claim_wait_seconds_count", "dpe_machine_creation_seconds_count", "dpe_runs_ended_total")
    more(*names)
    assert more(*names) == [0, 0, 0, 0], "nothing is counted twice"
    waits = request(state=RequestState.WAITING, hit=False)
    run = Run.create(kind="assign", state=RunState.RUNNING, asked_by="ada")
    machine = Machine.select().where(Machine.state == "creating").first()
    assert more(*names) == [1, 0, 0, 0]
    request(state=RequestState.GRANTED, hit=True, granted_at=now())
    assert more(*names) == [1, 1, 0, 0], "also while an earlier one waits"
    Request.update(state=RequestState.GRANTED, granted_at=now()).where(Request.id == waits.id).execute()
    Machine.update(state="ready", ready_at=now()).where(Machine.id == machine.id).execute()
    Run.update(state=RunState.FAILED, ended_at=now()).where(Run.id == run.id).execute()
    assert more(*names) == [0, 1, 1, 1]
    Run.update(state=RunState.RUNNING, ended_at=None).where(Run.id == run.id).execute()
    assert more(*names) == [0, 0, 0, 0], "somebody had it retried"
    Run.update(state=RunState.DONE, ended_at=now()).where(Run.id == run.id).execute()
    assert more(*names) == [0, 0, 0, 1]
    recounted = Counted().count()
    assert sum(recounted.claims.values()) == seen["dpe_claims_total"], "a process that begins anew has it from the catalog"
    assert sum(sum(one.counts) for one in recounted.waits.values()) == seen["dpe_claim_wait_seconds_count"]


def test_an_engine_that_is_gone_is_down(scrape: Scrape) -> None:
    with catalog.write():
        Engine.update(seen_at=now() - timedelta(minutes=2)).execute()
    found = values(scrape())
    assert found[key("dpe_engine_up")] == found[key("dpe_hypervisor_up")] == 0


def test_an_appliance_without_anything_has_metrics_too(app: Flask, opened: Settings) -> None:
    world.set_up()
    token = tokens.create(world.account("root", is_admin=True), "prometheus", ["metrics"], 7)
    answer = app.test_client().get("/metrics", base_url=HOST, headers={"Authorization": f"Bearer {token}"})
    assert values(answer)[key("dpe_engine_up")] == 0


def test_requests_are_counted_by_who_handles_them(scrape: Scrape, ada: Browser) -> None:
    def count(handler: str, status: str) -> float:
        return values(scrape()).get(key("dpe_web_request_duration_seconds_count", handler=handler, status=status), 0)

    before = count("page", "4xx"), count("door", "2xx")
    ada.get("/nothing")
    ada.get("/healthz")
    assert (count("page", "4xx"), count("door", "2xx")) == (before[0] + 1, before[1] + 1)


def test_what_the_front_door_is_answered_is_counted(scrape: Scrape, ada: Browser, visitor: Browser, people: dict[str, Actor]) -> None:
    outcomes = ("admitted", "sign_in", "nobody")

    def counts() -> list[float]:
        found = values(scrape())
        return [found.get(key("dpe_door_checks_total", outcome=outcome), 0) for outcome in outcomes]

    mine = Machine.get(Machine.owner == people["ada"].account_id)
    before = counts()
    for browser, port in ((ada, 9000 + mine.slot), (visitor, 9000), (ada, 8999)):
        browser.get("/door/check", **{"X-DPE-Port": str(port), "X-DPE-Uri": "/"})
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [1, 1, 1]


# -- names, documentation, dashboard ---------------------------------------------------------------------


def test_names_follow_the_conventions() -> None:
    """prometheus.io/docs/practices/naming: base units, `_total` for what only grows and for nothing else."""
    for name, metric in metrics.METRICS.items():
        assert re.fullmatch(r"dpe(_[a-z]+)+", name), name
        assert name.endswith("_total") == (metric.kind is metrics.COUNTER), name
        assert not re.search(r"_(ms|milliseconds|minutes|hours|mib|gib|kb|mb|percent)(_|$)", name), name
        assert metric.text.endswith("."), name
        assert all(re.fullmatch("[a-z]+", label) and label != "le" for label in metric.labels), name


def test_every_metric_is_documented_and_every_one_that_is_documented_is_exposed(scrape: Scrape) -> None:
    table = (REPOSITORY / "webui/README.md").read_text()
    documented = dict(re.findall(r"^\| `(dpe_\w+)` \| ([^|]*) \| (?:[^|]*) \|$", table, re.MULTILINE))
    assert {name: ", ".join(f"`{label}`" for label in metric.labels) for name, metric in metrics.METRICS.items()} == {
        name: labels.strip() for name, labels in documented.items()
    }
    with catalog.write():
        memory.allow(memory.Allowed(limit=1000, most=1000))
    families = {family.name for family in text_string_to_metric_families(scrape().get_data(as_text=True))}
    assert {name.removesuffix("_total") for name in metrics.METRICS} == {name for name in families if name.startswith("dpe_")}


def test_the_dashboard_is_what_the_program_makes_and_what_grafana_knows() -> None:
    """Grafana's own model of a dashboard reads it, and knows all that is said there."""
    assert dashboard.FILE.read_text() == dashboard.text(), "make it anew: python -m webui.dashboard"
    plugins.register_default_plugins()
    made = json.loads(dashboard.text())
    read = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(made)))
    assert lost(made, read) == []
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])


def lost(ours: Any, theirs: Any, at: str = "") -> list[str]:
    """Where what was said is not there any more, or is something else."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [one for name, value in ours.items() for one in lost(value, theirs.get(name), f"{at}/{name}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [one for number, value in enumerate(ours) for one in lost(value, theirs[number], f"{at}/{number}")]
    return [] if ours == theirs else [at]


class Parsed:
    """What an expression asks, as Prometheus' grammar has it: its selectors, and the labels of what comes out."""

    def __init__(self, expression: str, labels: dict[str, frozenset[str]]) -> None:
        self.labels = labels
        self.selectors: list[tuple[str, list[str]]] = []  # metrics, with the labels that are asked for
        self.out = self._out(promql_parser.parse(expression.replace("$__rate_interval", "5m")))

    def _out(self, node: Any) -> frozenset[str]:
        if isinstance(node, promql_parser.VectorSelector):
            name = node.name or ""
            self.selectors.append((name, [one.name for one in node.matchers.matchers]))
            return self.labels[name]
        if isinstance(node, promql_parser.MatrixSelector):
            return self._out(node.vector_selector)
        if isinstance(node, promql_parser.ParenExpr):
            return self._out(node.expr)
        if isinstance(node, promql_parser.Call):
            found = [self._out(one) for one in node.args if not isinstance(one, promql_parser.NumberLiteral)]
            assert len(found) == 1, node
            return found[0] - ({"le"} if node.func.name == "histogram_quantile" else set())
        if isinstance(node, promql_parser.AggregateExpr):
            by = frozenset(node.modifier.labels if node.modifier else ())
            assert by <= self._out(node.expr), f"{node} is by labels that are not there"
            return by
        assert isinstance(node, promql_parser.BinaryExpr), node
        sides = [self._out(one) for one in (node.lhs, node.rhs) if not isinstance(one, promql_parser.NumberLiteral)]
        assert len(set(sides)) == 1, f"both sides of {node} have the same labels, or nothing matches"
        return sides[0]


def test_the_dashboard_draws_what_is_exposed(scrape: Scrape) -> None:
    """Each expression is PromQL, of metrics and labels that there are, and its legend names labels that come out of it."""
    labels = {name: frozenset[str]() for name in exposed(scrape()) if name.startswith("process_")}
    for name, metric in metrics.METRICS.items():
        if metric.kind is metrics.HISTOGRAM:
            labels |= {f"{name}{suffix}": frozenset(metric.labels) for suffix in ("_sum", "_count")}
            labels[f"{name}_bucket"] = frozenset({*metric.labels, "le"})
        else:
            labels[name] = frozenset(metric.labels)
    drawn = set()
    for panel in dashboard.dashboard()["panels"]:
        for target in panel.get("targets", ()):
            parsed = Parsed(target["expr"], labels)
            assert parsed.selectors, target
            for name, asked in parsed.selectors:
                assert set(asked) <= labels[name], target
                drawn.add(re.sub("_(bucket|sum|count)$", "", name))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= parsed.out, target
    assert {
        "dpe_claims_total",
        "dpe_pool_machines",
        "dpe_machine_creation_seconds",
        "dpe_leases",
        "dpe_runs",
        "dpe_host_cpu_ratio",
    } <= drawn


# -- another package's -----------------------------------------------------------------------------------

MODULE = """
from prometheus_client.core import GaugeMetricFamily

def collect():
    bells = GaugeMetricFamily("house_bells", "Bells of the house.", labels=["room"])
    bells.add_metric(["door"], 2)
    return [bells]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a package that brings metrics, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def do(module: str) -> None:
        (tmp_path / "housebells.py").write_text(module)
        info = tmp_path / "housebells-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: housebells\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{metrics.GROUP}]\nbells = housebells:collect\n")
        metrics._from_entry_points.cache_clear()

    yield do
    metrics._from_entry_points.cache_clear()
    sys.modules.pop("housebells", None)


def test_another_package_brings_its_own(scrape: Scrape, install: Callable[[str], None]) -> None:
    install(MODULE)
    found = values(scrape())
    assert found[key("house_bells", room="door")] == 2
    assert found[key("dpe_collector_up", collector="bells")] == 1


@pytest.mark.badinput
@pytest.mark.parametrize(
    "module",
    ["import nothing_of_that_name", "def collect(): raise OSError('broken')", MODULE.replace("house_bells", "dpe_machines"), "collect = 5"],
)
def test_one_that_is_broken_or_poses_as_ours_spoils_nothing(scrape: Scrape, install: Callable[[str], None], module: str) -> None:
    install(module)
    found = values(scrape())
    assert found[key("dpe_collector_up", collector="bells")] == 0
    assert found[key("dpe_engine_up")] == 1


# -- what it costs -----------------------------------------------------------------------------------------


def test_a_scrape_of_a_full_house_asks_little_and_is_quick(
    scrape: Scrape, people: dict[str, Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000 machines and three claims of each: under 300 ms of processor time."""
    columns = ", ".join(
        one
        for one in (row[1] for row in rows("PRAGMA table_info(machine)"))
        if one not in ("number", "id", "name", "slot", "door", "state", "host_label")
    )
    with catalog.write():
        some = Machine.select().where(Machine.state == "ready").get()
        rows(
            f"""
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
            INSERT INTO machine (id, name, host_label, slot, door, state, {columns})
            SELECT 'many-' || i, 'many-' || i, 'many-' || i, 10000 + i, 10000 + i, 'in_use', {columns} FROM n, machine WHERE machine.id = ?
            """,
            (some.id,),
        )
        rows(
            """
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
            INSERT INTO request (account_id, class_name, state, hit, created_at, granted_at)
            SELECT ?, 'notebook', 'granted', i % 3 > 0, '2026-11-21T09:30:00.000000+00:00', '2026-11-21T09:30:0' || (i % 10) || '.250000+00:00' FROM n
            """,
            (people["ada"].account_id,),
        )
    scrape()
    with statements(monkeypatch) as seen:
        begun = time.thread_time()
        answer = scrape()
        spent = time.thread_time() - begun
    assert [one for one in scans(seen) if not one.startswith("SCAN session")] == [], "sessions are of who is signed in now"
    found = values(answer)
    assert found[key("dpe_machines", **{"class": "notebook", "state": "in_use"})] >= 10_000
    assert spent < 0.3
    assert len(seen) < 30, "however many machines there are"
