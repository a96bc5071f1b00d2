"""The form in which a person chooses what their machine is, of a class that leaves something open: how soon it is there, what it takes, favourites.

What is chosen stands in the page's address, which is thereby the link that others are given: they may ask for it if they may use the class.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import Class
from appliance.errors import BadInput, DpeError
from appliance.scenario import choice
from appliance.scenario.applications import Entry
from appliance.scenario.choice import Chosen
from appliance.services import applications, choices
from webui import forms, schema_form
from webui.errors import status_of
from webui.forms import CHECKS, Form, Line, WholeOrNothing, Words
from webui.guard import actor, needs

blueprint = Blueprint("choices", __name__, url_prefix="/choose")

Page = Response | tuple[str, int]
LISTS = ("applications", "packages")
OPTIONS = "options"  # of chosen applications: JSON in an address, and fields like options.redis.memory in the form


class Choosing(Form):
    """What is chosen; what is left empty is as the class has it."""

    os: str = Field("", title="Operating system")
    applications: list[str] = Field([], title="Applications", json_schema_extra=CHECKS)
    packages: Words = Field(
        [],
        title="Debian packages",
        description="Names, with blanks or commas between them. They are looked up before anything is built.",
        json_schema_extra=forms.lookup("packages"),
    )
    memory: WholeOrNothing = Field(None, title="Memory", json_schema_extra={"unit": "MiB"})
    disk: WholeOrNothing = Field(None, title="Disk", json_schema_extra={"unit": "GiB"})
    lease: WholeOrNothing = Field(None, title="Lease", json_schema_extra={"unit": "minutes"})


class Favoured(Choosing):
    """The same, under a name."""

    name: Line = Field("", max_length=choices.LONGEST, title="Name", description="One that you have already is replaced.")


def query_of(machine_class: Class, chosen: Chosen, lease: int | None = None) -> str:
    """A choice in an address: what is not as the class has it."""
    usual = choice.usual(machine_class.spec).model_dump()
    values = {key: value for key, value in chosen.model_dump().items() if value != usual[key]}
    if OPTIONS in values:
        values[OPTIONS] = json.dumps(values[OPTIONS], separators=(",", ":"))
    return urlencode({**values, **({"lease": lease} if lease is not None else {})}, doseq=True)


def _address(machine_class: Class, chosen: Chosen, lease: int | None = None) -> str:
    return f"{url_for('choices.page', name=machine_class.name)}?{query_of(machine_class, chosen, lease)}".rstrip("?")


def _chosen(machine_class: Class, asked: Choosing, options: Mapping[str, Any]) -> Chosen:
    values = {**asked.model_dump(exclude={"lease", "name"}), OPTIONS: options}
    return choices.read(machine_class, {key: value for key, value in values.items() if value not in ("", None, [], {})})


@dataclass(frozen=True)
class Decided:
    """An application that may be chosen, and the fields of what is decided about it."""

    entry: Entry
    fields: tuple[schema_form.Field, ...]

    @property
    def prefix(self) -> str:
        """What their names begin with; the form says by a field of that name that it had them, as boxes that are not ticked are not sent."""
        return f"{OPTIONS}.{self.entry.name}"


def _decided(machine_class: Class) -> list[Decided]:
    """Those of what the class leaves open about which anything can be decided."""
    known = {one.name: one for one in applications.entries()}
    found = []
    for name in choice.bounds_of(machine_class.spec).applications:
        if name in known and known[name].manifest.options:
            schema = known[name].manifest.option_model.model_json_schema()
            found.append(Decided(known[name], schema_form.fields_of(schema, f"{OPTIONS}.{name}.")))
    return found


def _options(machine_class: Class, asked: Choosing) -> dict[str, Any]:
    """What was decided about the chosen applications: in the fields of the form, or as an address has it. Raises BadInput."""
    sent = forms.sent()
    if OPTIONS in sent:
        return _options_of(str(sent[OPTIONS]))
    said = {one.entry.name: schema_form.read(one.fields, sent) for one in _decided(machine_class) if one.prefix in sent}
    return {name: values for name, values in said.items() if values and name in asked.applications}


def _options_of(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput("This cannot be chosen: options.", "Reload the page to see what there is.", field="applications")
    return found


def _of_address(values: Mapping[str, list[str]]) -> dict[str, Any]:
    return {key: found if key in LISTS else found[0] for key, found in values.items() if found and key in Choosing.model_fields}


def _page(machine_class: Class, error: DpeError | None = None) -> Page:
    """The form with what its address says, or what was sent and refused; and what that comes to."""
    spec, open_ = machine_class.spec, choice.bounds_of(machine_class.spec)
    usual = {**choice.usual(spec).model_dump(), "lease": machine_class.lease_minutes}
    given = _of_address({key: request.args.getlist(key) for key in request.args})
    found = None
    if error is None:
        try:
            asked = forms.check(Choosing, given)
            chosen = _chosen(machine_class, asked, _options_of(request.args.get(OPTIONS, "")))
            found = choices.outlook(actor(), machine_class, chosen, choices.lease_of(machine_class, asked.lease))
        except DpeError as refused:
            error = refused
    stored = {**usual, **given, "packages": ", ".join(given.get("packages", []))}
    titles = {one.name: one.manifest.title for one in applications.entries()}
    offered = {"os": choices.systems(machine_class), "applications": {one: titles.get(one, one) for one in open_.applications}}
    mine = forms.was_sent(Choosing) or forms.was_sent(Favoured)
    model = Favoured if forms.was_sent(Favoured) else Choosing
    form = forms.bound(model, stored, error, choices=offered, mine=not mine)
    page = render_template(
        "choose.html",
        machine_class=machine_class,
        open=open_,
        form=form,
        decided=_decided(machine_class),
        values=_typed(machine_class, found),
        shown=schema_form.shown,
        titles=titles,
        name_form=forms.bound(Favoured, {}, error if model is Favoured else None),
        found=found,
        link=_link(machine_class, found),
        at_once=[(one, count, _address(machine_class, one)) for one, count in choices.at_once(machine_class)],
        favourites=[(one, f"{url_for('choices.page', name=one.class_name)}?{one.query}") for one in _favourites(machine_class)],
    )
    return page, status_of(error) if error else 200


def _typed(machine_class: Class, found: choices.Outlook | None) -> dict[str, Any]:
    """What the fields of options show: what was sent, where it was refused, else what the address says."""
    if found is not None or request.method == "GET":
        return {OPTIONS: found.chosen.options if found else {}}
    sent = forms.sent()
    return {OPTIONS: {one.entry.name: schema_form.read(one.fields, sent) for one in _decided(machine_class) if one.prefix in sent}}


def _favourites(machine_class: Class) -> list[Any]:
    who = actor().account_id
    assert who is not None
    return choices.favourites(who, machine_class.name)


def _link(machine_class: Class, found: choices.Outlook | None) -> str:
    """The whole address of what is chosen, for others."""
    if found is None:
        return ""
    lease = found.lease_minutes if found.lease_minutes != machine_class.lease_minutes else None
    return f"{request.host_url.rstrip('/')}{_address(machine_class, found.chosen, lease)}"


@blueprint.get("/<name>")
@needs("machines.use")
def page(name: str) -> Page:
    return _page(choices.open_class(actor(), name))


@blueprint.post("/<name>/look")
@needs("machines.use")
def look(name: str) -> Page:
    machine_class = choices.open_class(actor(), name)
    try:
        asked = forms.read(Choosing)
        lease = choices.lease_of(machine_class, asked.lease)
        return redirect(_address(machine_class, _chosen(machine_class, asked, _options(machine_class, asked)), lease), 303)
    except BadInput as error:
        return _page(machine_class, error)


@blueprint.post("/<name>")
@needs("machines.use")
def ask(name: str) -> Page:
    machine_class = choices.open_class(actor(), name)
    try:
        asked = forms.read(Choosing)
        choices.request(actor(), machine_class, _chosen(machine_class, asked, _options(machine_class, asked)), asked.lease)
    except DpeError as error:
        return _page(machine_class, error)
    return redirect("/", 303)


@blueprint.post("/<name>/keep")
@needs("machines.use")
def keep(name: str) -> Page:
    machine_class = choices.open_class(actor(), name)
    try:
        asked = forms.read(Favoured)
        lease = choices.lease_of(machine_class, asked.lease)
        chosen = _chosen(machine_class, asked, _options(machine_class, asked))
        choices.keep(actor(), machine_class.name, asked.name, query_of(machine_class, chosen, lease))
    except BadInput as error:
        return _page(machine_class, error)
    flash("The favourite is kept.", "success")
    return redirect(_address(machine_class, chosen, lease), 303)


@blueprint.post("/favourites/<int:id>/delete")
@needs("own")
def drop(id: int) -> Response:
    gone = choices.drop(actor(), id)
    flash(f"The favourite {gone.name} is deleted.", "success")
    there = url_for("choices.page", name=gone.class_name)
    return redirect(f"{there}?{urlencode(parse_qsl(gone.query))}".rstrip("?"), 303)
