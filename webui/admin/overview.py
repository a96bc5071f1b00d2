"""The first page: health, the host, and every class's pools."""

from flask import Blueprint, render_template
from flask_login import current_user

from appliance.catalog import events
from appliance.services import aside, overview
from webui.guard import needs, settings

blueprint = Blueprint("overview", __name__, url_prefix="/admin")


@blueprint.get("/")
@needs("classes.read")
def index() -> str:
    return render_template(
        "admin/overview.html",
        health=overview.health(),
        pools=overview.pools(current_user.powers.reach("classes.read")),
        promised=overview.promised(current_user.powers.reach("classes.read")),
        events=events.list_events(limit=12) if current_user.may("events.read") else [],
        reserve=settings().host_reserve,
        undecided=aside.undecided(),
    )
