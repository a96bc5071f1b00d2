"""Runs: all of them, and each one's own page."""

from collections.abc import Iterable

from flask import Blueprint, flash, render_template
from flask_login import current_user
from werkzeug.wrappers import Response

from appliance.catalog import Run, events
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window
from appliance.services import runs
from webui import lists
from webui.format import RUN_STATES
from webui.guard import actor, back, needs
from webui.language import translated
from webui.lists import Column, Filter, List, Verb

blueprint = Blueprint("runs", __name__)


def _find(
    window: Window, reach: Scope, ids: Iterable[int] | None, kind: str = "", state: str = "", class_name: str = "", machine_id: str = "", text: str = ""
) -> Page[Run]:  # fmt: skip
    return runs.page_of_runs(actor(), window, ids, kind=kind, state=state, class_name=class_name, machine_id=machine_id, text=text)


def _name(run: Run) -> str:
    return f"{translated(runs.title(run.kind))} {run.machine.name if run.machine else run.class_name}"


RUNS = List(
    endpoint="runs.index",
    permission="machines.read",
    noun="run",
    thing="run",
    key=int,
    find=_find,
    order="-started",
    columns=(
        Column("run", "Run", _name),
        Column("state", "State", lambda row: row.state.value),
        Column("account", "Account", lambda row: row.account.name if row.account else ""),
        Column("class", "Class", lambda row: row.class_name or "", shown=False),
        Column("step", "Current step", lambda row: row.problem if row.state == "failed" else row.why, sorts=False, look="run-why"),
        Column("ended", "Ended", lambda row: row.ended_at or "", shown=False, look="text-secondary"),
        Column("started", "Started", lambda row: row.created_at, look="end text-secondary"),
    ),
    filters=(
        Filter("machine", "one machine", kind="hidden", every="All machines", argument="machine_id"),
        Filter("text", "Name of machine or person", kind="text"),
        Filter("kind", "Kind", choices=lambda: runs.kinds(), every="Every kind"),
        Filter("state", "State", choices=lambda: {"live": "under way", **{state: label for state, (label, _) in RUN_STATES.items()}}, every="Every state"),
        Filter("class", "Class", choices=lists.class_names, every="Every class", argument="class_name", open=True),
    ),
    verbs=(
        Verb("cancel", "Cancel", "cancelled", lambda actor, id, _: runs.cancel(actor, id), "machines.manage", "x", "What they did is undone."),
        Verb("retry", "Retry", "retried", lambda actor, id, _: runs.retry(actor, id), "machines.manage", "refresh"),
    ),
    verb_endpoint="runs.bulk",
)  # fmt: skip


@blueprint.get("/admin/workflow/runs/")
@needs("machines.read")
def index() -> Response | str:
    return lists.answer("admin/runs.html", lists.show(RUNS), title=runs.title)


@blueprint.post("/admin/workflow/runs/bulk")
@needs("machines.manage")
def bulk() -> Response | tuple[str, int]:
    return lists.bulk(RUNS)


@blueprint.get("/runs/<int:id>")
@needs("machines.read", run="id", own=True)
def page(id: int) -> str:
    """What came out of its steps is for those who look after machines."""
    sight = runs.get_run(actor(), id)
    run, inside = sight.run, current_user.may("machines.read", "run", id)
    told = (
        events.list_events(machine_id=run.machine_id, since=run.created_at, until=run.ended_at, limit=50)
        if run.machine_id and inside
        else []
    )
    return render_template("run.html", sight=sight, run=run, title=runs.title, events=told, inside=inside)


@blueprint.post("/runs/<int:id>/cancel")
@needs("machines.manage", run="id", own=True)
def cancel(id: int) -> Response:
    runs.cancel(actor(), id)
    flash("It is being cancelled, and what it did undone.", "success")
    return back()


@blueprint.post("/runs/<int:id>/retry")
@needs("machines.manage", run="id")
def retry(id: int) -> Response:
    runs.retry(actor(), id)
    flash("It goes on from the step that failed.", "success")
    return back()


@blueprint.post("/runs/<int:id>/skip")
@needs("machines.manage", run="id")
def skip(id: int) -> Response:
    runs.skip(actor(), id)
    flash("It goes on without that step.", "success")
    return back()
