"""Grants, quotas, and why somebody may do something."""

from datetime import datetime, time, timedelta

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import BadInput, DpeError
from appliance.people import roles
from appliance.services import accounts, classes, delegation, orgs
from webui.again import asks_again
from webui.errors import status_of
from webui.format import zone
from webui.guard import actor, needs

blueprint = Blueprint("grants", __name__, url_prefix="/admin")

Page = Response | tuple[str, int]

# Name, label and unit; the limits are the service's.
AMOUNTS = [
    ("machines", "Machines", ""), ("vcpus", "Processors", ""), ("memory", "Memory", "MiB"), ("disk", "Disk", "GiB"), ("lease_minutes", "Lease", "minutes"),
]  # fmt: skip


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
    return {"ROLES": roles.ROLES, "AMOUNTS": AMOUNTS, "tree": orgs.tree(actor()), "classes": classes.everything()}


def _holder() -> delegation.Holder:
    kind = request.form.get("kind", "account")
    return delegation.find_holder(actor(), kind, request.form.get("unit" if kind == "unit" else "name", ""))


def _amounts() -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for name, label, _ in AMOUNTS:
        text = request.form.get(name, "").strip()
        if text and not (text.isascii() and text.isdigit() and len(text) < 12):
            raise BadInput(f"{label}: {text[:20]!r} is not a number.", "Write a whole number, or leave it empty.")
        found[name] = int(text) if text else None
    return found


def _day(name: str, *, end: bool = False) -> datetime | None:
    text = request.form.get(name, "")
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007
    except ValueError:
        raise BadInput(f"{text[:20]!r} is not a day.", "Write it like 2030-12-31.") from None
    if not 2000 <= day.year < 9000:
        raise BadInput(f"{text[:20]!r} is not a day of our time.", "Write it like 2030-12-31.")
    return datetime.combine(day, time(), zone()) + timedelta(days=1 if end else 0)


@blueprint.post("/grants/")
@needs("grants.manage")
@asks_again
def give() -> Page:
    scope, _, what = request.form.get("over", "").partition(":")
    try:
        delegation.give(
            actor(),
            request.form.get("role", ""),
            _holder(),
            over_unit=int(what) if scope == "unit" and what.isascii() and what.isdigit() and len(what) < 18 else None,
            over_class=what if scope == "class" else None,
            starts_at=_day("starts"),
            ends_at=_day("ends", end=True),
            limits=_amounts(),
        )
    except DpeError as error:
        return _index(error)
    flash("Given.", "success")
    return redirect(url_for("grants.index"), 303)


@blueprint.post("/grants/revoke")
@needs("grants.manage")
@asks_again
def take() -> Page:
    try:
        taken = delegation.take_away(actor(), request.form.getlist("grant", type=int))
    except DpeError as error:
        return _index(error)
    flash(f"{taken} taken away." if taken else "Tick what is to be taken away.", "success")
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
        delegation.set_quota(actor(), _holder(), _amounts(), each=each, class_name=request.form.get("class") or None)
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
    account = accounts.get(id)
    return render_template(
        "admin/why.html",
        account=account,
        reasons=delegation.why(account, permission),
        permission=permission,
        PERMISSIONS=roles.PERMISSIONS,
        ROLES=roles.ROLES,
        over=delegation.over,
    )
