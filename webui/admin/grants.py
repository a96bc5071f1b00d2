"""Grants, quotas, and why somebody may do something."""

from datetime import date, datetime, time, timedelta
from typing import Annotated, Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.identity import roles
from appliance.services import accounts, classes, delegation, org_units
from webui import forms
from webui.errors import status_of
from webui.format import zone
from webui.forms import CHECKS, DayOrNothing, Form, Line, OneOf, WholeOrNothing
from webui.guard import actor, needs
from webui.language import text
from webui.reauth import requires_reauth

blueprint = Blueprint("grants", __name__, url_prefix="/admin")

Page = Response | tuple[str, int]

HINT = "Write a whole number, or leave it empty."
DAY = "Write it like 2030-12-31."


class Somebody(Form):
    """Who holds it."""

    kind: Annotated[str, OneOf({"account": "A person", "group": "A group", "unit": "An org unit and all below it"})] = Field(
        "account", title="Who"
    )
    name: Line = Field("", max_length=100, title="Name of the person or group", json_schema_extra=forms.lookup("holder"))
    unit: Line = Field("", title="Org unit")

    def holder(self) -> delegation.Holder:
        """Raises BadInput when there is nobody of that name."""
        return delegation.find_holder(actor(), self.kind, self.unit if self.kind == "unit" else self.name)


class Amounts(Form):
    """How much; what is empty has no limit. The bounds are the service's."""

    machines: WholeOrNothing = Field(None, title="Machines", description=HINT)
    vcpus: WholeOrNothing = Field(None, title="Processors", description=HINT)
    memory: WholeOrNothing = Field(None, title="Memory", description=HINT, json_schema_extra={"unit": "MiB"})
    disk: WholeOrNothing = Field(None, title="Disk", description=HINT, json_schema_extra={"unit": "GiB"})
    lease_minutes: WholeOrNothing = Field(None, title="Lease", description=HINT, json_schema_extra={"unit": "minutes"})

    def limits(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in Amounts.model_fields}


class NewGrant(Somebody, Amounts):
    """A role over a scope, for a time, with a quota for each who gets it."""

    role: str = Field("", title="Role")
    over: str = Field("", pattern="^$|^class:|^unit:[0-9]{1,17}$", title="Scope", description="Choose one of the list.")
    starts: DayOrNothing = Field(None, title="From", description=DAY)
    ends: DayOrNothing = Field(None, title="Until the end of", description=DAY)


class NewQuota(Somebody, Amounts):
    name: Line = Field("", max_length=100, title="Name of the person or group", json_schema_extra=forms.lookup("bound"))
    each: Annotated[str, OneOf({"yes": "each person in it", "no": "all of them together"})] = Field("yes", title="Applies to")
    class_name: str = Field("", alias="class", title="Class")


class Revoked(Form):
    grant: list[int] = Field([], title="Grants", json_schema_extra=CHECKS)


AMOUNTS = tuple(Amounts.model_fields)


@blueprint.get("/grants/")
@needs("grants.read")
def index() -> Page:
    return _index()


def _index(error: DpeError | None = None) -> Page:
    tree, mine = org_units.tree(actor()), delegation.givable(actor())
    over = {"": "The whole appliance"} if mine.everything else {}
    over |= {f"class:{one.name}": f"Class {one.name}" for one in classes.everything() if mine.covers(class_name=one.name)}
    over |= {f"unit:{line.unit.id}": f"Org unit {line.path}" for line in tree if mine.covers(unit=line.unit.id)}
    choices: dict[str, dict[Any, str]] = {
        "role": {id: f"{text(role.title)}: {text(role.about)}" for id, role in roles.ROLES.items() if id in mine.roles},
        "unit": _units(tree),
        "over": over,
    }
    page = render_template(
        "admin/grants.html",
        grants=delegation.visible(actor()),
        holder_of=delegation.holder_of,
        over=delegation.over,
        error=error,
        form=forms.bound(NewGrant, request.args, error, choices=choices),
        ROLES=roles.ROLES,
        AMOUNTS=AMOUNTS,
    )
    return page, status_of(error) if error else 200


def _units(tree: list[org_units.Branch]) -> dict[int, str]:
    return {line.unit.id: line.path for line in tree}


def _bound() -> dict[int, str]:
    """The org units whose quota whoever asks may set."""
    units = _units(org_units.tree(actor(), "quotas.manage"))
    return {id: path for id, path in units.items() if delegation.may_bind(actor(), delegation.Holder("unit", id))}


def _midnight(day: date | None, *, after: int = 0) -> datetime | None:
    """When the day begins, in the appliance's time zone; `after` days later."""
    return datetime.combine(day, time(), zone()) + timedelta(days=after) if day else None


@blueprint.post("/grants/")
@needs("grants.manage")
@requires_reauth
def give() -> Page:
    try:
        new = forms.read(NewGrant)
        scope, _, what = new.over.partition(":")
        delegation.give(
            actor(),
            new.role,
            new.holder(),
            over_unit=int(what) if scope == "unit" else None,
            over_class=what if scope == "class" else None,
            starts_at=_midnight(new.starts),
            ends_at=_midnight(new.ends, after=1),
            limits=new.limits(),
        )
    except DpeError as error:
        return _index(error)
    flash("Granted.", "success")
    return redirect(url_for("grants.index"), 303)


@blueprint.post("/grants/revoke")
@needs("grants.manage")
@requires_reauth
def take() -> Page:
    try:
        taken = delegation.take_away(actor(), forms.read(Revoked).grant)
    except DpeError as error:
        return _index(error)
    flash(f"{taken} revoked." if taken else "Tick what is to be revoked.", "success")
    return redirect(url_for("grants.index"), 303)


@blueprint.get("/quotas/")
@needs("people.read")
def quotas() -> Page:
    return _quotas()


def _quotas(error: DpeError | None = None) -> Page:
    known = {one.name for permission in ("machines.use", "classes.read") for one in classes.visible(actor(), permission)}
    offered = {"": text("all classes together")} | {name: text("class %(name)s", name=name) for name in sorted(known)}
    page = render_template(
        "admin/quotas.html",
        quotas=delegation.quotas(actor()),
        holder_of=delegation.holder_of,
        form=forms.bound(NewQuota, request.args, error, choices={"unit": _bound(), "class": offered}),
        AMOUNTS=AMOUNTS,
    )
    return page, status_of(error) if error else 200


@blueprint.post("/quotas/")
@needs("quotas.manage")
def set_quota() -> Page:
    try:
        new = forms.read(NewQuota)
        delegation.set_quota(actor(), new.holder(), new.limits(), each=new.each == "yes", class_name=new.class_name or None)
    except DpeError as error:
        return _quotas(error)
    flash("The quota counts from now on; what is held already stays.", "success")
    return redirect(url_for("grants.quotas"), 303)


@blueprint.post("/quotas/<int:id>/remove")
@needs("quotas.manage", quota="id")
def remove_quota(id: int) -> Response:
    delegation.remove_quota(actor(), id)
    flash("The quota is removed.", "success")
    return redirect(url_for("grants.quotas"), 303)


@blueprint.get("/accounts/<int:id>/permissions")
@needs("people.read", account="id")
def why(id: int) -> str:
    permission = request.args.get("permission", "")
    permission = permission if permission in roles.PERMISSIONS else ""
    account = accounts.get_account(id)
    return render_template(
        "admin/why.html",
        account=account,
        reasons=delegation.why(actor(), account, permission),
        permission=permission,
        PERMISSIONS=roles.PERMISSIONS,
        ROLES=roles.ROLES,
        over=delegation.over,
    )
