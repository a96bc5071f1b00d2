"""The rules of a class: what they came to, each with its form, and what it would have done yesterday."""

import math
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.scenario.calendar import MANY
from appliance.scenario.rule import Rule
from appliance.services import classes, overview, rules
from appliance.services.rules import Preview
from webui import forms
from webui.charts import Chart, Drawn, Line
from webui.errors import status_of
from webui.forms import ONE_LINE, Form, OneOf, Whole
from webui.forms import Line as Text
from webui.guard import actor, back, needs

blueprint = Blueprint("rules", __name__, url_prefix="/admin/classes/<name>/rules")

NUMBERS = {"minimum": "Minimum", "buffer": "Ready and waiting"}
OF = {
    "class": "The class: a figure of its charts",
    "sent": "What is sent for the class through the API",
    "command": "What a command prints, in a machine of the buffer that runs",
    "machines": "What its machines' applications send",
}
STATISTICS = {"mean": "Mean", "most": "Largest", "least": "Smallest", "last": "Last value"}
UNITS = {"machines": "machines", "percent": "percent of what there is"}


def _amount(value: Any) -> Any:
    text = str(value).strip() if value is not None else ""
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        raise PydanticCustomError("amount", "{typed} is not a number.", {"typed": repr(text[:20])}) from None
    if not math.isfinite(found):
        raise PydanticCustomError("amount", "{typed} is not a number.", {"typed": repr(text[:20])})
    return found


def _closed(value: Any) -> Any:
    try:
        shlex.split(str(value or ""))
    except ValueError:
        raise PydanticCustomError("words", "a quote is not closed.") from None
    return value


Amount = Annotated[float | None, BeforeValidator(_amount)]


def _whole(title: str, low: int, high: int, unit: str, description: str = "") -> Any:
    return Field(title=title, description=description, json_schema_extra={"unit": unit, "minimum": low, "maximum": high})


class RuleForm(Form):
    """`key` is the name of the one that is changed."""

    key: str = ""
    name: Text = Field(title="Name", description="Like Queue, or Load.", max_length=60)
    sets: Annotated[Text, OneOf(NUMBERS)] = Field("minimum", title="Number", description="It is raised above what policy and calendar say.")
    of: Annotated[Text, OneOf(OF)] = Field("class", title="Metric of")
    metric: Text = Field(title="Metric", description="Like cpu (0 to 1), queue or wait; or the name under which it is sent.", max_length=40)
    command: Annotated[Text, BeforeValidator(_closed)] = Field(
        "",
        title="Command",
        description="When a command prints the metric: a program with its words.",
        max_length=4096,
        json_schema_extra=ONE_LINE,
    )
    statistic: Annotated[Text, OneOf(STATISTICS)] = Field("mean", title="Statistic")
    minutes: Whole = _whole("Over the last", 1, 1440, "minutes")
    above: Amount = Field(None, title="Add at or above", description="Empty: it never adds.")
    below: Amount = Field(None, title="Remove at or below", description="Empty: it never removes.")
    up: Whole = _whole("Step up", 1, MANY, "at a time")
    down: Whole = _whole("Step down", 1, MANY, "at a time")
    unit: Annotated[Text, OneOf(UNITS)] = Field("machines", title="Steps are")
    each: Amount = Field(None, title="One machine for each", description="In place of thresholds and steps, like 5 jobs of a queue.")
    cooldown_up: Whole = _whole("Cool-down up", 0, 86400, "seconds", "After a change.")
    cooldown_down: Whole = _whole("Cool-down down", 0, 86400, "seconds", "After a change.")
    least: Whole = _whole("Lower bound", 0, MANY, "machines")
    most: Whole = _whole("Upper bound", 0, MANY, "machines", "The maximum of policy and calendar bounds it, too.")


def _values(said: RuleForm) -> dict[str, Any]:
    """The same as a rule has it."""
    return {**said.model_dump(exclude={"key"}), "command": shlex.split(said.command)}


class Chosen(Form):
    """A rule that a button is about."""

    key: str = Field(title="Name")


@blueprint.get("/")
@needs("classes.read", class_="name")
def page(name: str) -> tuple[str, int]:
    return _page(name)


