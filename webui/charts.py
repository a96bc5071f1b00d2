"""Which charts there are of host, classes and machines, and the same as tables; the browser draws them (static/js/charts.js)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from flask import current_app, request, url_for

from appliance.errors import Unavailable
from appliance.readings import HOST, Kind, Series, Subject
from appliance.services import overview, readings
from appliance.services.readings import Mark
from webui import language
from webui.format import mib

LABELS = {"hour": "Hour", "day": "Day", "week": "Week", "month": "Month", "year": "Year", "2-years": "Two years"}
ROWS = {  # of a table, one each
    "hour": timedelta(minutes=5),
    "day": timedelta(hours=1),
    "week": timedelta(hours=6),
    "month": timedelta(days=1),
    "year": timedelta(days=14),
    "2-years": timedelta(days=28),
}


@dataclass(frozen=True)
class Line:
    """A figure in a chart. `key` is its colour (app.css); a `stacked` one lies as an area on those before it; `peak` shows the largest as well."""

    figure: str
    label: str
    key: str
    stacked: bool = False
    peak: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines of one unit: mib, share, bytes (a second), seconds, brief (seconds, too), count, rate (a second) or hourly. `sent` names what an application sent."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    sent: str = ""


PROCESSORS = Chart("Processors", "share", (Line("cpu", "Busy", "a", peak=True),))
DISK = Chart("Disk", "bytes", (Line("disk_read", "Read", "a", peak=True), Line("disk_written", "Written", "b", peak=True)))
NETWORK = Chart("Network", "bytes", (Line("net_received", "Received", "a", peak=True), Line("net_sent", "Sent", "b", peak=True)))
POOLS = Chart(
    "Machines",
    "count",
    (Line("production", "Production", "a"), Line("buffer", "Buffer", "b"), Line("creation", "Creation", "c"), Line("queue", "Queue", "d", peak=True)),
)  # fmt: skip
JOBS = Chart("Jobs", "count", (Line("jobs", "Waiting or running", "a", peak=True),))
REQUESTS = Chart("Requests", "hourly", (Line("hits", "Met at once", "a"), Line("misses", "Had to wait", "d")))
SERVED = Chart(
    "Requests a second", "rate", (Line("requests", "Requests", "a", peak=True), Line("requests_failed", "Failed", "d", peak=True))
)
LATENCY = Chart("Latency", "brief", (Line("latency", "Latency", "a", peak=True),))
SERVICE = (
    Chart(
        "Replicas",
        "count",
        (
            Line("replicas_wanted", "Wanted", "nominal"),
            Line("replicas", "Serving", "a"),
            Line("requests_queued", "Requests queued", "d", peak=True),
        ),
    ),
    SERVED,
    LATENCY,
)
WAIT = Chart("Longest wait", "seconds", (Line("wait", "First in the queue", "d", peak=True),))
TAKEN = (
    Line("memory_private", "Machines, private", "private", stacked=True),
    Line("memory_shared", "Machines, shared", "shared", stacked=True),
)
TAKEN_ALONE = (Line("memory_private", "Private", "private", stacked=True), Line("memory_shared", "Shared", "shared", stacked=True))

CHARTS = {
    Kind.HOST: (
        Chart(
            "Memory",
            "mib",
            (
                *TAKEN,
                Line("memory_other", "Other", "other", stacked=True),
                Line("memory", "Total", "memory"),
                Line("memory_allocated", "Allocated", "nominal"),
                Line("memory_allocatable", "Allocatable", "limit"),
            ),
        ),
        PROCESSORS,
        POOLS,
        REQUESTS,
        WAIT,
        Chart("Disk usage", "share", (Line("disk_usage", "Taken", "a"),)),
        DISK,
        NETWORK,
    ),
    Kind.CLASS: (*SERVICE, POOLS, JOBS, REQUESTS, WAIT, PROCESSORS, Chart("Memory", "mib", (*TAKEN, Line("memory_used", "Used by guests", "nominal"))), DISK, NETWORK),
    Kind.MACHINE: (
        SERVED,
        LATENCY,
        PROCESSORS,
        Chart("Memory", "mib", (*TAKEN_ALONE, Line("memory_used", "Used by the guest", "nominal", peak=True), Line("memory", "Size", "memory"))),
        DISK,
        NETWORK,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A chart on a page: what the browser is told of it, each line's last value in words, and as a table its rows, latest first."""

    chart: Chart
    last: dict[str, str]
    rows: list[tuple[datetime, list[str]]]

    @property
    def told(self) -> dict[str, Any]:
        return asdict(self.chart)


