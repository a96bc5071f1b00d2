"""Disks: what takes the room and can go, how they are, a second one for the data, and factory reset."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import BadInput, Conflict, DpeError
from appliance.services import storage
from webui.errors import status_of
from webui.format import mib
from webui.guard import actor, needs, settings
from webui.reauth import requires_reauth

blueprint = Blueprint("storage", __name__, url_prefix="/admin/server/storage")


@blueprint.get("/")
@needs("settings.manage")
def index() -> str:
    return _page()


def _page(at: str = "", error: DpeError | None = None) -> str:
    """The page; `error` is about what was entered at the place `at`: a disk's path, or `reset`."""
    found = trouble = None
    try:
        found = storage.read_storage(settings())
    except DpeError as refused:
        trouble = refused
    return render_template("admin/storage.html", found=found, trouble=trouble, at=at, error=error, given=request.form)


@blueprint.post("/clean")
@needs("settings.manage")
def clean() -> Response:
    freed = storage.clean(actor(), settings())
    flash(f"Deleted: {mib(freed / 2**20)} are free again.", "success")
    return redirect(url_for("storage.index"), 303)


@blueprint.post("/use")
@needs("settings.manage")
@requires_reauth
def use() -> Response | tuple[str, int]:
    disk = request.form.get("disk", "")[:100]
    try:
        operation = storage.use(actor(), settings(), disk, request.form.get("typed", "")[:200])
    except (BadInput, Conflict) as error:
        return _page(disk, error), status_of(error)
    return redirect(url_for("server.operation", id=operation), 303)


@blueprint.post("/reset")
@needs("settings.manage")
@requires_reauth
def reset() -> str | tuple[str, int]:
    try:
        storage.reset(actor(), settings(), request.form.get("typed", "")[:200], thorough=request.form.get("how") == "thorough")
    except DpeError as error:
        return _page("reset", error), status_of(error)
    return render_template("admin/reset.html")
