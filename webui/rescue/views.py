"""The pages: signing in, how things are, logs, what can be done about it, and how far that is."""

from flask import Blueprint, current_app, redirect, render_template, request, send_file, session, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import BadInput, DpeError, NotFound
from appliance.host.console import rescue as rescue_keys
from appliance.host.interface import backups, operations, rescue, system
from appliance.host.interface.system import LEVELS, MOST_LINES
from appliance.host.rpc.client import Client
from appliance.host.system import support_bundle
from appliance.settings import Settings
from webui import forms
from webui import language as languages
from webui.answers import status_of
from webui.forms import SECRET, Form, Line
from webui.rescue import actions, status
from webui.rescue.actions import Asked
from webui.rescue.sign_in import SignIn

blueprint = Blueprint("rescue", __name__, url_prefix="/rescue")

Page = Response | str | tuple[str, int]
OPEN = ("static", "rescue.sign_in", "rescue.healthz")
LINES = 300
HERE = " (rescue page)"  # behind the name of who asks dpe-host from here


class Credentials(Form):
    name: Line = Field(title="Name")
    password: str = Field(title="Password", json_schema_extra=SECRET)
    code: str = Field("", title="One-time code", description="From your app, or a recovery code. Leave it empty if you do not use them.")


class SetupCode(Form):
    setup_code: str = Field(title="Setup code")


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
    return Client(settings(), f"{who()}{HERE}")


def language() -> str:
    """One that the browser asks for, else the appliance's, as the catalog says or said when it could last be read."""
    return languages.asked_for() or rescue_keys.kept(settings()).language


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
    keys, error, address = door().keys(), None, request.remote_addr or ""
    if request.method == "POST":
        try:
            if keys.owners:
                given = forms.read(Credentials)
                token = door().sign_in(given.name, given.password, given.code, address)
            else:
                token = door().sign_in_by_setup_code(forms.read(SetupCode).setup_code, address)
            session.clear()
            session["token"] = token
            return redirect(url_for("rescue.index"), 303)
        except DpeError as refused:
            error = refused
    page = render_template(
        "rescue/sign_in.html",
        owners=bool(keys.owners),
        setup=bool(keys.setup_code),
        codes=any(owner.secret for owner in keys.owners),
        title=keys.title,
        form=forms.bound(Credentials if keys.owners else SetupCode, error=error),
    )
    return page, status_of(error) if error else 200


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
    asked = Asked(choice=request.args.get("choice", ""))
    error: DpeError | None = None
    choices: dict[str, str] = {}
    disks: list[backups.Volume] = []
    if request.method == "POST":
        try:
            asked = forms.read(Asked)
            if not asked.look:
                return _went(action, actions.do(action, asked, host()))
        except BadInput as refused:
            error = refused
    try:
        disks = host().call(backups.DISKS) if action.name == "restore" else []
        choices = dict(action.choices(host(), asked))
    except DpeError as refused:
        error = error or refused
    stored = asked.model_dump(exclude=None if asked.choice in choices else {"choice"})
    form = forms.bound(Asked, stored, error, choices={"choice": choices})
    page = render_template("rescue/act.html", action=action, choices=choices, disks=disks, form=form, error=error)
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
