"""All machines, and each one's own page."""

from collections.abc import Iterable, Mapping
from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_login import current_user
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import Actor, Machine, MachineState, data_disks, events
from appliance.catalog import machines as machine_rows
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window
from appliance.errors import BadInput, DpeError
from appliance.readings import Kind, Subject
from appliance.scenario.policy import fields
from appliance.services import host_metrics, machines, moves, pictures, rates, runs
from webui import charts, forms, lists
from webui.errors import status_of
from webui.format import STATES
from webui.forms import WholeOrNothing
from webui.guard import actor, needs, settings
from webui.language import translated
from webui.lists import Column, Filter, List, Verb
from webui.portal import pages, published
from webui.reauth import requires_reauth_unless

blueprint = Blueprint("machines", __name__, url_prefix="/admin/machines")


def _find(
    window: Window, reach: Scope, ids: Iterable[str] | None, state: str = "", class_name: str = "", text: str = "", retired: str = ""
) -> Page[Machine]:
    wanted = MachineState(state) if state else None
    return machine_rows.list_machines(window, reach, ids, state=wanted, class_name=class_name, text=text, retired=bool(retired))


def _states() -> Mapping[str, str]:
    """The states, each with how many machines within reach are in it."""
    counts = machine_rows.state_counts(current_user.powers.reach("machines.read"))
    return {
        state: f"{translated(label)} ({counts[MachineState(state)]})" if state in counts else label for state, (label, _) in STATES.items()
    }


def _address(machine: Machine) -> str:
    try:
        address: str = settings().address(machine.slot)
    except IndexError:  # of a machine from before the network was made smaller
        return ""
    return address


def _move(kind: str, title: str, done: str, icon: str, loses: str = "") -> Verb:
    def do(actor: Actor, id: str, to: str) -> object:
        return moves.plain(actor, id, kind)

    return Verb(kind, title, done, do, "machines.manage", icon, loses)


MACHINES = List(
    endpoint="machines.index",
    permission="machines.read",
    noun="machine",
    thing="machine",
    find=_find,
    order="-created",
    size=40,
    columns=(
        Column("machine", "Machine", lambda row: row.name),
        Column("state", "State", lambda row: row.state.value),
        Column("class", "Class", lambda row: row.class_name),
        Column("owner", "Owner", lambda row: row.owner.name if row.owner else ""),
        Column("unit", "Org unit", lambda row: row.owner.org_unit.name if row.owner else "", shown=False, permission="people.read"),
        Column("address", "Address", _address, look="num"),
        Column("left", "Time left", lambda row: row.lease.ends_at if row.lease else "", look="num"),
        Column("load", "Load", lambda row: row.reading.cpu if row.reading else "", look="num"),
        Column("memory", "Memory", lambda row: row.reading.memory_used if row.reading else "", look="num"),
        Column("picture", "Screen", None, sorts=False, shown=False, permission="machines.enter"),
        Column("created", "Created", lambda row: row.created_at, shown=False, look="text-secondary"),
        Column("since", "Since", lambda row: row.state_since, look="end text-secondary"),
    ),
    filters=(
        Filter("text", "Name of machine or owner", kind="text"),
        Filter("state", "State", choices=_states, every="Every state"),
        lists.BY_CLASS,
        Filter("retired", "retired ones, too", kind="check"),
    ),
    verbs=(
        _move("stop", "Stop", "asked to stop", "player-stop", "What runs on them ends. Their disks and leases stay, and they can be started again."),
        _move("start", "Start", "asked to start", "player-play"),
        Verb("extend", "Extend", "extended", lambda actor, id, _: machines.extend(actor, id), "machines.manage", "clock-plus"),
        Verb(
            "reclaim", "Reclaim", "reclaimed", lambda actor, id, _: machines.release(actor, id), "machines.manage", "trash",
            "They are taken from whoever holds them and destroyed, with everything on them outside of a data disk.", reauth=True,
        ),
    ),
    verb_endpoint="machines.bulk",
)  # fmt: skip


@blueprint.get("/")
@needs("machines.read")
def index() -> Response | str:
    return lists.answer("admin/machines.html", lists.show(MACHINES), address_of=_address, pictured=pictures.are_on)


@blueprint.post("/bulk")
@needs("machines.manage")
@requires_reauth_unless(lambda **_: lists.is_harmless(MACHINES))
def bulk() -> Response | tuple[str, int]:
    return lists.bulk(MACHINES)


def _rate(name: str) -> Any:
    field = fields()[name]
    about: Any = {"unit": field.editable.unit, "minimum": field.low, "maximum": field.high}
    return Field(None, title=field.editable.label, description=field.help, json_schema_extra=about)


class OwnRates(forms.Form):
    """The rates of one machine; what is empty is its class's."""

    network_in: WholeOrNothing = _rate("network_in")
    network_out: WholeOrNothing = _rate("network_out")
    disk_rate: WholeOrNothing = _rate("disk_rate")
    disk_iops: WholeOrNothing = _rate("disk_iops")


@blueprint.post("/<id>/rates")
@needs("machines.manage", machine="id")
def limit(id: str) -> Response | tuple[str, int]:
    try:
        changed = rates.change(actor(), id, forms.read(OwnRates).model_dump())
    except BadInput as refused:
        return _page(id, refused), status_of(refused)
    flash("Saved. It counts within seconds." if changed else "Nothing was changed.", "success")
    return redirect(url_for("machines.page", id=id), 303)


@blueprint.get("/<id>")
@needs("machines.read", machine="id")
def page(id: str) -> str:
    return _page(id)


def _page(id: str, error: DpeError | None = None) -> str:
    machine = machines.get_machine(actor(), id)
    standing = rates.of_machine(machine)
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
        ways=machines.ways(machine, settings()),
        pages=pages(machine),
        published=published(machine),
        pictured=pictures.are_on(machine),
        held=machine.state in machine_rows.HELD,
        nominal=host_metrics.nominal(machine.memory),
        doing=moves.doing([machine]).get(id, ""),
        possible=moves.possible(actor(), machine),
        waterfall=machines.waterfall(machine),
        charts=charts.of(Subject(Kind.MACHINE, id)),
        rates=standing,
        bound=forms.bound(OwnRates, standing.own, error),
    )
