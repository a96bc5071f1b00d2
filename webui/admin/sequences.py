"""Sequences: what is done before and after the moves of machines, edited as drafts, tried, promoted."""

import json
from typing import Annotated, Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from werkzeug.wrappers import Response

from appliance.catalog import VersionState
from appliance.catalog import sequences as rows
from appliance.errors import BadInput, DpeError, NotFound
from appliance.services import classes, sequences
from appliance.services.sequences import SequenceView, Spot
from appliance.workflow.sequence import Activity
from appliance.yamlfile import FileErrors
from webui import forms, schema_form
from webui.errors import status_of
from webui.forms import BoundForm, Form, FormError, Line, Read, Ticked, Upload, Whole
from webui.guard import actor, needs
from webui.language import text
from webui.reauth import requires_reauth

blueprint = Blueprint("sequences", __name__, url_prefix="/admin/workflow/sequences")

Page = Response | tuple[str, int]

ABOUT = schema_form.fields_of(Activity.model_json_schema(), without=("kind", "with", "title", "name"))
NAMES = schema_form.fields_of(Activity.model_json_schema(), without=("kind", "with", "when", "retry", "on_failure"))
LONGEST = 1000  # activities in a list


class Description(Form):
    title: Line = Field(title="Title", description="What people read.")
    description: Line = Field("", alias="about", title="Description")


class NewSequence(Description):
    name: Line = Field(title="Short name", description="Small letters, digits and hyphens; it stays.")
    copy_of: str = Field("", title="Begin with")


class SequenceFile(Form):
    """A sequence as YAML: a file or, without one, text. `seen` is the stamp of the draft that it is to replace."""

    file: Upload = Field(b"", title="File", description="As “Export” of another sequence gives it.")
    text: str = Field("", title="Or its text")
    seen: str = ""

    @property
    def content(self) -> bytes:
        return self.file or self.text.encode()


class Trial(Form):
    class_name: str = Field("", alias="class", title="Class of the machine")


class Promotion(Form):
    comment: Line = Field("", max_length=200, title="Comment, for the history")
    seen: str = ""
    untried: Ticked = Field(False, title="Although it was not tried")


class RollBack(Form):
    version: Whole = Field(title="Version")
    comment: Line = Field("", max_length=200, title="Comment, for the history")


def _number(value: Any) -> int:
    """A place in a list; -1, its end, for what is none."""
    try:
        return max(-1, min(int(str(value)), LONGEST))
    except ValueError:
        return -1


def _activity(value: Any) -> Any:
    try:
        found = json.loads(value)
    except (TypeError, ValueError):
        found = None
    if not (isinstance(found, dict) and isinstance(found.get("name"), str) and isinstance(found.get("kind"), str)):
        raise PydanticCustomError("activity", "That is no activity.")
    return found


Number = Annotated[int, BeforeValidator(_number)]


class Place(Form):
    """Where an activity stands, and the stamp of the draft that it was `seen` in."""

    move: str = ""
    part: str = ""
    number: Number = -1
    seen: str = ""

    @property
    def spot(self) -> Spot:
        """Raises NotFound when there is no such place."""
        return _spot(self.move, self.part, self.number)


class Shift(Place):
    to_move: str = ""
    to_part: str = ""
    to_number: Number = -1

    @property
    def to(self) -> Spot:
        """Raises NotFound when there is no such place."""
        return _spot(self.to_move, self.to_part, self.to_number)


class Removed(Place):
    activity: Annotated[dict[str, Any], BeforeValidator(_activity)] = Field(description="Reload the page.")


class Edited(Place):
    """What goes along with the fields of an activity, which are made of its kind."""

    kind: str = ""
    new: Ticked = False


def _placed(model: type[Read]) -> Read:
    """What a button of the page sent: where in its address, the draft that was seen in the form around all buttons. Raises FormError."""
    return forms.check(model, {**request.args.to_dict(), **forms.sent(model)})


def _spot(move: str, part: str, number: int) -> Spot:
    if move not in {one.name for one, _ in sequences.moves_around()} or part not in ("before", "after"):
        raise NotFound("There is no such place in a sequence.", "Go back to the sequence, and choose again.")
    return Spot(move, part, number)


def _rendered(template: str, error: DpeError | None = None, **values: Any) -> tuple[str, int]:
    return render_template(template, error=error, **values), status_of(error) if error else 200


