"""Updates of the appliance itself: sent or fetched, looked at, written beside what runs, and switched to at a time that people are told."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.services import updates
from webui import upload
from webui.errors import status_of
from webui.format import clock
from webui.guard import actor, needs, settings
from webui.reauth import requires_reauth

blueprint = Blueprint("updates", __name__, url_prefix="/admin/server/updates")


def _page(error: DpeError | None = None, source: dict[str, object] | None = None) -> str | tuple[str, int]:
    state, away = None, None
    try:
        state = updates.state(settings())
    except DpeError as refused:
        away = refused
    entered = source or (
        {"address": state.source.address, "authority": state.source.authority, "daily": state.source.daily} if state else {}
    )
    running = state is not None and updates.is_running(state)
    page = render_template("admin/updates.html", state=state, running=running, away=away, error=error, source=entered, values=request.form)
    return (page, status_of(error)) if error else page


@blueprint.get("/")
@needs("settings.manage")
def index() -> str | tuple[str, int]:
    return _page()


@blueprint.post("/upload")
@needs("settings.manage")
@upload.takes_large_file
def take() -> Response | str | tuple[str, int]:
    """From a form, or as bare bytes by the page's script, which then goes where it is told."""
    by_script = request.mimetype != "multipart/form-data"
    try:
        updates.take_bundle(actor(), settings(), upload.received(settings(), "file"))
    except DpeError as error:
        if by_script:
            return {"message": error.message, "hint": error.hint}, status_of(error)  # type: ignore[return-value]
        return _page(error)
    there = url_for("updates.index")
    return {"there": there} if by_script else redirect(there, 303)  # type: ignore[return-value]


@blueprint.post("/discard")
@needs("settings.manage")
def discard() -> Response:
    updates.discard(actor(), settings())
    return _back("It was thrown away.")


@blueprint.post("/install")
@needs("settings.manage")
@requires_reauth
def install() -> Response:
    updates.install(actor(), settings(), request.form.get("version", ""), older="older" in request.form)
    return _back("The update is being written. The appliance goes on meanwhile.")


@blueprint.post("/fetch")
@needs("settings.manage")
def fetch() -> Response:
    updates.fetch(actor(), settings())
    return _back("The update is being fetched.")


@blueprint.post("/source")
@needs("settings.manage")
@requires_reauth
def source() -> Response | str | tuple[str, int]:
    address, authority, daily = request.form.get("address", ""), request.form.get("authority", ""), "daily" in request.form
    try:
        updates.set_source(actor(), settings(), address=address, authority=authority, daily=daily)
    except DpeError as error:
        return _page(error, {"address": address, "authority": authority, "daily": daily})
    return _back("Saved.")


@blueprint.post("/restart")
@needs("settings.manage")
@requires_reauth
def restart() -> Response | str | tuple[str, int]:
    return _restart(updates.restart)


@blueprint.post("/back")
@needs("settings.manage")
@requires_reauth
def back() -> Response | str | tuple[str, int]:
    return _restart(updates.back)


def _restart(verb: updates.Verb) -> Response | str | tuple[str, int]:
    try:
        at = verb(actor(), settings(), when=request.form.get("when", ""), at=request.form.get("at", ""))
    except DpeError as error:
        return _page(error)
    return _back(f"The appliance restarts at {clock(at).striptags()}. Everybody who is signed in is told.")


@blueprint.post("/stay")
@needs("settings.manage")
def stay() -> Response:
    updates.stay(actor(), settings())
    return _back("The appliance does not restart.")


def _back(message: str) -> Response:
    flash(message, "success")
    return redirect(url_for("updates.index"), 303)
