"""How somebody else gets in: their browsers, tokens and one-time codes, looked at and ended."""

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from appliance.services import accounts, second_factor, sessions, tokens
from webui.guard import actor, needs
from webui.reauth import requires_reauth

blueprint = Blueprint("signins", __name__, url_prefix="/admin/accounts")


@blueprint.get("/<int:id>/sign-in")
@needs("people.manage", account="id")
def page(id: int) -> str:
    return render_template(
        "admin/signins.html",
        account=accounts.get_account(id),
        sessions=sessions.of_account(id),
        tokens=tokens.of_account(id),
        codes_on=second_factor.is_on(id),
        codes_missing=second_factor.is_missing(id),
    )


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
