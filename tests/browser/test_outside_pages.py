"""E-mail and webhooks set up in a real browser, over a real mail server, wide and on a phone."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance.identity import secrets
from appliance.outbound import mail, webhook
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import sound
from tests.post import PASSWORD, office

Browse = Callable[..., Page]
PAGE = "/admin/settings/email-and-webhooks/"


@pytest.mark.workflow
def test_e_mail_is_set_up_tested_and_saved(busy: Site, browse: Browse) -> None:
    secrets.open(busy.settings.web_secret)
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/settings/")
    page.get_by_role("link", name="Set up").click()
    expect(page.get_by_role("heading", name="E-mail and webhooks", level=1)).to_be_visible()
    expect(page.get_by_label("URL")).to_have_value(busy.url)
    with office(auth_require_tls=False) as post:
        page.get_by_label("Server", exact=True).fill("127.0.0.1")
        page.get_by_label("Encryption").select_option("none")
        page.get_by_label("Port").fill(str(post.port))
        page.get_by_label("Sender's address").fill("dpe@example.org")
        page.get_by_label("Account at the server").fill("dpe")
        page.get_by_label("Its password").fill("wrong")
        page.get_by_role("button", name="Send a test mail to me").click()
        expect(page.get_by_role("alert")).to_contain_text("does not take the name dpe and its password")
        expect(page.get_by_label("Its password")).to_have_value("wrong")  # nothing entered is lost
        page.get_by_label("Its password").fill(PASSWORD)
        page.get_by_role("button", name="Send a test mail to me").click()
        expect(page.locator("#tested")).to_contain_text("took the test mail")
        page.get_by_role("button", name="Save and switch on").click()
        expect(page.get_by_text(f"Its links lead to {busy.url}.")).to_be_visible()
    assert [made["Subject"] for made in post.taken] == ["E-mail works"]
    using = mail.current()
    assert using is not None
    assert using[1] == PASSWORD
    expect(page.get_by_label("Its password")).to_have_value("")
    page.get_by_role("button", name="Disable e-mail").click()
    page.locator("#confirm-yes").click()
    expect(page.get_by_role("button", name="Enable e-mail")).to_be_visible()
    assert mail.current() is None


@pytest.mark.workflow
def test_the_secret_of_webhooks_is_shown_once(busy: Site, browse: Browse) -> None:
    secrets.open(busy.settings.web_secret)
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto(PAGE)
    page.get_by_role("button", name="Create a secret").click()
    shown = page.get_by_role("textbox", name="The new secret")
    expect(shown).to_have_value(re.compile("whsec_.+"))
    first = shown.input_value()
    page.goto(PAGE)
    expect(page.get_by_text("It is shown only now.")).to_have_count(0)
    page.get_by_role("button", name="Create a new secret").click()
    page.locator("#confirm-yes").click()
    expect(page.get_by_text("carry the signature of the secret before it, too")).to_be_visible()
    assert webhook.known_secrets() == [shown.input_value(), first]


def test_the_page_fits_and_is_sound(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto(PAGE)
    page.get_by_role("button", name="Create a secret").click()
    for summary in page.locator("summary").all():
        summary.click()
    sound(page)