def _there(name: str, message: str = "") -> Response:
    if message:
        flash(message, "success")
    return redirect(url_for("sequences.page", name=name), 303)


# -- the list -------------------------------------------------------------------------------------


def _list(error: DpeError | None = None, uploaded: bytes = b"") -> Page:
    lines = sequences.everything()
    offered = {"": "nothing"} | {line.row.name: text("what %(title)s has", title=line.row.shown_title) for line in lines}
    new = forms.bound(NewSequence, error=error, choices={"copy_of": offered})
    file = _as_file({}, error, uploaded)
    return _rendered("admin/sequences.html", error, lines=lines, missing=sequences.missing(), new=new, file=file)


def _as_file(stored: dict[str, str], error: DpeError | None, uploaded: bytes) -> BoundForm:
    """The form of a file, where one that was refused is text: nobody can choose it for somebody again."""
    form = forms.bound(SequenceFile, stored, _at_text(error))
    return form.having("text", uploaded.decode(errors="replace")) if uploaded else form


def _at_text(error: DpeError | None) -> DpeError | None:
    """The error as the form of a file tells it: what is wrong with lines is wrong with the text."""
    if not isinstance(error, FileErrors):
        return error
    lines = sorted({one.line for one in error.errors})
    return FormError(SequenceFile, {"text": f"See line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}."})


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
    asked = forms.read(SequenceFile)
    try:
        name = sequences.import_file(actor(), asked.content)
    except DpeError as error:
        return _list(error, asked.file)
    return _there(name, "It is imported, as a draft.")


# -- one ------------------------------------------------------------------------------------------


