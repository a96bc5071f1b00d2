"""Classes made, copied, changed and deleted by a form: each time another version of the scenario, looked at before it is saved."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from markupsafe import Markup
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import ScenarioVersion
from appliance.catalog import scenarios as scenario_rows
from appliance.errors import BadInput, Conflict, DpeError
from appliance.scenario.applications import Entry, needed
from appliance.scenario.schema import Chosen, ClassSpec
from appliance.services import applications, class_specs, classes, scenarios
from appliance.services.class_specs import Draft
from webui import forms, schema_form
from webui.admin.scenario import Take
from webui.errors import status_of
from webui.forms import Line
from webui.guard import actor, needs, settings
from webui.reauth import requires_reauth

blueprint = Blueprint("class_form", __name__, url_prefix="/admin/scenario")

Page = Response | tuple[str, int]

FIELDS = {field.key: field for field in schema_form.fields_of(ClassSpec.model_json_schema(), without=("applications",))}
# What stands together; what is not named here comes last.
SECTIONS = {
    "What it is for": ("title", "description", "icon", "kind"),
    "Operating system": ("os", "packages"),
    "Roles and page of its own": ("roles", "application", "screen", "user"),
    "Service": ("service",),
    "Size": ("size",),
    "Policy": ("policy",),
    "Lease": ("lease", "per_person", "burst", "batch_window"),
    "Provisioning": ("sequence", "fork", "readiness"),
}
OPEN = ("What it is for", "Operating system", "Size")
APPLICATIONS = "applications."  # before the name of each, in the form
NOT_ASKED = ("name", "options")
EMPTY = {"lease": {"idle": {"minutes": 0}}}  # what a form shows that has no default of its own


class Edited(Take):
    """What goes along with the fields of a class, which are made of the scenario's model."""

    name: Line = Field("", title="Short name", description="Small letters, digits and hyphens; it stays.")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a field."""

    message: str
    hint: str
    warning: bool = False


@dataclass(frozen=True)
class Offered:
    """An application that the class may have: whether it does, and the fields of what is decided about it."""

    entry: Entry
    name: str
    is_chosen: bool
    fields: tuple[schema_form.Field, ...]


def _fields_of(name: str) -> tuple[schema_form.Field, ...]:
    """What is decided about an application: its options, and the port of its page."""
    return _fields_as_of(name, scenario_rows.digest())


@lru_cache(maxsize=64)
def _fields_as_of(name: str, _digest: str) -> tuple[schema_form.Field, ...]:
    """The same with the scenario of that digest, which may bring the application itself."""
    entry, port = applications.get(name), schema_form.fields_of(Chosen.model_json_schema(), f"{APPLICATIONS}{name}.", without=NOT_ASKED)
    options = schema_form.fields_of(entry.manifest.option_model.model_json_schema(), f"{APPLICATIONS}{name}.options.")
    web = entry.manifest.web
    return options + tuple(replace(field, default=web.port, help="") for field in port if web is not None)  # said once above them all


def _offered(values: Mapping[str, Any]) -> list[Offered]:
    chosen, withdrawn = _by_name(values), applications.withdrawn()
    return [
        Offered(one, f"{APPLICATIONS}{one.name}", one.name in chosen, _fields_of(one.name))
        for one in applications.entries()
        if one.name in chosen or one.name not in withdrawn
    ]


def _by_name(values: Mapping[str, Any]) -> dict[str, Any]:
    return {one["name"]: one for one in values.get("applications", [])}


def _chosen(first: list[str]) -> list[dict[str, Any]]:
    """The applications that were ticked, with what was decided: those that the class has already as it has them, then the others."""
    sent = forms.sent()
    names = [one.name for one in applications.entries() if f"{APPLICATIONS}{one.name}" in sent]
    found = []
    for name in sorted(names, key=lambda name: first.index(name) if name in first else len(first)):
        fields = _fields_of(name)
        said = schema_form.read(tuple(field for field in fields if field.key != "port" or ".options." in field.name), sent)
        port = schema_form.read(tuple(field for field in fields if field.name == f"{APPLICATIONS}{name}.port"), sent)
        found.append({"name": name, **({"options": said} if said else {}), **port})
    return found


@dataclass(frozen=True)
class Section:
    """Fields below a heading; those that are rarely changed are folded away."""

    title: str
    fields: tuple[schema_form.Field, ...]
    is_open: bool


def _sections(given: Mapping[str, Any], problems: Mapping[str, Problem]) -> Iterator[Section]:
    named = [key for keys in SECTIONS.values() for key in keys]
    for title, keys in {**SECTIONS, "More": tuple(key for key in FIELDS if key not in named)}.items():
        whole = [FIELDS[key] for key in keys]
        fields = tuple(inner for field in whole for inner in (field.fields or (field,)))
        wrong = any(place == field.name or place.startswith(f"{field.name}.") for place in problems for field in whole)
        yield Section(title, fields, title in OPEN or wrong or any(schema_form.is_given(field, given) for field in fields))


def _entered(name: str) -> dict[str, Any]:
    """What was entered, as scenario.yml has it; a group that is needed is there, if empty, so that what it lacks is said at its fields."""
    asked: dict[str, Any] = {key: {} for key, field in FIELDS.items() if field.fields and field.required}
    there = [one.name for one in class_specs.spec_of(name).applications] if name else []
    chosen = _chosen(there)
    return {**asked, **schema_form.read(tuple(FIELDS.values()), forms.sent()), **({"applications": chosen} if chosen else {})}


def _problems(error: DpeError | None) -> dict[str, Problem]:
    """What is wrong, by field; what is about a group is said at its first one."""
    said = error.fields if isinstance(error, class_specs.Wrong) else {}
    firsts = {key: field.fields[0].name for key, field in FIELDS.items() if field.fields}
    return {firsts.get(place, place): Problem(*one) for place, one in said.items()}


def _form(name: str, values: Mapping[str, Any], error: DpeError | None = None, draft: Draft | None = None, *, copy: str = "") -> Page:
    """The form, of a new class where there is no name; below what it changes, if it was looked at."""
    current, problems = scenarios.current(), _problems(error)
    form = forms.bound(Edited, {"build": True}, error, keep=True).having("seen", str(current.number))
    form = form.having("digest", scenarios.stamp(draft.text) if draft else "")
    if not forms.sent().get("digest"):  # the box was not there to be ticked
        form = form.having("build", True)
    page = render_template(
        "admin/class_edit.html",
        error=error,
        name=name,
        copy=copy,
        form=form,
        current=current,
        values={**(values or EMPTY), "applications": _by_name(values)},
        offered=_offered(values),
        sections=list(_sections(values, problems)),
        problems=problems,
        shown=schema_form.shown,
        notes=_notes(name) if name else {},
        roles=class_specs.roles(),
        draft=draft,
        preview=class_specs.preview(settings(), draft.name, draft.spec.os, draft.spec.size.memory) if draft else None,
        needs=class_specs.needs(draft.spec.model_dump()) if draft else None,
        download=class_specs.download(draft.spec.model_dump()) if draft else None,
    )
    return page, status_of(error) if error else 200


def _notes(name: str) -> dict[str, str]:
    """What an admin changed on the class's own pages: it counts, whatever the scenario says."""
    found = classes.policy_of(classes.get_class(name))
    return {".".join(one.field.path): f"The class's own page has {_word(one.value)}, which counts on." for one in found if one.changed}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "others" if isinstance(value, list) else str(value) or "none"


