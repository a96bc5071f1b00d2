"""Classes: their policy, how their machines are made, seeds and machines."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from appliance.catalog import seeds as seed_rows
from appliance.errors import BadInput, DpeError
from appliance.readings import Kind, Subject
from appliance.scenario.policy import Form, PolicyField, fields
from appliance.services import classes, overview, seeds
from webui import charts
from webui.errors import status_of
from webui.guard import actor, back, needs

blueprint = Blueprint("classes", __name__, url_prefix="/admin/classes")

SAVED = {
    Form.POLICY: "The policy is saved; the pools follow it from now on.",
    Form.LIFE: "Saved. What is under way ends as it began; everything else goes by this from now on.",
    Form.MAKING: "Saved. Machines are made like that from now on; those that exist stay as they are.",
}


@blueprint.get("/")
@needs("classes.read")
def index() -> str:
    return render_template("admin/classes.html", pools=overview.pools(current_user.powers.reach("classes.read")))


@blueprint.get("/<name>")
@needs("classes.read", class_="name")
def page(name: str) -> tuple[str, int]:
    return _page(name)


@blueprint.post("/<name>")
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
        wanted = {key: _entered(field) for key, field in fields().items() if field.editable.form is form}
        classes.change_policy(actor(), name, form, wanted)
    except DpeError as refused:
        return _page(name, form, refused)
    flash(SAVED[form], "success")
    return redirect(url_for("classes.page", name=name), 303)


def _entered(field: PolicyField) -> Any:
    text, label = request.form.get(field.name, "").strip(), field.editable.label
    if field.widget == "switch":
        return text == "yes"
    if field.widget != "number":
        return text
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadInput(f"{label}: {text!r} is not a number." if text else f"{label}: a number is missing.", "Write a whole number.")
    return int(text)


@blueprint.post("/<name>/reset/<key>")
@needs("classes.manage", class_="name")
def reset(name: str, key: str) -> Response:
    classes.reset_policy(actor(), name, key)
    flash("That is the scenario's again, and follows it from now on.", "success")
    return redirect(url_for("classes.page", name=name), 303)


def _page(name: str, form: Form | None = None, error: DpeError | None = None) -> tuple[str, int]:
    machine_class = classes.get_class(name)
    pools = next(pools for pools in overview.pools() if pools.machine_class.name == name)
    groups: dict[Form, dict[str, list[classes.Setting]]] = {one: {} for one in Form}
    for setting in classes.policy_of(machine_class):
        editable = setting.field.editable
        groups[editable.form].setdefault(editable.group, []).append(setting)
    page = render_template(
        "admin/class.html",
        pools=pools,
        machine_class=pools.machine_class,
        groups=groups,
        refused=form,
        error=error,
        entered=request.form,
        sequences=classes.choices(),
        seeds=seed_rows.of_class(name)[:6],
        offers=seeds.offers(),
        machines=overview.machines_on_page(class_name=name, reach=current_user.powers.reach("machines.read"))[:8],
        charts=charts.of(Subject(Kind.CLASS, name)),
    )
    return page, status_of(error) if error else 200


@blueprint.post("/<name>/enabled")
@needs("classes.manage", class_="name")
def enabled(name: str) -> Response:
    wanted = request.form.get("enabled") == "yes"
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
