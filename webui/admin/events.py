"""The record of everything that happened."""

from flask import Blueprint, render_template, request

from appliance.catalog import Level, events
from webui.guard import admin, row_number

blueprint = Blueprint("events", __name__, url_prefix="/admin/events")

PAGE = 50
KINDS = {
    "machine": "Machines",
    "lease": "Leases",
    "request": "Requests",
    "seed": "Seeds",
    "snapshot": "Snapshots",
    "class": "Classes",
    "sign": "Sign-ins",
    "account": "Accounts",
    "engine": "Engine",
    "setup": "Set-up",
    "settings": "Settings",
}
LEVELS = {"": (), "warning": (Level.WARNING, Level.ERROR), "error": (Level.ERROR,)}


@blueprint.get("/")
@admin
def index() -> str:
    kind, text = request.args.get("kind", ""), request.args.get("text", "").strip()[:100]
    level, machine = request.args.get("level", ""), request.args.get("machine", "")
    found = events.page(
        before=row_number("before"),
        limit=PAGE,
        machine_id=machine or None,
        kind=kind if kind in KINDS else "",
        text=text,
        levels=LEVELS.get(level, ()),
    )
    chosen = {"kind": kind, "text": text, "level": level, "machine": machine}
    return render_template("admin/events.html", events=found, KINDS=KINDS, full=len(found) == PAGE, chosen=chosen)
