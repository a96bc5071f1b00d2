"""Accounts: who may come in."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import ROOT
from appliance.errors import DpeError
from appliance.identity import passwords
from appliance.services import accounts, org_units
from appliance.services import machines as machines_service
from webui import forms
from webui.errors import status_of
from webui.forms import SECRET, Form, Line, Ticked
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


class Details(Form):
    """Who it is; what is empty is not known."""

    full_name: Line = Field("", max_length=100, title="Full name")
    email: Line = Field("", max_length=200, title="E-mail")
    ssh_keys: Line = Field("", title="Public SSH keys, one a line")


class Password(Form):
    password: str = Field(
        title="Password",
        description=f"At least {passwords.SHORTEST} characters. It is shown nowhere again: tell it to its owner, who can change it.",
        json_schema_extra=SECRET,
    )


class NewAccount(Details, Password):
    name: Line = Field(
        title="Name to sign in with", description="Letters, digits, dots, dashes and underscores. It cannot be changed later."
    )
    unit: int = Field(ROOT, title="Org unit")


class Enabled(Form):
    """A button that switches something on or off."""

    enabled: Ticked = False


@blueprint.route("/new", methods=["GET", "POST"])
@needs("people.manage")
def new() -> Page:
    error = None
    if request.method == "POST":
        try:
            asked = forms.read(NewAccount)
            accounts.create(actor(), **asked.model_dump(exclude={"unit"}), org_unit_id=asked.unit)
            flash(f"The account {asked.name} is created. Tell its owner the password; they can change it.", "success")
            return redirect(url_for("accounts.index"), 303)
        except DpeError as refused:
            error = refused
    units = {line.unit.id: line.path for line in org_units.tree(actor(), "people.manage")}
    stored = {"unit": next(iter(units), ROOT)}
    form = forms.bound(NewAccount, stored, error, choices={"unit": units}, keep=True)  # the password too: it may have been made here
    return render_template("admin/account_new.html", form=form), status_of(error) if error else 200


@blueprint.get("/<int:id>")
@needs("people.read", account="id")
def page(id: int) -> Page:
    return _page(id)


@blueprint.post("/<int:id>")
@needs("people.manage", account="id")
def change(id: int) -> Page:
    try:
        accounts.update(actor(), id, **forms.read(Details).model_dump())
    except DpeError as error:
        return _page(id, error)
    flash("Saved.", "success")
    return redirect(url_for("accounts.page", id=id), 303)


def _page(id: int, error: DpeError | None = None) -> Page:
    account, held = accounts.get_account(id), machines_service.my_machines(id)
    stored = {name: getattr(account, name) for name in Details.model_fields}
    page = render_template(
        "admin/account.html",
        account=account,
        form=forms.bound(Details, stored, error),
        password=forms.bound(Password, error=error),
        held=held,
    )
    return page, status_of(error) if error else 200


@blueprint.post("/<int:id>/enabled")
@needs("people.manage", account="id")
@requires_reauth
def enabled(id: int) -> Response:
    wanted = forms.read(Enabled).enabled
    (accounts.enable if wanted else accounts.disable)(actor(), id)
    flash(f"{accounts.get_account(id).name} may {'sign in again' if wanted else 'not sign in any more'}.", "success")
    return redirect(url_for("accounts.page", id=id), 303)


@blueprint.post("/<int:id>/password")
@needs("people.manage", account="id")
@requires_reauth
def password(id: int) -> Page:
    try:
        accounts.set_password(actor(), id, forms.read(Password).password)
    except DpeError as error:
        return _page(id, error)
    flash("The new password is set, and all browsers of this account are signed out.", "success")
    return redirect(url_for("accounts.page", id=id), 303)