def _values(spec: ClassSpec) -> dict[str, Any]:
    """A class as its form has it."""
    return spec.model_dump(mode="json", exclude_defaults=True, exclude_none=True)


def _review(name: str) -> Page:
    """What was entered would change; nothing is saved."""
    asked, values = forms.read(Edited), _entered(name)
    try:
        return _form(name, values, draft=class_specs.draft(name or asked.name, values, new=not name))
    except DpeError as error:
        return _form(name, values, error)


def _save(name: str) -> Page:
    asked, values = forms.read(Edited), _entered(name)
    draft = None
    try:
        draft = class_specs.draft(name or asked.name, values, new=not name)
        if asked.digest != scenarios.stamp(draft.text):
            raise Conflict("It has changed since you looked at what it changes.", "Look once more, then save.")
        made = class_specs.save(actor(), draft, seen=asked.seen, comment=asked.comment, build=asked.build)
    except DpeError as error:
        return _form(name, values, error, draft)
    built = asked.build and bool(draft.change.built)
    _say(f"{draft.spec.title} is saved, as version {made.number}.{' Its seed is built now.' if built else ''}", made)
    return redirect(url_for("classes.seed_list" if built else "classes.machine", name=draft.name), 303)


def _say(text: str, made: ScenarioVersion) -> None:
    """Tell that it is done, and where it can be undone."""
    before = scenarios.before(made)
    if before is None:
        flash(text, "success")
    else:
        there = url_for("scenario.version", number=before.number, _anchor="back")
        flash(Markup('{} <a href="{}">Undo</a>').format(text, there), "success")


