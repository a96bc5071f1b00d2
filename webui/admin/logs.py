"""What the parts of the appliance say, with a filter and as it comes; and the support bundle."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, send_file, url_for
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.host.interface.system import LEVELS
from appliance.services import logs
from webui.guard import actor, needs, settings

blueprint = Blueprint("logs", __name__, url_prefix="/admin/server")


@blueprint.get("/logs")
@needs("settings.manage")
def index() -> str:
    given, found, lines, error = request.args, {}, [], None
    wanted = _wanted(given)
    try:
        found = logs.sources(settings())
        if found:
            wanted = wanted if wanted.source in found else logs.Wanted(next(iter(found)), wanted.most, wanted.level, wanted.text)
            lines = logs.lines(settings(), wanted)
    except DpeError as refused:
        error = refused
    return render_template(
        "admin/logs.html",
        sources=found,
        lines=lines,
        wanted=wanted,
        follow="follow" in given,
        error=error,
        LEVELS=LEVELS[::-1],
        COUNTS=logs.COUNTS,
    )


def _wanted(given: Any) -> logs.Wanted:
    most, level = given.get("most", type=int), given.get("level")
    return logs.Wanted(
        given.get("source", "engine"),
        most if most in logs.COUNTS else logs.COUNTS[1],
        level if level in LEVELS else LEVELS[-1],
        given.get("text", "")[:200],
    )


@blueprint.post("/support")
@needs("settings.manage")
def make_bundle() -> Response:
    return redirect(url_for("server.operation", id=logs.begin_bundle(actor(), settings())), 303)


@blueprint.get("/support/<name>")
@needs("settings.manage")
def bundle(name: str) -> Response:
    return send_file(logs.bundle(settings(), name), as_attachment=True, download_name=name, mimetype="application/gzip")
