"""Org units, groups, grants and quotas, in a real browser, wide and on a phone."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Dialog, Page, expect

from appliance.catalog import Account, Grant, Group, Quota
from appliance.services import password_links
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import sound

pytestmark = pytest.mark.console_ui

Browse = Callable[..., Page]


@pytest.mark.authz
def test_a_role_is_given_shown_and_taken_away(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/grants/")
    form = page.locator("form.card").filter(has_text="Grant a role")
    form.get_by_label("Role").select_option("operator")
    form.get_by_label("Name of the person or group").fill("adda")
    form.get_by_role("button", name="Grant", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("There is no account adda.")
    expect(page.get_by_label("Role", exact=True)).to_have_value("operator")  # nothing entered is lost
    page.get_by_label("Name of the person or group").fill("ada")
    page.get_by_role("button", name="Grant", exact=True).click()
    page.get_by_role("link", name="ada", exact=True).click()
    expect(page.locator(".chain").filter(has_text="Operator")).to_contain_text("Ada Lovelace")
    expect(page.locator(".chain").filter(has_text="User")).to_contain_text("org unit Everybody")
    page.goto("/admin/grants/")
    page.locator("tr").filter(has_text="ada").get_by_role("checkbox").check()
    page.get_by_role("button", name="Revoke selected").click()
    page.get_by_role("button", name="Revoke them").click()
    expect(page.get_by_text("1 revoked.")).to_be_visible()
    assert not Grant.select().where(Grant.account == Account.get(Account.name == "ada").id).count()


@pytest.mark.quota
def test_what_is_left_is_shown_before_the_button_is_pressed(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/quotas/")
    page.get_by_label("Name of the person or group").fill("grace")
    page.get_by_label("Machines").fill("1")
    page.get_by_role("button", name="Set quota").click()
    expect(page.locator("tr").filter(has_text="grace")).to_contain_text("1 machine")
    assert Quota.select().count() == 2
    page.goto("/")
    expect(page.locator("#offer-notebook")).to_contain_text("You can have 1 more. Your quota: 0 of 1 machines in use.")
    page.get_by_role("button", name="Get a notebook").click()
    expect(page.locator("#offer-notebook")).to_contain_text("Your quota: 1 of 1 machines in use.")


def test_pages_of_people_fit_and_are_sound(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    group, mary = Group.get(), Account.get(Account.name == "mary")
    for path in (
        "org-units/",
        "org-units/1",
        "groups/",
        f"groups/{group.id}",
        "grants/",
        "quotas/",
        f"accounts/{mary.id}/permissions",
        f"accounts/{mary.id}/machines",
        f"accounts/{mary.id}/sign-in",
        f"accounts/{mary.id}/events",
        f"accounts/{mary.id}/delete",
        "accounts/new",
    ):
        page.goto(f"/admin/{path}")
        sound(page, path)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_what_is_refused_has_the_focus_and_leads_to_its_field(busy: Site, browse: Browse, script: bool) -> None:
    page = browse(busy, java_script_enabled=script)
    steps.sign_in(page, "grace")
    page.goto("/admin/groups/")
    name = page.get_by_label("Name")
    name.fill(" ")
    page.get_by_label("Description").fill("Who paints")
    page.get_by_role("button", name="Create group").click()
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_role("link", name="A name of 1 to 100 characters is needed.").click()
    expect(name).to_be_focused()
    expect(name).to_have_accessible_description("A name of 1 to 100 characters is needed. Write one.")
    expect(page.get_by_label("Description")).to_have_value("Who paints")


def test_what_was_typed_and_not_sent_is_not_lost_by_going_elsewhere(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    steps.sign_in(page, "grace")
    page.goto("/admin/grants/")
    form = page.locator("form.card").filter(has_text="Grant a role")
    name, events = form.get_by_label("Name of the person or group"), page.get_by_role("link", name="Events", exact=True).first
    name.fill("ada")
    events.click()
    assert asked == ["beforeunload"]
    expect(name).to_have_value("ada")
    for leave in ("location.reload()", "history.back()"):
        with page.expect_event("dialog"):
            page.evaluate(leave)
        expect(name).to_have_value("ada")
    asked.clear()
    name.fill("adda")
    form.get_by_role("button", name="Grant", exact=True).click()  # what is sent is nobody's loss
    expect(page.get_by_role("alert")).to_contain_text("There is no account adda.")
    page.get_by_label("Name of the person or group").press("End")
    page.keyboard.type("x")
    page.keyboard.press("Backspace")
    events.click()
    assert asked == ["beforeunload"], "what was refused is not saved"
    page.remove_listener("dialog", stay)
    page.once("dialog", lambda dialog: dialog.accept())
    events.click()
    expect(page.get_by_role("heading", name="Events")).to_be_visible()
    page.on("dialog", stay)
    page.goto("/admin/grants/")
    name.fill("ada")
    name.fill("")
    events.click()
    expect(page.get_by_role("heading", name="Events")).to_be_visible()
    assert asked == ["beforeunload"], "nothing is left of what was typed"


def test_an_invitation_is_handed_over_and_its_person_gets_in(busy: Site, browse: Browse) -> None:
    page, theirs = browse(busy), browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/accounts/new")
    steps.tab_to(page, page.get_by_label("Name to sign in with"))
    page.keyboard.type("emmy")
    steps.tab_to(page, page.get_by_label("Full name"))
    page.keyboard.type("Emmy Noether")
    steps.key(page, page.get_by_role("button", name="Create account"))
    link = page.get_by_label("The link", exact=True).input_value()
    sound(page, "invitation")
    asked: list[str] = []
    theirs.on("request", lambda request: asked.append(f"{request.url} {request.headers}"))
    theirs.goto(link)
    expect(theirs.get_by_label("Name to sign in with")).to_have_value("emmy")
    expect(theirs.get_by_label("New password")).to_be_focused()
    expect(theirs).to_have_url(f"{busy.url}/set-password")  # the address and the history have it no more
    sound(theirs, "set-password")
    secret = link.partition("#")[2]
    assert not [one for one in asked if secret in one.replace(link, "")], "no request of the page says it"
    theirs.get_by_label("New password").fill("a good one of hers")
    theirs.keyboard.press("Enter")
    theirs.get_by_label("Name", exact=True).fill("emmy")
    theirs.get_by_label("Password").fill("a good one of hers")
    theirs.keyboard.press("Enter")
    expect(theirs.get_by_role("heading", name="Hello, Emmy")).to_be_visible()


def test_without_a_script_the_link_is_pasted(busy: Site, browse: Browse) -> None:
    made = password_links.invite(busy.people["grace"], busy.people["ada"].account_id or 0, by_mail=False, here=busy.url)
    page = browse(busy, java_script_enabled=False)
    page.goto(made.link)
    page.get_by_label("Link", exact=True).fill(made.link.partition("#")[2])
    page.get_by_label("New password").fill("a good one of hers")
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_text("Your password is set. Sign in with it, Ada Lovelace.")).to_be_visible()
