"""The calendar of a class: its week, its windows and one-offs, and what holds now and next."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Annotated, Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.pools.windows import Block, words
from appliance.scenario.calendar import DAYS, MANY, OneOff, Window
from appliance.services import calendars, classes
from appliance.services.calendars import Kind
from webui import forms
from webui.errors import status_of
from webui.forms import CHECKS, Day, Form, Hour, Line, OneOf, Ticked, WholeOrNothing
from webui.guard import actor, back, needs

blueprint = Blueprint("calendar", __name__, url_prefix="/admin/classes/<name>/calendar")

QUARTER, ROWS = 15, 24 * 4  # minutes of a row of the grid, and rows of a day
HOLIDAYS = {"any": "On holidays, too", "not": "Not on holidays", "only": "Only on holidays"}


def _some(value: Any) -> Any:
    if not value:
        raise PydanticCustomError("days", "choose at least one day.")
    return value


def _machines(title: str, description: str) -> Any:
    return Field(None, title=title, description=description, json_schema_extra={"unit": "machines", "minimum": 0, "maximum": MANY})


class Shared(Form):
    """What windows and one-offs have alike; `key` is of the one that is changed, `week` a day of the week that is shown."""

    key: str = ""
    week: str = ""
    name: Line = Field(title="Name", description="Like Lessons, or Exam.", max_length=60)
    begin: Hour = Field(title="Begins", description="By the clock of the appliance's time zone.")
    end: Hour = Field(title="Ends", description="When that is not later than it begins: on the day after.")


class WindowForm(Shared):
    days: Annotated[list[str], BeforeValidator(_some)] = Field([], title="Days", json_schema_extra=CHECKS, validate_default=True)
    holidays: Annotated[Line, OneOf(HOLIDAYS)] = Field("any", title="Holidays", description="By the day on which it begins.")
    start: WholeOrNothing = _machines("Ready when it begins", "Each that is handed out from then on counts off, and is not replaced.")
    buffer: WholeOrNothing = _machines("Ready and waiting", "Kept ready all the while. Empty: as otherwise.")
    service_level: WholeOrNothing = Field(
        None,
        title="Met at once",
        description="In place of the number ready: the forecast has it, so that so many requests of a hundred are met.",
        json_schema_extra={"unit": "of 100 requests", "minimum": 50, "maximum": 99},
    )
    minimum: WholeOrNothing = _machines("Minimum", "Machines that exist at least. Empty: as otherwise.")
    maximum: WholeOrNothing = _machines("Maximum", "Limits what is made, never what is held. Empty: as otherwise.")
    network: WholeOrNothing = Field(
        None,
        title="Network",
        description="Of each machine, to it and from it, at most. 0: no limit. Empty: as otherwise.",
        json_schema_extra={"unit": "Mbit/s", "minimum": 0, "maximum": 100_000},
    )


class OneOffForm(Shared):
    day: Day = Field(title="Day", description="On which it begins.")
    start: WholeOrNothing = _machines("Ready when it begins", "So many more than otherwise. Each that is handed out counts off.")
    buffer: WholeOrNothing = _machines("More ready and waiting", "Added to what is kept ready otherwise.")
    minimum: WholeOrNothing = _machines("More at least", "Added to the minimum.")
    maximum: WholeOrNothing = _machines("More at most", "Added to the maximum. Empty: as much as the others need.")


class Chosen(Form):
    """A window or one-off that a button is about."""

    key: str = Field(title="Name")
    later: Ticked = False
    once: Ticked = False


@dataclass(frozen=True)
class Cell:
    """A piece of a day in the grid: so many rows, from a time on (`at`, like 09:00), and the block it shows; None where the policy alone holds."""

    rows: int
    at: str
    until: str
    block: Block | None
    is_once: bool = False


@blueprint.get("/")
@needs("classes.read", class_="name")
def page(name: str) -> tuple[str, int]:
    return _page(name)


@blueprint.post("/window")
@needs("classes.manage", class_="name")
def window(name: str) -> Response | tuple[str, int]:
    return _put(name, "windows", WindowForm)


@blueprint.post("/one-off")
@needs("classes.manage", class_="name")
def one_off(name: str) -> Response | tuple[str, int]:
    return _put(name, "one_offs", OneOffForm)


def _put(name: str, kind: Kind, model: type[Shared]) -> Response | tuple[str, int]:
    try:
        said = forms.read(model)
        calendars.put(actor(), name, kind, said.key, said.model_dump(exclude={"key", "week"}))
    except DpeError as refused:
        return _page(name, refused)
    flash(f"{said.name} is saved; the pools follow the calendar from now on.", "success")
    return redirect(url_for("calendar.page", name=name, week=said.week or None), 303)


@blueprint.post("/move")
@needs("classes.manage", class_="name")
def move(name: str) -> Response:
    said = forms.read(Chosen)
    calendars.move(actor(), name, said.key, later=said.later)
    return back()


@blueprint.post("/delete")
@needs("classes.manage", class_="name")
def delete(name: str) -> Response:
    said = forms.read(Chosen)
    calendars.delete(actor(), name, "one_offs" if said.once else "windows", said.key)
    flash("It is deleted; the pools follow what is left.", "success")
    return back()


def _page(name: str, error: DpeError | None = None) -> tuple[str, int]:
    machine_class = classes.get_class(name)
    asked: Mapping[str, Any] = request.args if request.method == "GET" else forms.sent()
    day = _day(asked.get("week")) or _day(asked.get("on")) or calendars.today()
    windows = [Window.model_validate(one) for one in machine_class.windows]
    one_offs = [OneOff.model_validate(one) for one in machine_class.one_offs]
    week = calendars.week(machine_class, day)
    once = {one.name for one in one_offs}
    key = "key" if request.method == "POST" else ""
    changed = {
        "window": next((one for one in windows if one.key == asked.get(key or "window")), None),
        "one_off": next((one for one in one_offs if one.key == asked.get(key or "one_off")), None),
    }
    shown = {"week": week[0].day.isoformat(), **_clicked(asked)}
    page = render_template(
        "admin/calendar.html",
        machine_class=machine_class,
        holding=calendars.holding(machine_class),
        week=[(one, list(_cells(one, once))) for one in week],
        before=week[0].day - timedelta(days=7),
        after=week[0].day + timedelta(days=7),
        today=calendars.today(),
        windows=windows,
        one_offs=one_offs,
        oddities=calendars.oddities(machine_class),
        changed=changed,
        window_form=_bound(WindowForm, changed["window"], shown, error, {"days": DAYS}, "w-"),
        one_off_form=_bound(OneOffForm, changed["one_off"], shown, error, {}, "o-"),
        settings={one.field.name: one for one in classes.policy_of(machine_class)},
        HOLIDAYS=HOLIDAYS,
        days_in_words=days_in_words,
        words=words,
        MANY=MANY,
    )
    return page, status_of(error) if error else 200


def _bound(
    model: type[Shared],
    changed: Window | OneOff | None,
    shown: Mapping[str, Any],
    error: DpeError | None,
    choices: Mapping[str, Mapping[Any, str]],
    prefix: str,
) -> forms.BoundForm:
    stored = dict(shown) if changed is None else {**shown, **changed.model_dump(mode="json"), "key": changed.key}
    return forms.bound(model, stored, error, choices=choices, prefix=prefix)


def _clicked(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a form begins with, when somebody clicked on an hour of a day."""
    day, hour = _day(asked.get("on")), _hour(asked.get("at"))
    if day is None or hour is None:
        return {"days": ["mon", "tue", "wed", "thu", "fri"], "day": calendars.today().isoformat()}
    minutes = hour.hour * 60 + hour.minute
    return {
        "days": [list(DAYS)[day.weekday()]],
        "day": day.isoformat(),
        "begin": _clock(minutes),
        "end": _clock(minutes + 60),
    }