# -- a new one ------------------------------------------------------------------------------------


@blueprint.get("/new-class")
@needs("scenario.manage")
def new() -> Page:
    copy, application = request.args.get("copy", ""), request.args.get("application", "")
    if application:
        return _form("", _begun_with(applications.get(application)))
    if not copy:
        return _form("", {})
    values = _values(class_specs.spec_of(copy))
    return _form("", {**values, "title": f"{values['title'][:50]} (copy)"}, copy=copy)


def _begun_with(entry: Entry) -> dict[str, Any]:
    """A class that has it, on the newest release that it runs on, and is as large as it needs."""
    manifest, (memory, disk) = entry.manifest, needed([(entry, {})])
    size = {"memory": max(512, memory), "disk": max(4, disk)}
    about = {"title": manifest.title, "description": manifest.description, "icon": manifest.icon, "os": max(manifest.releases)}
    return {**EMPTY, **about, "applications": [{"name": entry.name}], "size": size}


@blueprint.post("/new-class")
@needs("scenario.manage")
def review_new() -> Page:
    return _review("")


@blueprint.post("/new-class/save")
@needs("scenario.manage")
@requires_reauth
def create() -> Page:
    return _save("")


# -- one that is there ----------------------------------------------------------------------------


@blueprint.get("/classes/<name>/edit")
@needs("scenario.manage")
def edit(name: str) -> Page:
    return _form(name, _values(class_specs.spec_of(name)))


@blueprint.post("/classes/<name>/edit")
@needs("scenario.manage")
def review(name: str) -> Page:
    return _review(name)


@blueprint.post("/classes/<name>/edit/save")
@needs("scenario.manage")
@requires_reauth
def save(name: str) -> Page:
    return _save(name)


# -- its end --------------------------------------------------------------------------------------


def _leaving(name: str, error: DpeError | None = None) -> Page:
    page = render_template(
        "admin/class_delete.html",
        error=error,
        machine_class=classes.get_class(name),
        leaving=class_specs.leaving(name),
        current=scenarios.current(),
    )
    return page, status_of(error) if error else 200


@blueprint.get("/classes/<name>/delete")
@needs("scenario.manage")
def leaving(name: str) -> Page:
    return _leaving(name)


@blueprint.post("/classes/<name>/delete")
@needs("scenario.manage")
@requires_reauth
def delete(name: str) -> Page:
    asked = forms.read(Take)
    title = classes.get_class(name).spec["title"]
    try:
        made = class_specs.delete(actor(), name, seen=asked.seen)
    except (BadInput, Conflict) as error:
        return _leaving(name, error)
    if made is None:
        flash(f"{title} is deleted.", "success")
    else:
        _say(f"{title} is deleted.", made)
    return redirect(url_for("classes.index"), 303)


@blueprint.post("/classes/<name>/delete/seeds")
@needs("scenario.manage")
@requires_reauth
def delete_seeds(name: str) -> Page:
    try:
        count = class_specs.remove_seeds(actor(), name)
    except Conflict as error:
        return _leaving(name, error)
    flash(f"The files of {count} of its seeds are being deleted.", "success")
    return redirect(url_for("class_form.leaving", name=name), 303)
