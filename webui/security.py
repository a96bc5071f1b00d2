"""What lets a person in besides the password: one-time codes and tokens."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import BadInput, DpeError
from appliance.services import second_factor, tokens
from webui import forms
from webui.api import SCOPES
from webui.errors import status_of
from webui.format import qr_code
from webui.forms import CHECKS, SECRET, Form, Line
from webui.guard import actor, needs
from webui.reauth import requires_reauth

blueprint = Blueprint("security", __name__, url_prefix="/account")

Page = Response | tuple[str, int]

DAYS = {7: "A week", 30: "A month", 90: "Three months", 366: "A year"}


class Code(Form):
    code: str = Field(title="Code", json_schema_extra=SECRET)


class NewToken(Form):
    name: Line = Field(title="Name", description="Like “backup script on my laptop”.")
    scope: list[str] = Field([], title="Scope", json_schema_extra=CHECKS)
    days: Line = Field("", title="Valid for")


@blueprint.get("/codes")
@needs("own")
def codes() -> Page:
    return _codes_page()


def _codes_page(error: DpeError | None = None, *, recovery: list[str] | None = None) -> Page:
    setup = second_factor.pending(actor())
    id = current_user.account.id
    page = render_template(
        "account_codes.html",
        on=second_factor.is_on(id),
        left=second_factor.recovery_left(id),
        setup=setup,
        picture=qr_code(setup.address) if setup else "",
        recovery=recovery,
        error=error,
        form=forms.bound(Code, error=error),
        required=second_factor.is_missing(id),
    )
    return page, status_of(error) if error else 200


@blueprint.post("/codes/begin")
@needs("own")
@requires_reauth
def begin_codes() -> Response:
    second_factor.begin_enrolment(actor())
    return redirect(url_for("security.codes"), 303)


@blueprint.post("/codes")
@needs("own")
def confirm_codes() -> Page:
    try:
        return _codes_page(recovery=second_factor.confirm(actor(), forms.read(Code).code))
    except BadInput as error:
        return _codes_page(error)


@blueprint.post("/codes/recovery")
@needs("own")
@requires_reauth
def recovery() -> Page:
    return _codes_page(recovery=second_factor.renew_recovery(actor()))


@blueprint.post("/codes/off")
@needs("own")
@requires_reauth
def codes_off() -> Response:
    second_factor.remove(actor(), current_user.account.id)
    flash("One-time codes are off: your password alone lets you in.", "success")
    return redirect(url_for("security.codes"), 303)


@blueprint.get("/tokens")
@needs("own")
def token_list() -> Page:
    return _tokens_page()


def _tokens_page(error: DpeError | None = None, made: str = "") -> Page:
    page = render_template(
        "account_tokens.html",
        tokens=tokens.of_account(current_user.account.id),
        made=made,
        form=forms.bound(NewToken, {"scope": ["read"], "days": 90}, error, choices={"scope": SCOPES, "days": DAYS}),
        root=request.host_url.replace("http:", "https:"),
    )
    return page, status_of(error) if error else 200


@blueprint.post("/tokens")
@needs("own")
@requires_reauth
def new_token() -> Page:
    try:
        asked = forms.read(NewToken)
        scope = [name for name in asked.scope if name in SCOPES]
        return _tokens_page(made=tokens.create(actor(), asked.name, scope, int(asked.days) if asked.days.isdecimal() else 0))
    except DpeError as error:
        return _tokens_page(error)


@blueprint.post("/tokens/<int:id>/end")
@needs("own")
def end_token(id: int) -> Response:
    tokens.end_token(actor(), current_user.account.id, id)
    flash("The token is ended; nothing that uses it gets in any more.", "success")
    return redirect(url_for("security.token_list"), 303)