@dataclass(frozen=True)
class Charts:
    """All charts of a subject on its page. `address` has their values, `page` shows them; `problem` says why there are none."""

    page: str
    address: str
    span: str
    spans: list[str]
    as_table: bool
    zone: str
    drawn: list[Drawn]
    marks: list[Mark]
    problem: str = ""

    @property
    def labels(self) -> dict[str, str]:
        return LABELS

    def link(self, *, span: str = "", as_table: bool | None = None) -> str:
        """The page with another span, or as a table or not."""
        table = self.as_table if as_table is None else as_table
        query = {"span": span or self.span, **({"as": "table"} if table else {})}
        return f"{self.page}?{urlencode(query)}#over-time"


def of(subject: Subject) -> Charts:
    """The charts of a subject over the span that the address asks for."""
    spans = readings.spans(subject.kind)
    asked, as_table = request.args.get("span", ""), request.args.get("as") == "table"
    span = asked if asked in spans else spans[0]
    drawn: list[Drawn] = []
    marks: list[Mark] = []
    problem = ""
    try:
        found = readings.over_time(current_app.config["SETTINGS"], subject, span)
        drawn = [_drawn(chart, found.series, span, as_table=as_table) for chart in CHARTS[subject.kind] if _is_known(chart, found.series)]
        drawn += [_drawn(_of_sent(name), series, span, as_table=as_table) for name, series in found.sent.items()]
        marks = found.marks
    except Unavailable as error:
        problem = str(error)
    return Charts(*_addresses(subject, span), span, spans, as_table, overview.time_zone(), drawn, marks, problem)


def _addresses(subject: Subject, span: str) -> tuple[str, str]:
    """The subject's page, and what has its values."""
    if subject == HOST:
        return url_for("host.index"), url_for("api.server_readings", span=span)
    if subject.kind is Kind.CLASS:
        return url_for("classes.page", name=subject.name), url_for("api.class_readings", name=subject.name, span=span)
    return url_for("machines.page", id=subject.name), url_for("api.machine_readings", id=subject.name, span=span)


def _of_sent(name: str) -> Chart:
    return Chart(name, "count", (Line("value", "Sent", "a", peak=True),), sent=name)


def _is_known(chart: Chart, series: Series) -> bool:
    return any(line.figure in series.mean for line in chart.lines)


def _drawn(chart: Chart, series: Series, span: str, *, as_table: bool) -> Drawn:
    last = {line.figure: words(_last(series.mean.get(line.figure, [])), chart.unit) for line in chart.lines}
    return Drawn(chart, last, list(_rows(chart, series, ROWS[span]))[::-1] if as_table else [])


def _last(values: Sequence[float | None]) -> float | None:
    return values[-1] if values else None


def _rows(chart: Chart, series: Series, each: timedelta) -> Iterator[tuple[datetime, list[str]]]:
    """The mean of each line over every `each`; empty times are left out."""
    seconds = int(each.total_seconds())
    columns: Mapping[str, Sequence[float | None]] = series.mean
    for begin, indexes in groupby(range(len(series.times)), lambda index: series.times[index] // seconds * seconds):
        at = list(indexes)
        known = [
            [value for index in at if (value := columns[line.figure][index]) is not None] if line.figure in columns else []
            for line in chart.lines
        ]
        if any(known):
            cells = [words(sum(values) / len(values) if values else None, chart.unit) for values in known]
            yield datetime.fromtimestamp(begin, UTC), cells


def words(value: float | None, unit: str) -> str:
    """A value with its unit, as charts.js writes it, too."""
    if value is None:
        return language.text("missing")
    match unit:
        case "mib":
            return mib(round(value))
        case "share":
            return f"{100 * value:.0f} %"
        case "bytes":
            size, name = next(((value / 1024**n, name) for n, name in ((2, "MiB/s"), (1, "KiB/s")) if value >= 1024**n), (value, "B/s"))
            return f"{_short(size)} {name}"
        case "seconds":
            return (
                f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min" if value < 7200 else f"{language.decimal(value / 3600, 1)} h"
            )
        case "brief":
            return f"{_short(1000 * value)} ms" if value < 1 else f"{_short(value)} s"
        case "rate":
            return f"{_short(value)}/s"
        case "hourly":
            return language.text("%(number)s an hour", number=_short(value))
    return _short(value)


def _short(number: float) -> str:
    """A number in three digits, or as many as it has before its point."""
    digits = len(f"{number:.3g}".partition(".")[2]) if abs(number) < 999.5 else 0
    return language.decimal(number, digits)
