"""Backups: where they go, the recovery key, making, checking and restoring them."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.host.interface.backups import Sftp, ShownTarget
from appliance.services import appliance_backups, server
from webui.errors import status_of
from webui.guard import actor, needs, settings
from webui.reauth import requires_reauth

blueprint = Blueprint("backups", __name__, url_prefix="/admin/server/backups")

Page = Response | str | tuple[str, int]
OPERATIONS = ("Backup", "Check of the backups", "Restore", "Fetching copies of data disks")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _page(error: DpeError | None = None, at: str = "", **more: Any) -> Page:
    """The page; `at` says which form the error is in."""
    state = away = None
    disks, public_key, running = [], "", None
    try:
        state = appliance_backups.state(settings())
        disks, public_key = appliance_backups.disks(settings()), appliance_backups.public_key(settings())
        running = next((operation for operation in server.recent(settings()) if operation.title in OPERATIONS), None)
    except DpeError as refused:
        away = refused
    page = render_template(
        "admin/backups.html",
        state=state,
        away=away,
        disks=disks,
        public_key=public_key,
        operation=running,
        error=error,
        at=at,
        values=request.form if at == "target" else from_target(state.target if state else None),
        plan=request.form if at == "plan" else None,
        planned_days=request.form.getlist("days"),
        DAYS=DAYS,
        **more,
    )
    return (page, status_of(error)) if error else page


def from_target(target: ShownTarget | None) -> dict[str, Any]:
    """The form's values for a target."""
    if target is None:
        return {"kind": "", "sftp_port": "22"}
    return {"kind": target.kind, **{f"{target.kind}_{name}": value for name, value in target.model_dump().items()}}


def host_keys() -> list[str]:
    """The keys of an SSH server that were shown and confirmed by pressing the button under them, or before."""
    return [one for one in request.form.get("host_keys", "").split(",") if one] if request.form.get("confirmed") == "yes" else []


def _known_keys() -> list[str]:
    known = appliance_backups.state(settings()).target
    return known.host_keys if isinstance(known, Sftp) and known.host == request.form.get("sftp_host", "").strip() else []


@blueprint.get("/")
@needs("settings.manage")
def index() -> Page:
    return _page()


@blueprint.get("/list")
@needs("settings.manage")
def found() -> Page:
    """The list alone: the target may take its time to answer."""
    error, listed = None, []
    try:
        listed = appliance_backups.everything(settings())
    except DpeError as refused:
        error = refused
    return render_template("admin/_backup_list.html", found=listed, error=error)


def _with_target(configure: bool) -> Page:  # noqa: FBT001 - which of the form's two buttons
    key = request.form.get("key", "")
    try:
        target = appliance_backups.entered(request.form, host_keys() or _known_keys(), stored=True)
        looked = (appliance_backups.configure if configure else appliance_backups.test)(actor(), settings(), target, key)
    except DpeError as error:
        return _page(error, "target", key=key)
    if looked.state == "confirm" or not configure:
        return _page(at="target", looked=looked, key=key)
    flash("Backups go there from now on." if looked.state == "empty" else f"Backups go there from now on. {looked.words}", "success")
    return redirect(url_for("backups.index"), 303)


@blueprint.post("/test")
@needs("settings.manage")
def test() -> Page:
    return _with_target(configure=False)


@blueprint.post("/configure")
@needs("settings.manage")
@requires_reauth
def configure() -> Page:
    return _with_target(configure=True)


@blueprint.post("/key")
@needs("settings.manage")
@requires_reauth
def key() -> Page:
    """The page that shows the recovery key."""
    return _page(recovery_key=appliance_backups.key(actor(), settings()))


@blueprint.post("/noted")
@needs("settings.manage")
def noted() -> Page:
    appliance_backups.noted(actor(), settings())
    flash("Good. It is not shown again.", "success")
    return redirect(url_for("backups.index"), 303)


@blueprint.post("/schedule")
@needs("settings.manage")
def plan() -> Page:
    try:
        appliance_backups.plan(actor(), settings(), request.form, request.form.getlist("days"))
    except DpeError as error:
        return _page(error, "plan")
    flash("Saved.", "success")
    return redirect(url_for("backups.index"), 303)


@blueprint.post("/stop")
@needs("settings.manage")
@requires_reauth
def stop() -> Page:
    appliance_backups.stop(actor(), settings())
    flash("Nothing is backed up any more.", "success")
    return redirect(url_for("backups.index"), 303)


@blueprint.post("/run")
@needs("settings.manage")
def run() -> Page:
    return _begun(appliance_backups.run(actor(), settings()))


@blueprint.post("/verify")
@needs("settings.manage")
def verify() -> Page:
    return _begun(appliance_backups.verify(actor(), settings()))


@blueprint.post("/restore")
@needs("settings.manage")
@requires_reauth
def restore() -> Page:
    network = request.form.get("network") == "yes"
    return _begun(appliance_backups.restore(actor(), settings(), request.form.get("snapshot", ""), network=network))


@blueprint.post("/copies")
@needs("settings.manage")
def copies() -> Page:
    return _begun(appliance_backups.fetch_copies(actor(), settings(), request.form.get("snapshot", "")))


def _begun(operation: str) -> Response:
    return redirect(url_for("server.operation", id=operation), 303)
