"""What machines' pages do to a browser's cookies, in a real one, through the real front door; the machine is an application of the test's."""

import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Page, Route, expect

from appliance import catalog
from appliance.catalog import Event, Session
from appliance.settings import Settings
from tests.browser import steps
from tests.integration.test_door import DOMAIN, OWN, PASSWORD, door, held
from tests.integration.test_door import Browser as Client
from tests.integration.test_names import here, name_of, named

__all__ = ["door", "here", "named"]

pytestmark = [pytest.mark.hostile, pytest.mark.cookies]

SHOTS = os.environ.get("DPE_TEST_SHOTS", "")
OVERFLOW = "for (let number = 0; number < 400; number++) document.cookie = `junk${number}=1; Path=/; Secure`;"
FLOOD = "for (let number = 0; number < 170; number++) document.cookie = `flood${number}=${'x'.repeat(4000)}; Path=/; Secure`;"


@dataclass
class Window:
    """A person's browser: the appliance's page in one tab, their machine's in another."""

    context: BrowserContext
    settings: Settings

    def portal(self, path: str = "/") -> Page:
        page = self.context.new_page()
        page.goto(f"https://localhost:{self.settings.https_port}{path}")
        return page

    def machine(self, path: str = "/page") -> Page:
        page = self.context.new_page()
        page.goto(f"https://localhost:{self.settings.app_port + OWN}{path}")
        return page

    def named(self, name: str, path: str = "/page") -> Page:
        page = self.context.new_page()
        page.goto(f"https://{name}.{DOMAIN}:{self.settings.https_port}{path}")
        return page

    def sign_in(self, name: str) -> Page:
        page = self.portal("/sign-in")
        self.fill_in(page, name)
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        return page

    def fill_in(self, page: Page, name: str) -> None:
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def shots() -> Callable[[Page, str], None]:
    """Pictures to look at, where the variable DPE_TEST_SHOTS names a folder for them."""

    def take(page: Page, name: str) -> None:
        for scheme in ("light", "dark") if SHOTS else ():
            for width in (1280, 390):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                page.set_viewport_size({"width": width, "height": 900})
                page.screenshot(path=f"{SHOTS}/{name}-{scheme}-{width}.png")

    return take


@pytest.fixture
def window(chromium: Chromium, door: Settings) -> Iterator[Window]:
    context = chromium.new_context(ignore_https_errors=True)
    context.set_default_timeout(30_000)
    yield Window(context, door)
    context.close()


def test_a_script_cannot_put_a_session_in_the_place_of_this_browsers(window: Window, door: Settings) -> None:
    """It has the browser forget the session, by more cookies than it keeps, and sets one that is its own; browsers that know the prefix refuse."""
    window.sign_in("ada")
    theirs = Client(door).sign_in("bob").cookies["__Host-Http-dpe"]
    page = window.machine()
    page.evaluate(OVERFLOW)
    page.evaluate("value => { document.cookie = `__Host-Http-dpe=${value}; Path=/; Secure` }", theirs)
    assert theirs not in [one["value"] for one in window.context.cookies() if one["name"] == "__Host-Http-dpe"]


def test_a_session_that_was_swapped_is_shown_for_what_it_is(window: Window, door: Settings, shots: Callable[[Page, str], None]) -> None:
    """As in a browser that does not know the prefix."""
    window.sign_in("ada").close()
    theirs = Client(door).sign_in("bob").cookies["__Host-Http-dpe"]
    window.context.clear_cookies(name="__Host-Http-dpe")
    port = f"https://localhost:{door.https_port}"
    window.context.add_cookies([{"name": "__Host-Http-dpe", "value": theirs, "url": port, "secure": True, "httpOnly": True}])
    page = window.portal("/account")
    expect(page.get_by_role("heading", name="This is not your session")).to_be_visible()
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
    expect(page.get_by_label("Old password")).to_have_count(0)
    shots(page, "swapped")
    before = Session.select().count()
    page.get_by_role("button", name="Sign in again").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert Session.select().count() == before - 1
    assert Event.select().where(Event.kind == "sign_in.swapped").exists()
    window.sign_in("ada")
    expect(window.portal("/account").get_by_role("heading", name="This is not your session")).to_have_count(0)


