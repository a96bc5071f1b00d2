"""Views of lists under names of one's own; `lists.py` offers them at each list."""

from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError, NotFound
from appliance.services import saved_views
from webui import forms, lists
from webui.errors import status_of
from webui.forms import Form, Line
from webui.guard import actor, needs

blueprint = Blueprint("saved_views", __name__, url_prefix="/views")

Page = Response | tuple[str, int]


class NewView(Form):
    """A list's endpoint and the query of its address, and what that is to be called."""

    list: str = Field("", max_length=60)
    query: str = Field("", max_length=2000)
    name: Line = Field("", max_length=saved_views.LONGEST, title="Name", description="It stands below View, at the list.")


def address(endpoint: str, query: str) -> str:
    """Where a view is seen. Raises NotFound when there is no such list."""
    if endpoint not in lists.SAVABLE:
        raise NotFound("There is no such list.", "It may have moved: open it, and save the view there.")
    return f"{url_for(endpoint)}?{urlencode(parse_qsl(query))}".rstrip("?")


@blueprint.route("/new", methods=["GET", "POST"])
@needs("own")
def new() -> Page:
    error = None
    stored = {name: request.args.get(name, "") for name in ("list", "query")}
    if request.method == "POST":
        try:
            asked = forms.read(NewView)
            there = address(asked.list, asked.query)
            saved_views.save(actor(), asked.list, asked.name, asked.query)
            flash("The view is saved.", "success")
            return redirect(there, 303)
        except DpeError as refused:
            error = refused
    sent = forms.sent()
    endpoint, query = (sent.get(name) or stored[name] for name in ("list", "query"))
    back = address(endpoint, query) if endpoint in lists.SAVABLE else "/"
    return render_template("saved_view.html", form=forms.bound(NewView, stored, error), back=back), status_of(error) if error else 200


@blueprint.post("/<int:id>/delete")
@needs("own")
def delete(id: int) -> Response:
    gone = saved_views.delete(actor(), id)
    flash(f"The view {gone.name} is deleted.", "success")
    return redirect(url_for(gone.list) if gone.list in lists.SAVABLE else "/", 303)
