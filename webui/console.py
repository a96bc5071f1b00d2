"""A machine's console: its screen and its serial line in the browser, for its owner, and for whoever may enter it."""

import io
from configparser import ConfigParser

from flask import Blueprint, jsonify, render_template, request
from flask_login import current_user
from werkzeug.wrappers import Response

from appliance.catalog import Machine, MachineState
from appliance.errors import BadInput, NotFound
from appliance.services import consoles, machines, pictures
from webui import forms
from webui.forms import Form, Line
from webui.guard import actor, needs, settings
from webui.portal import pages

blueprint = Blueprint("console", __name__)

# What the page shows, with its words, besides the desktop of a machine that has one; other ports are for programs.
TARGETS = {"screen": "Screen", "serial": "Serial line"}
# Where the page says that `dpe console --listen` should wait for a program of the person's own.
LISTENING = 5900
LISTENING_RDP = 3390  # 3389 is that of a Windows computer itself


class Ticket(Form):
    """What a page, or a program, wants to connect to."""

    target: Line = "screen"
    take_over: bool = False


@blueprint.get("/machines/<id>/console")
@needs("machines.enter", machine="id", own=True)
def page(id: str) -> str:
    machine = machines.get_machine(actor(), id, "machines.enter")
    targets, desktop = _targets(machine), consoles.desktop(machine)
    # The desktop of one that waits may be paused with it, and answer nobody.
    target = request.args.get("target") or (desktop if desktop and machine.state is MachineState.IN_USE else "screen")
    if target not in targets:
        raise BadInput("A machine has no such console.", "Choose its screen or its serial line.")
    return render_template(
        "console.html",
        machine=machine,
        target=target,
        targets=targets,
        application=pages(machine)[0][1] if machines.ways(machine, settings()) else "",
        listening=LISTENING,
        rdp=consoles.rdp(machine),
        listening_rdp=LISTENING_RDP,
        own=machine.owner_id == current_user.account.id,
        others=consoles.others([machine], current_user.account.id).get(machine.id, []),
    )


def _targets(machine: Machine) -> dict[str, str]:
    desktop = consoles.desktop(machine)
    return {**({desktop: "Desktop"} if desktop else {}), **TARGETS}


@blueprint.get("/machines/<id>/console.vv")
@needs("machines.enter", machine="id", own=True)
def viewer(id: str) -> Response:
    """A file for virt-viewer, which has no secret in it: it is told of the port at which `dpe console --listen` waits on the person's own computer."""
    machine, file = machines.get_machine(actor(), id, "machines.enter"), io.StringIO()
    parser = ConfigParser(interpolation=None)
    parser["virt-viewer"] = {"type": "vnc", "host": "127.0.0.1", "port": str(LISTENING), "title": machine.name}
    parser.write(file, space_around_delimiters=False)
    return _attached(f"{machine.name}.vv", file.getvalue(), "application/x-virt-viewer")


@blueprint.get("/machines/<id>/console.rdp")
@needs("machines.enter", machine="id", own=True)
def rdp_client(id: str) -> Response:
    """The same for RDP clients, of a machine whose desktop speaks that. Nothing is asked for: who comes in is the appliance, with the owner."""
    machine = machines.get_machine(actor(), id, "machines.enter")
    if not consoles.rdp(machine):
        raise NotFound("This machine does not speak RDP.", "Its class has the application Desktop with the option RDP, or it has not.")
    said = {
        "full address:s": f"127.0.0.1:{LISTENING_RDP}",
        "username:s": str(machine.machine_class.spec["user"]),
        "prompt for credentials:i": 0,
        "enablecredsspsupport:i": 0,
        "authentication level:i": 0,  # its certificate is its own; the way there is the appliance's
        "audiomode:i": 2,
        "redirectclipboard:i": 1,
    }
    return _attached(f"{machine.name}.rdp", "".join(f"{key}:{value}\r\n" for key, value in said.items()), "application/x-rdp")


def _attached(name: str, content: str, kind: str) -> Response:
    return Response(content, mimetype=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@blueprint.get("/machines/<id>/picture")
@needs("machines.enter", machine="id", own=True)
def picture(id: str) -> Response:
    """What the machine shows now, as a small PNG, which no browser keeps either."""
    return Response(pictures.take(actor(), id, settings()), mimetype="image/png", headers={"Cache-Control": "no-store"})


@blueprint.post("/machines/<id>/console/ticket")
@needs("machines.enter", machine="id", own=True)
def ticket(id: str) -> Response:
    """`{"ticket": ..., "control": ...}`: good once, for half a minute, at /ws/<id>/<target>?ticket=..."""
    asked = forms.read(Ticket)
    origin = f"https://{request.host}"
    token = consoles.issue(actor(), current_user.credential, id, asked.target, origin, settings(), take_over=asked.take_over)
    own = machines.get_machine(actor(), id, "machines.enter").owner_id == current_user.account.id
    return jsonify(ticket=token, control=own or asked.take_over)
