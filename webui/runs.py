"""Runs: all of them, and each one's own page."""

from flask import Blueprint, flash, render_template, request
from flask_login import current_user
from werkzeug.wrappers import Response

from appliance.catalog import events
from appliance.services import classes, runs
from webui.guard import actor, back, needs, row_number

blueprint = Blueprint("runs", __name__)

PAGE = 50


@blueprint.get("/admin/workflow/runs/")
@needs("machines.read")
def index() -> str:
    chosen = {name: request.args.get(name, "")[:100] for name in ("kind", "state", "class", "machine", "text")}
    found = runs.list_runs(
        actor(), kind=chosen["kind"], state=chosen["state"], class_name=chosen["class"], machine_id=chosen["machine"], text=chosen["text"],
        before=row_number("before"), limit=PAGE,
    )  # fmt: skip
    return render_template(
        "admin/runs.html", runs=found, chosen=chosen, kinds=runs.kinds(), title=runs.title, full=len(found) == PAGE,
        classes=classes.visible(actor(), "machines.read"),
    )  # fmt: skip


@blueprint.get("/runs/<int:id>")
@needs("machines.read", run="id", own=True)
def page(id: int) -> str:
    """What came out of its steps is for those who look after machines."""
    sight = runs.get_run(actor(), id)
    run, inside = sight.run, current_user.may("machines.read", "run", id)
    told = (
        events.list_events(machine_id=run.machine_id, since=run.created_at, until=run.ended_at, limit=50)
        if run.machine_id and inside
        else []
    )
    return render_template("run.html", sight=sight, run=run, title=runs.title, events=told, inside=inside)


@blueprint.post("/runs/<int:id>/cancel")
@needs("machines.manage", run="id", own=True)
def cancel(id: int) -> Response:
    runs.cancel(actor(), id)
    flash("It is being cancelled, and what it did undone.", "success")
    return back()


@blueprint.post("/runs/<int:id>/retry")
@needs("machines.manage", run="id")
def retry(id: int) -> Response:
    runs.retry(actor(), id)
    flash("It goes on from the step that failed.", "success")
    return back()


@blueprint.post("/runs/<int:id>/skip")
@needs("machines.manage", run="id")
def skip(id: int) -> Response:
    runs.skip(actor(), id)
    flash("It goes on without that step.", "success")
    return back()