def _page(name: str, error: DpeError | None = None, **more: Any) -> tuple[str, int]:
    look = sequences.view_sequence(name)
    promoted = look.line.promoted
    before = json.loads(promoted.body) if promoted else {}
    changes = sequences.diff(before, look.moves) if look.line.draft and promoted else []
    usable = {one.name: one.spec["title"] for one in classes.visible(actor(), "machines.use") if one.enabled}
    followed = [one for one in usable if one in look.line.classes]
    return _rendered(
        "admin/sequence.html",
        error,
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
        classes=usable,
        trying=forms.bound(Trial, {"class": followed[-1] if followed else ""}, error, choices={"class": usable}),
        promotion=forms.bound(Promotion, error=error),
        title_of=sequences.title,
        kind_of=sequences.kind,
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


@blueprint.post("/<name>/remove")
@needs("sequences.manage")
def remove(name: str) -> Page:
    asked = _placed(Place)
    taken = sequences.remove(actor(), name, asked.seen, asked.spot)
    return _page(name, undo=(asked.spot, taken))


@blueprint.post("/<name>/put-back")
@needs("sequences.manage")
def put_back(name: str) -> Response:
    asked = _placed(Removed)
    sequences.put_sequence(actor(), name, asked.seen, asked.spot, asked.activity, new=True)
    return _there(name)


@blueprint.post("/<name>/shift")
@needs("sequences.manage")
def shift(name: str) -> Response:
    asked = _placed(Shift)
    sequences.shift(actor(), name, asked.seen, asked.spot, asked.to)
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
    try:
        asked = forms.read(Promotion)
        made = sequences.promote(actor(), name, asked.comment, seen=asked.seen, untried=asked.untried)
    except DpeError as error:
        return _page(name, error)
    return _there(name, f"Version {made.number} is promoted: what begins from now on goes by it.")


@blueprint.post("/<name>/try")
@needs("sequences.manage")
def try_draft(name: str) -> Page:
    try:
        sequences.try_draft(actor(), name, forms.read(Trial).class_name)
    except DpeError as error:
        return _page(name, error)
    return _there(name, "It is being tried: you have asked for a machine that goes by the draft.")


@blueprint.post("/<name>/delete")
@needs("sequences.manage")
def delete(name: str) -> Page:
    try:
        sequences.delete(actor(), name)
    except DpeError as error:
        return _page(name, error)
    flash(f"{name} is deleted.", "success")
    return redirect(url_for("sequences.index"), 303)


# -- an activity ----------------------------------------------------------------------------------


def _form(name: str, asked: Edited, activity: dict[str, Any], error: DpeError | None = None, *, checked: bool = True) -> Page:
    kind, spot = sequences.kind(activity.get("kind")), asked.spot
    look = sequences.view_sequence(name)
    problems = sequences.check_one(look.moves, spot, activity, new=asked.new) if checked else []
    return _rendered(
        "admin/activity.html",
        error,
        line=look.line,
        seen=asked.seen or look.stamp,
        spot=spot,
        new=asked.new,
        activity=activity,
        kind=kind,
        broken=sequences.missing(),
        groups=(NAMES, schema_form.fields_of(kind.options.model_json_schema(), "with.") if kind else (), ABOUT),
        problems={problem.field: problem for problem in reversed(problems)},
        shown=schema_form.shown,
        is_given=schema_form.is_given,
        move=next(move for move, _ in sequences.moves_around() if move.name == spot.move),
    )


def _entered(asked: Edited) -> dict[str, Any]:
    kind = sequences.kind(asked.kind)
    if kind is None:
        raise BadInput("There is no such kind of activity.", "Go back to the sequence, and choose another one.")
    typed = forms.sent()
    options = schema_form.read(schema_form.fields_of(kind.options.model_json_schema(), "with."), typed)
    names = schema_form.read(NAMES, typed)
    return {**names, "kind": kind.name, **({"with": options} if options else {}), **schema_form.read(ABOUT, typed)}


@blueprint.get("/<name>/kinds")
@needs("sequences.manage")
def choose(name: str) -> Page:
    """The kinds of activity that can be put at the end of a part."""
    spot = _spot(request.args.get("move", ""), request.args.get("part", ""), -1)
    return _rendered(
        "admin/sequence_kinds.html",
        line=sequences.view_sequence(name).line,
        spot=spot,
        kinds=sequences.kinds_of(spot.move, spot.part),
        move=next(move for move, _ in sequences.moves_around() if move.name == spot.move),
    )


@blueprint.get("/<name>/activity")
@needs("sequences.manage")
def activity(name: str) -> Page:
    kind = sequences.kind(request.args.get("kind"))
    asked = Edited.model_validate({**request.args.to_dict(), "new": kind is not None})
    spot, moves = asked.spot, sequences.view_sequence(name).moves
    if kind is not None:
        return _form(name, asked, {"name": sequences.free_name(moves, kind.name), "kind": kind.name}, checked=False)
    listed = moves.get(spot.move, {}).get(spot.part, [])
    if not 0 <= spot.number < len(listed):
        raise NotFound("There is no such activity.", "Somebody may have taken it out; go back to the sequence.")
    return _form(name, asked, listed[spot.number])


@blueprint.post("/<name>/activity/check")
@needs("sequences.manage")
def check_activity(name: str) -> Page:
    """The form as it is filled in, with what is wrong so far; nothing is saved."""
    asked = forms.read(Edited)
    return _form(name, asked, _entered(asked))


@blueprint.post("/<name>/activity")
@needs("sequences.manage")
def save_activity(name: str) -> Page:
    asked = forms.read(Edited)
    spot, entered = asked.spot, _entered(asked)
    problems = sequences.check_one(sequences.view_sequence(name).moves, spot, entered, new=asked.new)
    if any(not problem.warning for problem in problems):
        return _form(name, asked, entered, BadInput("It is not saved yet.", "Correct what is marked below."))
    try:
        sequences.put_sequence(actor(), name, asked.seen, spot, entered, new=asked.new)
    except DpeError as error:
        return _form(name, asked, entered, error)
    return redirect(url_for("sequences.page", name=name, _anchor=f"step-{entered['name']}"), 303)


# -- as a file, and as it was ---------------------------------------------------------------------


def _file(name: str, error: DpeError | None = None, uploaded: bytes = b"") -> Page:
    look = sequences.view_sequence(name)
    form = _as_file({"text": sequences.export(name), "seen": look.stamp}, error, uploaded)
    return _rendered("admin/sequence_file.html", error, line=look.line, file=form)


@blueprint.get("/<name>/file")
@needs("classes.read")
def file(name: str) -> Page:
    return _file(name)


@blueprint.post("/<name>/file")
@needs("sequences.manage")
def import_file(name: str) -> Page:
    asked = forms.read(SequenceFile)
    try:
        sequences.import_file(actor(), asked.content, into=name, seen=asked.seen)
    except DpeError as error:
        return _file(name, error, asked.file)
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
        asked = forms.read(RollBack)
        made = sequences.roll_back(actor(), name, asked.version, asked.comment)
    except DpeError as error:
        return _history(name, error)
    return _there(name, f"Version {made.number} is promoted: what begins from now on goes by it.")
