"""A webhook made, tried and mended in a real browser, over a real receiver."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import DeliveryState, Event, Webhook, WebhookDelivery, now
from appliance.identity import secrets
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import sound
from tests.receiver import serving

Browse = Callable[..., Page]


def deliveries() -> None:
    """What became of some events: one of each state, and one with a long answer."""
    one = Webhook.get()
    states = (DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.PENDING)
    with catalog.write():
        for number, event in enumerate(Event.select().order_by(Event.id.desc()).limit(7)):
            state = states[number % 3]
            answer = (
                "200 thank you" if state is DeliveryState.DELIVERED else "hooks.example.org:443 answers 500. It says “" + "no " * 60 + "”."
            )
            WebhookDelivery.create(webhook=one.id, event=event.id, state=state, tries=number, answer=answer, tried_at=now())


@pytest.mark.webhook
def test_one_is_made_tried_and_what_it_did_not_take_is_sent_again(busy: Site, browse: Browse) -> None:
    secrets.open(busy.settings.web_secret)
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/webhooks/")
    page.get_by_role("link", name="New webhook").click()
    page.get_by_label("Name").fill("Chat")
    page.get_by_text("Only some events").click()
    page.get_by_label("Machines", exact=True).check()
    page.get_by_label("Single kinds of event").fill("run.fail")
    with serving() as receiver:
        page.get_by_label("URL").fill(receiver.url)
        page.get_by_role("button", name="Create webhook").click()
        expect(page.get_by_role("alert")).to_contain_text("is no kind of event")
        expect(page.get_by_label("Machines", exact=True)).to_be_checked()  # nothing entered is lost
        page.get_by_label("Single kinds of event").fill("run.failed")
        page.get_by_role("button", name="Create webhook").click()
        expect(page.get_by_role("textbox", name="The new secret")).to_have_value(re.compile("whsec_.+"))
        page.get_by_role("button", name="Send a ping").click()
        expect(page.get_by_text("The receiver took the ping.")).to_be_visible()
        assert len(receiver.calls) == 1
    deliveries()
    page.goto(f"/admin/webhooks/{Webhook.get().id}")
    expect(page.get_by_text("2 events could not be delivered")).to_be_visible()
    sound(page)
    page.get_by_role("button", name="Send them again").click()
    expect(page.get_by_text("2 events to be sent again.")).to_be_visible()
    assert WebhookDelivery.select().where(WebhookDelivery.state == DeliveryState.DEAD).count() == 0
