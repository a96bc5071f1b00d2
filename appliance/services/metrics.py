"""The appliance's metrics for Prometheus, made at each scrape of what the catalog says. Each is declared once: name, what it is, labels.

Names follow prometheus.io/docs/practices/naming: base units, `_total` for counters. Another package adds its own through an entry point of the group
`dpe.metrics`: a function that returns metric families of prometheus_client.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from appliance import __version__, syslog
from appliance.catalog import Engine, MachineState, Webhook, demand, machines, metrics, now, webhooks
from appliance.catalog.metrics import Histogram
from appliance.errors import BadInput
from appliance.services import overview

log = logging.getLogger(__name__)

GROUP = "dpe.metrics"
PREFIX = "dpe_"
MIB = 1 << 20
Labels = tuple[str, ...]
Samples = Mapping[Any, float | Histogram]  # by the values of the labels


@dataclass(frozen=True)
class Metric:
    """A metric: what it tells, the names of its labels, and its kind."""

    name: str
    text: str
    labels: Labels = ()
    kind: Callable[..., Any] = GaugeMetricFamily


COUNTER, HISTOGRAM = CounterMetricFamily, HistogramMetricFamily

METRICS = {
    metric.name: metric
    for metric in (
        Metric("dpe_build_info", "1, with the version of the appliance.", ("version",)),
        Metric("dpe_claims_total", "Requests for machines: hit is at once, miss is not.", ("class", "result"), COUNTER),
        Metric("dpe_claim_wait_seconds", "From asking for a machine until it was granted.", ("class",), HISTOGRAM),
        Metric("dpe_claims_waiting", "Requests for machines that wait for one.", ("class",)),
        Metric("dpe_claim_longest_wait_seconds", "How long the first of those has waited.", ("class",)),
        Metric("dpe_machines", "Machines that are not retired.", ("class", "state")),
        Metric("dpe_pool_machines", "Machines in the pools creation, buffer and production.", ("class", "pool")),
        Metric("dpe_pool_policy_machines", "What the policy says: minimum, maximum and buffer.", ("class", "bound")),
        Metric("dpe_class_enabled", "Whether machines of the class can be had.", ("class",)),
        Metric("dpe_machine_creation_seconds", "From planning a machine until it was ready; origin is fork or boot.", ("class", "origin"), HISTOGRAM),
        Metric("dpe_leases", "Leases that have not ended.", ("class",)),
        Metric("dpe_runs", "Runs that have not ended.", ("kind", "state")),
        Metric("dpe_runs_ended_total", "Runs that ended, by how.", ("kind", "state"), COUNTER),
        Metric("dpe_seeds", "Versions of seeds.", ("class", "state")),
        Metric("dpe_todos_open", "Approvals and tasks that wait for somebody."),
        Metric("dpe_accounts", "Accounts that may sign in."),
        Metric("dpe_sessions", "Browsers that are signed in."),
        Metric("dpe_console_sessions", "Screens and serial lines that are open."),
        Metric("dpe_events_total", "Events recorded.", (), COUNTER),
        Metric("dpe_catalog_size_bytes", "The catalog's file."),
        Metric("dpe_webhook_deliveries", "Events that are not delivered: pending or dead.", ("webhook", "state")),
        Metric("dpe_webhook_failing", "Whether the last try to deliver failed.", ("webhook",)),
        Metric("dpe_syslog_events_waiting", "Events that the syslog receiver does not have."),
        Metric("dpe_engine_up", "Whether the engine gave a sign of life lately."),
        Metric("dpe_engine_last_seen_timestamp_seconds", "When it last did."),
        Metric("dpe_engine_start_time_seconds", "When it was started."),
        Metric("dpe_engine_ticks_total", "Ticks since then.", (), COUNTER),
        Metric("dpe_engine_tick_seconds_total", "Time that those took.", (), COUNTER),
        Metric("dpe_engine_jobs", "Jobs that run or wait for a thread.", ("queue", "state")),
        Metric("dpe_hypervisor_up", "Whether the hypervisor answered the engine."),
        Metric("dpe_host_cpu_ratio", "Share of the processors that are busy, 0 to 1."),
        Metric("dpe_host_processors", "Processors of the host."),
        Metric("dpe_host_memory_bytes", "Memory of the host."),
        Metric("dpe_host_memory_available_bytes", "Memory of the host that is available."),
        Metric("dpe_host_swap_bytes", "Swap space of the host."),
        Metric("dpe_host_swap_used_bytes", "Swap space of the host that is used."),
        Metric("dpe_host_disk_bytes", "The disk on which machines are."),
        Metric("dpe_host_disk_free_bytes", "What of that is free."),
        Metric("dpe_memory_allocated_bytes", "Memory that machines which people hold may grow to."),
        Metric("dpe_memory_allocatable_bytes", "Memory that may be allocated at most."),
        Metric("dpe_collector_up", "Whether what another package brings could be asked.", ("collector",)),
        # What the web process counts: see webui/metrics.py.
        Metric("dpe_web_request_duration_seconds", "Requests to the web process; handler is api, door, live, page or metrics.", ("handler", "status"), HISTOGRAM),
        Metric("dpe_web_requests_waiting", "Requests that wait for their turn in the web process."),
        Metric("dpe_web_streams", "Pages and programs that are told of changes as they happen."),
        Metric("dpe_door_checks_total", "Requests to machines, by outcome: admitted, sign_in, or the page that says why not.", ("outcome",), COUNTER),
    )
}  # fmt: skip


# -- what the catalog says ---------------------------------------------------------------------------


def _classes() -> Iterator[tuple[str, Samples]]:
    known = metrics.policies()
    counts, waiting, moment = machines.counts(), demand.waiting(), now()
    yield "dpe_class_enabled", {(name,): float(one.enabled) for name, one in known.items()}
    yield (
        "dpe_pool_policy_machines",
        {(name, bound): getattr(one, bound) for name, one in known.items() for bound in ("minimum", "maximum", "buffer")},
    )
    yield "dpe_machines", {(name, state.value): count for name, states in counts.items() for state, count in states.items()}
    pools = {"creation": overview.CREATION, "buffer": (MachineState.READY,), "production": overview.PRODUCTION}
    yield (
        "dpe_pool_machines",
        {(name, pool): sum(counts.get(name, {}).get(state, 0) for state in states) for name in known for pool, states in pools.items()},
    )
    yield "dpe_claims_waiting", {(name,): waiting[name].machines if name in waiting else 0 for name in known}
    yield (
        "dpe_claim_longest_wait_seconds",
        {(name,): max(0.0, (moment - waiting[name].since).total_seconds()) if name in waiting else 0 for name in known},
    )
    live = metrics.leases()
    yield "dpe_leases", {(name,): live.get(name, 0) for name in known}
    yield "dpe_seeds", metrics.seed_states()


def _claims() -> Iterator[tuple[str, Samples]]:
    counted = metrics.counted()
    yield "dpe_claims_total", {(name, "hit" if hit else "miss"): count for (name, hit), count in counted.claims.items()}
    yield "dpe_claim_wait_seconds", {(name,): found for name, found in counted.waits.items()}
    yield "dpe_machine_creation_seconds", counted.creations
    yield "dpe_runs", metrics.run_states()
    yield "dpe_runs_ended_total", counted.runs


def _sizes() -> Iterator[tuple[str, Samples]]:
    found = metrics.sizes()
    yield "dpe_todos_open", {(): found.work_items}
    yield "dpe_accounts", {(): found.accounts}
    yield "dpe_sessions", {(): found.sessions}
    yield "dpe_console_sessions", {(): found.consoles}
    yield "dpe_events_total", {(): found.events}
    yield "dpe_catalog_size_bytes", {(): found.bytes}
    yield "dpe_build_info", {(__version__,): 1}


def _told() -> Iterator[tuple[str, Samples]]:
    known, counts = list(Webhook.select()), webhooks.counts()
    yield (
        "dpe_webhook_deliveries",
        {(one.name, state): counts.get(one.id, {}).get(state, 0) for one in known for state in ("pending", "dead")},
    )
    yield "dpe_webhook_failing", {(one.name,): float(one.failing_since is not None) for one in known}
    yield "dpe_syslog_events_waiting", {(): syslog.waiting() if syslog.receiver() else 0}


def _engine() -> Iterator[tuple[str, Samples]]:
    row: Engine | None = Engine.get_or_none()
    up = row is not None and now() - row.seen_at <= overview.STALE
    yield "dpe_engine_up", {(): float(up)}
    if row is None:
        return
    inside = row.internals
    yield "dpe_engine_last_seen_timestamp_seconds", {(): row.seen_at.timestamp()}
    yield "dpe_hypervisor_up", {(): float(up and row.hypervisor_ok)}
    for name in ("start_time_seconds", "ticks_total", "tick_seconds_total"):
        if name in inside:
            yield f"dpe_engine_{name}", {(): inside[name]}
    yield "dpe_engine_jobs", {(queue, state): count for queue, states in inside.get("jobs", {}).items() for state, count in states.items()}
    yield from _host(row.host)


def _host(host: Mapping[str, Any]) -> Iterator[tuple[str, Samples]]:
    if "cpu_percent" in host:
        yield "dpe_host_cpu_ratio", {(): host["cpu_percent"] / 100}
    if "cpus" in host:
        yield "dpe_host_processors", {(): host["cpus"]}
    for name in ("memory", "memory_available", "swap", "swap_used", "disk", "disk_free"):
        if name in host:
            yield f"dpe_host_{name}_bytes", {(): host[name] * MIB}
    held = overview.promised()
    assert held is not None  # of the whole appliance
    yield "dpe_memory_allocated_bytes", {(): held.memory * MIB}
    if held.limit is not None:
        yield "dpe_memory_allocatable_bytes", {(): held.limit * MIB}


SOURCES = (_classes, _claims, _sizes, _told, _engine)


def _family(metric: Metric, samples: Samples) -> Family:
    made: Any = metric.kind(metric.name, metric.text, labels=metric.labels)
    for labels, value in sorted(samples.items()):
        if isinstance(value, Histogram):
            made.add_metric(labels, _cumulative(value), value.total)
        else:
            made.add_metric(labels, value)
    return made  # type: ignore[no-any-return]


def _cumulative(found: Histogram) -> list[tuple[str, int]]:
    so_far, buckets = 0, []
    for bound, count in zip((*(f"{bound:g}" for bound in found.bounds), "+Inf"), found.counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    return buckets


class CatalogCollector(Collector):
    """Asks the catalog, and what other packages bring, at each scrape."""

    def describe(self) -> Iterable[Family]:
        return ()

    def collect(self) -> Iterator[Family]:
        for source in SOURCES:
            for name, samples in source():
                yield _family(METRICS[name], samples)
        yield from _others()


# -- what other packages bring -----------------------------------------------------------------------


@cache
def _from_entry_points() -> tuple[dict[str, Callable[[], Iterable[Family]]], frozenset[str]]:
    """The functions by their names, and the names of those that cannot be used: a bad one must not stop the others."""
    found, broken = {}, set()
    for point in entry_points(group=GROUP):
        try:
            found[point.name] = point.load()
        except Exception:
            log.exception("the metrics %s cannot be used", point.name)
            broken.add(point.name)
    return found, frozenset(broken)


def _others() -> Iterator[Family]:
    brought, broken = _from_entry_points()
    up = {(name,): 0.0 for name in broken}
    for name, collect in brought.items():
        try:
            families = list(collect())
            if any(family.name.startswith(PREFIX) for family in families):
                raise BadInput(f"{name} calls its metrics like the appliance's own.", f"Choose another prefix than {PREFIX}.")
        except Exception:
            log.exception("the metrics %s could not be asked", name)
            up[name,] = 0.0
            continue
        up[name,] = 1.0
        yield from families
    yield _family(METRICS["dpe_collector_up"], up)


def registry() -> CollectorRegistry:
    """A registry that asks for all of them; whoever serves it may add what its own process counts."""
    made = CollectorRegistry(auto_describe=False)
    made.register(CatalogCollector())
    return made
