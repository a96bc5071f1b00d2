"""The server itself: network, time, power, hardware, and what dpe-host does or did."""

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.services import server
from webui.guard import actor, needs, settings

blueprint = Blueprint("server", __name__, url_prefix="/admin/server")


@blueprint.get("/")
@needs("settings.manage")
def index() -> str:
    tasks, error = [], None
    try:
        tasks = server.recent(settings())
    except DpeError as refused:
        error = refused
    return render_template("admin/server.html", tasks=tasks, error=error)


@blueprint.get("/tasks/<id>")
@needs("settings.manage")
def task(id: str) -> str:
    """The page of a task, which renews itself while it runs."""
    return render_template("admin/task.html", t=server.task(settings(), id))


@blueprint.post("/tasks/<id>/cancel")
@needs("settings.manage")
def cancel(id: str) -> Response:
    server.cancel(actor(), settings(), id)
    flash("It ends as soon as it can.", "success")
    return redirect(url_for("server.task", id=id), 303)
