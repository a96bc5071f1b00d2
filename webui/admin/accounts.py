"""Accounts: who may come in."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.catalog import ROOT
from appliance.errors import DpeError
from appliance.services import accounts, org_units
from appliance.services import machines as machines_service
from webui.errors import status_of
from webui.guard import actor, needs, row_number
from webui.reauth import requires_reauth

blueprint = Blueprint("accounts", __name__, url_prefix="/admin/accounts")

Page = Response | tuple[str, int]

PAGE = 50


@blueprint.get("/")
@needs("people.read")
def index() -> str:
    text, start = request.args.get("text", "").strip()[:100], max(0, row_number("start") or 0)
    everyone = accounts.visible(actor())
    found = [row for row in everyone if text.lower() in f"{row.name}\n{row.full_name}\n{row.email}".lower()]
    return render_template(
        "admin/accounts.html",
        accounts=found[start : start + PAGE],
        holdings=accounts.holdings(),
        all=len(everyone),
        found=len(found),
        text=text,
        start=start,
        PAGE=PAGE,
    )


def _entered() -> dict[str, Any]:
    form = request.form
    texts = {name: form.get(name, "").strip() for name in ("full_name", "email", "ssh_keys")}
    return texts


@blueprint.route("/new", methods=["GET", "POST"])
@needs("people.manage")
def new() -> Page:
    values: dict[str, Any] = {"name": "", "full_name": "", "email": "", "ssh_keys": "", "password": ""}
    error = None
    if request.method == "POST":
        values = {**_entered(), "name": request.form.get("name", "").strip(), "password": request.form.get("password", "")}
        try:
            accounts.create(actor(), **values, org_unit_id=request.form.get("unit", ROOT, type=int))
            flash(f"The account {values['name']} is created. Tell its owner the password; they can change it.", "success")
            return redirect(url_for("accounts.index"), 303)
        except DpeError as refused:
            error = refused
    return render_template("admin/account_new.html", values=values, error=error, tree=org_units.tree(actor(), "people.manage")), status_of(
        error
    ) if error else 200


@blueprint.get("/<int:id>")
@needs("people.read", account="id")
def page(id: int) -> Page:
    return _page(id, _known(id), None)


@blueprint.post("/<int:id>")
@needs("people.manage", account="id")
def change(id: int) -> Page:
    values = _entered()
    try:
        accounts.update(actor(), id, **values)
    except DpeError as error:
        return _page(id, values, error)
    flash("Saved.", "success")
    return redirect(url_for("accounts.page", id=id), 303)


def _known(id: int) -> dict[str, Any]:
    account = accounts.get_account(id)
    return {name: getattr(account, name) for name in ("full_name", "email", "ssh_keys")}


def _page(id: int, values: dict[str, Any], error: DpeError | None, *, at: str = "") -> Page:
    account, held = accounts.get_account(id), machines_service.my_machines(id)
    page = render_template("admin/account.html", account=account, values=values, held=held, error=error, at=at)
    return page, status_of(error) if error else 200


@blueprint.post("/<int:id>/enabled")
@needs("people.manage", account="id")
@requires_reauth
def enabled(id: int) -> Response:
    wanted = request.form.get("enabled") == "yes"
    (accounts.enable if wanted else accounts.disable)(actor(), id)
    flash(f"{accounts.get_account(id).name} may {'sign in again' if wanted else 'not sign in any more'}.", "success")
    return redirect(url_for("accounts.page", id=id), 303)


@blueprint.post("/<int:id>/password")
@needs("people.manage", account="id")
@requires_reauth
def password(id: int) -> Page:
    try:
        accounts.set_password(actor(), id, request.form.get("password", ""))
    except DpeError as error:
        return _page(id, _known(id), error, at="password")
    flash("The new password is set, and all browsers of this account are signed out.", "success")
    return redirect(url_for("accounts.page", id=id), 303)
