"""Set aside: what is here and the catalog does not know, and how the appliance goes on when the catalog is another or an older one."""

from datetime import timedelta

from flask import Blueprint, flash, redirect, render_template, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.services import aside, recovery
from webui import forms
from webui.errors import status_of
from webui.forms import Form, Line
from webui.guard import actor, needs
from webui.reauth import requires_reauth

blueprint = Blueprint("aside", __name__, url_prefix="/admin/orphans")


class Decision(Form):
    choice: str = ""


class Adoption(Form):
    account: Line = Field("", title="Owner")


class Retention(Form):
    days: Line = Field(
        title="Retention", description="Counted from when it was set aside. 0 means never.", json_schema_extra={"unit": "days"}
    )


@blueprint.get("/")
@needs("settings.manage")
def index() -> tuple[str, int]:
    return _page()


@blueprint.post("/decide")
@needs("settings.manage")
@requires_reauth
def decide() -> Response | tuple[str, int]:
    try:
        aside.decide(actor(), forms.read(Decision).choice)
    except DpeError as refused:
        return _page(refused)
    flash("The appliance goes on in a moment.", "success")
    return _back()


@blueprint.post("/<int:number>/adopt")
@needs("settings.manage")
def adopt(number: int) -> Response | tuple[str, int]:
    try:
        aside.adopt(actor(), number, forms.read(Adoption).account)
    except DpeError as refused:
        return _page(refused, number)
    flash("It is adopted in a moment.", "success")
    return _back()


@blueprint.post("/<int:number>/remove")
@needs("settings.manage")
@requires_reauth
def remove(number: int) -> Response | tuple[str, int]:
    try:
        aside.remove(actor(), number)
    except DpeError as refused:
        return _page(refused)
    flash("It is removed in a moment.", "success")
    return _back()


@blueprint.post("/days")
@needs("settings.manage")
def days() -> Response | tuple[str, int]:
    try:
        aside.keep_for(actor(), forms.read(Retention).days)
    except DpeError as refused:
        return _page(refused)
    flash("Saved.", "success")
    return _back()


def _back() -> Response:
    return redirect(url_for("aside.index"), 303)


def _page(error: DpeError | None = None, number: int | None = None) -> tuple[str, int]:
    """The page; `number` is what the error is about, if it is one of the orphans."""
    things = aside.everything()
    page = render_template(
        "admin/aside.html",
        things=things,
        undecided=aside.undecided(),
        adoptions={
            one.number: forms.bound(Adoption, error=error if one.number == number else None, prefix=f"{one.number}-") for one in things
        },
        days=aside.days(),
        retention=forms.bound(Retention, {"days": aside.days()}, error),
        most=aside.MOST_DAYS,
        people=recovery.people(),
        ends=lambda one: one.since + timedelta(days=aside.days()),
        error=error,
    )
    return page, status_of(error) if error else 200
