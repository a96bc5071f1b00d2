"""A person's own: machines, disks, runs and to-dos; and what a scope `read` always saw of classes, the server and sequences."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from flask import Response, current_app, jsonify, request, url_for
from flask_login import current_user
from pydantic import Field

from appliance.catalog import DataDisk, KeptDisk, Machine, Request, Run, WorkItem
from appliance.errors import BadInput, NotFound
from appliance.identity import ssh_authority
from appliance.pools.windows import NUMBERS, Bounds
from appliance.readings import HOST, Kind, Series, Subject
from appliance.services import calendars, choices, consoles, disks, inbox, machines, moves, readings, recovery, runs, sequences, server, ssh
from appliance.services import classes as class_verbs
from webui import forms
from webui.api import schemas
from webui.api.operation import Body, blueprint, operation
from webui.forms import Form, Whole
from webui.guard import actor, needs, row_number
from webui.portal import pages

Answer = Mapping[str, Any] | tuple[Mapping[str, Any], int] | tuple[Mapping[str, Any], int, dict[str, str]]

FORMER_FIELDS = {"at_once": "burst", "together_minutes": "batch_window"}  # of a class's policy; they are still in answers


class Choice(Body):
    """What is chosen of a class that leaves something open; what is left out is as the class has it. Memory is MiB, disk GiB, lease minutes."""

    os: str | None = None
    applications: list[str] = Field([], max_length=100)
    options: dict[str, dict[str, str | int | bool]] = Field(
        {}, description="Of chosen applications, by their names; each application's page says which."
    )
    packages: list[str] = Field([], max_length=100)
    memory: int | None = None
    disk: int | None = None
    lease: int | None = None


class Wanted(Form):
    """Machines that are asked for."""

    CALLED: ClassVar = {name: f"choice/{name}" for name in Choice.model_fields}
    class_name: Annotated[str, forms.text("No class is named.")] = Field(
        "", alias="class", validate_default=True, description='Send {"class": "NAME"}; /api/v1/classes lists them.'
    )
    count: Whole = Field(1, title="count", description='Send {"class": "NAME", "count": 1}.')
    choice: Choice | None = Field(None, title="choice", description='Send {"class": "NAME", "choice": {"applications": ["NAME"]}}.')


class CertificateWanted(Body):
    """What is to be signed."""

    public_key: str = Field(min_length=1, max_length=10_000, description="A line as in a file like id_ed25519.pub.")


class Receiver(Form):
    """Who gets a machine."""

    to: Annotated[str, forms.text("Nobody is named.")] = Field("", validate_default=True, description='Send {"to": "ACCOUNT"}.')


class DiskName(Form):
    """The name of a data disk, once more."""

    name: Annotated[str, forms.text("Its name is missing.")] = Field(
        "", validate_default=True, description='Send {"name": "NAME"} with the name of the data disk, as everything on it is lost.'
    )


class Console(Body):
    """What of a machine a program wants to connect to; `take_over` is the step to typing in somebody else's."""

    target: str = Field(max_length=20, description="screen, serial, vnc/PORT or tcp/PORT")
    take_over: bool = Field(False, strict=True)


class Said(Form):
    """An answer to a to-do."""

    answer: Literal["yes", "no"] = Field(description='Send {"answer": "yes"}, or {"answer": "no", "comment": "WHY"}.')
    comment: str = Field("", max_length=1000)


class Promotion(Form):
    """How a draft is promoted: with a word about it, and untried or not."""

    comment: str = ""
    untried: bool = False


class NewDiskName(Body):
    """Another name of a data disk."""

    name: str = Field(min_length=1, max_length=60)


class Earlier(Body):
    """A version that was promoted once."""

    version: int = Field(strict=True, ge=1, le=2**31)
    comment: str = Field("", max_length=1000)


