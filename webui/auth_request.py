"""What the front door asks: may this browser through to the application behind this port, or this name?

nginx asks about every such request (`auth_request`).
"""

from collections.abc import Mapping
from typing import cast
from urllib.parse import parse_qs, quote, urlsplit

from flask import Blueprint, Response, redirect, request
from flask_login import current_user
from werkzeug.wrappers import Response as WerkzeugResponse

from appliance import catalog
from appliance.access import cookies
from appliance.catalog import Actor
from appliance.errors import Conflict, DpeError, NotAllowed, NotFound
from appliance.services import app_access, consoles, machine_names, overview
from appliance.settings import Settings
from webui import metrics
from webui.guard import public, settings
from webui.reauth import comes_first

blueprint = Blueprint("door", __name__)

SIGN_IN = "/sign-in"
# What nginx shows of `access.pages` when somebody may not through; the first that fits.
PAGES: dict[type[DpeError], str] = {NotFound: "nobody", NotAllowed: "denied", app_access.Rests: "rests", Conflict: "starting"}


@blueprint.get("/door/check")
@public
def check() -> Response:
    """The answer to nginx, for whoever is signed in with this browser."""
    actor, session_id = (current_user.actor, current_user.session_id) if current_user.is_authenticated and not comes_first() else (None, "")
    status, headers = answer(actor, session_id, cast(Mapping[str, str], request.headers), settings())
    metrics.count_door(status, headers.get("X-DPE-Page", ""))
    return Response(status=status, headers=headers)


@blueprint.get("/door/console")
@public
def console() -> Response:
    """The answer to nginx about a WebSocket to a screen or a serial line: 200 with X-DPE-Ticket, for dpe-console, or 403."""
    if not current_user.is_authenticated or comes_first():
        return Response(status=403)
    asked = urlsplit(request.headers.get("X-DPE-Uri", ""))
    machine_id, _, target = asked.path.removeprefix("/ws/").partition("/")
    token = parse_qs(asked.query).get("ticket", [""])[0]
    try:
        admitted = consoles.redeem(token, current_user.credential, machine_id, target, request.headers.get("X-DPE-Origin", ""))
    except NotAllowed:
        return Response(status=403)
    return Response(headers={"X-DPE-Ticket": admitted.dump()})


@blueprint.get("/healthz")
@public
def healthz() -> Response:
    """Liveness: that this process answers; says nothing of the engine."""
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
@public
def readyz() -> Response:
    """Readiness: 200 when the catalog can be read, the engine lives and the hypervisor answers it; else 503. It says which, and nothing more."""
    try:
        health = overview.health()
        checks = {"catalog": True, "engine": health.engine_ok, "hypervisor": health.hypervisor_ok}
    except Exception as error:
        if catalog.refusal(error) is None:
            raise
        checks = {"catalog": False}
    text = "".join(f"{name} {'ok' if good else 'not ready'}\n" for name, good in checks.items())
    return Response(text, 200 if all(checks.values()) else 503, mimetype="text/plain")


def answer(actor: Actor | None, session_id: str, headers: Mapping[str, str], settings: Settings) -> tuple[int, dict[str, str]]:
    """The status and headers of the answer to nginx about one request of `actor` (None: not signed in) with their session.

    `headers` are those of nginx's question: Host, X-DPE-Uri, and X-DPE-Name, or X-DPE-Port and X-DPE-Navigates (whether somebody sees the
    answer as a page). The answer is 200 with X-DPE-Upstream (address:port) and X-DPE-Ticket, both for the relay, and for a machine that was
    never opened X-DPE-Clear (what the browser is to forget of the machine before it); or 401 with X-DPE-Location (where to sign in, or the
    machine's name, where it has one and a page was asked for by its port); or 403 with X-DPE-Page (the name of one of `appliance.access.pages.PAGES`).
    """
    uri, name = headers.get("X-DPE-Uri", "/"), headers.get("X-DPE-Name", "")
    try:
        port = 0 if name else int(headers.get("X-DPE-Port", ""))
        host = urlsplit(f"//{headers.get('Host', '')}").hostname or ""
    except ValueError:
        return 403, {"X-DPE-Page": "nobody"}
    if actor is None and not name:
        host = f"[{host}]" if ":" in host else host
        there = quote(f"https://{host}:{port}{uri}", safe="")
        return 401, {"X-DPE-Location": f"https://{host}:{settings.https_port}{SIGN_IN}?next={there}"}
    below = machine_names.below()
    if name and not below:  # it was a moment ago
        return 403, {"X-DPE-Page": "nobody"}
    if actor is None:
        return 401, {"X-DPE-Location": machine_names.sign_in_at(name, uri)}
    try:
        target = app_access.admit_named(actor, name, settings) if name else app_access.admit(actor, port, settings, named=bool(below))
    except tuple(PAGES) as error:
        return 403, {"X-DPE-Page": next(page for kind, page in PAGES.items() if isinstance(error, kind))}
    # What is open by a port when names are switched on goes on, and can be saved; no page is had there any more.
    if below and not name and headers.get("X-DPE-Navigates"):
        return 401, {"X-DPE-Location": f"https://{target.name}{below}{uri}"}
    found = {"X-DPE-Upstream": f"{target.address}:{target.port}", "X-DPE-Ticket": f"{session_id} {target.machine_id}"}
    # The port is the one of their last machine, whose page may have left a service worker that would go on answering here.
    return 200, {**found, "X-DPE-Clear": '"storage"'} if target.fresh else found


@blueprint.get("/door/enter")
@public
def enter() -> WerkzeugResponse:
    """Below a machine's name: the code that the page gave becomes the cookie of this name, and the browser goes on to where it wanted."""
    answer = redirect(machine_names.own_path(request.args.get("to", "")), 302)
    if kept := machine_names.redeem(request.args.get("code", ""), request.headers.get("X-DPE-Name", "")):
        answer.set_cookie(cookies.DOOR, kept, secure=True, httponly=True, samesite="Lax", path="/")
    return answer


@blueprint.get("/door/portal")
@public
def portal() -> WerkzeugResponse:
    """Below a machine's name: to the page."""
    return redirect(machine_names.portal(), 302)
