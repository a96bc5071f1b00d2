"""What needs whoever is signed in: where the bell of every page leads. The overview has the same list on top."""

from flask import Blueprint, render_template

from webui.guard import needs

blueprint = Blueprint("needs", __name__, url_prefix="/needs")


@blueprint.get("/")
@needs("own")
def index() -> str:
    return render_template("needs.html")