SPAN = {"span": Literal["hour", "day", "week", "month", "year", "2-years"]}
NARROWING = {"kind": str, "state": str, "text": str, "class": str, "machine": str, "before": str}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _machine(machine: Machine) -> schemas.Machine:
    lease = machine.lease if hasattr(machine, "lease") else machines.lease_of(machine)
    addresses = pages(machine)
    return {
        "id": machine.id,
        "name": machine.name,
        "class": machine.class_name,
        "state": machine.state.value,
        "url": addresses[0][1],
        "pages": [{"title": title, "url": address} for title, address in addresses],
        "user": machine.machine_class.spec.get("user", "user"),
        "created_at": _time(machine.created_at),
        "lease_ends_at": _time(lease.ends_at if lease else None),
        "self": url_for("api.machine", id=machine.id),
    }


def _data_disk(disk: DataDisk) -> schemas.DataDisk:
    return {
        "id": disk.id,
        "name": disk.name,
        "class": disk.class_name,
        "size": disk.size,
        "filled": disk.filled,
        "capacity": disk.capacity,
        "state": disk.state.value,
        "problem": disk.problem,
        "machine": disk.machine_id,
        "created_at": _time(disk.created_at),
        "last_used_at": _time(disk.last_used_at),
        "backup_at": _time(disk.backup_at),
    }


def _retained_disk(kept: KeptDisk) -> schemas.RetainedDisk:
    return {"id": kept.id, "machine": kept.machine_name, "class": kept.class_name, "state": kept.state.value, "until": _time(kept.until)}


@blueprint.get("/me")
@needs("own")
@operation("read", {200: schemas.Me})
def me() -> Answer:
    """Whose token this is."""
    account = current_user.account
    return {"name": account.name, "full_name": account.full_name, "email": account.email}


@blueprint.get("/classes")
@needs("own")
@operation("read", {200: schemas.Offers})
def classes() -> Answer:
    """What can be had: how many are ready, held, and why not. `burst` is how many one request may be for; `at_once` is its former name."""
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
            "choice": o.machine_class.spec.get("choice", {}) if o.is_open else {},
        }
        for o in offers
    ]
    return {"classes": found}


@blueprint.get("/classes/<name>/policy")
@needs("classes.read", class_="name")
@operation("read", {200: schemas.Policy})
def class_policy(name: str) -> Answer:
    """A class's policy, by field: what counts, what the scenario has, and whether an admin changed it."""
    found = {
        one.field.name: {"value": one.value, "scenario": one.scenario, "changed": one.changed}
        for one in class_verbs.policy_of(class_verbs.get_class(name))
    }
    return {"policy": {**found, **{former: found[now] for former, now in FORMER_FIELDS.items()}}}


@blueprint.get("/classes/<name>/calendar")
@needs("classes.read", class_="name")
@operation("read", {200: schemas.Calendar})
def class_calendar(name: str) -> Answer:
    """What holds for a class now and next: minimum, maximum, buffer and start."""
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
@operation("read", {200: schemas.Server})
def server_status() -> Answer:
    """The server, for those who manage settings: name, addresses, version, load, memory and disk (MiB), processes."""
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
@operation("read", {200: schemas.Machines})
def machine_list() -> Answer:
    """The account's machines, with address and end of lease."""
    return {"machines": [_machine(machine) for machine in machines.my_machines(current_user.account.id)]}


@blueprint.get("/machines/<id>")
@needs("own", machine="id")
@operation("read", {200: schemas.Machine})
def machine(id: str) -> Answer:
    """One of the account's machines."""
    return _machine(machines.get_machine(actor(), id))


@blueprint.post("/machines")
@needs("machines.use")
@operation(
    "machines",
    {201: schemas.Machine | schemas.Machines, 202: schemas.Waiting},
    takes=Wanted,
    creates=True,
    example={"class": "notebook"},
)
def claim() -> Answer:
    """Get a machine, or several together: 202 when one has to wait."""
    wanted = forms.read(Wanted)
    if wanted.choice is None:
        asked = machines.request(actor(), wanted.class_name, wanted.count)
    else:
        asked = _chosen(wanted.class_name, wanted.count, wanted.choice)
    if asked.machine_id is None:
        return {"state": "waiting", "request": asked.id}, 202
    if wanted.count > 1:
        made_together = [
            machine for group in machines.grouped(current_user.account.id) if group.batch == asked.id for machine in group.machines
        ]
        return {"machines": [_machine(machine) for machine in made_together]}, 201
    made = _machine(machines.get_machine(actor(), asked.machine_id))
    return made, 201, {"Location": made["self"]}


