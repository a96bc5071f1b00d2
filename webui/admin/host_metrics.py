"""The host: what it is, and what its memory is used for, over time and by class."""

from datetime import timedelta

from flask import Blueprint, render_template, request
from flask_login import current_user

from appliance.catalog import now
from appliance.services import host_metrics, overview
from webui import chart
from webui.guard import needs, settings

blueprint = Blueprint("host", __name__, url_prefix="/admin/server/metrics")

ROWS = {"hour": timedelta(minutes=5), "day": timedelta(hours=1)}  # of the table, one each


@blueprint.get("/")
@needs("classes.read")
def index() -> str:
    span = request.args.get("span", "hour")
    span = span if span in host_metrics.SPANS else "hour"
    readings = host_metrics.readings(span)
    return render_template(
        "admin/host.html",
        health=overview.health(),
        promised=overview.promised(),
        reserve=settings().host_reserve,
        span=span,
        as_table=request.args.get("as") == "table",
        chart=chart.draw(readings, host_metrics.SPANS[span], now()),
        rows=chart.thin([chart.moment(reading) for reading in readings], ROWS[span])[::-1],
        classes=host_metrics.by_class(current_user.powers.reach("classes.read")),
        WIDTH=chart.WIDTH,
        HEIGHT=chart.HEIGHT,
    )
