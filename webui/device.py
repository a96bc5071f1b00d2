"""Programs that sign in by being approved in a browser, like `dpe login` (RFC 8628), and the page where that command is had."""

import hashlib
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from flask import Blueprint, Response, jsonify, render_template, request, send_from_directory, url_for
from flask_login import current_user
from pydantic import Field
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import BadInput, DpeError, NotFound
from appliance.services import devices
from webui import forms
from webui.api import SCOPES
from webui.errors import status_of
from webui.forms import Form, Line
from webui.guard import actor, csrf, needs, public
from webui.reauth import requires_reauth

blueprint = Blueprint("device", __name__)

Page = tuple[str, int]

WHEELS = Path(sys.prefix) / "share/dpe"  # where set-up and the image build leave the command's wheel
WHEEL = re.compile(r"dpe-[\w.+!]+-py3-none-any\.whl")


class Ask(Form):
    """What a program asks for: a name for people, and scopes with blanks between (RFC 8628, 3.1)."""

    client_name: str = Field("", max_length=200)
    scope: str = Field("", max_length=1000)


class Collect(Form):
    """How a program asks for its token (RFC 8628, 3.4)."""

    device_code: str = Field("", max_length=200)


class Code(Form):
    code: Line = Field("", title="Code", description="As the program shows it, like BCDF-GHJK.")


# -- what programs ask ---------------------------------------------------------------------------------


@blueprint.post("/api/v1/device")
@public
@csrf.exempt  # type: ignore[untyped-decorator]
def begin() -> Response:
    """Begin to sign in: codes for the program and for its person."""
    asked = forms.read(Ask)
    scope = asked.scope.split()
    if unknown := [name for name in scope if name not in SCOPES] or ([""] if not scope else []):
        raise BadInput(f"There is no scope {unknown[0][:40]!r}.", f"There is {', '.join(SCOPES)}.", field="scope")
    code, made = devices.begin(asked.client_name, scope, request.remote_addr or "")
    user_code = devices.shown(made.user_code)
    address = f"https://{request.host}"
    return _answer(
        device_code=code,
        user_code=user_code,
        verification_uri=address + url_for("device.page"),
        verification_uri_complete=address + url_for("device.page", code=user_code),
        expires_in=devices.LASTS,
        interval=devices.INTERVAL,
    )


@blueprint.post("/api/v1/device/token")
@public
@csrf.exempt  # type: ignore[untyped-decorator]
def collect() -> Response:
    """The token, once somebody has approved; until then 400, and `error` says why."""
    try:
        token, found = devices.redeem(forms.read(Collect).device_code)
    except devices.Waiting as waiting:
        answer = _answer(error=waiting.error)
        answer.status_code = 400
        return answer
    return _answer(access_token=token, token_type="Bearer", scope=" ".join(found.scope), expires_in=devices.DAYS * 86400)  # noqa: S106


def _answer(**said: str | int) -> Response:
    answer = jsonify(said)
    answer.headers["Cache-Control"] = "no-store"
    return answer


# -- where a person approves ----------------------------------------------------------------------------


@blueprint.get("/device")
@needs("own")
def page() -> Page:
    if not request.args.get("code"):
        return _page()
    try:
        return _page(devices.find(actor(), request.args["code"][:40]))
    except DpeError as error:
        return _page(error=error)


def _page(found: devices.Device | None = None, error: DpeError | None = None) -> Page:
    if error is not None:
        error.field = "code"
    page = render_template(
        "device.html",
        device=found,
        code=devices.shown(found.user_code) if found else "",
        scopes={name: SCOPES[name] for name in found.scope} if found else {},
        days=devices.DAYS,
        form=forms.bound(Code, {"code": request.args.get("code", "")[:40]}, error, mine=True),
    )
    return page, status_of(error) if error else 200


@blueprint.post("/device/approve")
@needs("own")
@requires_reauth
def approve() -> BaseResponse | Page:
    return _decided(lambda code: devices.approve(actor(), current_user.session_id, code))


@blueprint.post("/device/deny")
@needs("own")
def deny() -> BaseResponse | Page:
    return _decided(lambda code: devices.deny(actor(), code))


def _decided(decide: Callable[[str], devices.Device]) -> BaseResponse | Page:
    try:
        found = decide(forms.read(Code).code)
    except DpeError as error:
        return _page(error=error)
    return render_template("device_done.html", device=found), 200


# -- where the command is had ----------------------------------------------------------------------------


@blueprint.get("/docs/command-line")
@needs("own")
def command_line() -> str:
    file = wheel()
    root = f"https://{request.host}"
    return render_template(
        "command_line.html",
        file=file.name if file else "",
        digest=_digest(file) if file else "",
        root=root,
        host=request.host,
    )


@blueprint.get("/download/<name>")
@public
def download(name: str) -> BaseResponse:
    """The command's wheel, for pip, which signs in nowhere."""
    file = wheel()
    if file is None or file.name != name:
        raise NotFound("There is no such file.", "The page Command line has the one for this appliance.")
    return send_from_directory(file.parent, file.name, mimetype="application/zip", as_attachment=True)


def wheel() -> Path | None:
    """The wheel of the command, of this appliance's own version."""
    return next((file for file in sorted(WHEELS.glob("*.whl")) if WHEEL.fullmatch(file.name)), None)


@lru_cache(maxsize=4)
def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