def _chosen(class_name: str, count: int, wanted: Choice) -> Request:
    if count != 1:
        raise BadInput("Of a choice one machine can be had at a time.", 'Send "count": 1.', field="count")
    machine_class = choices.open_class(actor(), class_name)
    values = wanted.model_dump(exclude={"lease"}, exclude_none=True)
    return choices.request(actor(), machine_class, choices.read(machine_class, values), wanted.lease)


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
@operation("read", {200: schemas.Readings}, query=SPAN)
def server_readings() -> Answer:
    """The server over time: `times` in seconds since 1970, and for each figure its mean and most."""
    return _readings(HOST)


@blueprint.get("/classes/<name>/readings")
@needs("classes.read", class_="name")
@operation("read", {200: schemas.Readings}, query=SPAN)
def class_readings(name: str) -> Answer:
    """A class over time."""
    return _readings(Subject(Kind.CLASS, name))


@blueprint.get("/machines/<id>/readings")
@needs("machines.read", machine="id", own=True)
@operation("read", {200: schemas.Readings}, query=SPAN)
def machine_readings(id: str) -> Answer:
    """A machine over time, up to a week, with what its application sent."""
    return _readings(Subject(Kind.MACHINE, id))


@blueprint.post("/machines/<id>/readings")
@needs("own", machine="id")
@operation("readings", {201: schemas.State}, takes=dict[str, float], example={"jobs": 5})
def send_readings(id: str) -> Answer:
    """What the application of the account's machine says of itself now, like its jobs."""
    readings.send(current_app.config["SETTINGS"], Subject(Kind.MACHINE, id), forms.sent())
    return {"state": "kept"}, 201


@blueprint.post("/classes/<name>/readings")
@needs("classes.manage", class_="name")
@operation("readings", {201: schemas.State}, takes=dict[str, float], example={"queue": 50})
def send_class_readings(name: str) -> Answer:
    """What somebody measures of a class as a whole now, like the length of a queue: its rules may go by it."""
    readings.send(current_app.config["SETTINGS"], Subject(Kind.CLASS, class_verbs.get_class(name).name), forms.sent())
    return {"state": "kept"}, 201


@blueprint.post("/machines/<id>/extend")
@needs("own", machine="id")
@operation("machines", {200: schemas.Lease})
def extend(id: str) -> Answer:
    """The lease, once more."""
    return {"lease_ends_at": _time(machines.extend(actor(), id))}


@blueprint.post("/machines/<id>/<verb>")
@needs("own", machine="id")
@operation("machines", {202: schemas.Moved}, verbs=moves.PLAIN)
def move(id: str, verb: str) -> Answer:
    """Stop, start, suspend, resume or reprovision a machine; 409 when its state does not allow it."""
    if verb not in moves.PLAIN:
        raise NotFound(f"A machine cannot be told to {verb[:40]!r}.", f"It can be told to {', '.join(moves.PLAIN)}.")
    run = moves.plain(actor(), id, verb)
    return {"state": machines.get_machine(actor(), id).state.value, "run": run}, 202


@blueprint.post("/machines/<id>/transfer")
@needs("machines.manage", machine="id")
@operation("machines", {202: schemas.Moved}, takes=Receiver, example={"to": "alan"})
def transfer(id: str) -> Answer:
    """Machine and lease become somebody else's; for those who look after machines."""
    to = forms.read(Receiver).to
    return {"state": machines.get_machine(actor(), id).state.value, "run": moves.transfer(actor(), id, to)}, 202


