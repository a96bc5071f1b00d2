"""Sequences: what is done before and after the moves of machines, edited as drafts, tried, promoted."""

import json
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import VersionState
from appliance.catalog import sequences as rows
from appliance.errors import BadInput, DpeError, NotFound
from appliance.services import classes, sequences
from appliance.services.sequences import SequenceView, Spot
from appliance.workflow.sequence import Activity
from webui import forms, schema_form
from webui.errors import status_of
from webui.forms import Form, Line
from webui.guard import actor, needs
from webui.reauth import requires_reauth

blueprint = Blueprint("sequences", __name__, url_prefix="/admin/workflow/sequences")

Page = Response | tuple[str, int]

ABOUT = schema_form.fields_of(Activity.model_json_schema(), without=("kind", "with", "title", "name"))
NAMES = schema_form.fields_of(Activity.model_json_schema(), without=("kind", "with", "when", "retry", "on_failure"))
LARGEST = 256 << 10  # bytes of a file


class Description(Form):
    title: Line = Field(title="Title", description="What people read.")
    description: Line = Field("", alias="about", title="Description")


class NewSequence(Description):
    name: Line = Field(title="Short name", description="Small letters, digits and hyphens; it stays.")
    copy_of: str = Field("", title="Begin with")


def _rendered(template: str, error: DpeError | None = None, **values: Any) -> tuple[str, int]:
    return render_template(template, error=error, **values), status_of(error) if error else 200


def _there(name: str, message: str = "") -> Response:
    if message:
        flash(message, "success")
    return redirect(url_for("sequences.page", name=name), 303)


# -- the list -------------------------------------------------------------------------------------


def _list(error: DpeError | None = None, at: str = "") -> Page:
    lines = sequences.everything()
    offered = {"": "nothing"} | {line.row.name: f"what {line.row.title} has" for line in lines}
    new = forms.bound(NewSequence, error=error, choices={"copy_of": offered})
    text = forms.sent().get("text", "")
    return _rendered("admin/sequences.html", error, at=at, lines=lines, missing=sequences.missing(), new=new, text=text)


@blueprint.get("/")
@needs("classes.read")
def index() -> Page:
    return _list()


@blueprint.post("/")
@needs("sequences.manage")
def create() -> Page:
    try:
        asked = forms.read(NewSequence)
        sequences.create(actor(), asked.name, asked.title, asked.description, copy_of=asked.copy_of)
    except DpeError as error:
        return _list(error)
    return _there(asked.name, "It is there, as a draft: add activities, then promote it.")


@blueprint.post("/import")
@needs("sequences.manage")
def import_new() -> Page:
    try:
        name = sequences.import_file(actor(), _uploaded())
    except DpeError as error:
        return _list(error, "import")
    return _there(name, "It is imported, as a draft.")


def _uploaded() -> bytes:
    """A file, or text."""
    file = request.files.get("file")
    content = (file.stream.read(LARGEST + 1) if file and file.filename else b"") or request.form.get("text", "").encode()
    if len(content) > LARGEST:
        raise BadInput(f"A sequence has at most {LARGEST >> 10} KiB.", "Is it the right file?")
    return content


# -- one ------------------------------------------------------------------------------------------


def _page(name: str, error: DpeError | None = None, at: str = "", **more: Any) -> tuple[str, int]:
    look = sequences.view_sequence(name)
    promoted = look.line.promoted
    before = json.loads(promoted.body) if promoted else {}
    changes = sequences.diff(before, look.moves) if look.line.draft and promoted else []
    return _rendered(
        "admin/sequence.html",
        error,
        at=at,
        description=forms.bound(Description, {"title": look.line.row.title, "about": look.line.row.about}, error),
        look=look,
        line=look.line,
        moves=sequences.moves_around(),
        changes=changes,
        marks={change.name: change.what for change in changes if change.what != "removed"},
        gone=[(place, activity) for place, activity in sequences.activities(before) if activity["name"] not in _names(look)]
        if changes
        else [],
        trial=sequences.trial(name),
        classes=[machine_class for machine_class in classes.visible(actor(), "machines.use") if machine_class.enabled],
        values=request.form,
        title_of=sequences.title,
        kind_of=sequences.kind,
        kinds_of=sequences.kinds_of,
        **more,
    )


def _names(look: SequenceView) -> set[Any]:
    return {activity.get("name") for _, activity in sequences.activities(look.moves)}


