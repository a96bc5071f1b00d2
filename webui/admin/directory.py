"""The directory server: how it is reached, a test of that, and its synchronisations."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.catalog import RunState
from appliance.errors import BadInput, DpeError
from appliance.identity import directory_settings
from appliance.identity.directory_config import SHAPES, Config
from appliance.services import directory
from webui.errors import status_of
from webui.guard import actor, back, needs
from webui.reauth import requires_reauth

blueprint = Blueprint("directory", __name__, url_prefix="/admin/directory")

Page = Response | tuple[str, int]

KINDS = {"ldap": "LDAP: OpenLDAP, 389 Directory Server, FreeIPA", "ad": "Active Directory, or Samba as its like"}
ENCRYPTION = {
    "starttls": "StartTLS, usually port 389",
    "ldaps": "LDAPS, usually port 636",
    "none": "None: passwords can be read on their way",
}
SIGN_IN = {"search": "Look the person up, then try their password", "direct": "Try the password at once, under a name made from a pattern"}
EVERY = {"15": "every 15 minutes", "60": "every hour", "360": "every 6 hours", "1440": "every day", "0": "only when somebody asks"}
# Field of the shape, its label.
PLACES = [
    ("people", "Filter for people"),
    ("groups", "Filter for groups"),
    ("units", "Filter for org units"),
    ("id", "Attribute that never changes"),
    ("name", "Name to sign in with"),
    ("full_name", "Full name"),
    ("mail", "E-mail"),
]
STATES = {
    RunState.QUEUED: ("waiting", "secondary"),
    RunState.RUNNING: ("going on", "blue"),
    RunState.DONE: ("done", "green"),
    RunState.FAILED: ("failed", "red"),
}
NEW: dict[str, Any] = {name: field.get_default() for name, field in Config.model_fields.items()} | {"servers": (), "base": ""}


@blueprint.get("/")
@needs("directory.manage")
def index() -> Page:
    return _page(NEW | directory_settings.entered())


def _page(values: dict[str, Any], error: DpeError | None = None, findings: list[directory.Finding] | None = None) -> Page:
    page = render_template(
        "admin/directory.html",
        values=values,
        error=error,
        findings=findings,
        is_on=directory_settings.is_on(),
        entered=bool(directory_settings.entered()),
        has_password=directory_settings.has_password(),
        typed=request.form.get("password", ""),  # a test or a slip elsewhere must not cost it
        runs=directory.runs(),
        KINDS=KINDS,
        ENCRYPTION=ENCRYPTION,
        SIGN_IN=SIGN_IN,
        EVERY=EVERY,
        PLACES=PLACES,
        usual=SHAPES.get(values["kind"], SHAPES["ldap"]),
        special=any(values[name] for name, _ in PLACES),
        RUN_STATES=STATES,
    )
    return page, status_of(error) if error else 200


def _entered() -> dict[str, Any]:
    values: dict[str, Any] = {name: request.form.get(name, "").strip() for name in NEW}
    values["servers"] = tuple(values["servers"].replace(",", " ").split())
    if values["minutes"] not in EVERY:
        raise BadInput("How often to synchronise is not one of the choices.", "Choose one.")
    return values | {"minutes": int(values["minutes"])}


@blueprint.post("/")
@needs("directory.manage")
@requires_reauth
def change() -> Page:
    values = _entered()
    try:
        directory.change(actor(), values, request.form.get("password", ""))
    except DpeError as error:
        return _page(values, error)
    flash("The directory is in use; people, groups and org units are being read.", "success")
    return redirect(url_for("directory.index"), 303)


@blueprint.post("/test")
@needs("directory.manage")
def test() -> Page:
    values = _entered()
    try:
        return _page(values, findings=directory.check_directory(values, request.form.get("password", "")))
    except DpeError as error:
        return _page(values, error)


@blueprint.post("/switch")
@needs("directory.manage")
@requires_reauth
def switch() -> Response:
    directory.switch(actor(), on=request.form.get("on") == "yes")
    return redirect(url_for("directory.index"), 303)


@blueprint.post("/synchronise")
@needs("directory.manage")
def synchronise() -> Response:
    directory.synchronise(actor(), force=request.form.get("force") == "yes")
    return back()
