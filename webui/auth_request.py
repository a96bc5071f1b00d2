"""What the front door asks: may this browser through to the application behind this port?

nginx asks about every such request (`auth_request`).
"""

from collections.abc import Mapping
from typing import cast
from urllib.parse import parse_qs, quote, urlsplit

from flask import Blueprint, Response, request
from flask_login import current_user

from appliance import catalog
from appliance.catalog import Actor
from appliance.errors import Conflict, NotAllowed, NotFound
from appliance.services import app_access, consoles, overview
from appliance.settings import Settings
from webui import metrics
from webui.guard import public, settings
from webui.reauth import comes_first

blueprint = Blueprint("door", __name__)

SIGN_IN = "/sign-in"


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

    `headers` are those of nginx's question: Host, X-DPE-Port and X-DPE-Uri. The answer is 200 with X-DPE-Upstream (address:port) and
    X-DPE-Ticket, both for the relay, and for a machine that was never opened X-DPE-Clear (what the browser is to forget of the machine
    before it); or 401 with X-DPE-Location (where to sign in); or 403 with X-DPE-Page (the name of one of `appliance.access.pages.PAGES`).
    """
    try:
        port = int(headers.get("X-DPE-Port", ""))
        host = urlsplit(f"//{headers.get('Host', '')}").hostname or ""
    except ValueError:
        return 403, {"X-DPE-Page": "nobody"}
    if actor is None:
        host = f"[{host}]" if ":" in host else host
        after = f"https://{host}:{port}{headers.get('X-DPE-Uri', '/')}"
        return 401, {"X-DPE-Location": f"https://{host}:{settings.https_port}{SIGN_IN}?next={quote(after, safe='')}"}
    try:
        target = app_access.admit(actor, port, settings)
    except NotFound:
        return 403, {"X-DPE-Page": "nobody"}
    except NotAllowed:
        return 403, {"X-DPE-Page": "denied"}
    except app_access.Rests:
        return 403, {"X-DPE-Page": "rests"}
    except Conflict:
        return 403, {"X-DPE-Page": "starting"}
    answer = {"X-DPE-Upstream": f"{target.address}:{target.port}", "X-DPE-Ticket": f"{session_id} {target.machine_id}"}
    # The port is the one of their last machine, whose page may have left a service worker that would go on answering here.
    return 200, {**answer, "X-DPE-Clear": '"storage"'} if target.fresh else answer
