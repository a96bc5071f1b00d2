"""What the front door asks: may this browser through to the application behind this port?"""

from collections.abc import Mapping
from typing import cast

from flask import Blueprint, Response, request
from flask_login import current_user

from appliance.access import door
from webui.again import lacks_codes
from webui.guard import public, settings

blueprint = Blueprint("door", __name__)


@blueprint.get("/door/check")
@public
def check() -> Response:
    """The answer of `access.door`, which knows what to tell somebody who is not signed in."""
    actor, session_id = (current_user.actor, current_user.session_id) if current_user.is_authenticated and not lacks_codes() else (None, "")
    status, headers = door.check(actor, session_id, cast(Mapping[str, str], request.headers), settings())
    return Response(status=status, headers=headers)


@blueprint.get("/healthz")
@public
def healthz() -> Response:
    """That this process answers; says nothing of the engine."""
    return Response("ok\n", mimetype="text/plain")
