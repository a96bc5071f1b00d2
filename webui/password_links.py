"""Setting a password by a link, and asking for one by mail: for who was invited, and for who forgot theirs. Neither needs a session.

What the link ends with stands behind a `#`; page.js puts it into the form, and takes it out of the address. Without a script it is pasted.
"""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.identity import passwords
from appliance.identity.directory_settings import is_on
from appliance.services import password_links
from webui import forms
from webui.errors import status_of
from webui.forms import SECRET, Form, Line
from webui.guard import public

blueprint = Blueprint("password_links", __name__)

Page = Response | tuple[str, int]


class SetPassword(Form):
    link: Line = Field(title="Link", description="What stands behind the # in the link that you were given.", max_length=200)
    password: str = Field(
        title="New password",
        description=f"At least {passwords.SHORTEST} characters. A few words in a row are easy to remember.",
        json_schema_extra=SECRET,
    )


class Forgotten(Form):
    name: Line = Field(title="Name or e-mail address", max_length=200)


@blueprint.route(password_links.PATH, methods=["GET", "POST"])
@public
def set_password() -> Page:
    error = None
    if request.method == "POST":
        try:
            asked = forms.read(SetPassword)
            account = password_links.redeem(asked.link, asked.password, request.remote_addr or "")
            flash(f"Your password is set. Sign in with it, {account.full_name or account.name}.", "success")
            return redirect(url_for("auth.sign_in"), 303)
        except DpeError as refused:
            error = refused
    form = forms.bound(SetPassword, error=error)
    return _unreferred(render_template("set_password.html", form=form), status_of(error) if error else 200)


@blueprint.route("/forgot-password", methods=["GET", "POST"])
@public
def forgot() -> Page:
    error, asked, works = None, False, password_links.can_mail()
    if request.method == "POST" and works:
        try:
            password_links.ask(forms.read(Forgotten).name, request.remote_addr or "")
            asked = True
        except DpeError as refused:
            error = refused
    form = forms.bound(Forgotten, error=error)
    page = render_template("forgot_password.html", form=form, asked=asked, works=works, has_directory=is_on())
    return page, status_of(error) if error else 200


def _unreferred(page: str, status: int) -> Response:
    """Nothing that this page asks for says where it was asked."""
    return Response(page, status=status, mimetype="text/html", headers={"Referrer-Policy": "no-referrer"})