@blueprint.get("/<name>")
@needs("classes.read")
def page(name: str) -> Page:
    return _page(name)


@blueprint.post("/<name>/describe")
@needs("sequences.manage")
def describe(name: str) -> Page:
    try:
        asked = forms.read(Description)
        sequences.describe(actor(), name, asked.title, asked.description)
    except BadInput as error:
        return _page(name, error)
    return _there(name, "Saved.")


def _spot(prefix: str = "") -> Spot:
    """The place that a form or an address names. Raises NotFound when it cannot be one."""
    values = request.values
    number = values.get(f"{prefix}number", default=-1, type=int)
    spot = Spot(values.get(f"{prefix}move", ""), values.get(f"{prefix}part", ""), max(-1, min(number, 1000)))
    if spot.move not in {move.name for move, _ in sequences.moves_around()} or spot.part not in ("before", "after"):
        raise NotFound("There is no such place in a sequence.", "Go back to the sequence, and choose again.")
    return spot


@blueprint.post("/<name>/remove")
@needs("sequences.manage")
def remove(name: str) -> Page:
    spot = _spot()
    taken = sequences.remove(actor(), name, request.form.get("seen", ""), spot)
    return _page(name, undo=(spot, taken))


@blueprint.post("/<name>/put-back")
@needs("sequences.manage")
def put_back(name: str) -> Response:
    try:
        activity = json.loads(request.form.get("activity", ""))
    except ValueError as error:
        raise BadInput("That is no activity.", "Reload the page.") from error
    if not (isinstance(activity, dict) and isinstance(activity.get("name"), str) and isinstance(activity.get("kind"), str)):
        raise BadInput("That is no activity.", "Reload the page.")
    sequences.put_sequence(actor(), name, request.form.get("seen", ""), _spot(), activity, new=True)
    return _there(name)


@blueprint.post("/<name>/shift")
@needs("sequences.manage")
def shift(name: str) -> Response:
    sequences.shift(actor(), name, request.form.get("seen", ""), _spot(), _spot("to_"))
    return _there(name)


@blueprint.post("/<name>/discard")
@needs("sequences.manage")
def discard(name: str) -> Response:
    sequences.discard_draft(actor(), name)
    return _there(name, "The draft is discarded.")


@blueprint.post("/<name>/promote")
@needs("sequences.manage")
@requires_reauth
def promote(name: str) -> Page:
    form = request.form
    try:
        made = sequences.promote(
            actor(), name, form.get("comment", "").strip(), seen=form.get("seen", ""), untried=form.get("untried") == "yes"
        )
    except DpeError as error:
        return _page(name, error, "promote")
    return _there(name, f"Version {made.number} is promoted: what begins from now on goes by it.")


@blueprint.post("/<name>/try")
@needs("sequences.manage")
def try_draft(name: str) -> Page:
    try:
        sequences.try_draft(actor(), name, request.form.get("class", ""))
    except DpeError as error:
        return _page(name, error, "try")
    return _there(name, "It is being tried: you have asked for a machine that goes by the draft.")


@blueprint.post("/<name>/delete")
@needs("sequences.manage")
def delete(name: str) -> Page:
    try:
        sequences.delete(actor(), name)
    except DpeError as error:
        return _page(name, error, "delete")
    flash(f"{name} is deleted.", "success")
    return redirect(url_for("sequences.index"), 303)


# -- an activity ----------------------------------------------------------------------------------


def _form(name: str, spot: Spot, activity: dict[str, Any], error: DpeError | None = None, *, new: bool, checked: bool = True) -> Page:
    kind = sequences.kind(activity.get("kind"))
    look = sequences.view_sequence(name)
    problems = sequences.check_one(look.moves, spot, activity, new=new) if checked else []
    return _rendered(
        "admin/activity.html",
        error,
        line=look.line,
        seen=request.form.get("seen") or look.stamp,
        spot=spot,
        new=new,
        activity=activity,
        kind=kind,
        broken=sequences.missing(),
        groups=(NAMES, schema_form.fields_of(kind.options.model_json_schema(), "with.") if kind else (), ABOUT),
        problems={problem.field: problem for problem in reversed(problems)},
        shown=schema_form.shown,
        is_given=schema_form.is_given,
        move=next(move for move, _ in sequences.moves_around() if move.name == spot.move),
    )


