"""Classes: their policy, how their machines are made, seeds and machines."""

from functools import cache
from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_login import current_user
from pydantic import Field, create_model
from werkzeug.wrappers import Response

from appliance.catalog import machines as machine_rows
from appliance.catalog import scenarios as scenario_rows
from appliance.catalog import seeds as seed_rows
from appliance.catalog.listing import Window
from appliance.errors import DpeError
from appliance.pools.windows import words
from appliance.readings import Kind, Subject
from appliance.scenario.applications import pages
from appliance.scenario.policy import Form, PolicyField, fields
from appliance.services import calendars, class_specs, classes, overview, replicas, seeds
from webui import charts, forms
from webui.errors import status_of
from webui.forms import Line, Ticked, Whole
from webui.guard import actor, back, needs, settings

blueprint = Blueprint("classes", __name__, url_prefix="/admin/classes")

LAST = Window("created", descending=True, size=8)  # of the machines
VERSIONS = 20  # of the seeds
SAVED = {
    Form.POLICY: "The policy is saved; the pools follow it from now on.",
    Form.LIFE: "Saved. What is under way ends as it began; everything else goes by this from now on.",
    Form.MAKING: "Saved. Machines are made like that from now on; those that exist stay as they are.",
}
PAGES = {Form.CALENDAR: "calendar.page", Form.RULES: "rules.page"}  # of their own


class Enabled(forms.Form):
    """A button that switches something on or off."""

    enabled: Ticked = False


def form_of(form: Form) -> type[forms.Form]:
    """The fields of a class's policy that are saved together, as one form."""
    return _form_of(form, tuple(name for name, field in fields().items() if field.editable.form is form))


@cache
def _form_of(form: Form, names: tuple[str, ...]) -> type[forms.Form]:
    return create_model(f"{form.name.title()}Form", __base__=forms.Form, **{name: _kind(fields()[name]) for name in names})


def _kind(field: PolicyField) -> Any:
    about: Any = {
        "title": field.editable.label,
        "description": field.help,
        "json_schema_extra": {"unit": field.editable.unit, "minimum": field.low, "maximum": field.high},
    }
    if field.widget == "choice":
        return Line, Field(**about)
    if field.widget == "number":
        return Whole, Field(**about)
    return (Ticked, Field(False, **about)) if field.widget == "switch" else (Line, Field("", **about))


@blueprint.get("/")
@needs("classes.read")
def index() -> str:
    return render_template("admin/classes.html", pools=overview.pools(current_user.powers.reach("classes.read")))


@blueprint.get("/<name>")
@needs("classes.read", class_="name")
def page(name: str) -> str:
    machine_class = classes.get_class(name)
    return _rendered(
        "admin/class.html",
        name,
        offers=seeds.offers(),
        replicas=replicas.of_class(settings(), machine_class),
        service_at=replicas.address(settings(), machine_class) if machine_class.spec.get("service") else "",
        rate=charts.words,
        holding=calendars.holding(machine_class),
        words=words,
        machines=machine_rows.list_machines(LAST, current_user.powers.reach("machines.read"), class_name=name).rows,
        charts=charts.of(Subject(Kind.CLASS, name)),
    )


@blueprint.get("/<name>/machine")
@needs("classes.read", class_="name")
def machine(name: str) -> str:
    spec = classes.get_class(name).spec
    return _rendered(
        "admin/class_machine.html",
        name,
        in_scenario=class_specs.has(name),
        preview=class_specs.preview(settings(), name, spec["os"], spec["size"]["memory"]),
        needs=class_specs.needs(spec),
        download=class_specs.download(spec),
        ways=pages(spec, scenario_rows.own_applications),
    )


@blueprint.get("/<name>/seeds")
@needs("classes.read", class_="name")
def seed_list(name: str) -> str:
    return _rendered("admin/class_seeds.html", name, seeds=seed_rows.of_class(name)[:VERSIONS], offers=seeds.offers())


def _rendered(template: str, name: str, **more: Any) -> str:
    """A section of a class. Raises NotFound."""
    machine_class = classes.get_class(name)
    pools = next(pools for pools in overview.pools() if pools.machine_class.name == name)
    return render_template(template, machine_class=machine_class, pools=pools, **more)


# -- its policy: a form each, in a section of its own ---------------------------------------------


