"""The host: what it is, what it did over time, and what machines of each class take of its memory."""

from flask import Blueprint, render_template
from flask_login import current_user

from appliance.readings import HOST
from appliance.services import host_metrics, overview
from webui import charts
from webui.guard import needs, settings

blueprint = Blueprint("host", __name__, url_prefix="/admin/server/metrics")


@blueprint.get("/")
@needs("classes.read")
def index() -> str:
    return render_template(
        "admin/host.html",
        health=overview.health(),
        promised=overview.promised(current_user.powers.reach("classes.read")),
        reserve=settings().host_reserve,
        charts=charts.of(HOST),
        classes=host_metrics.by_class(current_user.powers.reach("classes.read")),
    )
