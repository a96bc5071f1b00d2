"""The pages: signing in, how things are, logs, what can be done about it, and how far that is."""

from typing import Any

from flask import Blueprint, current_app, redirect, render_template, request, send_file, session, url_for
from werkzeug.wrappers import Response

from appliance.errors import BadInput, DpeError, NotFound
from appliance.host.interface import backups, operations, rescue, system
from appliance.host.interface.system import LEVELS, MOST_LINES
from appliance.host.rpc.client import Client
from appliance.host.system import support_bundle
from appliance.settings import Settings
from webui.answers import status_of
from webui.rescue import actions, status
from webui.rescue.sign_in import SignIn

blueprint = Blueprint("rescue", __name__, url_prefix="/rescue")

Page = Response | str | tuple[str, int]
OPEN = ("static", "rescue.sign_in", "rescue.healthz")
LINES = 300


def settings() -> Settings:
    found: Settings = current_app.config["SETTINGS"]
    return found


def door() -> SignIn:
    found: SignIn = current_app.config["DOOR"]
    return found


def who() -> str:
    """Who is signed in; empty when nobody is."""
    return door().who(session.get("token", ""))


def host() -> Client:
    return Client(settings(), f"{who()} (rescue page)")


def check() -> Response | None:
    """Nobody sees more than the sign-in page before they have signed in."""
    if request.endpoint is None or request.endpoint in OPEN or who():
        return None
    return redirect(url_for("rescue.sign_in"), 303)


@blueprint.get("/healthz")
def healthz() -> str:
    return "ok\n"


@blueprint.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> Page:
    if request.method == "GET" and who():
        return redirect(url_for("rescue.index"), 303)
    keys, form, error, address = door().keys(), request.form, None, request.remote_addr or ""
    if request.method == "POST":
        try:
            if "setup_code" in form:
                token = door().sign_in_by_setup_code(form["setup_code"], address)
            else:
                token = door().sign_in(form.get("name", "").strip(), form.get("password", ""), form.get("code", ""), address)
            session.clear()
            session["token"] = token
            return redirect(url_for("rescue.index"), 303)
        except DpeError as refused:
            error = refused
    codes = any(owner.secret for owner in keys.owners)
    page = render_template(
        "rescue/sign_in.html",
        owners=bool(keys.owners),
        setup=bool(keys.setup_code),
        codes=codes,
        title=keys.title,
        name=form.get("name", ""),
        error=error,
    )
    return page, 403 if error else 200


@blueprint.post("/sign-out")
def sign_out() -> Response:
    door().end(session.get("token", ""))
    session.clear()
    return redirect(url_for("rescue.sign_in"), 303)


@blueprint.get("/")
def index() -> str:
    return render_template("rescue/index.html", now=status.look(host(), settings()))


@blueprint.get("/logs")
def logs() -> Page:
    given = request.args
    level, text = given.get("level", "debug"), given.get("text", "")[:200]
    level = level if level in LEVELS else "debug"
    most = min(max(given.get("most", LINES, type=int), 1), MOST_LINES)
    sources: dict[str, str] = {}
    lines: list[system.Line] = []
    error = None
    source = given.get("source", "web")
    try:
        sources = host().call(system.LOGS)
        source = source if source in sources or not sources else next(iter(sources))
        wanted = system.Lines.model_validate({"source": source, "most": most, "level": level, "text": text})
        lines = host().call(system.LOG_LINES, wanted) if sources else []
    except DpeError as refused:
        error = refused
    return render_template(
        "rescue/logs.html", sources=sources, lines=lines, source=source, level=level, text=text, most=most, LEVELS=LEVELS[::-1], error=error
    )


@blueprint.get("/repair")
def repair() -> str:
    found, error = [], None
    try:
        found = actions.offered(host())
    except DpeError as refused:
        error = refused
    return render_template("rescue/repair.html", actions=found, error=error)


@blueprint.route("/repair/<name>", methods=["GET", "POST"])
def act(name: str) -> Page:
    action = actions.ACTIONS.get(name)
    if action is None:
        raise NotFound("There is no such page.", "The page Repair has what there is.")
    error: DpeError | None = None
    choices: list[Any] = []
    disks: list[backups.Volume] = []
    if request.method == "POST" and "look" not in request.form:
        try:
            return _went(action, actions.do(action, request.form, host()))
        except BadInput as refused:
            error = refused
    try:
        disks = host().call(backups.DISKS) if action.name == "restore" else []
        choices = action.choices(host(), request.values)
    except DpeError as refused:
        error = error or refused
    page = render_template("rescue/act.html", action=action, choices=choices, disks=disks, given=request.values, error=error)
    return page, status_of(error) if error and request.method == "POST" else 200


def _went(action: actions.Action, operation: str) -> Response:
    if operation:
        return redirect(url_for("rescue.operation", id=operation), 303)
    return redirect(url_for("rescue.done", name=action.name), 303)


@blueprint.get("/done/<name>")
def done(name: str) -> Page:
    action = actions.ACTIONS.get(name)
    if action is None:
        raise NotFound("There is no such page.", "The page Repair has what there is.")
    return render_template("rescue/done.html", action=action)


@blueprint.get("/operations/<id>")
def operation(id: str) -> str:
    operation = host().operation(id)
    return render_template("rescue/operation.html", operation=operation, bundle=operation.outcome(rescue.BUNDLE) or "")


@blueprint.post("/operations/<id>/cancel")
def cancel(id: str) -> Response:
    host().call(operations.CANCEL)
    return redirect(url_for("rescue.operation", id=id), 303)


@blueprint.get("/support/<name>")
def bundle(name: str) -> Response:
    return send_file(support_bundle.find(settings(), name), as_attachment=True, download_name=name, mimetype="application/gzip")