def _entered() -> dict[str, Any]:
    kind = sequences.kind(request.form.get("kind"))
    if kind is None:
        raise BadInput("There is no such kind of activity.", "Go back to the sequence, and choose another one.")
    options = schema_form.read(schema_form.fields_of(kind.options.model_json_schema(), "with."), request.form)
    names = schema_form.read(NAMES, request.form)
    return {**names, "kind": kind.name, **({"with": options} if options else {}), **schema_form.read(ABOUT, request.form)}


@blueprint.get("/<name>/activity")
@needs("sequences.manage")
def activity(name: str) -> Page:
    spot = _spot()
    moves = sequences.view_sequence(name).moves
    if kind := sequences.kind(request.args.get("kind")):
        return _form(name, spot, {"name": sequences.free_name(moves, kind.name), "kind": kind.name}, new=True, checked=False)
    listed = moves.get(spot.move, {}).get(spot.part, [])
    if not 0 <= spot.number < len(listed):
        raise NotFound("There is no such activity.", "Somebody may have taken it out; go back to the sequence.")
    return _form(name, spot, listed[spot.number], new=False)


@blueprint.post("/<name>/activity/check")
@needs("sequences.manage")
def check_activity(name: str) -> Page:
    """The form as it is filled in, with what is wrong so far; nothing is saved."""
    return _form(name, _spot(), _entered(), new=request.form.get("new") == "yes")


@blueprint.post("/<name>/activity")
@needs("sequences.manage")
def save_activity(name: str) -> Page:
    spot, entered, new = _spot(), _entered(), request.form.get("new") == "yes"
    problems = sequences.check_one(sequences.view_sequence(name).moves, spot, entered, new=new)
    if any(not problem.warning for problem in problems):
        return _form(name, spot, entered, BadInput("It is not saved yet.", "Correct what is marked below."), new=new)
    try:
        sequences.put_sequence(actor(), name, request.form.get("seen", ""), spot, entered, new=new)
    except DpeError as error:
        return _form(name, spot, entered, error, new=new)
    return redirect(url_for("sequences.page", name=name, _anchor=f"step-{entered['name']}"), 303)


# -- as a file, and as it was ---------------------------------------------------------------------


def _file(name: str, error: DpeError | None = None) -> Page:
    look = sequences.view_sequence(name)
    text = request.form.get("text") or sequences.export(name)
    return _rendered("admin/sequence_file.html", error, line=look.line, text=text, seen=request.form.get("seen") or look.stamp)


@blueprint.get("/<name>/file")
@needs("classes.read")
def file(name: str) -> Page:
    return _file(name)


@blueprint.post("/<name>/file")
@needs("sequences.manage")
def import_file(name: str) -> Page:
    try:
        sequences.import_file(actor(), _uploaded(), into=name, seen=request.form.get("seen", ""))
    except DpeError as error:
        return _file(name, error)
    return _there(name, "Saved in the draft.")


@blueprint.get("/<name>/export")
@needs("classes.read")
def export(name: str) -> Response:
    number = request.args.get("version", type=int)
    text = sequences.export(name, number)
    return Response(
        text,
        mimetype="application/yaml",
        headers={"Content-Disposition": f'attachment; filename="{sequences.get_sequence(name).name}.yml"'},
    )


def _history(name: str, error: DpeError | None = None) -> Page:
    line = sequences.line(name)
    versions = rows.versions(name)
    newest = versions[0].number if versions else 0
    one = request.args.get("from", default=line.promoted.number if line.promoted else newest, type=int)
    other = request.args.get("to", default=newest if line.draft is None else 0, type=int)
    changes = sequences.diff(*(json.loads(sequences.version(name, number).body) for number in (one, other))) if versions else []
    shown = {"one": one, "other": other, "changes": changes, "versions": versions}
    return _rendered("admin/sequence_history.html", error, line=line, VersionState=VersionState, **shown)


@blueprint.get("/<name>/history")
@needs("classes.read")
def history(name: str) -> Page:
    return _history(name)


@blueprint.post("/<name>/roll-back")
@needs("sequences.manage")
@requires_reauth
def roll_back(name: str) -> Page:
    try:
        made = sequences.roll_back(actor(), name, request.form.get("version", default=-1, type=int), request.form.get("comment", ""))
    except DpeError as error:
        return _history(name, error)
    return _there(name, f"Version {made.number} is promoted: what begins from now on goes by it.")
