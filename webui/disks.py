"""What outlives a person's machines: their data disks, and the retained disks of machines that are gone."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_login import current_user
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import events
from appliance.errors import DpeError
from appliance.services import disks, recovery
from webui import forms
from webui.errors import status_of
from webui.forms import Form, Line
from webui.guard import actor, back, needs, settings
from webui.reauth import requires_reauth_unless

blueprint = Blueprint("disks", __name__)


class Name(Form):
    name: Line = Field(title="What it is called")


class Deletion(Form):
    typed: str = Field(title="Its name")


def _own(id: str) -> bool:
    return bool(disks.get_disk(actor(), id).account_id == current_user.account.id)


def _own_kept(id: str) -> bool:
    return bool(recovery.get_kept(actor(), id).account_id == current_user.account.id)


@blueprint.get("/data-disks/<id>")
@needs("machines.read", disk="id", own=True)
def page(id: str) -> tuple[str, int]:
    return _page(id)


def _page(id: str, error: DpeError | None = None) -> tuple[str, int]:
    disk = disks.get_disk(actor(), id)
    page = render_template(
        "disk.html",
        disk=disk,
        taken=disks.taken(disk, settings()),
        grows_to=disks.grows_to(disk),
        own=disk.account_id == current_user.account.id,
        events=events.list_events(object=f"data_disk:{id}", limit=20),
        name=forms.bound(Name, {"name": disk.name}, error),
        deletion=forms.bound(Deletion, error=error),
    )
    return page, status_of(error) if error else 200


@blueprint.post("/data-disks/<id>/rename")
@needs("machines.manage", disk="id", own=True)
def rename(id: str) -> Response | tuple[str, int]:
    try:
        disks.rename(actor(), id, forms.read(Name).name)
    except DpeError as refused:
        return _page(id, refused)
    flash("Renamed.", "success")
    return redirect(url_for("disks.page", id=id), 303)


@blueprint.post("/data-disks/<id>/delete")
@needs("machines.manage", disk="id", own=True)
@requires_reauth_unless(_own)
def delete(id: str) -> Response | tuple[str, int]:
    own = _own(id)
    try:
        name = disks.delete(actor(), id, forms.read(Deletion).typed)
    except DpeError as refused:
        return _page(id, refused)
    flash(f"The data disk {name} is deleted.", "success")
    return redirect(url_for("portal.index" if own else "data_disks.index"), 303)


@blueprint.post("/data-disks/<id>/back-up")
@needs("machines.manage", disk="id", own=True)
def back_up(id: str) -> Response:
    disks.back_up(actor(), id)
    flash("It is being backed up.", "success")
    return back()


@blueprint.post("/data-disks/<id>/try-again")
@needs("machines.manage", disk="id", own=True)
def try_again(id: str) -> Response:
    disks.try_again(actor(), id)
    flash("The next machine gets it again.", "success")
    return back()


@blueprint.post("/retained-disks/<id>/restore")
@needs("machines.manage", kept="id", own=True)
def bring_back(id: str) -> Response:
    run = recovery.bring_back_kept(actor(), id)
    flash("It is coming back.", "success")
    return back() if _own_kept(id) else redirect(url_for("runs.page", id=run), 303)


@blueprint.post("/retained-disks/<id>/delete")
@needs("machines.manage", kept="id", own=True)
@requires_reauth_unless(_own_kept)
def forget(id: str) -> Response:
    flash(f"The retained disk of {recovery.forget_kept(actor(), id)} is removed.", "success")
    return back()
