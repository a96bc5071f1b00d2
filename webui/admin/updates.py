"""Updates of the appliance itself: sent or fetched, looked at, written beside what runs, and switched to at a time that people are told."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.services import updates
from webui import forms, upload
from webui.errors import status_of
from webui.format import clock
from webui.forms import Form, Line, Ticked
from webui.guard import actor, needs, settings
from webui.reauth import requires_reauth

blueprint = Blueprint("updates", __name__, url_prefix="/admin/server/updates")


class Source(Form):
    address: Line = Field(
        "",
        title="Address of the update",
        description="Where the newest update always lies, like https://updates.example.org/dpe.raucb. Leave it empty to ask nobody.",
    )
    daily: Ticked = Field(
        False,
        title="Look there every day, and fetch what is new. It is installed only when you say so.",
    )
    authority: Line = Field(
        "",
        title="Certificate of its authority",
        description="Only for a server of your own whose certificate nobody else knows.",
    )


class Restart(Form):
    when: str = Field("soon", title="When")
    at: str = Field("", title="Day and time of the restart")


class Back(Restart):
    """A restart into the version before."""


class Install(Form):
    version: str = Field("", title="Version")
    older: Ticked = Field(False, title="Install anyway")


WHEN = {"soon": "In five minutes", "night": "Tonight at 03:00", "at": "At"}


def _page(error: DpeError | None = None) -> str | tuple[str, int]:
    state, away = None, None
    try:
        state = updates.state(settings())
    except DpeError as refused:
        away = refused
    source = forms.bound(Source, state.source.model_dump() if state else {}, error)
    restart, back = (
        forms.bound(model, error=error, choices={"when": WHEN}, prefix=prefix) for model, prefix in ((Restart, "go-"), (Back, "back-"))
    )
    running = state is not None and updates.is_running(state)
    page = render_template("admin/updates.html", state=state, running=running, away=away, error=error, source=source, go=restart, back=back)
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
    asked = forms.read(Install)
    updates.install(actor(), settings(), asked.version, older=asked.older)
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
    try:
        updates.set_source(actor(), settings(), **forms.read(Source).model_dump())
    except DpeError as error:
        return _page(error)
    return _back("Saved.")


@blueprint.post("/restart")
@needs("settings.manage")
@requires_reauth
def restart() -> Response | str | tuple[str, int]:
    return _restart(updates.restart, Restart)


@blueprint.post("/back")
@needs("settings.manage")
@requires_reauth
def back() -> Response | str | tuple[str, int]:
    return _restart(updates.back, Back)


def _restart(verb: updates.Verb, form: type[Restart]) -> Response | str | tuple[str, int]:
    try:
        asked = forms.read(form)
        at = verb(actor(), settings(), when=asked.when, at=asked.at)
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
