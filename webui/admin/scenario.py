"""The scenario: its versions and what differs between them, an editor, import and export, and a newer one brought together with it."""

from collections.abc import Callable
from typing import cast

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import ScenarioState
from appliance.catalog import scenarios as rows
from appliance.errors import BadInput, Conflict, DpeError, NotFound
from appliance.scenario.merge import Side
from appliance.scenario.tree import PACKED
from appliance.services import own_applications, scenarios
from webui import forms
from webui.errors import status_of
from webui.forms import Form, FormError, Line, Ticked, Upload, Whole
from webui.guard import actor, needs
from webui.reauth import requires_reauth
from webui.upload import takes_file_of

blueprint = Blueprint("scenario", __name__, url_prefix="/admin/scenario")

Page = Response | tuple[str, int]
CHOICE = "choice:"  # before the place of a conflict


class Take(Form):
    """What makes another version the current one. `seen` is the one that it was compared with, `digest` what was looked at."""

    comment: Line = Field("", max_length=200, title="Comment, for the versions")
    build: Ticked = Field(False, title="Build these seeds now")
    seen: Whole = Field(title="Version")
    digest: str = ""
    shown: str = ""  # of what comes of choices


class Edited(Take):
    """scenario.yml as somebody typed it; `digest` is of the text whose changes they saw."""

    text: str = Field("", title="scenario.yml")


class Sent(Form):
    file: Upload = Field(b"", title="Zip file", description="As Export gives it: scenario.yml and its roles, at the top or in one folder.")


def _rendered(template: str, error: DpeError | None = None, **values: object) -> tuple[str, int]:
    return render_template(template, error=error, **values), status_of(error) if error else 200


def _there(message: str) -> Response:
    flash(message, "success")
    return redirect(url_for("scenario.index"), 303)


def _taken(take: Callable[[Take], str], page: Callable[[DpeError], Page]) -> Page:
    """Do what was asked for and say so, or the page again with why not. What is no longer there has no page to show. Raises NotFound."""
    try:
        return _there(take(forms.read(Take)))
    except NotFound:
        raise
    except DpeError as error:
        return page(error)


def _index(error: DpeError | None = None) -> Page:
    current = rows.current()
    return _rendered(
        "admin/scenario.html",
        error,
        current=current,
        spec=scenarios.described(current) if current else None,
        versions=rows.versions(),
        offered=rows.in_state(ScenarioState.OFFERED),
        imported=rows.in_state(ScenarioState.IMPORTED),
        sent=forms.bound(Sent, error=error),
        wrong=scenarios.errors_of(error) if error else [],
    )


@blueprint.get("/")
@needs("scenario.manage")
def index() -> Page:
    return _index()


@blueprint.get("/export")
@needs("scenario.manage")
def export() -> Response:
    number = request.args.get("version", type=int)
    name, content = scenarios.export(scenarios.current() if number is None else scenarios.version(number))
    return Response(content, mimetype="application/zip", headers={"Content-Disposition": f'attachment; filename="{name}"'})


# -- versions -------------------------------------------------------------------------------------


def _version(number: int, error: DpeError | None = None) -> Page:
    shown, current = scenarios.version(number), scenarios.current()
    before = scenarios.before(shown)
    return _rendered(
        "admin/scenario_version.html",
        error,
        version=shown,
        current=current,
        before=before,
        made=scenarios.compare(before.tree, shown.tree) if before else None,
        back=scenarios.compare(current.tree, shown.tree) if shown.id != current.id else None,
        form=forms.bound(Take, {"seen": current.number, "build": True}, error),
    )


@blueprint.get("/versions/<int:number>")
@needs("scenario.manage")
def version(number: int) -> Page:
    return _version(number)


@blueprint.post("/versions/<int:number>/go-back")
@needs("scenario.manage")
@requires_reauth
def go_back(number: int) -> Page:
    def take(asked: Take) -> str:
        made = scenarios.go_back(actor(), number, seen=asked.seen, comment=asked.comment, build=asked.build)
        return f"Version {number} counts again, as version {made.number}."

    return _taken(take, lambda error: _version(number, error))


# -- the editor -----------------------------------------------------------------------------------


def _edit(error: DpeError | None = None, asked: Edited | None = None) -> Page:
    """The editor; what was asked is looked at, and its changes are shown when it is sound."""
    current, change, said = scenarios.current(), None, error
    if asked is not None:
        try:
            change = scenarios.with_text(asked.text)[0]
            if not change.files:
                change, said = None, error or BadInput("That is what there is already.", "Change something first.", field="text")
        except DpeError as wrong:
            said = wrong
    lines = scenarios.errors_of(said) if said else []
    at_text = (
        FormError(Edited, {"text": f"See line {', '.join(str(line) for line in sorted({one[1] for one in lines}))}."}) if lines else said
    )
    form = forms.bound(Edited, {"text": scenarios.text(current), "build": True}, at_text, keep=asked is not None)
    form = form.having("seen", str(current.number)).having("digest", scenarios.stamp(asked.text) if asked and change else "")
    if asked is not None and not asked.digest:  # the box was not there to be ticked
        form = form.having("build", True)
    return _rendered("admin/scenario_edit.html", said, form=form, current=current, change=change, wrong=lines)


