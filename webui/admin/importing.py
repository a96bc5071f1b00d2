"""Many accounts at once, from a table."""

from flask import Blueprint, render_template, request
from werkzeug.wrappers import Response

from appliance.services import importing
from webui.errors import status_of
from webui.guard import actor, needs

blueprint = Blueprint("importing", __name__, url_prefix="/admin/accounts/import")


@blueprint.route("/", methods=["GET", "POST"])
@needs("people.manage")
def index() -> Response | tuple[str, int]:
    made, error, text = None, None, request.form.get("table", "")
    units = importing.units(actor())
    unit = request.form.get("unit", units[0][0], type=int)
    if request.method == "POST":
        file = request.files.get("file")
        data = file.read() if file else b""
        try:
            made = importing.people(actor(), data or text.encode(), unit)
        except importing.BadLines as refused:
            error, text = refused, data.decode(errors="replace") or text  # a file cannot be chosen for somebody again
    limits = {"COLUMNS": importing.COLUMNS, "longest": importing.LONGEST}
    page = render_template("admin/import.html", made=made, error=error, text=text, units=units, unit=unit, **limits)
    return page, status_of(error) if error else 200
