"""Set-up of an appliance that takes the place of another one: from a backup, with the recovery key, instead of the wizard's other steps.

As there, all that was typed travels in the form.
"""

import contextlib

from flask import Blueprint, redirect, render_template, request, session, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.host.interface.backups import Volume
from appliance.host.interface.operations import Operation
from appliance.services import appliance_backups, server, setup
from webui import forms
from webui.admin.backups import Target, bound_target
from webui.errors import status_of
from webui.forms import Line, Ticked
from webui.guard import is_set_up, public, settings

blueprint = Blueprint("setup_restore", __name__)

Page = Response | str | tuple[str, int]


class Wizard(Target):
    """All its steps: what was typed before travels along."""

    step: str = "code"
    code: Line = Field(title="Setup code", description="It is on the appliance's own screen, or at the end of what make run prints.")
    snapshot: str = ""
    network: Ticked = False


@blueprint.route("/setup/restore", methods=["GET", "POST"])
@public
def begin() -> Page:
    if is_set_up():
        return redirect("/", 303)
    if request.method == "GET":
        return _page("code")
    asked = forms.read(Wizard)
    try:
        setup.check_code(asked.code, request.remote_addr or "")
    except DpeError as error:
        return _page("code", error)
    if asked.step == "code":
        return _page("where")
    try:
        target = appliance_backups.entered(asked.values(), asked.keys_seen())
        if asked.step == "which":
            session["restore"] = appliance_backups.restore_from(settings(), target, asked.key, asked.snapshot, network=asked.network)
            return redirect(url_for("setup_restore.progress"), 303)
        looked = appliance_backups.test(appliance_backups.WIZARD, settings(), target, asked.key)
        if looked.state == "confirm":
            return _page("where", looked=looked)
        return _page("which", found=appliance_backups.elsewhere(settings(), target, asked.key))
    except DpeError as error:
        return _page("where", error)


def _page(step: str, error: DpeError | None = None, **more: object) -> Page:
    disks, public_key = list[Volume](), ""
    if step == "where":  # what the server has is told only to whoever has the code
        try:
            disks, public_key = appliance_backups.disks(settings()), appliance_backups.public_key(settings())
        except DpeError as away:
            error = error or away
    form = bound_target(None, disks, error, Wizard)
    travelling = [(field.field.name, field.sent) for field in form.fields.values() if field.field.name in Target.model_fields]
    page = render_template("setup_restore.html", step=step, form=form, travelling=travelling, public_key=public_key, **more)
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
