"""Org units: the tree that everybody is in."""

from collections.abc import Iterable

from flask import Blueprint, flash, redirect, render_template, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import ROOT, Grant, Group, Quota
from appliance.catalog import accounts as account_rows
from appliance.catalog.accounts import AccountRow
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page as Rows
from appliance.catalog.listing import Window
from appliance.errors import DpeError
from appliance.identity import roles
from appliance.services import delegation, org_units
from appliance.services.org_units import Branch
from webui import forms, lists
from webui.admin.accounts import MOVE, columns, units_within
from webui.errors import status_of
from webui.forms import Form, Line
from webui.guard import actor, needs
from webui.lists import Column, Filter, List, Verb

blueprint = Blueprint("units", __name__, url_prefix="/admin/org-units")

Page = Response | tuple[str, int]


class Unit(Form):
    name: Line = Field(max_length=100, title="Name")
    parent: int | None = Field(None, title="Parent")


def _find(window: Window, reach: Scope, ids: Iterable[int] | None, text: str = "", *, id: int) -> Rows[AccountRow]:
    return account_rows.list_accounts(window, reach, ids, text=text, units=[id])


PEOPLE = List(
    endpoint="units.page",
    permission="people.read",
    noun="account",
    thing="account",
    misses="No account in this unit is called like that.",
    key=int,
    find=_find,
    order="name",
    columns=columns("email", "roles", "unit", "seen"),
    filters=(Filter("text", "Search accounts", kind="text"),),
    verbs=(MOVE,),
    verb_endpoint="units.move",
    size=80,
)


def _find_units(window: Window, _reach: Scope, ids: Iterable[int] | None, text: str = "") -> Rows[Branch]:
    return org_units.list_units(actor(), window, ids, text=text)


UNITS = List(
    endpoint="units.index",
    permission="people.read",
    noun="org unit",
    thing="unit",
    misses="No org unit is called like that.",
    key=int,
    find=_find_units,
    order="unit",
    columns=(
        Column("unit", "Org unit", lambda row: row.path),
        Column("people", "People", lambda row: row.people, look="num"),
        Column("groups", "Groups", lambda row: row.groups, look="num"),
    ),
    filters=(Filter("text", "Search org units", kind="text"),),
    verbs=(
        Verb(
            "remove", "Remove", "removed", lambda actor, id, _: org_units.remove_unit(actor, id), "people.manage", "trash",
            "Only empty ones are removed.",
        ),
    ),
    verb_endpoint="units.bulk",
)  # fmt: skip


@blueprint.get("/")
@needs("people.read")
def index() -> Page:
    return _index()


def _index(error: DpeError | None = None) -> Page:
    listing = lists.show(UNITS)
    if lists.wants_csv():
        return lists.as_csv(listing)
    form = forms.bound(Unit, error=error, choices={"parent": units_within("people.read")})
    return render_template("admin/units.html", listing=listing, form=form), status_of(error) if error else 200


@blueprint.post("/bulk")
@needs("people.manage")
def bulk() -> Page:
    return lists.bulk(UNITS)


@blueprint.post("/")
@needs("people.manage")
def new() -> Page:
    try:
        asked = forms.read(Unit)
        made = org_units.create_unit(actor(), ROOT if asked.parent is None else asked.parent, asked.name)
    except DpeError as error:
        return _index(error)
    flash(f"The org unit {made.name} is created.", "success")
    return redirect(url_for("units.index"), 303)


@blueprint.get("/<int:id>")
@needs("people.read", unit="id")
def page(id: int) -> Page:
    return _page(id)


def _page(id: int, error: DpeError | None = None) -> Page:
    listing = lists.show(PEOPLE, id=id)
    if lists.wants_csv():
        return lists.as_csv(listing)
    unit = org_units.unit(id)
    page = render_template(
        "admin/unit.html",
        unit=unit,
        form=forms.bound(Unit, {"name": unit.name, "parent": unit.parent_id}, error, choices={"parent": units_within("people.manage")}),
        listing=listing,
        groups=list(Group.select().where(Group.org_unit == id).order_by(Group.name)),
        grants=list(Grant.select().where(Grant.org_unit == id)),
        quotas=list(Quota.select().where(Quota.org_unit == id)),
        ROLES=roles.ROLES,
        over=delegation.over,
        ROOT=ROOT,
    )
    return page, status_of(error) if error else 200


@blueprint.post("/<int:id>")
@needs("people.manage", unit="id")
def change(id: int) -> Page:
    try:
        asked = forms.read(Unit)
        org_units.change_unit(actor(), id, name=asked.name, parent_id=asked.parent)
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
def move(id: int) -> Page:
    return lists.bulk(PEOPLE, id=id)
