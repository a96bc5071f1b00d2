"""Settings: the few an admin decides here, and those that the host decides."""

from zoneinfo import available_timezones

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.identity.roles import ROLES
from appliance.services import mail, overview, preferences, second_factor
from appliance.settings import describe
from webui import forms
from webui.errors import status_of
from webui.forms import CHECKS, Form
from webui.guard import actor, needs, settings
from webui.reauth import requires_reauth

blueprint = Blueprint("preferences", __name__, url_prefix="/admin/settings")


def zones() -> list[str]:
    """The time zones that people would look for, by name."""
    return sorted(
        name for name in available_timezones() if name == "UTC" or ("/" in name and not name.startswith(("Etc/", "SystemV/", "posix")))
    )


class General(Form):
    title: str = Field(title="Name", description="At the top of every page.")
    time_zone: str = Field(title="Time zone", description="Times are shown in it; hover over one to see UTC.")
    overcommit: str = Field(
        title="Memory overcommit",
        description="In percent of what this server has for machines. At 100, everybody can use all the memory of their machine at once, whatever "
        "happens. At 200, twice as many machines can be held; that goes well while they use half of their memory on average. Should they all "
        "want theirs at once, the server becomes very slow or stops some of them.",
    )


class Codes(Form):
    role: list[str] = Field([], title="Required for", json_schema_extra=CHECKS)


@blueprint.route("/", methods=["GET", "POST"])
@needs("settings.manage")
def index() -> Response | tuple[str, int]:
    error = None
    if request.method == "POST":
        try:
            preferences.change(actor(), **forms.read(General).model_dump())
            flash("Saved.", "success")
            return redirect(url_for("preferences.index"), 303)
        except DpeError as refused:
            error = refused
    stored = {"title": overview.title(), "time_zone": overview.time_zone(), "overcommit": preferences.overcommit()}
    host = [(name, getattr(settings(), name), default, help) for name, default, help in describe()]
    page = render_template(
        "admin/settings.html",
        form=forms.bound(General, stored, error, choices={"time_zone": {zone: zone for zone in zones()}}),
        host=host,
        codes=forms.bound(
            Codes, {"role": second_factor.required_roles()}, choices={"role": {name: role.title for name, role in ROLES.items()}}
        ),
        ROLES=ROLES,
        person_codes_on=second_factor.is_on(current_user.account.id),
        OVERCOMMIT=preferences.OVERCOMMIT,
        promised=overview.promised(),
        mail_on=mail.is_on(),
    )
    return page, status_of(error) if error else 200


@blueprint.post("/codes")
@needs("settings.manage")
@requires_reauth
def codes() -> Response:
    second_factor.require(actor(), forms.read(Codes).role)
    flash("Saved.", "success")
    return redirect(url_for("preferences.index"), 303)
