"""`python -m webui.dashboard`: writes static/grafana-dashboard.json, which Grafana imports. A panel is a line here; tests hold its expressions against the
metrics that are exposed."""

import json
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).parent / "static/grafana-dashboard.json"
WIDTH, HEIGHT, ACROSS = 8, 8, 24  # of a panel, in Grafana's grid
SOURCE = {"type": "prometheus", "uid": "${source}"}


class Panel(NamedTuple):
    """A chart: its title, Grafana's unit, and what is drawn, by legend."""

    title: str
    unit: str
    expressions: dict[str, str]


def _quantiles(metric: str, by: str = "") -> dict[str, str]:
    over = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    return {
        f"{legend}p{round(q * 100)}": f"histogram_quantile({q}, sum by ({over}) (rate({metric}_bucket[$__rate_interval])))"
        for q in (0.5, 0.99)
    }


ROWS: dict[str, tuple[Panel, ...]] = {
    "Claims": (
        Panel("Claims", "cpm", {"{{class}} {{result}}": "60 * sum by (class, result) (rate(dpe_claims_total[$__rate_interval]))"}),
        Panel(
            "Met at once",
            "percentunit",
            {
                "{{class}}": 'sum by (class) (rate(dpe_claims_total{result="hit"}[1h])) / sum by (class) (rate(dpe_claims_total[1h]))',
            },
        ),
        Panel("Wait", "s", _quantiles("dpe_claim_wait_seconds")),
        Panel("Waiting", "short", {"{{class}}": "dpe_claims_waiting"}),
        Panel("Longest wait", "s", {"{{class}}": "dpe_claim_longest_wait_seconds"}),
        Panel("Leases", "short", {"{{class}}": "dpe_leases"}),
    ),
    "Machines": (
        Panel(
            "Pools",
            "short",
            {"{{pool}}": "sum by (pool) (dpe_pool_machines)", "maximum": 'sum(dpe_pool_policy_machines{bound="maximum"})'},
        ),
        Panel("States", "short", {"{{state}}": "sum by (state) (dpe_machines)"}),
        Panel("Creation", "s", _quantiles("dpe_machine_creation_seconds", "origin")),
        Panel("Runs that have not ended", "short", {"{{kind}} {{state}}": "dpe_runs"}),
        Panel("Runs that failed", "short", {"{{kind}}": 'sum by (kind) (increase(dpe_runs_ended_total{state="failed"}[1h]))'}),
        Panel("Approvals and tasks", "short", {"open": "dpe_todos_open"}),
    ),
    "Host": (
        Panel("Processors", "percentunit", {"busy": "dpe_host_cpu_ratio"}),
        Panel(
            "Memory",
            "bytes",
            {
                "used": "dpe_host_memory_bytes - dpe_host_memory_available_bytes",
                "there": "dpe_host_memory_bytes",
                "allocated": "dpe_memory_allocated_bytes",
                "allocatable": "dpe_memory_allocatable_bytes",
            },
        ),
        Panel("Disk", "bytes", {"used": "dpe_host_disk_bytes - dpe_host_disk_free_bytes", "there": "dpe_host_disk_bytes"}),
    ),
    "Appliance": (
        Panel("Requests", "reqps", {"{{handler}} {{status}}": "sum by (handler, status) (rate(dpe_web_request_duration_seconds_count[$__rate_interval]))"}),
        Panel("Time of a request", "s", _quantiles("dpe_web_request_duration_seconds", "handler")),
        Panel("Web process", "short", {"waiting": "dpe_web_requests_waiting", "streams": "dpe_web_streams", "consoles": "dpe_console_sessions"}),
        Panel("Requests to machines", "reqps", {"{{outcome}}": "sum by (outcome) (rate(dpe_door_checks_total[$__rate_interval]))"}),
        Panel("Time of a tick", "s", {"mean": "rate(dpe_engine_tick_seconds_total[$__rate_interval]) / rate(dpe_engine_ticks_total[$__rate_interval])"}),
        Panel("Jobs", "short", {"{{queue}} {{state}}": "dpe_engine_jobs"}),
        Panel("Up", "short", {"engine": "dpe_engine_up", "hypervisor": "dpe_hypervisor_up", "{{collector}}": "dpe_collector_up"}),
        Panel("Events", "cpm", {"recorded": "60 * rate(dpe_events_total[$__rate_interval])"}),
        Panel("Not delivered", "short", {"{{webhook}} {{state}}": "dpe_webhook_deliveries", "syslog": "dpe_syslog_events_waiting"}),
        Panel("Memory of the web process", "bytes", {"resident": "process_resident_memory_bytes"}),
    ),
}  # fmt: skip


def dashboard() -> dict[str, Any]:
    """The dashboard, in the model of Grafana's schema version 39."""
    panels: list[dict[str, Any]] = []
    top = 0
    for heading, row in ROWS.items():
        grid = {"h": 1, "w": ACROSS, "x": 0, "y": top}
        panels.append({"id": len(panels) + 1, "type": "row", "title": heading, "collapsed": False, "panels": [], "gridPos": grid})
        top += 1
        for number, panel in enumerate(row):
            across = number * WIDTH % ACROSS
            panels.append(_panel(panel, len(panels) + 1, across, top))
            if across + WIDTH >= ACROSS or number == len(row) - 1:
                top += HEIGHT
    source = {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}, "hide": 0, "refresh": 1}
    return {
        "title": "DPE Appliance",
        "uid": "dpe-appliance",
        "tags": ["dpe"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "templating": {"list": [source]},
        "annotations": {"list": []},
        "panels": panels,
    }


def _panel(panel: Panel, id: int, across: int, top: int) -> dict[str, Any]:
    return {
        "id": id,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"h": HEIGHT, "w": WIDTH, "x": across, "y": top},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": {"fillOpacity": 10, "showPoints": "never"}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for number, (legend, expression) in enumerate(panel.expressions.items())
        ],
    }


def text() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
