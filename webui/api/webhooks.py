"""Webhooks over the API: other products that are told of events, and what became of that."""

from typing import Annotated

from flask import url_for
from pydantic import Field

from appliance.catalog import WebhookDelivery
from appliance.services import webhooks
from webui import forms
from webui.admin.webhooks import DELIVERIES
from webui.api import schemas
from webui.api.admin import CHANGED, Answer
from webui.api.mine import _time
from webui.api.operation import Body, blueprint, operation, page_of
from webui.guard import actor, needs

Names = list[Annotated[str, Field(min_length=1, max_length=100)]]
EXAMPLE = {"name": "Chat", "url": "https://hooks.example.org/dpe", "kinds": ["machine", "run.failed"], "classes": []}


class WebhookBody(Body):
    """Which product is told of what. Areas and kinds of event are those of the record."""

    name: str = Field(min_length=1, max_length=webhooks.LONGEST_NAME)
    url: str = Field(min_length=1, max_length=2000, description="http or https, without a name or password in it.")
    kinds: Names = Field([], max_length=500, description="Areas like machine, kinds like run.failed; none: all.")
    classes: Names = Field([], max_length=500, description="None: all, and events of no class.")
    enabled: bool = Field(True, strict=True)


def _webhook(state: webhooks.State) -> schemas.Webhook:
    one = state.webhook
    return {
        "id": one.id,
        "name": one.name,
        "url": one.url,
        "kinds": one.kinds,
        "classes": one.classes,
        "enabled": one.enabled,
        "pending": state.pending,
        "dead": state.dead,
        "failing_since": _time(one.failing_since),
        "before_until": _time(one.before_until),
        "created_at": _time(one.created_at),
    }


@blueprint.get("/admin/webhooks")
@needs("settings.manage")
@operation("admin:settings", {200: schemas.Webhooks})
def webhook_list() -> Answer:
    """All webhooks."""
    return {"items": [_webhook(one) for one in webhooks.every()]}


@blueprint.post("/admin/webhooks")
@needs("settings.manage")
@operation(
    "admin:settings",
    {201: schemas.Webhook},
    takes=WebhookBody,
    creates=True,
    confirms=True,
    example=EXAMPLE,
)
def new_webhook() -> Answer:
    """Have another product told of events from now on. Its secret is made by a call of its own, since answers to creates are kept."""
    made, _ = webhooks.create(actor(), **forms.read(WebhookBody).model_dump())
    return _webhook(webhooks.state_of(made.id)), 201, {"Location": url_for("api.webhook", id=made.id)}


@blueprint.get("/admin/webhooks/<int:id>")
@needs("settings.manage")
@operation("admin:settings", {200: schemas.Webhook})
def webhook(id: int) -> Answer:
    """One of them."""
    return _webhook(webhooks.state_of(id))


@blueprint.put("/admin/webhooks/<int:id>")
@needs("settings.manage")
@operation("admin:settings", CHANGED, takes=WebhookBody, guarded_by="api.webhook", confirms=True, example=EXAMPLE)
def put_webhook(id: int) -> Answer:
    """Have all of a webhook be so. What happens while it is disabled is not sent later."""
    changed = webhooks.change(actor(), id, **forms.read(WebhookBody).model_dump())
    return {"changed": bool(changed), "fields": changed}


@blueprint.delete("/admin/webhooks/<int:id>")
@needs("settings.manage")
@operation("admin:settings", {204: None}, guarded_by="api.webhook", confirms=True)
def delete_webhook(id: int) -> Answer:
    """Tell it nothing any more; what waits for it is forgotten."""
    webhooks.delete(actor(), id)
    return {}, 204


@blueprint.post("/admin/webhooks/<int:id>/secret")
@needs("settings.manage")
@operation("admin:settings", {200: schemas.WebhookSecret}, confirms=True)
def new_webhook_secret(id: int) -> Answer:
    """Sign with a new secret from now on, and for a day with the one before it as well."""
    secret = webhooks.new_secret(actor(), id)
    return {"secret": secret, "before_until": _time(webhooks.get(id).before_until)}


@blueprint.post("/admin/webhooks/<int:id>/ping")
@needs("settings.manage")
@operation("admin:settings", {200: schemas.WebhookAnswer})
def ping_webhook(id: int) -> Answer:
    """Call the receiver now, of no event; 503 while it cannot be reached."""
    return {"answer": webhooks.ping(actor(), id)}


def _delivery(row: WebhookDelivery) -> schemas.Delivery:
    return {
        "id": row.id,
        "event": row.event_id,
        "kind": row.event.kind,
        "message": row.event.message,
        "state": row.state.value,
        "tries": row.tries,
        "answer": row.answer,
        "tried_at": _time(row.tried_at),
        "next_at": _time(row.next_at),
    }


@blueprint.get("/admin/webhooks/<int:id>/deliveries")
@needs("settings.manage")
@operation("admin:settings", {200: schemas.Deliveries}, listing=DELIVERIES)
def delivery_list(id: int) -> Answer:
    """What was sent to it lately, and what waits or was given up."""
    webhooks.get(id)
    return page_of(DELIVERIES, _delivery, id=id)


@blueprint.post("/admin/webhooks/<int:id>/send-dead-again")
@needs("settings.manage")
@operation("admin:settings", {200: schemas.State})
def send_dead_again(id: int) -> Answer:
    """Have all events sent again that could not be delivered."""
    webhooks.send_dead_again(actor(), id)
    return {"state": "pending"}


@blueprint.post("/admin/deliveries/<int:id>/send-again")
@needs("settings.manage")
@operation("admin:settings", {202: schemas.State})
def send_again(id: int) -> Answer:
    """Have one event sent again, dead or not; 409 when it is to be sent already."""
    webhooks.send_again(actor(), id)
    return {"state": "pending"}, 202
