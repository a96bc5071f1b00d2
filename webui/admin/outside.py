"""Settings of what leaves the house: the appliance's address, e-mail, webhooks."""

from typing import Annotated, Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.services import hooks, mail, preferences
from webui import forms
from webui.errors import status_of
from webui.forms import SECRET, Form, Line, OneOf, Ticked
from webui.guard import actor, needs
from webui.reauth import requires_reauth

blueprint = Blueprint("outside", __name__, url_prefix="/admin/settings/email-and-webhooks")

Page = Response | tuple[str, int]

SECURITY = {
    "starttls": "StartTLS, usually port 587",
    "tls": "TLS, usually port 465",
    "none": "None, readable on its way",
}
OWN_AUTHORITY = "Certificate of the authority"


class Address(Form):
    address: Line = Field(title="URL", description="Links in mails begin with it, and webhooks may answer to it.")


class Mail(Form):
    host: Line = Field(title="Server", description="Your own mail server or your provider's, called as in its certificate.")
    security: Annotated[str, OneOf(SECURITY)] = Field(
        "starttls", title="Encryption", description="With it, the server's certificate is checked."
    )
    port: Line = Field("587", title="Port")
    sender: Line = Field(title="Sender's address", description="What people see as the sender; the server must send for it.")
    user: Line = Field("", title="Account at the server", description="Empty if the server asks nobody.")
    password: str = Field("", title="Its password", description="Kept sealed, and shown nowhere again.", json_schema_extra=SECRET)
    authority: Line = Field("", title=OWN_AUTHORITY, description="Empty means the authorities that everybody trusts.")

    def values(self) -> dict[str, str]:
        """All but the password."""
        return self.model_dump(exclude={"password"})


class Webhooks(Form):
    authority: Line = Field(
        "",
        title=OWN_AUTHORITY,
        description="Webhooks then trust this authority and no other. Empty means the authorities that everybody trusts.",
    )


class On(Form):
    """A button that switches something on or off."""

    on: Ticked = False


def _page(error: DpeError | None = None, **more: Any) -> Page:
    address = preferences.reached_at()
    page = render_template(
        "admin/outside.html",
        address=forms.bound(Address, {"address": address or request.host_url.rstrip("/")}, error),
        reached_at=address,
        mail=forms.bound(Mail, mail.entered(), error, keep=True),  # a test or a slip elsewhere must not cost the password
        mail_entered=bool(mail.entered()),
        mail_on=mail.is_on(),
        has_password=mail.has_password(),
        mine=current_user.account.email,
        hooks=hooks.state(),
        webhooks=forms.bound(Webhooks, {"authority": hooks.state()["authority"]}, error, prefix="hooks-"),
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
    try:
        preferences.set_address(actor(), forms.read(Address).address)
    except DpeError as error:
        return _page(error)
    return _done("Saved.")


@blueprint.post("/mail")
@needs("settings.manage")
@requires_reauth
def set_mail() -> Page:
    try:
        asked = forms.read(Mail)
        mail.change(actor(), asked.values(), asked.password, here=request.host_url)
    except DpeError as error:
        return _page(error)
    return _done(f"Saved; mail is sent. Its links lead to {preferences.reached_at()}.")


@blueprint.post("/mail/test")
@needs("settings.manage")
def test_mail() -> Page:
    try:
        asked = forms.read(Mail)
        to = mail.test(actor(), asked.values(), asked.password)
    except DpeError as error:
        return _page(error)
    return _page(tested=to)


@blueprint.post("/mail/switch")
@needs("settings.manage")
@requires_reauth
def switch_mail() -> Response:
    mail.switch(actor(), on=forms.read(On).on)
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
    try:
        hooks.trust(actor(), forms.read(Webhooks).authority)
    except DpeError as error:
        return _page(error)
    return _done("Saved.")
