"""Groups: people, and groups, who are given the same."""

from collections.abc import Iterable
from dataclasses import replace

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import ROOT, Grant, Quota
from appliance.catalog import accounts as account_rows
from appliance.catalog.accounts import AccountRow
from appliance.catalog.grants import Scope
from appliance.catalog.groups import GroupRow, list_groups
from appliance.catalog.listing import Page as Rows
from appliance.catalog.listing import Window
from appliance.errors import DpeError
from appliance.identity import roles
from appliance.services import delegation, org_units
from webui import forms, lists
from webui.admin.accounts import columns
from webui.errors import status_of
from webui.forms import ONE_LINE, Form, Line, Ticked, Words
from webui.guard import actor, needs
from webui.lists import Column, Filter, List, Verb

blueprint = Blueprint("groups", __name__, url_prefix="/admin/groups")

Page = Response | tuple[str, int]


class NewGroup(Form):
    name: Line = Field(max_length=100, title="Name")
    about: Line = Field("", max_length=300, title="Description", json_schema_extra=ONE_LINE)
    unit: int = Field(ROOT, title="Managed by")


class NewMembers(Form):
    names: Words = Field(title="Accounts to add, by the names they sign in with", json_schema_extra=forms.lookup("people"))


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


def _find_members(window: Window, reach: Scope, ids: Iterable[int] | None, text: str = "", *, id: int) -> Rows[AccountRow]:
    return account_rows.list_accounts(window, reach, ids, text=text, group=id)


MEMBERS = List(
    endpoint="groups.page",
    permission="people.read",
    noun="member",
    misses="No member is called like that.",
    key=int,
    find=_find_members,
    order="name",
    columns=columns("email", "roles", "seen"),
    filters=(Filter("text", "Search members", kind="text"),),
    verbs=(
        Verb(
            "remove", "Remove from group", "removed",
            lambda actor, id, _: org_units.remove_members(actor, (request.view_args or {})["id"], [id]), "people.manage", "x",
        ),
    ),
    verb_endpoint="groups.take_out",
    size=80,
)  # fmt: skip


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
    listing, group = lists.show(MEMBERS, id=id), org_units.group(id)
    if lists.wants_csv():
        return lists.as_csv(listing)
    if group.directory_id is not None:
        listing = replace(listing, verbs=())
    others = {group.id: group.name for group, _ in org_units.groups(actor()) if group.id != id}
    inner, outer = org_units.around(actor(), id)
    page = render_template(
        "admin/group.html",
        group=group,
        listing=listing,
        inner=inner,
        outer=outer,
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
def take_out(id: int) -> Page:
    return lists.bulk(MEMBERS, id=id)


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