@blueprint.get("/edit")
@needs("scenario.manage")
def edit() -> Page:
    return _edit()


@blueprint.post("/edit")
@needs("scenario.manage")
def review() -> Page:
    """What the text would change; nothing is saved."""
    return _edit(asked=forms.read(Edited))


@blueprint.post("/edit/save")
@needs("scenario.manage")
@requires_reauth
def save() -> Page:
    asked = forms.read(Edited)
    if asked.digest != scenarios.stamp(asked.text):
        return _edit(Conflict("The text has changed since you looked at what it changes.", "Look once more, then save."), asked)
    try:
        made = scenarios.save_text(actor(), asked.text, seen=asked.seen, comment=asked.comment, build=asked.build)
    except DpeError as error:
        return _edit(error, asked)
    return _there(f"Saved as version {made.number}.")


# -- import ---------------------------------------------------------------------------------------


@blueprint.post("/import")
@needs("scenario.manage")
@takes_file_of(PACKED)
def send() -> Page:
    try:
        asked = forms.read(Sent)
        if not asked.file:
            raise BadInput("No file was sent.", "Choose a zip file.", field="file")
        scenarios.import_zip(actor(), asked.file)
    except DpeError as error:
        return _index(error)
    return redirect(url_for("scenario.imported"), 303)


def _waiting(error: DpeError | None = None) -> Page:
    found, current = scenarios.waiting(ScenarioState.IMPORTED), scenarios.current()
    form = forms.bound(Take, {"seen": current.number, "digest": found.digest, "build": True}, error)
    change = scenarios.compare(current.tree, found.tree)
    return _rendered("admin/scenario_import.html", error, found=found, current=current, change=change, form=form)


@blueprint.get("/import")
@needs("scenario.manage")
def imported() -> Page:
    return _waiting()


@blueprint.post("/import/take")
@needs("scenario.manage")
@requires_reauth
def take_import() -> Page:
    def take(asked: Take) -> str:
        made = scenarios.take_import(actor(), digest=asked.digest, seen=asked.seen, comment=asked.comment, build=asked.build)
        return f"What was sent counts from now on, as version {made.number}."

    return _taken(take, _waiting)


@blueprint.post("/import/discard")
@needs("scenario.manage")
def discard() -> Response:
    scenarios.discard_import(actor())
    return _there("What was sent is discarded.")


# -- a newer one ----------------------------------------------------------------------------------


def _choices() -> dict[str, Side]:
    found = {name.removeprefix(CHOICE): value for name, value in forms.sent().items() if name.startswith(CHOICE)}
    return {place: cast(Side, value) for place, value in found.items() if value in ("ours", "theirs")}


def _offer(error: DpeError | None = None) -> Page:
    found, current = scenarios.waiting(ScenarioState.OFFERED), scenarios.current()
    both = scenarios.merged(_choices())
    change, wrong = None, error
    try:
        change = scenarios.outcome(current, both)
    except DpeError as refused:
        wrong = wrong or refused
    form = forms.bound(Take, {"seen": current.number, "digest": found.digest, "build": True}, error)
    form = form.having("seen", str(current.number)).having("digest", found.digest)
    return _rendered(
        "admin/scenario_offer.html",
        wrong,
        found=found,
        current=current,
        both=both,
        change=change,
        shown=scenarios.outcome_digest(both),
        theirs=scenarios.compare(current.base, found.tree),
        hidden=own_applications.hidden(),
        form=form,
        CHOICE=CHOICE,
        wrong=scenarios.errors_of(wrong) if wrong else [],
    )


@blueprint.get("/offer")
@needs("scenario.manage")
def offer() -> Page:
    return _offer()


@blueprint.post("/offer")
@needs("scenario.manage")
def choose() -> Page:
    """What comes of the choices; nothing is saved."""
    forms.read(Take)
    return _offer()


@blueprint.post("/offer/merge")
@needs("scenario.manage")
@requires_reauth
def take_merged() -> Page:
    def take(asked: Take) -> str:
        made = scenarios.take_merged(
            actor(), _choices(), digest=asked.digest, seen=asked.seen, shown=asked.shown, comment=asked.comment, build=asked.build
        )
        return f"Both together count from now on, as version {made.number}."

    return _taken(take, _offer)


@blueprint.post("/offer/take")
@needs("scenario.manage")
@requires_reauth
def take_offer() -> Page:
    def take(asked: Take) -> str:
        made = scenarios.take_offer(actor(), digest=asked.digest, seen=asked.seen, comment=asked.comment, build=asked.build)
        return f"The newer one counts from now on, as version {made.number}; what was changed here is in the versions before."

    return _taken(take, _offer)


@blueprint.post("/offer/leave")
@needs("scenario.manage")
@requires_reauth
def leave() -> Page:
    def take(asked: Take) -> str:
        scenarios.keep_ours(actor(), digest=asked.digest, seen=asked.seen, comment=asked.comment)
        return "Nothing of the newer one is taken. The next one is compared with it."

    return _taken(take, _offer)
