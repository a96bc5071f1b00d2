"""Disks: what takes the room and can go, how they are, a second one for the data, and factory reset."""

from typing import Annotated

from flask import Blueprint, flash, redirect, render_template, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import BadInput, Conflict, DpeError
from appliance.services import storage
from webui import forms
from webui.errors import status_of
from webui.format import mib
from webui.forms import Form, OneOf
from webui.guard import actor, needs, settings
from webui.reauth import requires_reauth

blueprint = Blueprint("storage", __name__, url_prefix="/admin/server/storage")

HOW = {"quick": "Quickly", "thorough": "Thoroughly"}


class Use(Form):
    """A disk for data; who means it types what it is called, when something is on it."""

    disk: str = Field(max_length=100, title="Disk")
    typed: str = Field("", max_length=200, title="Its name")


class Reset(Form):
    how: Annotated[str, OneOf(HOW)] = Field("quick", title="How")
    typed: str = Field(max_length=200, title="The appliance's name")


@blueprint.get("/")
@needs("settings.manage")
def index() -> str:
    return _page()


def _page(error: DpeError | None = None) -> str:
    found = trouble = None
    try:
        found = storage.read_storage(settings())
    except DpeError as refused:
        trouble = refused
    chosen = forms.sent().get("disk")
    use = {
        disk.path: forms.bound(Use, {"disk": disk.path}, error if disk.path == chosen else None, prefix=f"{number}-")
        for number, disk in enumerate(found.disks if found else ())
    }
    return render_template("admin/storage.html", found=found, trouble=trouble, use=use, reset=forms.bound(Reset, error=error))


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
    try:
        asked = forms.read(Use)
        operation = storage.use(actor(), settings(), asked.disk, asked.typed)
    except (BadInput, Conflict) as error:
        return _page(error), status_of(error)
    return redirect(url_for("server.operation", id=operation), 303)


@blueprint.post("/reset")
@needs("settings.manage")
@requires_reauth
def reset() -> str | tuple[str, int]:
    try:
        asked = forms.read(Reset)
        storage.reset(actor(), settings(), asked.typed, thorough=asked.how == "thorough")
    except DpeError as error:
        return _page(error), status_of(error)
    return render_template("admin/reset.html")
