"""How somebody else gets in: password and invitation, browsers, tokens and one-time codes, looked at and ended."""

from typing import Annotated

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.services import accounts, password_links, second_factor, sessions, tokens
from webui import forms
from webui.admin.accounts import Password, invited
from webui.errors import status_of
from webui.forms import Form, OneOf
from webui.guard import actor, needs
from webui.reauth import requires_reauth

blueprint = Blueprint("signins", __name__, url_prefix="/admin/accounts")


Page = Response | tuple[str, int]


class Invitation(Form):
    """How somebody gets the link by which they choose a password."""

    by: Annotated[str, OneOf({"mail": "Mail it", "link": "Show it"})] = "mail"


@blueprint.get("/<int:id>/sign-in")
@needs("people.manage", account="id")
def page(id: int) -> Page:
    return _page(id)


def _page(id: int, error: DpeError | None = None) -> Page:
    account = accounts.get_account(id)
    page = render_template(
        "admin/signins.html",
        account=account,
        sessions=sessions.of_account(id),
        tokens=tokens.of_account(id),
        codes_on=second_factor.is_on(id),
        codes_missing=second_factor.is_missing(id),
        password=forms.bound(Password, error=error),
        pending=password_links.pending(id),
        reached=bool(account.email) and password_links.can_mail(),
        error=error,
    )
    return page, status_of(error) if error else 200


@blueprint.post("/<int:id>/password")
@needs("people.manage", account="id")
@requires_reauth
def password(id: int) -> Page:
    try:
        accounts.set_password(actor(), id, forms.read(Password).password)
    except DpeError as error:
        return _page(id, error)
    flash("The new password is set, and all browsers of this account are signed out.", "success")
    return _back(id)


@blueprint.post("/<int:id>/sign-in/invite")
@needs("people.manage", account="id")
@requires_reauth
def invite(id: int) -> Page:
    try:
        by_mail = forms.read(Invitation).by == "mail"
        return invited(password_links.invite(actor(), id, by_mail=by_mail, here=request.host_url))
    except DpeError as error:
        return _page(id, error)


@blueprint.post("/<int:id>/sign-in/withdraw")
@needs("people.manage", account="id")
def withdraw(id: int) -> Response:
    password_links.withdraw(actor(), id)
    flash("The link is worth nothing any more.", "success")
    return _back(id)


def _back(id: int) -> Response:
    return redirect(url_for("signins.page", id=id), 303)


@blueprint.post("/<int:id>/sign-in/sessions/<session_id>/end")
@needs("people.manage", account="id")
def end_session(id: int, session_id: str) -> Response:
    sessions.end_of(actor(), id, session_id)
    flash("That browser is signed out.", "success")
    return _back(id)


@blueprint.post("/<int:id>/sign-in/tokens/<int:token_id>/end")
@needs("people.manage", account="id")
def end_token(id: int, token_id: int) -> Response:
    tokens.end_token(actor(), id, token_id)
    flash("The token is ended; nothing that uses it gets in any more.", "success")
    return _back(id)


@blueprint.post("/<int:id>/sign-in/codes/off")
@needs("people.manage", account="id")
@requires_reauth
def codes_off(id: int) -> Response:
    second_factor.remove(actor(), id)
    flash("One-time codes are off; the password alone lets them in until they set up new ones.", "success")
    return _back(id)
