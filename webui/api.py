"""The REST API, version 1: a person's own machines, as JSON. Errors are problem details (RFC 9457).

A program sends `Authorization: Bearer TOKEN`; a browser that is signed in may ask too, and then needs the CSRF token to change anything.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from flask import Blueprint, current_app, request, url_for
from flask_login import current_user

from appliance.catalog import Machine
from appliance.errors import BadInput, NotAllowed
from appliance.services import machines
from webui.guard import actor, csrf, needs
from webui.portal import application

View = TypeVar("View", bound=Callable[..., Any])
Answer = dict[str, Any] | tuple[dict[str, Any], int] | tuple[dict[str, Any], int, dict[str, str]]

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
csrf.exempt(blueprint)  # of the check that comes first; see _check_scope

SCOPES = {"read": "See the account's machines and what it can get", "machines": "Get machines, extend them and give them back"}


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
    needed = current_app.view_functions[request.endpoint or ""].scope  # type: ignore[attr-defined]
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
            "name": o.cls.name,
            "title": o.cls.spec["title"],
            "ready": o.ready,
            "held": o.held,
            "at_once": o.at_once,
            "waiting": o.request is not None,
            "refusal": o.refusal,
        }
        for o in offers
    ]
    return {"classes": found}


@blueprint.get("/machines")
@needs("own")
@scope("read")
def machine_list() -> Answer:
    return {"machines": [_machine(machine) for machine in machines.mine(current_user.account.id)]}


@blueprint.get("/machines/<id>")
@needs("own", machine="id")
@scope("read")
def machine(id: str) -> Answer:
    return _machine(machines.get(actor(), id))


@blueprint.post("/machines")
@needs("machines.use")
@scope("machines")
def claim() -> Answer:
    wanted = (request.get_json(silent=True) if request.is_json else request.form) or {}
    name = wanted.get("class") if isinstance(wanted, dict) else None
    if not isinstance(name, str) or not name:
        raise BadInput("No class is named.", 'Send {"class": "NAME"}; /api/v1/classes lists them.')
    count = wanted.get("count", 1)
    if isinstance(count, str) and count.isascii() and count.isdigit() and len(count) < 10:
        count = int(count)
    if not isinstance(count, int) or isinstance(count, bool):
        raise BadInput(f"{count!r} is not a number of machines.", 'Send {"class": "NAME", "count": 1}.')
    asked = machines.request(actor(), name, count)
    if asked.machine_id is None:
        return {"state": "waiting", "request": asked.id}, 202
    if count > 1:
        made_together = [
            machine for group in machines.grouped(current_user.account.id) if group.batch == asked.id for machine in group.machines
        ]
        return {"machines": [_machine(machine) for machine in made_together]}, 201
    made = _machine(machines.get(actor(), asked.machine_id))
    return made, 201, {"Location": made["self"]}


@blueprint.post("/machines/<id>/extend")
@needs("own", machine="id")
@scope("machines")
def extend(id: str) -> Answer:
    return {"lease_ends_at": _time(machines.extend(actor(), id))}


@blueprint.post("/machines/<id>/release")
@needs("own", machine="id")
@scope("machines")
def release(id: str) -> Answer:
    machines.release(actor(), id)
    return {"state": "reclaiming"}, 202
