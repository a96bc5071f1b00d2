"""A machine's life: the master workflow, drawn, with how many machines are where in it now."""

from flask import Blueprint, render_template, request

from appliance.identity.roles import PERMISSIONS
from appliance.services import classes, workflow
from webui import diagram
from webui.guard import actor, needs

blueprint = Blueprint("workflow", __name__, url_prefix="/admin/workflow")


@blueprint.get("/")
@needs("classes.read")
def index() -> str:
    names = {machine_class.name for machine_class in classes.visible(actor(), "classes.read")}
    chosen = request.args.get("class", "")
    chosen = chosen if chosen in names else ""
    master = workflow.master()
    return render_template(
        "admin/workflow.html",
        master=master,
        drawing=diagram.draw(master),
        counts=workflow.counts({chosen} if chosen else names),
        names=sorted(names),
        class_name=chosen,
        PERMISSIONS=PERMISSIONS,
    )