@blueprint.post("/machines/<id>/release")
@needs("own", machine="id")
@operation("machines", {202: schemas.State})
def release(id: str) -> Answer:
    """Give a machine back; it is destroyed."""
    machines.release(actor(), id)
    return {"state": "reclaiming"}, 202


@blueprint.post("/machines/<id>/console")
@needs("machines.enter", machine="id", own=True)
@operation("consoles", {201: schemas.Console}, takes=Console, example={"target": "serial"})
def console(id: str) -> Answer:
    """A ticket to a machine's screen, serial line or port.

    It is good once, for half a minute, with the same token, for a WebSocket at `path`. The connection ends with the token, or with the right to be there.
    """
    asked = forms.read(Console)
    ticket = consoles.issue(
        actor(), current_user.credential, id, asked.target, "", current_app.config["SETTINGS"], take_over=asked.take_over
    )
    own = machines.get_machine(actor(), id, "machines.enter").owner_id == current_user.account.id
    return {"path": f"/ws/{id}/{asked.target}?ticket={ticket}", "control": own or asked.take_over}, 201


@blueprint.post("/ssh-certificate")
@needs("own")
@operation(
    "consoles", {201: schemas.SshCertificate}, takes=CertificateWanted,
    example={"public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"},
)  # fmt: skip
def ssh_certificate() -> Answer:
    """A certificate for a public key: for ten minutes it opens connections to your machines through the appliance's SSH server.

    Machines themselves know the keys of your account alone.
    """
    settings = current_app.config["SETTINGS"]
    return {
        "certificate": ssh.certificate(actor(), forms.read(CertificateWanted).public_key),
        "known_hosts": ssh_authority.known_hosts(settings.ssh_names),
        "user": ssh.USER,
        "port": settings.ssh_port if ssh.wanted() else None,
    }, 201


@blueprint.post("/machines/<id>/still-here")
@needs("own", machine="id")
@operation("machines", {200: schemas.State})
def still_here(id: str) -> Answer:
    """Say that a machine which seemed idle is used."""
    machines.still_here(actor(), id)
    return {"state": machines.get_machine(actor(), id).state.value}


@blueprint.post("/batches/<int:id>/extend")
@needs("own", request="id")
@operation("machines", {200: schemas.Batch})
def extend_together(id: int) -> Answer:
    """The leases of machines that were got together, once more. The number is their request's."""
    number, ends_at = machines.extend_together(actor(), id)
    return {"machines": number, "lease_ends_at": _time(ends_at)}


@blueprint.post("/batches/<int:id>/release")
@needs("own", request="id")
@operation("machines", {202: schemas.Batch})
def release_together(id: int) -> Answer:
    """Give back machines that were got together; they are destroyed."""
    return {"machines": machines.release_together(actor(), id), "lease_ends_at": None}, 202


@blueprint.post("/requests/<int:id>/cancel")
@needs("own", request="id")
@operation("machines", {200: schemas.State})
def cancel_request(id: int) -> Answer:
    """Wait for a machine no more."""
    machines.cancel_request(actor(), id)
    return {"state": "cancelled"}


@blueprint.post("/requests/<int:id>/dismiss")
@needs("own", request="id")
@operation("machines", {200: schemas.State})
def dismiss_request(id: int) -> Answer:
    """Have a request that was refused be shown no more."""
    runs.dismiss(actor(), id)
    return {"state": "dismissed"}


# -- what waits for people, and runs --------------------------------------------------------


def _todo(todo: WorkItem) -> schemas.Todo:
    asker = todo.requester
    return {
        "id": todo.id,
        "kind": todo.kind,
        "title": todo.title,
        "text": todo.text,
        "state": todo.state.value,
        "class": todo.class_name,
        "requester": asker.name if asker else None,
        "run": todo.run_id,
        "created_at": _time(todo.created_at),
        "expires_at": _time(todo.expires_at),
        "decided_by": todo.decided_by,
        "comment": todo.comment,
    }


@blueprint.get("/todos")
@needs("own")
@operation("read", {200: schemas.Todos})
def todo_list() -> Answer:
    """What waits for the account to decide or to do."""
    return {"todos": [_todo(todo) for todo in inbox.my_work_items(actor())]}


