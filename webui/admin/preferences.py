"""Settings: the few an admin decides here, and those that the host decides."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any
from zoneinfo import available_timezones

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from werkzeug.wrappers import Response

from appliance.catalog import options, public_holidays
from appliance.errors import DpeError
from appliance.identity.roles import ROLES
from appliance.language import LANGUAGES
from appliance.services import calendars, mail, overview, password_links, preferences, second_factor
from appliance.services import sessions as sessions_service
from appliance.settings import describe
from webui import forms
from webui.errors import status_of
from webui.forms import CHECKS, Form, Line, Whole
from webui.guard import actor, needs, settings
from webui.language import territories, text
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
    language: str = Field(
        "en", title="Language", description="Of mails and pages for who chose none; pages are in the browser's, if it is one of these."
    )
    overcommit: str = Field(
        title="Memory overcommit",
        description="In percent of what this server has for machines. At 100, everybody can use all the memory of their machine at once, whatever "
        "happens. At 200, twice as many machines can be held; that goes well while they use half of their memory on average. Should they all "
        "want theirs at once, the server becomes very slow or stops some of them.",
    )


class Invitations(Form):
    days: Whole = Field(
        title="Days", description="For so long the link of an invitation is good. A link that somebody asked for is good for two hours."
    )


class Sessions(Form):
    idle: Whole = Field(title="Minutes without use", description="After which a browser is signed out.")
    longest: Whole = Field(title="Hours", description="After which a browser is signed out, however much it is used.")


class DebianMirror(Form):
    mirror: Line = Field(
        "", title="Address", description="Like https://mirror.example.org/debian. Nothing is the mirror that the host itself uses."
    )


class Choices(Form):
    unused_days: Whole = Field(
        title="Days without a request", description="After which the seed of something that people chose is removed."
    )
    space: Whole = Field(
        title="Disk space in GiB",
        description="That these seeds take together; what nobody asked for the longest goes first. It is made again when it is chosen.",
    )


class Kept(Form):
    kept_days: Whole = Field(
        title="Days",
        description="For so long somebody who asks for it stays signed in on a device, also when its browser is closed. 0: nobody does. "
        "Whatever is dangerous asks for the password or a code again all the same.",
    )


class Codes(Form):
    role: list[str] = Field([], title="Required for", json_schema_extra=CHECKS)


def _days(value: Any) -> Any:
    """Days with their names, a line each, like "2026-12-24 Closed"."""
    found: dict[date, str] = {}
    for line in str(value or "").splitlines():
        day, _, name = line.strip().partition(" ")
        if not day:
            continue
        try:
            found[date.fromisoformat(day)] = name.strip()[:60] or "Holiday"
        except ValueError:
            raise PydanticCustomError(
                "days", "{typed} does not begin with a day like 2026-12-24.", {"typed": repr(line.strip()[:30])}
            ) from None
    if len(found) > 500:
        raise PydanticCustomError("days", "there are more than 500 days.")
    return found


Days = Annotated[dict[date, str], BeforeValidator(_days)]
AREA: dict[str, Any] = {"widget": "area"}


class Holidays(Form):
    country: str = Field("", title="Country", description="Whose public holidays count, for windows of calendars that ask for them.")
    part: str = Field("", title="State or province", description="Those of a country that was just chosen can be chosen once it is saved.")
    own: Days = Field({}, title="Other holidays", description="A line each: day and name, like 2026-12-24 Closed.", json_schema_extra=AREA)
    without: Days = Field(
        {}, title="No holidays", description="Days that are none here, a line each, like 2026-10-31.", json_schema_extra=AREA
    )


@blueprint.route("/", methods=["GET", "POST"])
@needs("settings.manage")
def index() -> Response | tuple[str, int]:
    if request.method == "POST":
        try:
            preferences.change(actor(), **forms.read(General).model_dump())
        except DpeError as refused:
            return _page(refused)
        flash("Saved.", "success")
        return redirect(url_for("preferences.index"), 303)
    return _page()


@blueprint.post("/holidays")
@needs("settings.manage")
def holidays() -> Response | tuple[str, int]:
    try:
        said = forms.read(Holidays)
        calendars.set_holidays(actor(), country=said.country, part=said.part, own=said.own, without=list(said.without))
    except DpeError as refused:
        return _page(refused)
    flash("Saved.", "success")
    return redirect(url_for("preferences.index", _anchor="holidays"), 303)


def _page(error: DpeError | None = None) -> tuple[str, int]:
    stored = {
        "title": overview.title(),
        "time_zone": overview.time_zone(),
        "overcommit": preferences.overcommit(),
        "language": preferences.language(),
    }
    held = options.chosen(settings())
    host = [(one, getattr(held, one.name)) for one in describe()]
    page = render_template(
        "admin/settings.html",
        form=forms.bound(General, stored, error, choices={"time_zone": {zone: zone for zone in zones()}, "language": LANGUAGES}),
        host=host,
        holidays=_holidays(error),
        coming=calendars.coming_holidays(),
        codes=forms.bound(
            Codes, {"role": second_factor.required_roles()}, choices={"role": {name: role.title for name, role in ROLES.items()}}
        ),
        invitations=forms.bound(Invitations, {"days": password_links.days()}, error),
        sessions=forms.bound(Sessions, {"idle": held.session_idle // 60, "longest": max(1, held.session_longest // 3600)}, error),
        mirror=forms.bound(DebianMirror, {"mirror": held.debian_mirror}, error),
        choices=forms.bound(Choices, {"unused_days": held.recipe_days, "space": held.recipe_space}, error),
        CHOICE_DAYS=preferences.CHOICE_DAYS,
        CHOICE_SPACE=preferences.CHOICE_SPACE,
        SIGN_OUT_HOURS=preferences.SIGN_OUT_HOURS,
        DAYS=password_links.DAYS,
        kept=forms.bound(Kept, {"kept_days": sessions_service.kept_days()}, error),
        KEPT_MOST=sessions_service.KEPT_MOST,
        ROLES=ROLES,
        person_codes_on=second_factor.is_on(current_user.account.id),
        OVERCOMMIT=preferences.OVERCOMMIT,
        promised=overview.promised(),
        mail_on=mail.is_on(),
    )
    return page, status_of(error) if error else 200


def _holidays(error: DpeError | None) -> forms.BoundForm:
    chosen: Mapping[str, Any] = public_holidays.chosen()
    stored = {
        **chosen,
        "own": "\n".join(f"{day} {name}" for day, name in chosen["own"].items()),
        "without": "\n".join(chosen["without"]),
    }
    parts = {"": "The whole country", **public_holidays.parts(chosen["country"])}
    return forms.bound(
        Holidays, stored, error, choices={"country": {"": text("None"), **territories(public_holidays.countries())}, "part": parts}
    )


@blueprint.post("/invitations")
@needs("settings.manage")
def invitations() -> Response | tuple[str, int]:
    try:
        password_links.set_days(actor(), forms.read(Invitations).days)
    except DpeError as refused:
        return _page(refused)
    flash("Saved.", "success")
    return redirect(url_for("preferences.index", _anchor="invitations"), 303)


@blueprint.post("/sessions")
@needs("settings.manage")
def sessions() -> Response | tuple[str, int]:
    try:
        said = forms.read(Sessions)
        preferences.sign_out_after(actor(), settings(), idle=said.idle, longest=said.longest)
    except DpeError as refused:
        return _page(refused)
    flash("Saved.", "success")
    return redirect(url_for("preferences.index", _anchor="sessions"), 303)


@blueprint.post("/mirror")
@needs("settings.manage")
def mirror() -> Response | tuple[str, int]:
    try:
        preferences.build_from(actor(), settings(), forms.read(DebianMirror).mirror)
    except DpeError as refused:
        return _page(refused)
    flash("Saved.", "success")
    return redirect(url_for("preferences.index", _anchor="mirror"), 303)


@blueprint.post("/choices")
@needs("settings.manage")
def choices() -> Response | tuple[str, int]:
    try:
        said = forms.read(Choices)
        preferences.keep_choices(actor(), settings(), days=said.unused_days, space=said.space)
    except DpeError as refused:
        return _page(refused)
    flash("Saved.", "success")
    return redirect(url_for("preferences.index", _anchor="choices"), 303)


@blueprint.post("/codes")
@needs("settings.manage")
@requires_reauth
def codes() -> Response:
    second_factor.require(actor(), forms.read(Codes).role)
    flash("Saved.", "success")
    return redirect(url_for("preferences.index"), 303)


@blueprint.post("/kept")
@needs("settings.manage")
@requires_reauth
def kept() -> Response | tuple[str, int]:
    try:
        sessions_service.set_kept_days(actor(), forms.read(Kept).kept_days)
    except DpeError as refused:
        return _page(refused)
    flash("Saved.", "success")
    return redirect(url_for("preferences.index", _anchor="kept"), 303)