@pytest.mark.parametrize("where", ["portal", "machine"])
def test_a_browser_full_of_cookies_is_let_in_again(window: Window, where: str, shots: Callable[[Page, str], None]) -> None:
    window.sign_in("ada").close()
    page = window.machine()
    page.evaluate(FLOOD)
    page.wait_for_function("document.cookie.length > 300_000")
    page.close()
    page = window.portal() if where == "portal" else window.machine()
    expect(page.get_by_role("heading", name="There were too many cookies")).to_be_visible()
    shots(page, f"too-many-{where}")
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    window.sign_in("ada")


def test_a_form_whose_session_ended_is_offered_again(window: Window, shots: Callable[[Page, str], None]) -> None:
    page = window.sign_in("ada")
    page.goto(page.url.rstrip("/") + "/account")
    field = page.get_by_label("Public keys")
    key = f"ssh-ed25519 {b64encode(bytes.fromhex('0000000b') + b'ssh-ed25519' + bytes.fromhex('00000020') + b'k' * 32).decode()} typed"
    field.fill(key)
    steps.until_live(page)
    # The live page learns that the session has ended while what the form sends is on its way.
    on_its_way: list[Route] = []
    page.route("**/*", lambda route: on_its_way.append(route) if route.request.method == "POST" else route.fallback())
    with page.expect_response(
        lambda response: response.status == 401 and "/live" in response.url
    ):  # which comes after the page's live part
        with page.expect_request(lambda request: request.method == "POST"):
            field.locator("xpath=ancestor::form").get_by_role("button").click(no_wait_after=True)
        with catalog.write():
            Session.delete().execute()
    [route] = on_its_way
    route.continue_()
    page.unroute("**/*")
    expect(page.get_by_text("what you entered is offered to you again")).to_be_visible()
    shots(page, "kept-sign-in")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Send it now?")).to_be_visible()
    shots(page, "kept")
    page.get_by_role("button", name="Send it").click()
    expect(page.get_by_role("row", name="typed")).to_contain_text("SHA256:")
    page.get_by_role("heading", name="SSH keys", exact=True).scroll_into_view_if_needed()
    shots(page, "keys")


# -- machines by names; last, as they have them until the module ends -----------------------------------


def test_who_comes_to_a_machines_name_signs_in_and_is_there(window: Window, named: Settings) -> None:
    page = window.named(name_of(OWN), "/page?x=1")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.url.startswith(f"https://localhost:{named.https_port}/sign-in?")
    window.fill_in(page, "ada")
    page.wait_for_url(f"https://{name_of(OWN)}.{DOMAIN}:{named.https_port}/page?x=1")


def test_a_page_of_one_machine_reads_and_sets_nothing_of_anothers_or_of_the_appliances(window: Window, named: Settings) -> None:
    window.sign_in("ada").close()
    with held(named, "ada") as machine:
        mine, theirs = name_of(OWN), name_of(machine.slot)
        other = window.named(theirs, "/notebook")
        kept = other.evaluate("document.cookie")  # that one of its two cookies which scripts may read
        page = window.named(mine)
        before = {(one["domain"], one["name"]): one["value"] for one in window.context.cookies()}
        assert len(before) == 5, "the page's session, a cookie of each name, and the notebook's two"
        assert page.evaluate("document.cookie") == ""
        hidden = f"username-localhost-{named.https_port}"
        for name in ("__Host-Http-dpe", "__Host-Http-dpe-door", "_xsrf", hidden):
            for where in ("", f"Domain={DOMAIN}; ", f"Domain={theirs}.{DOMAIN}; ", "Domain=localhost; "):
                page.evaluate("cookie => { document.cookie = cookie }", f"{name}=evil; {where}Path=/; Secure")
        page.evaluate("() => fetch('/tossed')")
        after = {(one["domain"], one["name"]): one["value"] for one in window.context.cookies()}
        assert {key: after[key] for key in before} == before
        # It can ask others for nothing in the person's name, nor look into their pages.
        for there in (f"https://{theirs}.{DOMAIN}:{named.https_port}/", f"https://localhost:{named.https_port}/"):
            assert page.evaluate("url => fetch(url, { credentials: 'include' }).then(() => 'read', () => 'refused')", there) == "refused"
        # What the other one keeps from scripts is what it was, for its page and its server alike; the portal is as it was.
        other.goto(other.url)
        assert f"{hidden}=" in other.content()
        assert f"{hidden}=evil" not in other.content()
        assert kept in other.evaluate("document.cookie")
        expect(window.portal().get_by_role("button", name="Sign out")).to_be_visible()
