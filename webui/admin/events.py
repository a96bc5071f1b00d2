"""The record of everything that happened: looking in it, taking it away, checking it, sending it on."""

from collections.abc import Iterator, Mapping
from datetime import datetime, time, timedelta
from typing import Annotated, Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import Event, Level, events
from appliance.catalog.event_kinds import Area
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page as Rows
from appliance.catalog.listing import Window
from appliance.errors import DpeError, NotFound
from appliance.services import audit
from webui import forms, lists
from webui.errors import status_of
from webui.format import zone
from webui.forms import ONE_LINE, Form, Line, OneOf
from webui.guard import actor, needs
from webui.lists import Column, Filter, List
from webui.reauth import requires_reauth

blueprint = Blueprint("events", __name__, url_prefix="/admin/events")

Page = Response | tuple[str, int]

LEVELS = {"": (), "warning": (Level.WARNING, Level.ERROR), "error": (Level.ERROR,)}
EXPORTS = {"csv": ("text/csv", audit.as_csv), "jsonl": ("application/jsonl", audit.as_json_lines)}
MORE = ("actor", "address", "object", "since", "until")  # what is seldom asked for, drawn by the page itself


def _search(chosen: Mapping[str, str]) -> dict[str, Any]:
    """What the page's filters say, as `catalog.events.Search` has it; what makes no sense is left out."""
    until = _day(chosen["until"])
    return {
        **{name: chosen[name] for name in ("text", "actor", "address", "object")},
        "machine_id": chosen["machine"],
        "area": Area(chosen["kind"]) if chosen["kind"] in set(Area) else None,
        "levels": LEVELS.get(chosen["level"], ()),
        "since": _day(chosen["since"]),
        "until": until and until + timedelta(days=1),
    }


def _day(text: str) -> datetime | None:
    """When a day begins in the appliance's time zone; None when this is no day."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007
        return datetime.combine(day, time(), zone()) if 1970 < day.year < 9999 else None
    except ValueError:
        return None


def changes(event: Event) -> list[tuple[str, Any, Any]]:
    """What an event changed: name, before, after."""
    before, after = event.data.get("before"), event.data.get("after")
    before, after = before if isinstance(before, dict) else {}, after if isinstance(after, dict) else {}
    return [(name, before.get(name), after.get(name)) for name in {**before, **after} if before.get(name) != after.get(name)]


def _find(window: Window, reach: Scope, ids: object, **chosen: str) -> Rows[Event]:
    return events.page(window, **_search(chosen))


EVENTS = List(
    endpoint="events.index",
    permission="events.read",
    noun="event",
    find=_find,
    order="-at",
    columns=(Column("at", "Time", None),),
    filters=(
        Filter("machine", "one machine", kind="hidden", every="All machines"),
        Filter("text", "Words in it", kind="text"),
        Filter("kind", "About", choices=lambda: {area: area.about for area in Area}, every="Every area"),
        Filter("level", "How bad", choices=lambda: {"warning": "Warnings and errors", "error": "Errors"}, every="Every level"),
        *(Filter(name, "", kind="drawn") for name in MORE),
    ),
)


@blueprint.get("/")
@needs("events.read")
def index() -> Response | str:
    shown = lists.show(EVENTS)
    return render_template(
        "admin/events.html",
        listing=shown,
        live_url=shown.address,
        chosen=shown.chosen,
        changes=changes,
        more=any(shown.chosen[name] for name in MORE),
        check=audit.last_check(),
    )


@blueprint.get("/export")
@needs("events.read")
def export() -> Response:
    form = request.args.get("form", "csv")
    if form not in EXPORTS:
        raise NotFound("Events are exported as csv or jsonl.")
    kind, write = EXPORTS[form]
    audit.note_export(actor(), form)
    lines: Iterator[str] = write(**_search(lists.chosen_in_address(EVENTS)))
    name = f"events-{datetime.now(zone()):%Y-%m-%d}.{form}"
    return Response(lines, mimetype=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@blueprint.get("/record")
@needs("events.read")
def record() -> Page:
    return _record_page()


class Forwarding(Form):
    host: Line = Field("", max_length=253, title="Receiver", description="Name or address.", json_schema_extra=ONE_LINE)
    port: Line = Field("514", title="Port")
    transport: Annotated[str, OneOf({"tcp": "TCP", "udp": "UDP"})] = Field(
        "tcp",
        title="Protocol",
        description="With TCP nothing is lost while the receiver is away. UDP cannot tell. Neither is encrypted: use a network that you trust.",
    )
    wanted: str = ""  # "no" of the button that ends it


def _record_page(error: DpeError | None = None) -> Page:
    check, forwarding = audit.last_check(), audit.forwarding()
    to = forwarding.receiver
    stored = {"host": to.host, "port": to.port, "transport": to.transport} if to else {}
    page = render_template(
        "admin/record.html",
        check=check,
        checked_at=datetime.fromisoformat(check["at"]) if check else None,
        forwarding=forwarding,
        form=forms.bound(Forwarding, stored, error),
        count=events.last_id(),
    )
    return page, status_of(error) if error else 200


@blueprint.post("/record/check")
@needs("events.read")
def check() -> Response:
    chain = audit.verify(actor())
    if chain.problems:
        flash("The record is not as it was written: look below.", "danger")
    else:
        flash(f"The record is whole: all {chain.lines} lines are as they were written.", "success")
    return redirect(url_for("events.record"), 303)


@blueprint.post("/record/forwarding")
@needs("settings.manage")
@requires_reauth
def forwarding() -> Page:
    try:
        asked = forms.read(Forwarding)
        host = asked.host if asked.wanted != "no" else ""
        audit.set_forwarding(actor(), host=host, port=asked.port, transport=asked.transport)
    except DpeError as error:
        return _record_page(error)
    flash("Saved. Events are sent on from now." if host else "Events are not sent on any more.", "success")
    return redirect(url_for("events.record"), 303)
