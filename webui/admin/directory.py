"""The directory server: how it is reached, a test of that, and its synchronisations."""

from typing import Annotated, Any

from flask import Blueprint, flash, redirect, render_template, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import RunState
from appliance.errors import DpeError
from appliance.identity import directory_settings
from appliance.identity.directory_config import SHAPES, Config
from appliance.services import directory
from webui import forms
from webui.errors import status_of
from webui.forms import SECRET, Form, Line, OneOf, Ticked, Words
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
# Fields of the shape: what is looked for, and where.
PLACES = ("people", "groups", "units", "id", "name", "full_name", "mail")
STATES = {
    RunState.QUEUED: ("waiting", "secondary"),
    RunState.RUNNING: ("going on", "blue"),
    RunState.DONE: ("done", "green"),
    RunState.FAILED: ("failed", "red"),
}
NEW: dict[str, Any] = {name: field.get_default() for name, field in Config.model_fields.items()} | {"servers": (), "base": ""}


class Reached(Form):
    """How the directory is reached: what every directory needs, with the names of directory_config.Config's fields, and the password."""

    kind: Annotated[str, OneOf(KINDS)] = Field(NEW["kind"], title="Kind")
    encryption: Annotated[str, OneOf(ENCRYPTION)] = Field(
        NEW["encryption"], title="Encryption", description="The server's certificate is checked in any case."
    )
    servers: Words = Field(
        [],
        title="Servers, one a line",
        description="Called as in their certificates, with :PORT where it is not the usual one. When the first is away, the next is asked.",
    )
    base: Line = Field("", title="Search base", description="Everything below this place is read.")
    bind_dn: Line = Field(
        "", title="Reading account", description="May look at everybody, needs to change nothing. Empty if anybody may read."
    )
    password: str = Field("", title="Its password", description="Kept sealed, and shown nowhere again.", json_schema_extra=SECRET)
    authority: Line = Field(
        "",
        title="Certificate of the authority",
        description="Only if the servers' certificates are signed in your own house. Empty means the authorities that everybody trusts.",
    )

    def values(self) -> dict[str, Any]:
        """All but the password, as Config has them."""
        return NEW | self.model_dump(include=set(Config.model_fields)) | {"servers": tuple(self.servers)}


class Connection(Reached):
    """How it is reached and read."""

    sign_in: Annotated[str, OneOf(SIGN_IN)] = Field(NEW["sign_in"], title="Signing in")
    template: Line = Field("", title="Pattern", description="Only for trying at once; {name} is what the person typed.")
    minutes: Annotated[str, OneOf(EVERY)] = Field(str(NEW["minutes"]), title="Synchronise")
    people: Line = Field("", title="Filter for people")
    groups: Line = Field("", title="Filter for groups")
    units: Line = Field("", title="Filter for org units")
    id: Line = Field("", title="Attribute that never changes")
    name: Line = Field("", title="Name to sign in with")
    full_name: Line = Field("", title="Full name")
    mail: Line = Field("", title="E-mail")


class On(Form):
    """A button that switches something on or off."""

    on: Ticked = False


class Synchronisation(Form):
    force: Ticked = False


@blueprint.get("/")
@needs("directory.manage")
def index() -> Page:
    return _page()


def _page(error: DpeError | None = None, findings: list[directory.Finding] | None = None) -> Page:
    stored = NEW | directory_settings.entered()
    form = forms.bound(
        Connection,
        stored | {"servers": list(stored["servers"])},
        error,
        keep=True,  # a test or a slip elsewhere must not cost the password
    )
    page = render_template(
        "admin/directory.html",
        form=form,
        findings=findings,
        is_on=directory_settings.is_on(),
        entered=bool(directory_settings.entered()),
        is_none=directory_settings.is_none(),
        has_password=directory_settings.has_password(),
        runs=directory.runs(),
        PLACES=PLACES,
        usual=SHAPES.get(form["kind"].value, SHAPES["ldap"]),
        special=any(form[name].value for name in PLACES),
        RUN_STATES=STATES,
    )
    return page, status_of(error) if error else 200


@blueprint.post("/")
@needs("directory.manage")
@requires_reauth
def change() -> Page:
    try:
        asked = forms.read(Connection)
        directory.change(actor(), asked.values(), asked.password)
    except DpeError as error:
        return _page(error)
    flash("The directory is in use; people, groups and org units are being read.", "success")
    return redirect(url_for("directory.index"), 303)


@blueprint.post("/test")
@needs("directory.manage")
def test() -> Page:
    try:
        asked = forms.read(Connection)
        return _page(findings=directory.check_directory(asked.values(), asked.password))
    except DpeError as error:
        return _page(error)


@blueprint.post("/switch")
@needs("directory.manage")
@requires_reauth
def switch() -> Response:
    directory.switch(actor(), on=forms.read(On).on)
    return redirect(url_for("directory.index"), 303)


@blueprint.post("/none")
@needs("directory.manage")
def say_none() -> Response:
    directory.say_none(actor())
    flash("There is no directory: only local accounts sign in.", "success")
    return redirect(url_for("directory.index"), 303)


@blueprint.post("/synchronise")
@needs("directory.manage")
def synchronise() -> Response:
    directory.synchronise(actor(), force=forms.read(Synchronisation).force)
    return back()
