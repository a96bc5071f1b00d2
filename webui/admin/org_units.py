"""Org units: the tree that everybody is in."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.catalog import ROOT, Account, Grant, Group, Quota
from appliance.errors import DpeError
from appliance.identity import roles
from appliance.services import delegation, org_units
from webui.errors import status_of
from webui.guard import actor, needs

blueprint = Blueprint("units", __name__, url_prefix="/admin/org-units")

Page = Response | tuple[str, int]
SHOWN = 200


@blueprint.get("/")
@needs("people.read")
def index() -> Page:
    return _index()


def _index(error: DpeError | None = None) -> Page:
    page = render_template("admin/units.html", tree=org_units.tree(actor()), error=error, values=request.form)
    return page, status_of(error) if error else 200


@blueprint.post("/")
@needs("people.manage")
def new() -> Page:
    try:
        made = org_units.create_unit(actor(), request.form.get("parent", ROOT, type=int), request.form.get("name", ""))
    except DpeError as error:
        return _index(error)
    flash(f"The org unit {made.name} is created.", "success")
    return redirect(url_for("units.index"), 303)


@blueprint.get("/<int:id>")
@needs("people.read", unit="id")
def page(id: int) -> Page:
    return _page(id)


def _page(id: int, error: DpeError | None = None) -> Page:
    people = Account.select().where(Account.org_unit == id).order_by(Account.name)
    page = render_template(
        "admin/unit.html",
        unit=org_units.unit(id),
        tree=org_units.tree(actor(), "people.manage"),
        people=list(people.limit(SHOWN)),
        count=people.count(),
        groups=list(Group.select().where(Group.org_unit == id).order_by(Group.name)),
        grants=list(Grant.select().where(Grant.org_unit == id)),
        quotas=list(Quota.select().where(Quota.org_unit == id)),
        error=error,
        ROLES=roles.ROLES,
        over=delegation.over,
        ROOT=ROOT,
    )
    return page, status_of(error) if error else 200


@blueprint.post("/<int:id>")
@needs("people.manage", unit="id")
def change(id: int) -> Page:
    try:
        org_units.change_unit(actor(), id, name=request.form.get("name", ""), parent_id=request.form.get("parent", type=int))
    except DpeError as error:
        return _page(id, error)
    flash("Saved.", "success")
    return redirect(url_for("units.page", id=id), 303)


@blueprint.post("/<int:id>/remove")
@needs("people.manage", unit="id")
def remove(id: int) -> Response:
    name = org_units.unit(id).name
    org_units.remove_unit(actor(), id)
    flash(f"The org unit {name} is removed.", "success")
    return redirect(url_for("units.index"), 303)


@blueprint.post("/<int:id>/move")
@needs("people.manage", unit="id")
def move(id: int) -> Response:
    to = request.form.get("to", 0, type=int)
    moved = org_units.move_people(actor(), request.form.getlist("account", type=int), to)
    flash(f"{moved} moved to {org_units.unit(to).name}.", "success")
    return redirect(url_for("units.page", id=id), 303)
