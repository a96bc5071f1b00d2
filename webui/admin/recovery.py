"""Disaster recovery: what the folder of copies has, of this appliance or another one, and bringing it back."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.services import classes, recovery
from appliance.services.recovery import Choice
from webui.errors import status_of
from webui.format import plural
from webui.guard import actor, needs, settings
from webui.reauth import requires_reauth

blueprint = Blueprint("recovery", __name__, url_prefix="/admin/disk-backups")


@blueprint.get("/")
@needs("settings.manage")
def index() -> tuple[str, int]:
    return _page()


@blueprint.post("/restore")
@needs("settings.manage")
@requires_reauth
def bring_back() -> Response | tuple[str, int]:
    try:
        begun = recovery.bring_back(actor(), [_choice(path) for path in request.form.getlist("path")])
    except DpeError as refused:
        return _page(refused)
    flash(f"{plural(len(begun), 'machine')} coming back.", "success")
    return redirect(url_for("recovery.index"), 303)


def _choice(path: str) -> Choice:
    return Choice(path, request.form.get(f"account {path}", ""), request.form.get(f"class {path}", ""))


def _page(error: DpeError | None = None) -> tuple[str, int]:
    everything = request.args.get("all") == "yes"
    found = recovery.recoverable()
    page = render_template(
        "admin/recovery.html",
        found=[one for one in found if everything or one.newest or one.problem or (one.run and one.run.ended_at is None)],
        hidden=len(found),
        everything=everything,
        people=recovery.people(),
        classes=classes.everything(),
        folder=settings().backups,
        error=error,
        ticked=set(request.form.getlist("path")),
        given=request.form,
    )
    return page, status_of(error) if error else 200