def _day(text: object) -> date | None:
    try:
        day = date.fromisoformat(str(text))
    except ValueError:
        return None
    return day if 2000 <= day.year < 9000 else None


def _hour(text: object) -> time | None:
    try:
        return time.fromisoformat(str(text))
    except ValueError:
        return None


def _cells(day: calendars.ShownDay, once: set[str]) -> Iterator[Cell]:
    """The pieces of a day, each at least a row; what only the policy says is cut at the hours, so that each can be clicked on."""
    row = 0
    for block in day.blocks:
        upto = min(ROWS, max(row + 1, round(block.end / QUARTER)))
        if block.bounds is None:
            while row < upto:
                rows = min(4 - row % 4, upto - row)
                yield Cell(rows, _clock(row * QUARTER), _clock((row + rows) * QUARTER), None)
                row += rows
        elif row < ROWS:
            yield Cell(
                upto - row,
                _clock(block.begin),
                _clock(block.end) if block.end < ROWS * QUARTER else "24:00",
                block,
                bool(once & set(block.bounds.sources)),
            )
            row = upto


def _clock(minutes: int) -> str:
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def days_in_words(days: tuple[str, ...]) -> str:
    """Weekdays, like "Mon to Fri"."""
    order = [day for day in DAYS if day in days]
    first, last = list(DAYS).index(order[0]), list(DAYS).index(order[-1])
    if len(order) == len(DAYS):
        return "every day"
    if len(order) > 2 and last - first + 1 == len(order):
        return f"{order[0].title()} to {order[-1].title()}"
    return ", ".join(day.title() for day in order)
