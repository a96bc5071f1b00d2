"""Backups: where they go, the recovery key, making, checking and restoring them."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.host.interface.backups import Often, Sftp, ShownTarget, Volume
from appliance.services import appliance_backups, server
from webui import forms
from webui.errors import status_of
from webui.forms import CHECKS, SECRET, Form, Line, Ticked
from webui.guard import actor, needs, settings
from webui.reauth import requires_reauth

blueprint = Blueprint("backups", __name__, url_prefix="/admin/server/backups")

Page = Response | str | tuple[str, int]
OPERATIONS = ("Backup", "Check of the backups", "Restore test", "Restore", "Fetching copies of data disks")
OFTEN = {"never": "Never", "daily": "Every day", "weekly": "Every week", "monthly": "Every month"}
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


KINDS = {
    "disk": "A disk plugged into this server",
    "folder": "A folder of this server",
    "sftp": "Another server, through SSH",
    "s3": "A bucket that speaks S3",
}


class Target(Form):
    """Where backups go: the fields of each kind begin with it. Which of them have to be there is for the service to say."""

    kind: str = Field(title="Where")
    disk_uuid: Line = Field("", title="Which one", description="Nothing on it is erased; backups get a folder of their own, dpe-backup.")
    folder_path: Line = Field("", title="Path", description="It must be there already, and not on the disk of the appliance itself.")
    sftp_host: Line = Field("", title="Server")
    sftp_port: Line = Field("22", title="Port")
    sftp_user: Line = Field("", title="User")
    sftp_path: Line = Field("", title="Folder there")
    s3_endpoint: Line = Field("", title="Address")
    s3_bucket: Line = Field("", title="Bucket")
    s3_prefix: Line = Field("", title="Folder in it", description="Empty if the bucket is for this alone.")
    s3_region: Line = Field("", title="Region", description="Empty if the provider names none.")
    s3_access_key: Line = Field("", title="Access key")
    s3_secret_key: Line = Field("", title="Its secret", json_schema_extra=SECRET)
    host_keys: str = ""  # of an SSH server, with commas, as they were shown
    confirmed: Ticked = False  # by pressing the button under them, or before
    key: str = Field(
        "",
        title="Their recovery key",
        description="To go on with the backups of an appliance that was lost. Otherwise leave it empty: a key is made.",
    )

    def values(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.model_dump().items()}

    def keys_seen(self) -> list[str]:
        """The keys of an SSH server that were shown and confirmed."""
        return [one for one in self.host_keys.split(",") if one] if self.confirmed else []


class Schedule(Form):
    on: Ticked = Field(
        False,
        title="Back up by itself",
        description="One that was missed, because the server was off, is made up. If one fails, owners are told by e-mail, and it is tried again "
        "every hour.",
    )
    at: Line = Field(title="At")
    days: list[str] = Field([], title="On", json_schema_extra=CHECKS)
    daily: Line = Field(title="Days to go back", json_schema_extra={"unit": "days"})
    weekly: Line = Field(title="Weeks to go back", json_schema_extra={"unit": "weeks"})
    monthly: Line = Field(title="Months to go back", json_schema_extra={"unit": "months"})
    seeds: Ticked = Field(
        False,
        title="With seeds",
        description="The images that machines are made from, one to three GiB each, stored once. Without them they are built again after a restore, "
        "which needs the Debian mirror.",
    )
    restore_test: Often = Field(
        "weekly",
        title="Test a restore",
        description="The newest backup is read from the target, restored into a folder that is removed again, and looked at. Nothing here changes. "
        "It is given up after an hour and a minute more for each 256 MiB, a day at most.",
    )


class Written(Form):
    ends: Line = Field(title="Its first and its last group", description="Four letters and digits each.")


class Restore(Form):
    snapshot: str = ""
    network: Ticked = False


def _page(error: DpeError | None = None, **more: Any) -> Page:
    state = away = None
    disks, public_key, running = [], "", None
    try:
        recent = server.recent(settings())  # first: what ends between the questions then still runs, and what it did is looked at again
        running = next((operation for operation in recent if operation.title in OPERATIONS), None)
        state = appliance_backups.state(settings())
        disks, public_key = appliance_backups.disks(settings()), appliance_backups.public_key(settings())
    except DpeError as refused:
        away = refused
    plan = state.plan.model_dump() if state else {}
    page = render_template(
        "admin/backups.html",
        state=state,
        away=away,
        disks=disks,
        public_key=public_key,
        operation=running,
        error=error,
        target=bound_target(state.target if state else None, disks, error),
        schedule=forms.bound(
            Schedule, plan, error, choices={"days": {number: day[:3] for number, day in enumerate(DAYS)}, "restore_test": OFTEN}
        ),
        **more,
    )
    return (page, status_of(error)) if error else page


def bound_target(
    target: ShownTarget | None, disks: list[Volume], error: DpeError | None = None, model: type[Target] = Target
) -> forms.BoundForm:
    """The form of a target; what was typed is kept, as it may only have been tested."""
    stored = {"kind": target.kind, **{f"{target.kind}_{name}": value for name, value in target.model_dump().items()}} if target else {}
    volumes = {disk.uuid: f"{disk.label or disk.model or disk.name}, {disk.size} ({disk.name})" for disk in disks}
    if (uuid := str(stored.get("disk_uuid", ""))) and uuid not in volumes:
        volumes = {uuid: f"{uuid}, not plugged in now"} | volumes
    return forms.bound(model, stored, error, choices={"kind": KINDS, "disk_uuid": volumes}, keep=True)


def _known_keys(host: str) -> list[str]:
    known = appliance_backups.state(settings()).target
    return known.host_keys if isinstance(known, Sftp) and known.host == host else []


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
    try:
        asked = forms.read(Target)
        target = appliance_backups.entered(asked.values(), asked.keys_seen() or _known_keys(asked.sftp_host), stored=True)
        looked = (appliance_backups.configure if configure else appliance_backups.test)(actor(), settings(), target, asked.key)
    except DpeError as error:
        return _page(error)
    if looked.state == "confirm" or not configure:
        return _page(looked=looked)
    flash("Backups go there from now on." if looked.state == "empty" else f"Backups go there from now on. {looked.words}", "success")
    return redirect(url_for("backups.index" if appliance_backups.state(settings()).noted else "backups.key"), 303)


@blueprint.post("/test")
@needs("settings.manage")
def test() -> Page:
    return _with_target(configure=False)


@blueprint.post("/configure")
@needs("settings.manage")
@requires_reauth
def configure() -> Page:
    return _with_target(configure=True)


@blueprint.get("/key")
@needs("settings.manage")
def key() -> Page:
    """The step after a target is saved."""
    return redirect(url_for("backups.index"), 303) if appliance_backups.state(settings()).noted else _key_page("begin")


@blueprint.post("/key")
@needs("settings.manage")
@requires_reauth
def show_key() -> Page:
    return _key_page("shown", recovery_key=appliance_backups.key(actor(), settings()))


@blueprint.get("/written")
@needs("settings.manage")
def written() -> Page:
    """Asks for what was written down."""
    return _key_page("written")


@blueprint.post("/noted")
@needs("settings.manage")
def noted() -> Page:
    try:
        appliance_backups.noted(actor(), settings(), forms.read(Written).ends)
    except DpeError as error:
        return _key_page("written", error)
    flash("Good. It is not shown again.", "success")
    return redirect(url_for("backups.index"), 303)


def _key_page(step: str, error: DpeError | None = None, **more: str) -> Page:
    page = render_template("admin/backup_key.html", step=step, form=forms.bound(Written, error=error), **more)
    return (page, status_of(error)) if error else page


@blueprint.post("/schedule")
@needs("settings.manage")
def plan() -> Page:
    try:
        asked = forms.read(Schedule)
        appliance_backups.plan(actor(), settings(), asked.model_dump(exclude={"days"}), asked.days)
    except DpeError as error:
        return _page(error)
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


@blueprint.post("/restore-test")
@needs("settings.manage")
def test_restore() -> Page:
    return _begun(appliance_backups.test_restore(actor(), settings()))


@blueprint.post("/restore")
@needs("settings.manage")
@requires_reauth
def restore() -> Page:
    asked = forms.read(Restore)
    return _begun(appliance_backups.restore(actor(), settings(), asked.snapshot, network=asked.network))


@blueprint.post("/copies")
@needs("settings.manage")
def copies() -> Page:
    return _begun(appliance_backups.fetch_copies(actor(), settings(), forms.read(Restore).snapshot))


def _begun(operation: str) -> Response:
    return redirect(url_for("server.operation", id=operation), 303)
