"""Settings: the few an admin decides here, and those that the host decides."""

from zoneinfo import available_timezones

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.identity.roles import ROLES
from appliance.services import mail, overview, preferences, second_factor
from appliance.settings import describe
from webui.errors import status_of
from webui.guard import actor, needs, settings
from webui.reauth import requires_reauth

blueprint = Blueprint("preferences", __name__, url_prefix="/admin/settings")


def zones() -> list[str]:
    """The time zones that people would look for, by name."""
    return sorted(
        name for name in available_timezones() if name == "UTC" or ("/" in name and not name.startswith(("Etc/", "SystemV/", "posix")))
    )


@blueprint.route("/", methods=["GET", "POST"])
@needs("settings.manage")
def index() -> Response | tuple[str, int]:
    values, error = {"title": overview.title(), "time_zone": overview.time_zone(), "overcommit": str(preferences.overcommit())}, None
    if request.method == "POST":
        values = {name: request.form.get(name, "") for name in values}
        try:
            preferences.change(actor(), **values)
            flash("Saved.", "success")
            return redirect(url_for("preferences.index"), 303)
        except DpeError as refused:
            error = refused
    host = [(name, getattr(settings(), name), default, help) for name, default, help in describe()]
    page = render_template(
        "admin/settings.html",
        values=values,
        error=error,
        zones=zones(),
        host=host,
        ROLES=ROLES,
        codes_required=second_factor.required_roles(),
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
    second_factor.require(actor(), request.form.getlist("role"))
    flash("Saved.", "success")
    return redirect(url_for("preferences.index"), 303)
