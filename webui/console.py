"""A machine's console: its screen and its serial line in the browser, for its owner, and for whoever may enter it."""

from flask import Blueprint, jsonify, render_template, request
from flask_login import current_user
from werkzeug.wrappers import Response

from appliance.errors import BadInput
from appliance.services import consoles, machines
from webui import forms
from webui.forms import Form, Line
from webui.guard import actor, needs, settings

blueprint = Blueprint("console", __name__)

# What the page shows, with its words; ports are for programs.
TARGETS = {"screen": "Screen", "serial": "Serial line"}


class Ticket(Form):
    """What a page, or a program, wants to connect to."""

    target: Line = "screen"
    take_over: bool = False


@blueprint.get("/machines/<id>/console")
@needs("machines.enter", machine="id", own=True)
def page(id: str) -> str:
    target = request.args.get("target", "screen")
    if target not in TARGETS:
        raise BadInput("A machine has no such console.", "Choose its screen or its serial line.")
    machine = machines.get_machine(actor(), id, "machines.enter")
    return render_template(
        "console.html",
        machine=machine,
        target=target,
        targets=TARGETS,
        own=machine.owner_id == current_user.account.id,
        others=consoles.others([machine], current_user.account.id).get(machine.id, []),
    )


@blueprint.post("/machines/<id>/console/ticket")
@needs("machines.enter", machine="id", own=True)
def ticket(id: str) -> Response:
    """`{"ticket": ..., "control": ...}`: good once, for half a minute, at /ws/<id>/<target>?ticket=..."""
    asked = forms.read(Ticket)
    origin = f"https://{request.host}"
    token = consoles.issue(actor(), current_user.credential, id, asked.target, origin, settings(), take_over=asked.take_over)
    own = machines.get_machine(actor(), id, "machines.enter").owner_id == current_user.account.id
    return jsonify(ticket=token, control=own or asked.take_over)
