"""Set-up of an appliance that takes the place of another one: from a backup, with the recovery key, instead of the wizard's other steps.

As there, all that was typed travels in the form.
"""

import contextlib

from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.host.interface.operations import Operation
from appliance.services import appliance_backups, server, setup
from webui.admin.backups import host_keys
from webui.errors import status_of
from webui.guard import is_set_up, public, settings

blueprint = Blueprint("setup_restore", __name__)

Page = Response | str | tuple[str, int]


@blueprint.route("/setup/restore", methods=["GET", "POST"])
@public
def begin() -> Page:
    if is_set_up():
        return redirect("/", 303)
    values = request.form.to_dict()
    if request.method == "GET":
        return _page("code")
    try:
        setup.check_code(values.get("code", ""), request.remote_addr or "")
    except DpeError as error:
        return _page("code", error)
    if values.get("step") == "code":
        return _page("where")
    try:
        target = appliance_backups.entered(values, host_keys())
        if values.get("step") == "which":
            snapshot, network = values.get("snapshot", ""), values.get("network") == "yes"
            session["restore"] = appliance_backups.restore_from(settings(), target, values.get("key", ""), snapshot, network=network)
            return redirect(url_for("setup_restore.progress"), 303)
        looked = appliance_backups.test(appliance_backups.WIZARD, settings(), target, values.get("key", ""))
        if looked.state == "confirm":
            return _page("where", looked=looked)
        return _page("which", found=appliance_backups.elsewhere(settings(), target, values.get("key", "")))
    except DpeError as error:
        return _page("where", error)


def _page(step: str, error: DpeError | None = None, **more: object) -> Page:
    known = {}
    if step == "where":  # what the server has is told only to whoever has the code
        try:
            known = {"disks": appliance_backups.disks(settings()), "public_key": appliance_backups.public_key(settings())}
        except DpeError as away:
            error = error or away
    values = {"sftp_port": "22", **request.form.to_dict()}
    page = render_template("setup_restore.html", step=step, error=error, values=values, **known, **more)
    return page, status_of(error) if error else 200


@blueprint.get("/setup/restore/progress")
@public
def progress() -> Page:
    """How far it is, for whoever began it; afterwards the restored appliance asks them to sign in."""
    if is_set_up() or "restore" not in session:
        return redirect("/", 303)
    operation: Operation | None = None
    with contextlib.suppress(DpeError):  # it restarts
        operation = server.get_operation(settings(), session["restore"])
    return render_template("setup_restore_progress.html", operation=operation)