@blueprint.post("/todos/<int:id>")
@needs("own")
@operation("todos", {200: schemas.Todo}, takes=Said, example={"answer": "yes"})
def answer_todo(id: int) -> Answer:
    """Answer an approval or a task; the first answer counts, a later one is a 409."""
    said = forms.read(Said)
    return _todo(inbox.decide(actor(), id, yes=said.answer == "yes", comment=said.comment))


def _run(run: Run) -> schemas.Run:
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
@operation("read", {200: schemas.Runs}, query=NARROWING)
def run_list() -> Answer:
    """Runs of the account's own, and of all that it may see."""
    kind, state, text = (request.args.get(name, "")[:100] for name in ("kind", "state", "text"))
    found = runs.list_runs(actor(), kind=kind, state=state, text=text, class_name=request.args.get("class", ""), machine_id=request.args.get("machine", ""),
                      before=row_number("before"))  # fmt: skip
    return {"runs": [_run(run) for run in found]}


@blueprint.get("/runs/<int:id>")
@needs("machines.read", run="id", own=True)
@operation("read", {200: schemas.RunSteps})
def run(id: int) -> Answer:
    """A run with its steps."""
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
@operation("machines", {202: schemas.Run})
def cancel_run(id: int) -> Answer:
    """Have a run end early; 409 says why not."""
    runs.cancel(actor(), id)
    return _run(runs.get_run(actor(), id).run), 202


@blueprint.post("/runs/<int:id>/retry")
@needs("machines.manage", run="id")
@operation("machines", {202: schemas.Run})
def retry_run(id: int) -> Answer:
    """Go on from the step that failed."""
    runs.retry(actor(), id)
    return _run(runs.get_run(actor(), id).run), 202


@blueprint.post("/runs/<int:id>/skip")
@needs("machines.manage", run="id")
@operation("machines", {202: schemas.Run})
def skip_run(id: int) -> Answer:
    """Go on without the step that waits or failed."""
    runs.skip(actor(), id)
    return _run(runs.get_run(actor(), id).run), 202


@blueprint.get("/data-disks")
@needs("own")
@operation("read", {200: schemas.DataDisks})
def data_disk_list() -> Answer:
    """The account's data disks, and which machine has each."""
    return {"data_disks": [_data_disk(disk) for disk in disks.my_disks(current_user.account.id)]}


@blueprint.post("/data-disks/<id>/delete")
@needs("own", disk="id")
@operation("machines", {202: schemas.State}, takes=DiskName, example={"name": "notebook"})
def delete_data_disk(id: str) -> Answer:
    """Delete a data disk with everything on it; it takes its name once more, and is a 409 while a machine has it."""
    disks.delete(actor(), id, forms.read(DiskName).name)
    return {"state": "removing"}, 202


@blueprint.post("/data-disks/<id>/back-up")
@needs("own", disk="id")
@operation("machines", {202: schemas.State})
def back_up_data_disk(id: str) -> Answer:
    """Back up a data disk; `backup_at` says when it is done."""
    disks.back_up(actor(), id)
    return {"state": "asked"}, 202


@blueprint.post("/data-disks/<id>/rename")
@needs("own", disk="id")
@operation("machines", {200: schemas.DataDisk}, takes=NewDiskName, example={"name": "thesis"})
def rename_data_disk(id: str) -> Answer:
    """Give a data disk another name."""
    disks.rename(actor(), id, forms.read(NewDiskName).name)
    return _data_disk(disks.get_disk(actor(), id))


@blueprint.post("/data-disks/<id>/try-again")
@needs("own", disk="id")
@operation("machines", {202: schemas.DataDisk})
def retry_data_disk(id: str) -> Answer:
    """Try once more what failed with a data disk."""
    disks.try_again(actor(), id)
    return _data_disk(disks.get_disk(actor(), id)), 202


