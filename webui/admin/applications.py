"""The catalogue of applications: what there is, and what each brings."""

from flask import Blueprint, render_template

from appliance.scenario.applications import needed
from appliance.services import applications, own_applications
from webui.guard import needs

blueprint = Blueprint("applications", __name__, url_prefix="/admin/applications")


@blueprint.get("/")
@needs("classes.read")
def index() -> str:
    return render_template(
        "admin/applications.html",
        entries=applications.entries(),
        waiting=own_applications.is_waiting(),
        withdrawn=applications.withdrawn(),
    )


@blueprint.get("/<application>")
@needs("classes.read")
def page(application: str) -> str:
    entry = applications.get(application)
    return render_template(
        "admin/application.html",
        entry=entry,
        needed=needed([(entry, {})]),
        classes=applications.classes(application),
        used=own_applications.users(application),
        withdrawn=application in applications.withdrawn(),
    )
