"""The forecast of a class: what it advises, in words, the requests that had to wait, and what another policy would come to."""

from functools import partial
from typing import Annotated, Any

from flask import Blueprint, render_template
from pydantic import Field

from appliance.catalog import Class
from appliance.errors import DpeError
from appliance.pools.generated import Numbers
from appliance.scenario.calendar import MANY
from appliance.services import classes, forecasts
from appliance.services.forecasts import RECORDED
from webui import charts, forms
from webui.errors import status_of
from webui.forms import Form, Line, OneOf, Ticked, Whole
from webui.guard import needs

blueprint = Blueprint("forecast", __name__, url_prefix="/admin/classes/<name>/forecast")

WAITS = {30: "up to 30 s", 60: "up to 1 min", 300: "up to 5 min", 900: "up to 15 min", 3600: "up to 1 h"}  # by seconds
LONGER = "more than 1 h"
DEMANDS = {
    RECORDED: "As it was recorded",
    "school": "A school: courses that ask at the hour",
    "office": "An office: by the working day",
    "growing": "An office that grows every week",
    "flat": "Without any pattern, in bursts",
}


def _whole(title: str, low: int, high: int, unit: str, description: str = "") -> Any:
    return Field(title=title, description=description, json_schema_extra={"unit": unit, "minimum": low, "maximum": high}, ge=low, le=high)


class WhatIf(Form):
    """The policy that is tried, and on which demand."""

    buffer: Whole = _whole("Ready and waiting", 0, MANY, "machines")
    minimum: Whole = _whole("Minimum", 0, MANY, "machines")
    maximum: Whole = _whole("Maximum", 0, MANY, "machines")
    forecast_acts: Ticked = Field(False, title="Let the forecast act")
    demand: Annotated[Line, OneOf(DEMANDS)] = Field(RECORDED, title="Demand")
    hourly: Whole = _whole("In the busiest hour", 1, 200, "requests", "Of generated demand.")
    course: Whole = _whole("People of a course", 1, 200, "people", "Of a school.")


@blueprint.get("/")
@needs("classes.read", class_="name")
def page(name: str) -> tuple[str, int]:
    return _page(name)


@blueprint.post("/what-if")
@needs("classes.read", class_="name")
def what_if(name: str) -> tuple[str, int]:
    try:
        said = forms.read(WhatIf)
        tried = said.model_dump(include={"buffer", "minimum", "maximum", "forecast_acts"})
        found = forecasts.what_if(classes.get_class(name), tried, said.demand, Numbers(said.hourly, said.course))
    except DpeError as refused:
        return _page(name, error=refused)
    return _page(name, found, said.model_dump())


def _page(
    name: str, found: forecasts.WhatIf | None = None, said: dict[str, Any] | None = None, error: DpeError | None = None
) -> tuple[str, int]:
    machine_class = classes.get_class(name)
    page = render_template(
        "admin/forecast.html",
        machine_class=machine_class,
        advice=forecasts.advice(machine_class),
        found=found,
        waits=_waits(found) if found else [],
        seconds=partial(charts.words, unit="seconds"),
        form=forms.bound(WhatIf, said or _today(machine_class), error, choices={"demand": DEMANDS}),
    )
    return page, status_of(error) if error else 200


def _waits(found: forecasts.WhatIf) -> list[tuple[str, float, float]]:
    """How long people waited, in words, and the shares of those who did: by today's policy, and by the one that was tried."""
    return list(zip(("at once", *WAITS.values(), LONGER), *(came.spread([*WAITS]) for came in (found.today, found.tried)), strict=True))


def _today(machine_class: Class) -> dict[str, Any]:
    """What the form begins with."""
    values = {setting.field.name: setting.value for setting in classes.policy_of(machine_class)}
    return {**{name: values[name] for name in ("buffer", "minimum", "maximum", "forecast_acts")}, "hourly": 12, "course": 25}
