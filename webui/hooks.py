"""Where the receivers of webhooks answer later. The address is the permission: it was made for one step of one run."""

from flask import Blueprint, Response, request

from appliance.errors import NotFound
from appliance.identity import throttle
from appliance.services import hooks
from webui.guard import csrf, public

blueprint = Blueprint("hooks", __name__, url_prefix="/hooks")


@blueprint.post("/<token>")
@public
@csrf.exempt  # type: ignore[untyped-decorator]
def answer(token: str) -> Response:
    """204 when the answer is kept, also when it was before."""
    who = throttle.of_hook(request.remote_addr or "")
    throttle.check_free(*who)
    request.max_content_length = hooks.LARGEST
    try:
        hooks.answer(token, request.get_data())
    except NotFound:
        throttle.failed(*who)
        raise
    return Response(status=204)
