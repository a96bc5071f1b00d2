"""Many accounts at once, from a table."""

from flask import Blueprint, render_template, request
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.services import csv_export, importing
from webui import forms
from webui.errors import status_of
from webui.forms import Form, Upload
from webui.guard import actor, needs

blueprint = Blueprint("importing", __name__, url_prefix="/admin/accounts/import")


class Table(Form):
    """The table as a file or, without one, as text."""

    file: Upload = Field(b"", title="A file")
    table: str = Field("", title="Or its text")
    unit: int | None = Field(None, title="Into the org unit")


@blueprint.route("/", methods=["GET", "POST"])
@needs("people.manage")
def index() -> Response | tuple[str, int]:
    made, error, data = None, None, b""
    units = importing.units(actor())
    if request.method == "POST":
        try:
            asked = forms.read(Table)
            data = asked.file
            unit = units[0][0] if asked.unit is None else asked.unit
            made = importing.people(actor(), data or asked.table.encode(), unit, here=request.host_url)
        except (importing.BadLines, forms.FormError) as refused:
            error = refused
    form = forms.bound(Table, {"unit": units[0][0]}, error, choices={"unit": dict(units)})
    if data:
        form = form.having("table", data.decode(errors="replace"))  # a file cannot be chosen for somebody again
    limits = {"COLUMNS": importing.COLUMNS, "longest": importing.LONGEST}
    links = [(one.name, one.account.full_name, one.link) for one in made or () if one.link]
    table = "".join(csv_export.lines(["name", "full_name", "link"], links))
    page = render_template("admin/import.html", made=made, table=table, error=error, form=form, **limits)
    return page, status_of(error) if error else 200
