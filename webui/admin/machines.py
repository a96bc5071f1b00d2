"""All machines, and each one's own page."""

from flask import Blueprint, render_template, request
from flask_login import current_user

from appliance.catalog import data_disks, events
from appliance.catalog import machines as machine_rows
from appliance.readings import Kind, Subject
from appliance.services import classes, host_metrics, machines, moves, overview, runs
from webui import charts
from webui.guard import actor, needs, row_number, settings
from webui.portal import application

blueprint = Blueprint("machines", __name__, url_prefix="/admin/machines")

PAGE = 50


@blueprint.get("/")
@needs("machines.read")
def index() -> str:
    chosen = {
        "state": request.args.get("state", ""),
        "class_name": request.args.get("class", ""),
        "text": request.args.get("text", "")[:100],
        "retired": request.args.get("retired") == "yes",
    }
    found = overview.machines_on_page(**chosen, after=row_number("after"), reach=current_user.powers.reach("machines.read"))  # type: ignore[arg-type]
    counts = overview.state_counts()
    return render_template(
        "admin/machines.html",
        machines=found,
        counts=counts,
        classes=classes.visible(actor(), "machines.read"),
        full=len(found) == PAGE,
        **chosen,
    )


@blueprint.get("/<id>")
@needs("machines.read", machine="id")
def page(id: str) -> str:
    machine = machines.get_machine(actor(), id)
    return render_template(
        "admin/machine.html",
        machine=machine,
        machine_class=machine.machine_class,
        lease=machine_rows.lease_of(id),
        reading=machine_rows.reading_of(id),
        events=events.list_events(machine_id=id, limit=100),
        data_disk=data_disks.of_machine(id),
        runs=runs.list_runs(actor(), machine_id=id, limit=10),
        run_title=runs.title,
        address=settings().address(machine.slot),
        way=machines.way(machine, settings()),
        application=application(machine),
        held=machine.state in machine_rows.HELD,
        nominal=host_metrics.nominal(machine.memory),
        doing=moves.doing([machine]).get(id, ""),
        possible=moves.possible(actor(), machine),
        charts=charts.of(Subject(Kind.MACHINE, id)),
    )
