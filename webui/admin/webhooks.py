"""Webhooks: other products that are told of events, what they answered, and what they did not take."""

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import DeliveryState, WebhookDelivery
from appliance.catalog import webhooks as rows
from appliance.catalog.event_kinds import Area
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page as Rows
from appliance.catalog.listing import Window
from appliance.errors import DpeError
from appliance.services import webhooks
from webui import forms, lists
from webui.errors import status_of
from webui.format import plural
from webui.forms import CHECKS, ONE_LINE, Form, Line, Ticked, Words
from webui.guard import actor, needs
from webui.lists import Column, Filter, List, Verb
from webui.reauth import requires_reauth

blueprint = Blueprint("webhooks", __name__, url_prefix="/admin/webhooks")

Page = Response | tuple[str, int]
DELIVERY_STATES = {state.value: state.value for state in DeliveryState}


class Subscription(Form):
    """A webhook as its page has it: areas and single kinds of event are one list elsewhere."""

    name: Line = Field(max_length=webhooks.LONGEST_NAME, title="Name", description="Which product it tells.")
    url: Line = Field(title="URL", description="Each event is sent there by POST.", json_schema_extra=ONE_LINE)
    areas: list[str] = Field([], title="Events about", json_schema_extra=CHECKS)
    kinds: Words = Field([], title="Single kinds of event", description="Like run.failed, one a line. None here and above: all events.")
    classes: list[str] = Field([], title="Classes", description="None: all, and events of no class.", json_schema_extra=CHECKS)
    enabled: Ticked = Field(True, title="Enabled", description="What happens while it is disabled is not sent later.")

    def values(self) -> dict[str, Any]:
        """As the service takes it."""
        return {**self.model_dump(exclude={"areas"}), "kinds": [*self.areas, *self.kinds]}


def _find(window: Window, reach: Scope, ids: Iterable[int] | None, *, id: int, state: str = "") -> Rows[WebhookDelivery]:
    return rows.page(window, ids, id=id, state=state)


DELIVERIES = List(
    endpoint="webhooks.page",
    permission="settings.manage",
    noun="delivery",
    nouns="deliveries",
    key=int,
    find=_find,
    order="-event",
    columns=(
        Column("event", "Event", lambda row: row.event.message),
        Column("state", "State", lambda row: row.state.value, sorts=False),
        Column("answer", "Last answer", lambda row: row.answer, sorts=False, look="text-secondary"),
        Column("tries", "Tries", lambda row: row.tries, sorts=False, look="num"),
        Column("tried", "Last tried", lambda row: row.tried_at or "", sorts=False, look="end text-secondary"),
    ),
    filters=(Filter("state", "State", choices=lambda: DELIVERY_STATES, every="Every state"),),
    verbs=(
        Verb("send-again", "Send again", "to be sent again", lambda actor, id, _: webhooks.send_again(actor, id), "settings.manage", "refresh"),
    ),
    verb_endpoint="webhooks.bulk",
)  # fmt: skip


def _form(stored: dict[str, Any], error: DpeError | None) -> forms.BoundForm:
    choices = {"areas": {area.value: area.about for area in Area}, "classes": lists.class_names("classes.read")}
    return forms.bound(Subscription, stored, error, choices=choices)


@blueprint.get("/")
@needs("settings.manage")
def index() -> str:
    return render_template("admin/webhooks.html", states=webhooks.every(), host_of=webhooks.host_of)


@blueprint.get("/new")
@needs("settings.manage")
def new() -> Page:
    return _new_page()


def _new_page(error: DpeError | None = None) -> Page:
    return render_template("admin/webhook_new.html", form=_form({"enabled": True}, error)), status_of(error) if error else 200


@blueprint.post("/new")
@needs("settings.manage")
@requires_reauth
def create() -> Page:
    """The page that shows the secret, once."""
    try:
        made, secret = webhooks.create(actor(), **forms.read(Subscription).values())
    except DpeError as error:
        return _new_page(error)
    return _page(made.id, made=secret)


@blueprint.get("/<int:id>")
@needs("settings.manage")
def page(id: int) -> Page:
    return _page(id)


def _page(id: int, error: DpeError | None = None, **more: Any) -> Page:
    state = webhooks.state_of(id)
    shown = lists.show(DELIVERIES, id=id)
    if lists.wants_csv():
        return lists.as_csv(shown)
    one, areas = state.webhook, set(Area)
    stored = {
        "name": one.name,
        "url": one.url,
        "areas": [kind for kind in one.kinds if kind in areas],
        "kinds": [kind for kind in one.kinds if kind not in areas],
        "classes": one.classes,
        "enabled": one.enabled,
    }
    page = render_template(
        "admin/webhook.html",
        state=state,
        webhook=one,
        form=_form(stored, error),
        trouble=error,
        listing=shown,
        live_url=shown.address,
        **more,
    )
    return page, status_of(error) if error else 200


@blueprint.post("/<int:id>")
@needs("settings.manage")
@requires_reauth
def change(id: int) -> Page:
    try:
        webhooks.change(actor(), id, **forms.read(Subscription).values())
    except DpeError as error:
        return _page(id, error)
    flash("Saved.", "success")
    return redirect(url_for("webhooks.page", id=id), 303)


@blueprint.post("/<int:id>/secret")
@needs("settings.manage")
@requires_reauth
def new_secret(id: int) -> Page:
    """The page that shows the secret, once."""
    return _page(id, made=webhooks.new_secret(actor(), id))


@blueprint.post("/<int:id>/ping")
@needs("settings.manage")
def ping(id: int) -> Page:
    try:
        return _page(id, answer=webhooks.ping(actor(), id))
    except DpeError as error:
        return _page(id, error)


@blueprint.post("/<int:id>/delete")
@needs("settings.manage")
@requires_reauth
def delete(id: int) -> Response:
    name = webhooks.get(id).name
    webhooks.delete(actor(), id)
    flash(f"The webhook {name} is deleted.", "success")
    return redirect(url_for("webhooks.index"), 303)


@blueprint.post("/<int:id>/deliveries")
@needs("settings.manage")
def bulk(id: int) -> Page:
    return lists.bulk(DELIVERIES, id=id)


@blueprint.post("/<int:id>/send-dead-again")
@needs("settings.manage")
def send_dead_again(id: int) -> Response:
    count = webhooks.send_dead_again(actor(), id)
    flash(f"{plural(count, 'event')} to be sent again.", "success")
    return redirect(url_for("webhooks.page", id=id), 303)
