"""Groups: people, and groups, who are given the same."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.catalog import ROOT, Account, Grant, Group, Member, Nesting, Quota
from appliance.errors import DpeError
from appliance.identity import roles
from appliance.services import delegation, org_units
from webui.errors import status_of
from webui.guard import actor, needs

blueprint = Blueprint("groups", __name__, url_prefix="/admin/groups")

Page = Response | tuple[str, int]
SHOWN = 500


@blueprint.get("/")
@needs("people.read")
def index() -> Page:
    return _index()


def _index(error: DpeError | None = None) -> Page:
    page = render_template(
        "admin/groups.html",
        groups=org_units.groups(actor()),
        tree=org_units.tree(actor(), "people.manage"),
        error=error,
        values=request.form,
    )
    return page, status_of(error) if error else 200


@blueprint.post("/")
@needs("people.manage")
def new() -> Page:
    form = request.form
    try:
        made = org_units.create_group(actor(), form.get("name", ""), form.get("about", ""), form.get("unit", ROOT, type=int))
    except DpeError as error:
        return _index(error)
    flash(f"The group {made.name} is created; now put people into it.", "success")
    return redirect(url_for("groups.page", id=made.id), 303)


@blueprint.get("/<int:id>")
@needs("people.read", group="id")
def page(id: int) -> Page:
    return _page(id)


def _page(id: int, error: DpeError | None = None) -> Page:
    members = Account.select().join(Member).where(Member.group == id).order_by(Account.name)
    page = render_template(
        "admin/group.html",
        group=org_units.group(id),
        members=list(members.limit(SHOWN)),
        count=members.count(),
        inner=list(Group.select().join(Nesting, on=(Nesting.inner == Group.id)).where(Nesting.outer == id).order_by(Group.name)),
        outer=list(Group.select().join(Nesting, on=(Nesting.outer == Group.id)).where(Nesting.inner == id).order_by(Group.name)),
        others=[group for group, _ in org_units.groups(actor()) if group.id != id],
        grants=list(Grant.select().where(Grant.group == id)),
        quotas=list(Quota.select().where(Quota.group == id)),
        error=error,
        values=request.form,
        ROLES=roles.ROLES,
        over=delegation.over,
    )
    return page, status_of(error) if error else 200


@blueprint.post("/<int:id>/add")
@needs("people.manage", group="id")
def add(id: int) -> Page:
    names = request.form.get("names", "").replace(",", " ").split()
    try:
        added = org_units.add_members(actor(), id, names)
    except DpeError as error:
        return _page(id, error)
    flash(f"{added} new in the group.", "success")
    return redirect(url_for("groups.page", id=id), 303)


@blueprint.post("/<int:id>/take-out")
@needs("people.manage", group="id")
def take_out(id: int) -> Response:
    org_units.remove_members(actor(), id, request.form.getlist("account", type=int))
    return redirect(url_for("groups.page", id=id), 303)


@blueprint.post("/<int:id>/nest")
@needs("people.manage", group="id")
def nest(id: int) -> Page:
    try:
        (org_units.unnest if request.form.get("out") else org_units.nest)(actor(), id, request.form.get("inner", 0, type=int))
    except DpeError as error:
        return _page(id, error)
    return redirect(url_for("groups.page", id=id), 303)


@blueprint.post("/<int:id>/remove")
@needs("people.manage", group="id")
def remove(id: int) -> Response:
    name = org_units.group(id).name
    org_units.remove_group(actor(), id)
    flash(f"The group {name} is removed.", "success")
    return redirect(url_for("groups.index"), 303)