@blueprint.post("/")
@needs("classes.manage", class_="name")
def save(name: str) -> Response | tuple[str, int]:
    try:
        said = forms.read(RuleForm)
        rules.put(actor(), name, said.key, _values(said))
    except DpeError as refused:
        return _page(name, error=refused)
    flash(f"{said.name} is saved; the pools follow it from now on.", "success")
    return redirect(url_for("rules.page", name=name), 303)


@blueprint.post("/preview")
@needs("classes.manage", class_="name")
def preview(name: str) -> tuple[str, int]:
    try:
        said = forms.read(RuleForm)
        found = rules.preview(current_app.config["SETTINGS"], classes.get_class(name), said.key, _values(said))
    except DpeError as refused:
        return _page(name, error=refused)
    return _page(name, found=found, said=said.model_dump())


@blueprint.post("/delete")
@needs("classes.manage", class_="name")
def delete(name: str) -> Response:
    rules.delete(actor(), name, forms.read(Chosen).key)
    flash("It is deleted; the pools follow what is left.", "success")
    return back()


def _page(name: str, *, found: Preview | None = None, said: dict[str, Any] | None = None, error: DpeError | None = None) -> tuple[str, int]:
    machine_class = classes.get_class(name)
    known = rules.of_class(machine_class)
    asked = str(forms.sent().get("key", "")) if request.method == "POST" else request.args.get("rule", "")
    changed = next((one for one in known if one.key == asked), None)
    stored = said or ({**_BEGIN, **changed.model_dump(), "command": shlex.join(changed.command), "key": changed.key} if changed else _BEGIN)
    page = render_template(
        "admin/rules.html",
        machine_class=machine_class,
        rules=known,
        came=rules.came_to(machine_class),
        changed=changed,
        preview=found,
        drawn=found and _drawn(found),
        charts=found and _charts(found),
        zone=overview.time_zone(),
        form=forms.bound(RuleForm, stored, error),
        setting=next(one for one in classes.policy_of(machine_class) if one.field.name == "rules"),
        in_words=in_words,
        NUMBERS=NUMBERS,
    )
    return page, status_of(error) if error else 200


_BEGIN = {"key": "", **{key: info.default for key, info in Rule.model_fields.items() if not info.is_required()}, "command": ""}


def in_words(rule: Rule) -> str:
    """What a rule does."""
    of = {"class": "", "sent": " (sent)", "command": " (by a command)", "machines": " (of machines)"}[rule.of]
    metric = f"{STATISTICS[rule.statistic].lower()} of {rule.metric}{of}" + (
        "" if rule.statistic == "last" else f" over {rule.minutes} min"
    )
    if rule.each is not None:
        return f"{metric}: one machine for each {rule.each:g}"
    unit = " %" if rule.unit == "percent" else ""
    parts = []
    if rule.above is not None:
        parts.append(f"at or above {rule.above:g} add {rule.up}{unit}")
    if rule.below is not None:
        parts.append(f"at or below {rule.below:g} remove {rule.down}{unit}")
    return f"{metric}: {', '.join(parts)}"


def _charts(found: Preview) -> list[Drawn]:
    unit = "share" if found.rule.of == "class" and found.rule.metric == "cpu" else "count"
    metric = Chart(found.rule.metric, unit, (Line("seen", "Read", "a"),))
    machines = Chart(NUMBERS[found.rule.sets], "count", (Line("machines", "It would have said", "b"),))
    return [Drawn(chart, {}, []) for chart in (metric, machines)]


def _drawn(found: Preview) -> dict[str, Any]:
    """What charts.js draws: the metric and what the rules would have come to, on one axis, with a mark for each change."""
    seen: Mapping[int, float | None] = {int(at) // 60: value for at, value in found.seen}
    times = found.replayed.times
    return {
        "from": found.begin.isoformat(),
        "to": found.end.isoformat(),
        "step": 60,
        "times": [int(at) for at in times],
        "figures": {"seen": {"mean": [seen.get(int(at) // 60) for at in times]}, "machines": {"mean": found.replayed.machines}},
        "marks": [{"at": at.isoformat()} for at, decision in found.decisions if decision.changes],
    }
