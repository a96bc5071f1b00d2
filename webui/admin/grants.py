"""Grants, quotas, and why somebody may do something."""

from datetime import date, datetime, time, timedelta

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.identity import roles
from appliance.services import accounts, classes, delegation, org_units
from webui import forms
from webui.errors import status_of
from webui.format import zone
from webui.forms import DayOrNothing, Form, WholeOrNothing
from webui.guard import actor, needs
from webui.reauth import requires_reauth

blueprint = Blueprint("grants", __name__, url_prefix="/admin")

Page = Response | tuple[str, int]

HINT = "Write a whole number, or leave it empty."
DAY = "Write it like 2030-12-31."


class Amounts(Form):
    """How much; what is empty has no limit. The bounds are the service's."""

    machines: WholeOrNothing = Field(None, title="Machines", description=HINT)
    vcpus: WholeOrNothing = Field(None, title="Processors", description=HINT)
    memory: WholeOrNothing = Field(None, title="Memory", description=HINT, json_schema_extra={"unit": "MiB"})
    disk: WholeOrNothing = Field(None, title="Disk", description=HINT, json_schema_extra={"unit": "GiB"})
    lease_minutes: WholeOrNothing = Field(None, title="Lease", description=HINT, json_schema_extra={"unit": "minutes"})

    def limits(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in Amounts.model_fields}


class NewGrant(Amounts):
    """A role over a scope, for a time, with a quota for each who gets it."""

    role: str = ""
    over: str = Field("", pattern="^$|^class:|^unit:[0-9]{1,17}$", title="Scope", description="Choose one of the list.")
    starts: DayOrNothing = Field(None, title="From", description=DAY)
    ends: DayOrNothing = Field(None, title="Until the end of", description=DAY)


AMOUNTS = Amounts.model_json_schema()["properties"]


@blueprint.get("/grants/")
@needs("grants.read")
def index() -> Page:
    return _index()


def _index(error: DpeError | None = None) -> Page:
    page = render_template(
        "admin/grants.html",
        grants=delegation.visible(actor()),
        holder_of=delegation.holder_of,
        over=delegation.over,
        error=error,
        values=request.form if error else request.args,
        **_choices(),
    )
    return page, status_of(error) if error else 200


def _choices() -> dict[str, object]:
    return {"ROLES": roles.ROLES, "AMOUNTS": AMOUNTS, "tree": org_units.tree(actor()), "classes": classes.everything()}


def _holder() -> delegation.Holder:
    kind = request.form.get("kind", "account")
    return delegation.find_holder(actor(), kind, request.form.get("unit" if kind == "unit" else "name", ""))


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
            _holder(),
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
        taken = delegation.take_away(actor(), request.form.getlist("grant", type=int))
    except DpeError as error:
        return _index(error)
    flash(f"{taken} revoked." if taken else "Tick what is to be revoked.", "success")
    return redirect(url_for("grants.index"), 303)


@blueprint.get("/quotas/")
@needs("people.read")
def quotas() -> Page:
    return _quotas()


def _quotas(error: DpeError | None = None) -> Page:
    page = render_template(
        "admin/quotas.html",
        quotas=delegation.quotas(actor()),
        holder_of=delegation.holder_of,
        error=error,
        values=request.form if error else request.args,
        **_choices(),
    )
    return page, status_of(error) if error else 200


@blueprint.post("/quotas/")
@needs("quotas.manage")
def set_quota() -> Page:
    try:
        each = request.form.get("each") != "no"
        delegation.set_quota(actor(), _holder(), forms.read(Amounts).limits(), each=each, class_name=request.form.get("class") or None)
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
        reasons=delegation.why(account, permission),
        permission=permission,
        PERMISSIONS=roles.PERMISSIONS,
        ROLES=roles.ROLES,
        over=delegation.over,
    )
