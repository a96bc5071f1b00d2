"""Settings of what leaves the house: the appliance's address, e-mail, webhooks."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.services import hooks, mail, preferences
from webui.errors import status_of
from webui.guard import actor, needs
from webui.reauth import requires_reauth

blueprint = Blueprint("outside", __name__, url_prefix="/admin/settings/email-and-webhooks")

Page = Response | tuple[str, int]

SECURITY = {
    "starttls": "StartTLS, usually port 587",
    "tls": "TLS, usually port 465",
    "none": "None, readable on its way",
}
NEW = {"host": "", "port": "587", "security": "starttls", "authority": "", "user": "", "sender": ""}


def _page(error: DpeError | None = None, *, at: str = "", values: dict[str, Any] | None = None, **more: Any) -> Page:
    """The page; `at` says which form the error is in, and `values` are what was entered there."""
    page = render_template(
        "admin/outside.html",
        at=at,
        error=error,
        address=values["address"] if at == "address" and values else preferences.reached_at(),
        here=request.host_url.rstrip("/"),
        values=values if at == "mail" else NEW | mail.entered(),
        typed=request.form.get("password", ""),  # a test or a slip elsewhere must not cost it
        mail_entered=bool(mail.entered()),
        mail_on=mail.is_on(),
        has_password=mail.has_password(),
        mine=current_user.account.email,
        hooks=hooks.state(),
        authority=values["authority"] if at == "webhooks" and values else hooks.state()["authority"],
        SECURITY=SECURITY,
        **more,
    )
    return page, status_of(error) if error else 200


def _done(message: str) -> Response:
    flash(message, "success")
    return redirect(url_for("outside.index"), 303)


@blueprint.get("/")
@needs("settings.manage")
def index() -> Page:
    return _page()


@blueprint.post("/address")
@needs("settings.manage")
def set_address() -> Page:
    values = {"address": request.form.get("address", "")}
    try:
        preferences.set_address(actor(), values["address"])
    except DpeError as error:
        return _page(error, at="address", values=values)
    return _done("Saved.")


def _entered() -> dict[str, str]:
    return {name: request.form.get(name, "").strip() for name in NEW}


@blueprint.post("/mail")
@needs("settings.manage")
@requires_reauth
def set_mail() -> Page:
    try:
        mail.change(actor(), _entered(), request.form.get("password", ""), here=request.host_url)
    except DpeError as error:
        return _page(error, at="mail", values=_entered())
    return _done(f"Saved; mail is sent. Its links lead to {preferences.reached_at()}.")


@blueprint.post("/mail/test")
@needs("settings.manage")
def test_mail() -> Page:
    try:
        to = mail.test(actor(), _entered(), request.form.get("password", ""))
    except DpeError as error:
        return _page(error, at="mail", values=_entered())
    return _page(at="mail", values=_entered(), tested=to)


@blueprint.post("/mail/switch")
@needs("settings.manage")
@requires_reauth
def switch_mail() -> Response:
    mail.switch(actor(), on=request.form.get("on") == "yes")
    return redirect(url_for("outside.index"), 303)


@blueprint.post("/webhooks/secret")
@needs("settings.manage")
@requires_reauth
def new_secret() -> Page:
    """The page that shows the secret, once."""
    return _page(made=hooks.new_secret(actor()))


@blueprint.post("/webhooks")
@needs("settings.manage")
@requires_reauth
def set_webhooks() -> Page:
    values = {"authority": request.form.get("authority", "")}
    try:
        hooks.trust(actor(), values["authority"])
    except DpeError as error:
        return _page(error, at="webhooks", values=values)
    return _done("Saved.")
