"""A person's page: one honest button for each class, and the machines they hold."""

from datetime import timedelta

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask_login import current_user
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import Machine, now, recipes
from appliance.errors import DpeError, NotFound
from appliance.services import consoles, disks, machine_names, machines, moves, overview, runs
from webui import forms
from webui.errors import status_of
from webui.format import span
from webui.forms import Form, Line, Whole
from webui.guard import actor, back, needs, settings
from webui.reauth import requires_reauth_unless

blueprint = Blueprint("portal", __name__)


class Wanted(Form):
    """What is asked for on the page."""

    class_name: str = Field("", alias="class")
    count: Whole = Field(1, title="How many at once", description="Write a whole number.")


class Transfer(Form):
    to: Line = Field(
        max_length=200,
        title="Account of the person who gets it",
        description="The name that they sign in with.",
        json_schema_extra=forms.lookup("person"),
    )


def pages(machine: Machine) -> list[tuple[str, str]]:
    """Titles and addresses of a machine's pages, on the host that the browser used, the one that it opens with first; of its desktop,
    when it has none."""
    if not (ways := machines.ways(machine, settings())):
        return [("Desktop", f"https://{request.host}{url_for('console.page', id=machine.id, target=consoles.desktop(machine))}")]
    host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    if below := _below():
        return [(way.title, f"https://{way.name}{below}{way.path}") for way in ways]
    return [(way.title, f"https://{host}:{way.port}{way.path}") for way in ways if way.port]


def published(machine: Machine) -> list[str]:
    """The ports of a machine's pages, or their names."""
    ways, below = machines.ways(machine, settings()), _below()
    return [f"{way.name}{below}" for way in ways] if below else [str(way.port) for way in ways if way.port]


def _below() -> str:
    """What follows names of machines; asked once, however many a page has."""
    if "below" not in g:
        g.below = machine_names.below()
    found: str = g.below
    return found


@blueprint.get("/enter")
@needs("own")
def enter() -> Response:
    """To the address of a machine's page in the query's `to`, where machines have names: with what lets this browser in there."""
    return redirect(machine_names.hand_over(actor(), current_user.session_id, request.args.get("to", "")), 302)


@blueprint.get("/")
@needs("own")
def index() -> str:
    who = current_user.account
    offers = {offer.machine_class.name: offer for offer in machines.offers(who.id)}
    groups, chosen = machines.grouped(who.id), recipes.bases()
    mine = [machine for group in groups for machine in group.machines]
    return render_template(
        "portal.html",
        offers=offers,
        groups=groups,
        minutes=lambda number: timedelta(minutes=number),
        health=overview.health(),
        pages=pages,
        ends_soon=machines.ends_soon,
        doing=moves.doing(mine),
        watchers=consoles.others(mine, who.id),
        possible={machine.id: moves.possible(actor(), machine) for machine in mine},
        standings={name: runs.standing(offer.request) for name, offer in offers.items() if offer.request},
        data_disks=disks.my_disks(who.id),
        kept=disks.kept(who.id),
        refused={chosen.get(request.class_name, request.class_name): request for request in runs.refused(who.id)},
    )


@blueprint.post("/request")
@needs("machines.use")
def ask() -> Response:
    wanted = forms.read(Wanted)
    machines.request(actor(), wanted.class_name, wanted.count)
    return redirect("/", 303)


@blueprint.post("/requests/<int:id>/cancel")
@needs("own", request="id")
def cancel(id: int) -> Response:
    machines.cancel_request(actor(), id)
    return back()


@blueprint.post("/requests/<int:id>/dismiss")
@needs("own", request="id")
def dismiss(id: int) -> Response:
    runs.dismiss(actor(), id)
    return back()


@blueprint.post("/batches/<int:id>/extend")
@needs("own", request="id")
def extend_together(id: int) -> Response:
    number, ends_at = machines.extend_together(actor(), id)
    flash(f"Extended: {number} are held for another {span(ends_at - now())}.", "success")
    return back()


@blueprint.post("/batches/<int:id>/release")
@needs("own", request="id")
def release_together(id: int) -> Response:
    number = machines.release_together(actor(), id)
    flash(f"{number} machines are given back and will be destroyed.", "success")
    return back()


@blueprint.post("/machines/<id>/still-here")
@needs("machines.manage", machine="id", own=True)
def still_here(id: str) -> Response:
    machines.still_here(actor(), id)
    return back()


@blueprint.post("/machines/<id>/extend")
@needs("machines.manage", machine="id", own=True)
def extend(id: str) -> Response:
    ends_at = machines.extend(actor(), id)
    flash(f"Extended: it is held for another {span(ends_at - now())}.", "success")
    return back()


@blueprint.post("/machines/<id>/release")
@needs("machines.manage", machine="id", own=True)
@requires_reauth_unless(lambda id: machines.get_machine(actor(), id).owner_id == actor().account_id)
def release(id: str) -> Response:
    machine = machines.get_machine(actor(), id)
    machines.release(actor(), id)
    own = machine.owner_id == current_user.account.id
    flash(f"{machine.name} is {'given' if own else 'taken'} back and will be destroyed.", "success")
    return back()


def _own(id: str) -> bool:
    return machines.get_machine(actor(), id).owner_id == actor().account_id


@blueprint.post("/machines/<id>/<verb>")
@needs("machines.manage", machine="id", own=True)
@requires_reauth_unless(lambda id, verb: verb != "reprovision" or _own(id))
def move(id: str, verb: str) -> Response:
    if verb not in moves.PLAIN:
        raise NotFound("There is no such button.", "Reload the page.")
    moves.plain(actor(), id, verb)
    return back()


@blueprint.get("/machines/<id>/transfer")
@needs("machines.manage", machine="id")
def transfer_form(id: str) -> str:
    return _transfer(id)


@blueprint.post("/machines/<id>/transfer")
@needs("machines.manage", machine="id")
@requires_reauth_unless(_own)
def transfer(id: str) -> Response | tuple[str, int]:
    try:
        to = forms.read(Transfer).to
        moves.transfer(actor(), id, to)
    except DpeError as error:
        return _transfer(id, error), status_of(error)
    machine = machines.get_machine(actor(), id)
    flash(f"{machine.name} is being passed on to {to}.", "success")
    return redirect(url_for("machines.page", id=id), 303)


def _transfer(id: str, error: DpeError | None = None) -> str:
    return render_template(
        "transfer.html", machine=machines.get_machine(actor(), id, "machines.manage"), form=forms.bound(Transfer, error=error)
    )
