"""All data disks, and the retained disks of machines that are gone."""

from flask import Blueprint, render_template, request
from flask_login import current_user

from appliance.catalog import data_disks
from appliance.services import classes, disks
from webui.guard import actor, needs, settings

blueprint = Blueprint("data_disks", __name__, url_prefix="/admin")

PAGE = 50


@blueprint.get("/data-disks/")
@needs("machines.read")
def index() -> str:
    chosen = {
        "text": request.args.get("text", "")[:100],
        "class_name": request.args.get("class", ""),
        "use": request.args.get("use", ""),
    }
    found = disks.list_disks(**chosen, after=request.args.get("after", "")[:40], reach=current_user.powers.reach("machines.read"))
    return render_template(
        "admin/disks.html",
        disks=found,
        taken={disk.id: disks.taken(disk, settings()) for disk in found},
        classes=classes.visible(actor(), "machines.read"),
        full=len(found) == PAGE,
        USES=disks.USES,
        **chosen,
    )


@blueprint.get("/retained-disks/")
@needs("machines.read")
def kept() -> str:
    return render_template("admin/kept.html", kept=data_disks.list_retained(current_user.powers.reach("machines.read")))
