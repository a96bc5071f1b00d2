"""The REST API, version 1: a person's own machines, as JSON. Errors are problem details (RFC 9457).

A program sends `Authorization: Bearer TOKEN`; a browser that is signed in may ask too, and then needs the CSRF token to change anything.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

from flask import Blueprint, Response, current_app, jsonify, request, url_for
from flask_login import current_user
from pydantic import Field

from appliance.catalog import DataDisk, KeptDisk, Machine, Run, WorkItem
from appliance.errors import BadInput, NotAllowed, NotFound
from appliance.pools.windows import NUMBERS, Bounds
from appliance.readings import HOST, Kind, Series, Subject
from appliance.services import calendars, disks, inbox, machines, moves, readings, recovery, runs, sequences, server
from appliance.services import classes as class_verbs
from webui import forms
from webui.forms import Form, Whole
from webui.guard import actor, csrf, needs, row_number
from webui.portal import application

View = TypeVar("View", bound=Callable[..., Any])
Answer = dict[str, Any] | tuple[dict[str, Any], int] | tuple[dict[str, Any], int, dict[str, str]]

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
csrf.exempt(blueprint)  # of the check that comes first; see _check_scope

SCOPES = {
    "read": "See the account's machines, what it can get and what waits for it",
    "machines": "Get machines, stop and start them, extend them and give them back",
    "readings": "Send what the account's machines say of themselves",
    "todos": "Answer approvals and tasks",
    "sequences": "Change and promote sequences",
}
FORMER_FIELDS = {"at_once": "burst", "together_minutes": "batch_window"}  # of a class's policy; they are still in answers


class Wanted(Form):
    """Machines that are asked for."""

    class_name: Annotated[str, forms.text("No class is named.")] = Field(
        "", alias="class", validate_default=True, description='Send {"class": "NAME"}; /api/v1/classes lists them.'
    )
    count: Whole = Field(1, title="count", description='Send {"class": "NAME", "count": 1}.')


class Receiver(Form):
    """Who gets a machine."""

    to: Annotated[str, forms.text("Nobody is named.")] = Field("", validate_default=True, description='Send {"to": "ACCOUNT"}.')


class DiskName(Form):
    """The name of a data disk, once more."""

    name: Annotated[str, forms.text("Its name is missing.")] = Field(
        "", validate_default=True, description='Send {"name": "NAME"} with the name of the data disk, as everything on it is lost.'
    )


def scope(name: str) -> Callable[[View], View]:
    """What a token must be good for to call this view."""

    def mark(view: View) -> View:
        view.scope = name  # type: ignore[attr-defined]
        return view

    return mark


@blueprint.before_request
def _check_scope() -> None:
    token = current_user.token if current_user.is_authenticated else None
    if token is None:
        csrf.protect()  # a browser's session: another site's page could have sent this
        return
    needed = current_app.view_functions[request.endpoint or ""].scope  # type: ignore[union-attr]
    if needed not in token.scope:
        raise NotAllowed(
            f"The token {token.name} is not good for this.", f"It needs the scope {needed}. Make another one on your account's page."
        )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _machine(machine: Machine) -> dict[str, Any]:
    lease = getattr(machine, "lease", None)
    return {
        "id": machine.id,
        "name": machine.name,
        "class": machine.class_name,
        "state": machine.state.value,
        "url": application(machine),
        "created_at": _time(machine.created_at),
        "lease_ends_at": _time(lease and lease.ends_at),
        "self": url_for("api.machine", id=machine.id),
    }


def _data_disk(disk: DataDisk) -> dict[str, Any]:
    return {
        "id": disk.id,
        "name": disk.name,
        "class": disk.class_name,
        "size": disk.size,
        "state": disk.state.value,
        "problem": disk.problem,
        "machine": disk.machine_id,
        "created_at": _time(disk.created_at),
        "last_used_at": _time(disk.last_used_at),
        "backup_at": _time(disk.backup_at),
    }


def _retained_disk(kept: KeptDisk) -> dict[str, Any]:
    return {"id": kept.id, "machine": kept.machine_name, "class": kept.class_name, "state": kept.state.value, "until": _time(kept.until)}


@blueprint.get("/me")
@needs("own")
@scope("read")
def me() -> Answer:
    account = current_user.account
    return {"name": account.name, "full_name": account.full_name, "email": account.email}


@blueprint.get("/classes")
@needs("own")
@scope("read")
def classes() -> Answer:
    offers = machines.offers(current_user.account.id)
    found = [
        {
            "name": o.machine_class.name,
            "title": o.machine_class.spec["title"],
            "ready": o.ready,
            "held": o.held,
            "burst": o.burst,
            "at_once": o.burst,  # its former name
            "waiting": o.request is not None,
            "refusal": o.refusal,
        }
        for o in offers
    ]
    return {"classes": found}


@blueprint.get("/classes/<name>/policy")
@needs("classes.read", class_="name")
@scope("read")
def class_policy(name: str) -> Answer:
    found = {
        one.field.name: {"value": one.value, "scenario": one.scenario, "changed": one.changed}
        for one in class_verbs.policy_of(class_verbs.get_class(name))
    }
    return {"policy": {**found, **{former: found[now] for former, now in FORMER_FIELDS.items()}}}


@blueprint.get("/classes/<name>/calendar")
@needs("classes.read", class_="name")
@scope("read")
def class_calendar(name: str) -> Answer:
    found = calendars.holding(class_verbs.get_class(name))
    then = None if found.next is None else {"at": _time(found.next.begins), **_bounds(found.next.bounds)}
    return {"now": _bounds(found.bounds), "next": then, "prepares": _time(found.prepares)}


def _bounds(bounds: Bounds) -> dict[str, Any]:
    return {
        number: {"machines": found.machines, "parts": [{"of": source or "policy", "machines": part} for source, part in found.parts]}
        for number in NUMBERS
        for found in [getattr(bounds, number)]
    }


@blueprint.get("/server")
@needs("settings.manage")
@scope("read")
def server_status() -> Answer:
    now = server.status(current_app.config["SETTINGS"])
    return {
        "name": now.name,
        "addresses": now.addresses,
        "version": now.image.version if now.image else None,
        "booted_at": _time(now.booted_at),
        "load": list(now.load),
        "processors": now.cpus,
        "memory": {"total": now.memory, "available": now.memory_available},
        "disk": {"total": now.disk, "free": now.disk_free},
        "temperature": now.temperature,
        "processes": [{"name": part.name, "state": part.state, "restarts": part.restarts} for part in now.parts],
    }


@blueprint.get("/machines")
@needs("own")
@scope("read")
def machine_list() -> Answer:
    return {"machines": [_machine(machine) for machine in machines.my_machines(current_user.account.id)]}


@blueprint.get("/machines/<id>")
@needs("own", machine="id")
@scope("read")
def machine(id: str) -> Answer:
    return _machine(machines.get_machine(actor(), id))


@blueprint.post("/machines")
@needs("machines.use")
@scope("machines")
def claim() -> Answer:
    wanted = forms.read(Wanted)
    asked = machines.request(actor(), wanted.class_name, wanted.count)
    if asked.machine_id is None:
        return {"state": "waiting", "request": asked.id}, 202
    if wanted.count > 1:
        made_together = [
            machine for group in machines.grouped(current_user.account.id) if group.batch == asked.id for machine in group.machines
        ]
        return {"machines": [_machine(machine) for machine in made_together]}, 201
    made = _machine(machines.get_machine(actor(), asked.machine_id))
    return made, 201, {"Location": made["self"]}


# -- readings over time ---------------------------------------------------------------------


def _series(series: Series) -> dict[str, Any]:
    figures = {name: {"mean": mean, **({"most": series.most[name]} if name in series.most else {})} for name, mean in series.mean.items()}
    return {"step": series.step, "times": series.times, "figures": figures}


def _readings(subject: Subject) -> Answer:
    found = readings.over_time(current_app.config["SETTINGS"], subject, request.args.get("span", "hour"))
    return {
        "from": _time(found.begin),
        "to": _time(found.end),
        **_series(found.series),
        "sent": {name: _series(series) for name, series in found.sent.items()},
        "marks": [{"at": _time(mark.at), "kind": mark.kind, "text": mark.text} for mark in found.marks],
    }


@blueprint.get("/server/readings")
@needs("classes.read")
@scope("read")
def server_readings() -> Answer:
    return _readings(HOST)


@blueprint.get("/classes/<name>/readings")
@needs("classes.read", class_="name")
@scope("read")
def class_readings(name: str) -> Answer:
    return _readings(Subject(Kind.CLASS, name))


@blueprint.get("/machines/<id>/readings")
@needs("machines.read", machine="id", own=True)
@scope("read")
def machine_readings(id: str) -> Answer:
    return _readings(Subject(Kind.MACHINE, id))


@blueprint.post("/machines/<id>/readings")
@needs("own", machine="id")
@scope("readings")
def send_readings(id: str) -> Answer:
    readings.send(current_app.config["SETTINGS"], id, forms.sent())
    return {"state": "kept"}, 201


@blueprint.post("/machines/<id>/extend")
@needs("own", machine="id")
@scope("machines")
def extend(id: str) -> Answer:
    return {"lease_ends_at": _time(machines.extend(actor(), id))}


@blueprint.post("/machines/<id>/<verb>")
@needs("own", machine="id")
@scope("machines")
def move(id: str, verb: str) -> Answer:
    if verb not in moves.PLAIN:
        raise NotFound(f"A machine cannot be told to {verb[:40]!r}.", f"It can be told to {', '.join(moves.PLAIN)}.")
    run = moves.plain(actor(), id, verb)
    return {"state": machines.get_machine(actor(), id).state.value, "run": run}, 202


@blueprint.post("/machines/<id>/transfer")
@needs("machines.manage", machine="id")
@scope("machines")
def transfer(id: str) -> Answer:
    to = forms.read(Receiver).to
    return {"state": machines.get_machine(actor(), id).state.value, "run": moves.transfer(actor(), id, to)}, 202


@blueprint.post("/machines/<id>/release")
@needs("own", machine="id")
@scope("machines")
def release(id: str) -> Answer:
    machines.release(actor(), id)
    return {"state": "reclaiming"}, 202


# -- what waits for people, and runs --------------------------------------------------------


def _todo(todo: WorkItem) -> dict[str, Any]:
    asker = todo.requester
    return {
        "id": todo.id,
        "kind": todo.kind,
        "title": todo.title,
        "text": todo.text,
        "state": todo.state.value,
        "class": todo.class_name,
        "requester": asker and asker.name,
        "run": todo.run_id,
        "created_at": _time(todo.created_at),
        "expires_at": _time(todo.expires_at),
        "decided_by": todo.decided_by,
        "comment": todo.comment,
    }


@blueprint.get("/todos")
@needs("own")
@scope("read")
def todo_list() -> Answer:
    return {"todos": [_todo(todo) for todo in inbox.my_work_items(actor())]}


@blueprint.post("/todos/<int:id>")
@needs("own")
@scope("todos")
def answer_todo(id: int) -> Answer:
    sent = forms.sent()
    said, comment = sent.get("answer"), sent.get("comment", "")
    if said not in ("yes", "no") or not isinstance(comment, str):
        raise BadInput("That is neither yes nor no.", 'Send {"answer": "yes"}, or {"answer": "no", "comment": "WHY"}.')
    return _todo(inbox.decide(actor(), id, yes=said == "yes", comment=comment))


def _run(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "kind": run.kind,
        "state": run.state.value,
        "machine": run.machine_id,
        "class": run.class_name,
        "for": run.account.name if run.account_id and run.account else None,
        "asked_by": run.asked_by,
        "waits_for": run.why,
        "problem": run.problem,
        "hint": run.hint,
        "created_at": _time(run.created_at),
        "ended_at": _time(run.ended_at),
        "self": url_for("api.run", id=run.id),
    }


@blueprint.get("/runs")
@needs("own")
@scope("read")
def run_list() -> Answer:
    kind, state, text = (request.args.get(name, "")[:100] for name in ("kind", "state", "text"))
    found = runs.list_runs(actor(), kind=kind, state=state, text=text, class_name=request.args.get("class", ""), machine_id=request.args.get("machine", ""),
                      before=row_number("before"))  # fmt: skip
    return {"runs": [_run(run) for run in found]}


@blueprint.get("/runs/<int:id>")
@needs("machines.read", run="id", own=True)
@scope("read")
def run(id: int) -> Answer:
    sight, inside = runs.get_run(actor(), id), current_user.may("machines.read", "run", id)
    steps = [
        {
            "number": line.number,
            "name": line.name,
            "title": line.title,
            "kind": line.kind,
            "state": line.state,
            "by": line.by,
            "asked": list(line.asked),
            "attempts": line.step.attempts if line.step else 0,
            "problem": line.step.problem if line.step else "",
            "started_at": _time(line.step.started_at if line.step else None),
            "ended_at": _time(line.step.ended_at if line.step else None),
            **({"output": line.step.output} if inside and line.step else {}),
        }
        for line in sight.lines
    ]
    return {**_run(sight.run), "steps": steps}


@blueprint.post("/runs/<int:id>/cancel")
@needs("machines.manage", run="id", own=True)
@scope("machines")
def cancel_run(id: int) -> Answer:
    runs.cancel(actor(), id)
    return _run(runs.get_run(actor(), id).run), 202


@blueprint.post("/runs/<int:id>/retry")
@needs("machines.manage", run="id")
@scope("machines")
def retry_run(id: int) -> Answer:
    runs.retry(actor(), id)
    return _run(runs.get_run(actor(), id).run), 202


@blueprint.post("/runs/<int:id>/skip")
@needs("machines.manage", run="id")
@scope("machines")
def skip_run(id: int) -> Answer:
    runs.skip(actor(), id)
    return _run(runs.get_run(actor(), id).run), 202


@blueprint.get("/data-disks")
@needs("own")
@scope("read")
def data_disk_list() -> Answer:
    return {"data_disks": [_data_disk(disk) for disk in disks.my_disks(current_user.account.id)]}


@blueprint.post("/data-disks/<id>/delete")
@needs("own", disk="id")
@scope("machines")
def delete_data_disk(id: str) -> Answer:
    disks.delete(actor(), id, forms.read(DiskName).name)
    return {"state": "removing"}, 202


@blueprint.post("/data-disks/<id>/back-up")
@needs("own", disk="id")
@scope("machines")
def back_up_data_disk(id: str) -> Answer:
    disks.back_up(actor(), id)
    return {"state": "asked"}, 202


@blueprint.get("/retained-disks")
@blueprint.get("/kept-disks")  # its former address
@needs("own")
@scope("read")
def retained_disk_list() -> Answer:
    found = [_retained_disk(kept) for kept in disks.kept(current_user.account.id)]
    return {"retained_disks": found, "kept_disks": found}


@blueprint.post("/retained-disks/<id>/restore")
@blueprint.post("/kept-disks/<id>/bring-back")  # its former address
@needs("own", kept="id")
@scope("machines")
def restore_retained_disk(id: str) -> Answer:
    return {"run": recovery.bring_back_kept(actor(), id)}, 202


# -- sequences ------------------------------------------------------------------------------------


@blueprint.get("/sequences")
@needs("classes.read")
@scope("read")
def sequence_list() -> Answer:
    found = [
        {
            "name": line.row.name,
            "title": line.row.title,
            "classes": line.classes,
            "version": line.promoted.number if line.promoted else None,
            "draft": line.draft is not None,
            "self": url_for("api.sequence", name=line.row.name),
        }
        for line in sequences.everything()
    ]
    return {"sequences": found}


@blueprint.get("/sequences/<name>")
@needs("classes.read")
@scope("read")
def sequence(name: str) -> Response:
    """The draft or, without one, what is promoted: as YAML for who asks for that, else as JSON."""
    look = sequences.view_sequence(name)
    if request.accept_mimetypes.best_match(["application/json", "application/yaml"]) == "application/yaml":
        answer = Response(sequences.export(name), mimetype="application/yaml")
    else:
        row = look.line.row
        problems = [{"place": list(one.place), "message": one.message, "hint": one.hint, "warning": one.warning} for one in look.problems]
        answer = jsonify(name=row.name, title=row.title, description=row.about, moves=look.moves, problems=problems)
    answer.set_etag(look.stamp)
    return answer


@blueprint.put("/sequences/<name>")
@needs("sequences.manage")
@scope("sequences")
def put_sequence(name: str) -> Response:
    """Keep what is sent, YAML or JSON, as the draft of the sequence, which is made unless it is there."""
    there = any(line.row.name == name for line in sequences.everything())
    matches = sorted(request.if_match.as_set()) if request.if_match else []
    seen = matches[0] if matches else sequences.view_sequence(name).stamp if there else ""
    sequences.import_file(actor(), request.get_data(), into=name if there else "", seen=seen, name=name)
    return sequence(name)


@blueprint.post("/sequences/<name>/promote")
@needs("sequences.manage")
@scope("sequences")
def promote_sequence(name: str) -> Answer:
    sent = forms.sent()
    comment, untried = sent.get("comment", ""), sent.get("untried") in (True, "yes")
    made = sequences.promote(actor(), name, comment if isinstance(comment, str) else "", untried=untried)
    return {"version": made.number}
