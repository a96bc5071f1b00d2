"""The address that Prometheus asks, and what the web process counts of itself.

A token with the scope `metrics` lets in, of an account that may read the record of everything that happened; so does its session.
"""

import time
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, request
from flask_login import current_user
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector

from appliance import tracing
from appliance.errors import NotAllowed
from appliance.services.metrics import METRICS, Metric, registry
from webui.concurrency_limit import ConcurrencyLimit
from webui.guard import needs
from webui.live import hub

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside each counter that nobody asks for

blueprint = Blueprint("metrics", __name__)

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
HANDLERS = ("api", "door", "live", "metrics")  # blueprints; all else is a page


def _declared(name: str) -> tuple[str, str, tuple[str, ...]]:
    metric: Metric = METRICS[name]
    return metric.name, metric.text, metric.labels


class Own:
    """What this process counts, with all that the catalog says, in one registry."""

    def __init__(self, limit: ConcurrencyLimit) -> None:
        self.registry: CollectorRegistry = registry()
        ProcessCollector(registry=self.registry)
        self.duration = Histogram(*_declared("dpe_web_request_duration_seconds"), buckets=BUCKETS, registry=self.registry)
        self.door = Counter(*_declared("dpe_door_checks_total"), registry=self.registry)
        Gauge(*_declared("dpe_web_requests_waiting"), registry=self.registry).set_function(lambda: limit.waiting)
        Gauge(*_declared("dpe_web_streams"), registry=self.registry).set_function(lambda: hub.streams)


def init_app(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(lambda _: tracing.begin(""))


def watch(app: Flask, limit: ConcurrencyLimit) -> None:
    """Count from now on; `limit` is where requests wait for their turn."""
    app.extensions["metrics"] = Own(limit)


def _begin() -> None:
    tracing.begin(request.headers.get(tracing.HEADER, ""))
    g.begun = time.perf_counter()


def _end(response: Response) -> Response:
    handler = request.blueprint if request.blueprint in HANDLERS else "page"
    own: Own = current_app.extensions["metrics"]
    if id := tracing.current.get():
        response.headers[tracing.HEADER] = id
    own.duration.labels(handler, f"{response.status_code // 100}xx").observe(time.perf_counter() - g.begun)
    return response


def count_door(status: int, page: str) -> None:
    """The front door's question was answered so; `page` is what says why not."""
    own: Own = current_app.extensions["metrics"]
    own.door.labels(page or {200: "admitted", 401: "sign_in"}.get(status, "denied")).inc()


@blueprint.before_request
def _check_scope() -> None:
    token = current_user.token if current_user.is_authenticated else None
    if token is not None and "metrics" not in token.scope:
        raise NotAllowed(
            f"The token {token.name} is not good for this.", "It needs the scope metrics. Make another one on your account's page."
        )


@blueprint.get("/metrics")
@needs("events.read")
def metrics() -> Response:
    """All metrics, in the format that was asked for: OpenMetrics, or Prometheus' own text."""
    encode, kind = choose_encoder(request.headers.get("Accept", ""))
    own: Any = current_app.extensions["metrics"]
    return Response(encode(own.registry), content_type=kind)
