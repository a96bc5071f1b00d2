"""Applications that people bring: sent as a zip or made from packages and a script, looked at, then taken; withdrawn, downloaded, removed."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field, ValidationError
from werkzeug.wrappers import Response

from appliance.catalog import scenarios as rows
from appliance.errors import BadInput, DpeError
from appliance.scenario import packaged
from appliance.scenario.packaged import Packaged
from appliance.scenario.schema import Icon, Os
from appliance.scenario.tree import PACKED
from appliance.services import applications, own_applications, scenarios
from webui import forms
from webui.admin.class_form import FIELDS
from webui.admin.scenario import Take
from webui.errors import status_of
from webui.forms import CHECKS, Form, FormError, Line, Upload, Whole, WholeOrNothing, Words
from webui.guard import actor, needs
from webui.reauth import requires_reauth
from webui.upload import takes_file_of

blueprint = Blueprint("own_applications", __name__, url_prefix="/admin/own-applications")

Page = Response | tuple[str, int]
SHORT_NAME = "Small letters, digits and hyphens. One of yours that is called so becomes another version of it."


class Sent(Form):
    file: Upload = Field(b"", title="Zip file", description="A folder with application.yml and tasks/main.yml, and what they need.")
    name: Line = Field("", max_length=31, title="Short name", description=f"{SHORT_NAME} The folder's name, if you leave it out.")


class Made(Form):
    """What is made of packages and a script."""

    short: Line = Field("", max_length=31, title="Short name", description=SHORT_NAME)
    title: Line = Field("", max_length=60, title="Title")
    description: Line = Field("", max_length=400, title="Text", description="What it is for, in one or two sentences.")
    icon: Icon = Field("package", title="Picture")
    licence: Line = Field(packaged.UNKNOWN, max_length=60, title="Licence", description="By its name in the SPDX list.")
    releases: list[Os] = Field(
        [], title="Releases", description="That you know it to run on; seeds of others cannot have it.", json_schema_extra=CHECKS
    )
    packages: Words = Field(
        [],
        title="Debian packages",
        description="Names, with blanks or commas between them.",
        json_schema_extra=forms.lookup("packages"),
    )
    script: str = Field(
        "",
        max_length=packaged.LONGEST,
        title="Shell script",
        description="Carried out once as root, after the packages, while a seed is built: no service runs, and there is no network. "
        "DPE_PORT and DPE_USER say which port and account the class gives it.",
    )
    port: WholeOrNothing = Field(None, title="Port of its page", description="In the machine, plain HTTP; empty if it has none.")
    memory: Whole = Field(64, title="Memory", json_schema_extra={"unit": "MiB"})
    disk: Whole = Field(1, title="Disk", json_schema_extra={"unit": "GiB"})


def _stored(name: str) -> dict[str, Any]:
    """What the form made of one that is there, or what a new one begins with."""
    found = own_applications.made_of(name) if name else None
    if found is None:
        return {"short": name, "icon": "package", "licence": packaged.UNKNOWN, "memory": 64, "disk": 1}
    return {**found.model_dump(), "short": name, "packages": " ".join(found.packages)}


def _new(error: DpeError | None = None, name: str = "") -> Page:
    found = own_applications.made_of(name) if name else None
    page = render_template(
        "admin/own_application.html",
        sent=forms.bound(Sent, {"name": name}, error),
        made=forms.bound(Made, _stored(name), error, choices={"releases": FIELDS["os"].words or {}}),
        of=applications.get(name) if name else None,
        by_hand=bool(name) and found is None,
        error=error,
        wrong=scenarios.errors_of(error) if error else [],
    )
    return page, status_of(error) if error else 200


@blueprint.get("/new")
@needs("scenario.manage")
def new() -> Page:
    """A new one, or with `of` another version of one."""
    return _new(name=request.args.get("of", ""))


@blueprint.post("/send")
@needs("scenario.manage")
@takes_file_of(PACKED)
def send() -> Page:
    try:
        asked = forms.read(Sent)
        if not asked.file:
            raise BadInput("No file was sent.", "Choose a zip file.", field="file")
        own_applications.send(actor(), asked.file, asked.name)
    except DpeError as error:
        return _new(error)
    return redirect(url_for("own_applications.sent"), 303)


@blueprint.post("/make")
@needs("scenario.manage")
def make() -> Page:
    try:
        asked = forms.read(Made)
        own_applications.keep(actor(), asked.short, packaged.files(_packaged(asked)))
    except DpeError as error:
        if error.field == "name":
            error.field = "short"
        return _new(error)
    return redirect(url_for("own_applications.sent"), 303)


def _packaged(asked: Made) -> Packaged:
    """Raises FormError where it is not what an application may be."""
    try:
        return Packaged.model_validate(asked.model_dump(exclude={"short"}))
    except ValidationError as error:
        raise FormError(Made, {str(one["loc"][0]): _said(one["type"], one["msg"]) for one in error.errors(include_url=False)}) from None


WRONG = {
    "string_too_short": "It is missing.",
    "too_short": "Choose one at least.",
    "string_pattern_mismatch": "That is no name of a Debian package.",
}


def _said(kind: str, message: str) -> str:
    return WRONG.get(kind, f"{message}.")


# -- what was sent ----------------------------------------------------------------------------------


def _sent(error: DpeError | None = None) -> Page:
    found, current = own_applications.waiting(), scenarios.current()
    form = forms.bound(Take, {"seen": current.number, "digest": found.version.digest, "build": True}, error)
    page = render_template("admin/own_application_sent.html", found=found, about=found.entry.manifest, form=form, error=error)
    return page, status_of(error) if error else 200


@blueprint.get("/sent")
@needs("scenario.manage")
def sent() -> Page:
    return _sent()


@blueprint.post("/take")
@needs("scenario.manage")
@requires_reauth
def take() -> Page:
    try:
        asked = forms.read(Take)
        name = own_applications.waiting().name
        own_applications.take(actor(), digest=asked.digest, seen=asked.seen, comment=asked.comment, build=asked.build)
    except DpeError as error:
        return _sent(error)
    return _there(f"{name} is in the catalogue.", name)


@blueprint.post("/discard")
@needs("scenario.manage")
def discard() -> Response:
    own_applications.discard(actor())
    return _there("What was sent is discarded.")


# -- one of them --------------------------------------------------------------------------------------


def _there(message: str, name: str = "") -> Response:
    flash(message, "success")
    return redirect(url_for("applications.page", application=name) if name else url_for("applications.index"), 303)


@blueprint.get("/<application>/zip")
@needs("classes.read")
def download(application: str) -> Response:
    content = own_applications.download(application)
    return Response(content, mimetype="application/zip", headers={"Content-Disposition": f'attachment; filename="{application}.zip"'})


@blueprint.post("/<application>/withdraw")
@needs("scenario.manage")
def withdraw(application: str) -> Response:
    own_applications.withdraw(actor(), application, withdrawn=True)
    return _there(f"{application} is offered to no class that does not have it.", application)


@blueprint.post("/<application>/offer")
@needs("scenario.manage")
def offer(application: str) -> Response:
    own_applications.withdraw(actor(), application, withdrawn=False)
    return _there(f"{application} is offered again.", application)


@blueprint.post("/<application>/remove")
@needs("scenario.manage")
@requires_reauth
def remove(application: str) -> Response:
    own_applications.remove(actor(), application, seen=rows.number())
    return _there(f"{application} is removed. The scenario's versions before still have it.")
