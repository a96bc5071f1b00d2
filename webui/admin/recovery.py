"""Disaster recovery: what the folder of copies has, of this appliance or another one, and bringing it back."""

from functools import lru_cache
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field, create_model
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.services import classes, recovery
from appliance.services.recovery import Choice
from webui import forms
from webui.errors import status_of
from webui.format import plural
from webui.forms import CHECKS, Form, Line
from webui.guard import actor, needs, settings
from webui.language import text
from webui.reauth import requires_reauth

blueprint = Blueprint("recovery", __name__, url_prefix="/admin/disk-backups")


class Chosen(Form):
    """What comes back; and, by the path of each copy, `account PATH`, who gets it, and `class PATH`, that of its machine."""

    path: list[str] = Field([], title="Disks", json_schema_extra=CHECKS)

    def choice(self, path: str) -> Choice:
        values = self.model_dump(by_alias=True)
        return Choice(path, values.get(f"account {path}", ""), values.get(f"class {path}", ""))


@lru_cache(maxsize=2)
def _form_of(paths: tuple[str, ...]) -> type[Chosen]:
    rows: Any = {}
    for number, path in enumerate(paths):
        rows |= {
            f"account_{number}": (Line, Field("", alias=f"account {path}")),
            f"class_{number}": (Line, Field("", alias=f"class {path}")),
        }
    return create_model("Chosen", __base__=Chosen, **rows)


@blueprint.get("/")
@needs("settings.manage")
def index() -> tuple[str, int]:
    return _page()


@blueprint.post("/restore")
@needs("settings.manage")
@requires_reauth
def bring_back() -> Response | tuple[str, int]:
    try:
        chosen = forms.read(_form_of(tuple(one.copy.path for one in recovery.recoverable())))
        begun = recovery.bring_back(actor(), [chosen.choice(path) for path in chosen.path])
    except DpeError as refused:
        return _page(refused)
    flash(f"{plural(len(begun), 'machine')} coming back.", "success")
    return redirect(url_for("recovery.index"), 303)


def _page(error: DpeError | None = None) -> tuple[str, int]:
    everything = request.args.get("all") == "yes"
    found = recovery.recoverable()
    stored, offered = dict[str, Any](), dict[str, dict[str, str]]()
    every = {machine_class.name: machine_class.name for machine_class in classes.everything()}
    for one in found:
        stored |= {
            f"account {one.copy.path}": one.account.name if one.account else "",
            f"class {one.copy.path}": one.machine_class.name if one.machine_class else "",
        }
        offered[f"class {one.copy.path}"] = (
            every if one.machine_class else {"": text("choose: %(name)s is not here", name=one.copy.class_name)} | every
        )
    page = render_template(
        "admin/recovery.html",
        found=[one for one in found if everything or one.newest or one.problem or (one.run and one.run.ended_at is None)],
        hidden=len(found),
        everything=everything,
        people=recovery.people(),
        folder=settings().backups,
        error=error,
        form=forms.bound(_form_of(tuple(one.copy.path for one in found)), stored, error, choices=offered),
    )
    return page, status_of(error) if error else 200