@blueprint.get("/retained-disks")
@blueprint.get("/kept-disks")  # its former address
@needs("own")
@operation("read", {200: schemas.RetainedDisks})
def retained_disk_list() -> Answer:
    """Machines that were given back and are kept for some days."""
    found = [_retained_disk(kept) for kept in disks.kept(current_user.account.id)]
    return {"retained_disks": found, "kept_disks": found}


@blueprint.post("/retained-disks/<id>/restore")
@blueprint.post("/kept-disks/<id>/bring-back")  # its former address
@needs("own", kept="id")
@operation("machines", {202: schemas.Restored})
def restore_retained_disk(id: str) -> Answer:
    """Make a retained disk the account's machine again."""
    return {"run": recovery.bring_back_kept(actor(), id)}, 202


@blueprint.post("/retained-disks/<id>/delete")
@needs("own", kept="id")
@operation("machines", {202: schemas.State}, confirms=True)
def delete_retained_disk(id: str) -> Answer:
    """Delete a retained disk before its days are over."""
    recovery.forget_kept(actor(), id)
    return {"state": "removing"}, 202


# -- sequences ------------------------------------------------------------------------------------


@blueprint.get("/sequences")
@needs("classes.read")
@operation("read", {200: schemas.Sequences})
def sequence_list() -> Answer:
    """Sequences: which classes follow them, the promoted version, whether there is a draft."""
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
@operation("read", {200: schemas.Sequence})
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
@operation("sequences", {200: schemas.Sequence}, takes=dict[str, Any], example={"name": "notebook", "title": "For notebooks"})
def put_sequence(name: str) -> Response:
    """Keep what is sent, YAML or JSON, as the draft of the sequence, which is made unless it is there."""
    there = any(line.row.name == name for line in sequences.everything())
    matches = sorted(request.if_match.as_set()) if request.if_match else []
    seen = matches[0] if matches else sequences.view_sequence(name).stamp if there else ""
    sequences.import_file(actor(), request.get_data(), into=name if there else "", seen=seen, name=name)
    return sequence(name=name)


@blueprint.post("/sequences/<name>/promote")
@needs("sequences.manage")
@operation("sequences", {200: schemas.Promoted}, takes=Promotion, example={"comment": "One approval less", "untried": True})
def promote_sequence(name: str) -> Answer:
    """Promote a draft: what begins from now on goes by it."""
    asked = forms.read(Promotion)
    made = sequences.promote(actor(), name, asked.comment, untried=asked.untried)
    return {"version": made.number}


@blueprint.post("/sequences/<name>/discard")
@needs("sequences.manage")
@operation("sequences", {200: schemas.State})
def discard_draft(name: str) -> Answer:
    """Drop the draft; what is promoted stays."""
    sequences.discard_draft(actor(), name)
    return {"state": "discarded"}


@blueprint.post("/sequences/<name>/roll-back")
@needs("sequences.manage")
@operation("sequences", {200: schemas.Promoted}, takes=Earlier, example={"version": 1})
def roll_back_sequence(name: str) -> Answer:
    """Promote what an earlier version was, as a new one."""
    asked = forms.read(Earlier)
    return {"version": sequences.roll_back(actor(), name, asked.version, asked.comment).number}


@blueprint.delete("/sequences/<name>")
@needs("sequences.manage")
@operation("sequences", {204: None})
def delete_sequence(name: str) -> Answer:
    """Delete a sequence that no class follows."""
    sequences.delete(actor(), name)
    return {}, 204


class Trial(Body):
    """The class of the machine that goes by the draft."""

    class_name: str = Field(alias="class", min_length=1, max_length=100)


@blueprint.post("/sequences/<name>/try")
@needs("sequences.manage")
@operation("sequences", {202: schemas.RequestState}, takes=Trial, creates=True, example={"class": "notebook"})
def try_sequence(name: str) -> Answer:
    """Ask for a machine that goes by the draft of a sequence as it is now, all its life."""
    asked = sequences.try_draft(actor(), name, forms.read(Trial).class_name)
    return {"request": asked.id, "state": asked.state.value}, 202
