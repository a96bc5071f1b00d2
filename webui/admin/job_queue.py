"""The jobs of a class: submitted, with what became of them."""

import shlex
from typing import Annotated, Any

from flask import Blueprint, flash, redirect, render_template, url_for
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from werkzeug.wrappers import Response

from appliance.catalog import JobState
from appliance.errors import BadInput, DpeError
from appliance.services import classes, job_queue
from appliance.services.job_queue import LONGEST, TIMES, TRIES
from webui import forms
from webui.errors import status_of
from webui.forms import ONE_LINE, Form, Line, Whole
from webui.guard import actor, back, needs

blueprint = Blueprint("job_queue", __name__, url_prefix="/admin/classes/<name>/jobs")

BEGIN = {"seconds": 3600, "tries": 3, "times": 1, "file": "script"}


def _words(value: Any) -> Any:
    try:
        found = shlex.split(str(value or ""))
    except ValueError:
        raise PydanticCustomError("words", "a quote is not closed.") from None
    if not found:
        raise PydanticCustomError("words", "it is missing.")
    return value


def _whole(title: str, most: int, unit: str, description: str = "") -> Any:
    return Field(title=title, description=description, json_schema_extra={"unit": unit, "minimum": 1, "maximum": most})


class JobForm(Form):
    run: Annotated[Line, BeforeValidator(_words)] = Field(
        title="Command",
        description="A program with its words, in quotes where they have blanks; no shell, unless it is one: sh -c '…'.",
        max_length=4096,
        json_schema_extra=ONE_LINE,
    )
    title: Line = Field("", title="Name", description="Empty: as the command.", max_length=60)
    file: Line = Field("", title="Name of the file", max_length=100)
    text: str = Field(
        "", title="File", description="It lies beside the command, under that name, and can be run. Empty: none.", max_length=256 * 1024
    )
    times: Whole = _whole("Times", TIMES, "jobs", "Each knows its number, in DPE_JOB_NUMBER.")
    tries: Whole = _whole("Tries", TRIES, "at most", "After the last one it is dead.")
    seconds: Whole = _whole("A try may take", LONGEST, "seconds", "Until then its machine is not removed.")


@blueprint.get("/")
@needs("classes.read", class_="name")
def page(name: str) -> tuple[str, int]:
    return _page(name)


@blueprint.post("/")
@needs("classes.manage", class_="name")
def submit(name: str) -> Response | tuple[str, int]:
    try:
        said = forms.read(JobForm)
        files = {said.file: said.text.replace("\r\n", "\n")} if said.text else {}
        ids = job_queue.submit(
            actor(), name, shlex.split(said.run), title=said.title, files=files, seconds=said.seconds, tries=said.tries, times=said.times
        )
    except DpeError as refused:
        if isinstance(refused, BadInput) and refused.field == "files":
            refused.field = "file"  # as it is called here
        return _page(name, refused)
    flash(f"Job {ids[0]} is submitted." if len(ids) == 1 else f"{len(ids)} jobs are submitted.", "success")
    return redirect(url_for("job_queue.page", name=name), 303)


@blueprint.post("/<int:id>/cancel")
@needs("classes.manage", class_="name")
def cancel(name: str, id: int) -> Response:
    job_queue.cancel(actor(), name, id)
    flash(f"Job {id} is cancelled.", "success")
    return back()


@blueprint.post("/<int:id>/retry")
@needs("classes.manage", class_="name")
def again(name: str, id: int) -> Response:
    job_queue.again(actor(), name, id)
    flash(f"Job {id} is tried again.", "success")
    return back()


def _page(name: str, error: DpeError | None = None) -> tuple[str, int]:
    machine_class = classes.get_class(name)
    counts = job_queue.counts(machine_class)
    page = render_template(
        "admin/jobs.html",
        machine_class=machine_class,
        works=job_queue.works(machine_class),
        jobs=job_queue.latest(machine_class),
        counts={state.value: counts.get(state, 0) for state in JobState},
        form=forms.bound(JobForm, BEGIN, error),
        shown=job_queue.SHOWN,
        join=shlex.join,
    )
    return page, status_of(error) if error else 200