@blueprint.get("/<name>/policy")
@needs("classes.read", class_="name")
def policy_page(name: str) -> tuple[str, int]:
    return _form_page(name, Form.POLICY)


@blueprint.get("/<name>/life")
@needs("classes.read", class_="name")
def life_page(name: str) -> tuple[str, int]:
    return _form_page(name, Form.LIFE)


@blueprint.get("/<name>/making")
@needs("classes.read", class_="name")
def making_page(name: str) -> tuple[str, int]:
    return _form_page(name, Form.MAKING)


@blueprint.post("/<name>")  # where the one page of a class sent it, before it had sections
@blueprint.post("/<name>/policy")
@needs("classes.manage", class_="name")
def policy(name: str) -> Response | tuple[str, int]:
    return _change(name, Form.POLICY)


@blueprint.post("/<name>/life")
@needs("classes.manage", class_="name")
def life(name: str) -> Response | tuple[str, int]:
    return _change(name, Form.LIFE)


@blueprint.post("/<name>/making")
@needs("classes.manage", class_="name")
def making(name: str) -> Response | tuple[str, int]:
    return _change(name, Form.MAKING)


def _change(name: str, form: Form) -> Response | tuple[str, int]:
    try:
        classes.change_policy(actor(), name, form, forms.read(form_of(form)).model_dump())
    except DpeError as refused:
        return _form_page(name, form, refused)
    flash(SAVED[form], "success")
    return redirect(_section_of(name, form), 303)


def _section_of(name: str, form: Form) -> str:
    """Where a form of the policy is."""
    return url_for(PAGES.get(form, f"classes.{form.value}_page"), name=name)


@blueprint.post("/<name>/reset/<key>")
@needs("classes.manage", class_="name")
def reset(name: str, key: str) -> Response:
    classes.reset_policy(actor(), name, key)
    flash("That is the scenario's again, and follows it from now on.", "success")
    return redirect(_section_of(name, fields()[key].editable.form), 303)


def _form_page(name: str, form: Form, error: DpeError | None = None) -> tuple[str, int]:
    policy = classes.policy_of(classes.get_class(name))
    sequences = classes.choices()
    offered = {
        key: {value: label for value, (label, _) in field.editable.choices.items()}
        for key, field in fields().items()
        if field.editable.choices
    }
    offered |= {"sequence": {"": "None: only the moves themselves"} | {one.name: one.shown_title for one in sequences}}
    groups: dict[str, list[classes.Setting]] = {}
    for setting in policy:
        if setting.field.editable.form is form:
            groups.setdefault(setting.field.editable.group, []).append(setting)
    page = _rendered(
        "admin/class_policy.html",
        name,
        form=form,
        endpoint=f"classes.{form.value}",
        groups=groups,
        bound=forms.bound(form_of(form), {one.field.name: one.value for one in policy}, error, choices=offered),
        sequences=sequences,
    )
    return page, status_of(error) if error else 200


# -- what is done with it -------------------------------------------------------------------------


@blueprint.post("/<name>/enabled")
@needs("classes.manage", class_="name")
def enabled(name: str) -> Response:
    wanted = forms.read(Enabled).enabled
    classes.set_enabled(actor(), name, enabled=wanted)
    flash(f"{name} is {'open' if wanted else 'closed'} for new requests.", "success")
    return back()


@blueprint.post("/<name>/retry")
@needs("classes.manage", class_="name")
def retry(name: str) -> Response:
    classes.retry(actor(), name)
    flash(f"Trying {name} again.", "success")
    return back()


@blueprint.post("/<name>/fork-again")
@needs("classes.manage", class_="name")
def fork_again(name: str) -> Response:
    classes.try_fork_again(actor(), name)
    flash(f"Another snapshot of {name} is taken; its machines are forked when it is ready.", "success")
    return back()


@blueprint.post("/<name>/build")
@needs("seeds.manage", class_="name")
def build(name: str) -> Response:
    seed = seeds.build(name, actor())
    return redirect(url_for("seeds.page", id=seed.id), 303)


@blueprint.post("/<name>/use-shipped")
@needs("seeds.manage", class_="name")
def use_shipped(name: str) -> Response:
    seed = seeds.use_shipped(name, actor())
    return redirect(url_for("seeds.page", id=seed.id), 303)
