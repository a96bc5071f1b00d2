"""Groups: people, and groups, who are given the same."""

from collections.abc import Iterable

from flask import Blueprint, flash, redirect, render_template, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import ROOT, Account, Grant, Group, Member, Nesting, Quota
from appliance.catalog.grants import Scope
from appliance.catalog.groups import GroupRow, list_groups
from appliance.catalog.listing import Page as Rows
from appliance.catalog.listing import Window
from appliance.errors import DpeError
from appliance.identity import roles
from appliance.services import delegation, org_units
from webui import forms, lists
from webui.errors import status_of
from webui.forms import CHECKS, ONE_LINE, Form, Line, Ticked, Words
from webui.guard import actor, needs
from webui.lists import Column, Filter, List, Verb

blueprint = Blueprint("groups", __name__, url_prefix="/admin/groups")

Page = Response | tuple[str, int]
SHOWN = 500


class NewGroup(Form):
    name: Line = Field(max_length=100, title="Name")
    about: Line = Field("", max_length=300, title="Description", json_schema_extra=ONE_LINE)
    unit: int = Field(ROOT, title="Managed by")


class NewMembers(Form):
    names: Words = Field(title="Accounts to add, by the names they sign in with", json_schema_extra=forms.lookup("people"))


class Members(Form):
    account: list[int] = Field([], title="Accounts", json_schema_extra=CHECKS)


class Nested(Form):
    """Another group that goes in, or out again."""

    inner: int = Field(0, title="Group")
    out: Ticked = False


def _find(window: Window, reach: Scope, ids: Iterable[int] | None, text: str = "") -> Rows[GroupRow]:
    return list_groups(window, reach, ids, text=text)


GROUPS = List(
    endpoint="groups.index",
    permission="people.read",
    noun="group",
    thing="group",
    key=int,
    find=_find,
    order="group",
    columns=(
        Column("group", "Group", lambda row: row.group.name),
        Column("about", "Description", lambda row: row.group.about, look="text-secondary"),
        Column("unit", "Org unit", lambda row: row.group.org_unit.name),
        Column("members", "Members", lambda row: row.members, look="end num"),
    ),
    filters=(Filter("text", "Search groups", kind="text"),),
    verbs=(
        Verb(
            "remove", "Remove", "removed", lambda actor, id, _: org_units.remove_group(actor, id), "people.manage", "trash",
            "Their members lose what they have through them. Their accounts stay.",
        ),
    ),
    verb_endpoint="groups.bulk",
)  # fmt: skip


@blueprint.get("/")
@needs("people.read")
def index() -> Page:
    return _index()


def _index(error: DpeError | None = None) -> Page:
    listing = lists.show(GROUPS)
    if lists.wants_csv():
        return lists.as_csv(listing)
    units = {line.unit.id: line.path for line in org_units.tree(actor(), "people.manage")}
    form = forms.bound(NewGroup, error=error, choices={"unit": units})
    page = render_template("admin/groups.html", listing=listing, form=form)
    return page, status_of(error) if error else 200


@blueprint.post("/bulk")
@needs("people.manage")
def bulk() -> Page:
    return lists.bulk(GROUPS)


@blueprint.post("/")
@needs("people.manage")
def new() -> Page:
    try:
        asked = forms.read(NewGroup)
        made = org_units.create_group(actor(), asked.name, asked.about, asked.unit)
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
    others = {group.id: group.name for group, _ in org_units.groups(actor()) if group.id != id}
    page = render_template(
        "admin/group.html",
        group=org_units.group(id),
        members=list(members.limit(SHOWN)),
        count=members.count(),
        inner=list(Group.select().join(Nesting, on=(Nesting.inner == Group.id)).where(Nesting.outer == id).order_by(Group.name)),
        outer=list(Group.select().join(Nesting, on=(Nesting.outer == Group.id)).where(Nesting.inner == id).order_by(Group.name)),
        grants=list(Grant.select().where(Grant.group == id)),
        quotas=list(Quota.select().where(Quota.group == id)),
        error=error,
        new=forms.bound(NewMembers, error=error),
        nested=forms.bound(Nested, error=error, choices={"inner": others}),
        ROLES=roles.ROLES,
        over=delegation.over,
    )
    return page, status_of(error) if error else 200


@blueprint.post("/<int:id>/add")
@needs("people.manage", group="id")
def add(id: int) -> Page:
    try:
        added = org_units.add_members(actor(), id, forms.read(NewMembers).names)
    except DpeError as error:
        return _page(id, error)
    flash(f"{added} new in the group.", "success")
    return redirect(url_for("groups.page", id=id), 303)


@blueprint.post("/<int:id>/take-out")
@needs("people.manage", group="id")
def take_out(id: int) -> Response:
    org_units.remove_members(actor(), id, forms.read(Members).account)
    return redirect(url_for("groups.page", id=id), 303)


@blueprint.post("/<int:id>/nest")
@needs("people.manage", group="id")
def nest(id: int) -> Page:
    try:
        asked = forms.read(Nested)
        (org_units.unnest if asked.out else org_units.nest)(actor(), id, asked.inner)
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
