"""A press is never lost, whatever the page does between the moments when a pointer or a key goes down and up again, and none is done twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from appliance import catalog
from appliance.catalog import Engine, Group, Lease, Machine, MachineState, record
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import Serve, fresh
from tests.waiting import until

pytestmark = pytest.mark.console_ui

Browse = Callable[..., Page]
RENEWED = "window.renewed > before"  # the page has what it asked for


def watched(page: Page) -> None:
    """From here on the page counts what answers it has, and what of them it has put in."""
    page.evaluate("""() => {
      [window.renewed, window.put] = [0, 0];
      document.addEventListener('htmx:after:request', event => { if (event.target.id === 'live') window.renewed++; });
      document.addEventListener('htmx:after:swap', event => { if (event.target.id === 'live') window.put++; });
    }""")


def change(page: Page) -> None:
    """Something above everything else on the portal comes, and the page has its answer to that."""
    before = page.evaluate("window.renewed")
    with catalog.write():
        Engine.update(seen_at=catalog.now() - timedelta(hours=1)).execute()
        record("support.bundle", "Something happened.")
    page.wait_for_function("before => window.renewed > before", arg=before)
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")


def middle(of: Locator) -> tuple[float, float]:
    of.scroll_into_view_if_needed()
    box = of.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


NEWS = "The appliance is not making new machines at the moment."


@pytest.mark.parametrize("by", ["pointer", "key"])
def test_nothing_moves_under_what_is_held_down(busy: Site, browse: Browse, by: str) -> None:
    page = browse(busy)
    steps.sign_in(page, "alan")
    steps.until_live(page)
    watched(page)
    button = steps.held(page).first.get_by_role("button", name="Extend")
    if by == "pointer":
        page.mouse.move(*middle(button))
        page.mouse.down()
    else:
        button.focus()
        page.keyboard.down(" ")
    change(page)
    expect(page.get_by_text(NEWS)).to_have_count(0)
    assert page.evaluate("window.put") == 0
    page.mouse.up() if by == "pointer" else page.keyboard.up(" ")
    expect(page.get_by_text("Extended: it is held for another 4 h")).to_be_visible()
    expect(page.get_by_text(NEWS)).to_be_visible()
    expect(button).to_be_focused()  # it could not be pressed meanwhile, and has the focus again


@pytest.mark.parametrize("how", ["let go of elsewhere", "blur"])
def test_what_waited_comes_when_nothing_is_pressed_any_more(busy: Site, browse: Browse, how: str) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    steps.until_live(page)
    watched(page)
    page.mouse.move(*middle(page.get_by_role("heading", name="Hello")))
    page.mouse.down()
    change(page)
    expect(page.get_by_text(NEWS)).to_have_count(0)
    if how == "blur":
        page.evaluate("dispatchEvent(new Event('blur'))")
    else:
        page.evaluate("document.body.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, pointerType: 'mouse', buttons: 0}))")
    expect(page.get_by_text(NEWS)).to_be_visible()


@contextmanager
def kept_back(page: Page, address: str, method: str) -> Iterator[list[Route]]:
    """What the page's script asks for waits until the end of this, before the server hears of it."""
    kept: list[Route] = []

    def keep(route: Route) -> None:
        if route.request.method == method and route.request.headers.get("hx-request"):
            kept.append(route)
        else:
            route.fallback()

    page.route(address, keep)
    yield kept
    for route in kept:
        route.continue_()
    page.unroute(address)


def test_what_is_sent_cannot_be_pressed_again_before_its_answer(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    steps.until_live(page)
    watched(page)
    button = steps.offer(page, "notebook").locator("button.get")
    with kept_back(page, "**/request", "POST") as kept:
        with page.expect_request(lambda request: request.method == "POST"):
            button.click()
        change(page)
        expect(button).to_be_disabled()
        expect(page.get_by_text(NEWS)).to_have_count(0)
        assert len(kept) == 1
    expect(steps.held(page)).to_have_count(2)
    expect(page.get_by_text(NEWS)).to_be_visible()


def test_what_was_asked_for_before_is_not_shown_after_an_answer(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    steps.until_live(page)
    watched(page)
    with kept_back(page, f"{busy.url}/", "GET") as kept:
        with page.expect_request(f"{busy.url}/"), catalog.write():
            record("support.bundle", "Something happened.")
        page.evaluate("0")  # the route hears of it right after the event
        older = kept[0].fetch()
        steps.get_machine(page, "notebook")
        expect(steps.held(page)).to_have_count(2)
        page.evaluate("""() => {
          window.fewest = 9;
          const count = () => { window.fewest = Math.min(window.fewest, document.querySelectorAll('article.held').length); };
          new MutationObserver(count).observe(document.getElementById('page'), { childList: true, subtree: true });
        }""")
        kept.pop(0).fulfill(response=older)
    change(page)
    expect(page.get_by_text(NEWS)).to_be_visible()
    assert page.evaluate("window.fewest") == 2, "the machine was never gone from the page"


def test_what_was_asked_about_and_is_gone_is_not_done_to_another(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    steps.until_live(page)
    steps.get_machine(page, "notebook")
    expect(steps.held(page)).to_have_count(2)
    going = steps.held(page).first
    name = going.locator(".mono").inner_text()
    going.get_by_role("button", name="Give back").click()
    with catalog.write():
        gone = Machine.get(Machine.number == int(name.split("-")[1]))
        Lease.update(ended_at=catalog.now()).where(Lease.machine == gone.id).execute()
        Machine.update(state=MachineState.RECLAIMING, owner=None).where(Machine.id == gone.id).execute()
        record("support.bundle", "Its lease ended meanwhile.")
    expect(steps.held(page)).to_have_count(1)
    page.locator("dialog#confirm").get_by_role("button", name="Destroy it").click()
    expect(page.locator("#messages")).to_contain_text("Nothing was done.")
    expect(steps.held(page)).to_have_count(1)


def test_no_step_of_the_wizard_is_left_out(serve: Serve, browse: Browse) -> None:
    site = serve(fresh)
    page = browse(site)
    page.goto("/")
    page.get_by_label("Setup code").fill((site.settings.state / "setup-code").read_text())
    page.get_by_role("button", name="Begin").click()
    page.get_by_label("Name to sign in with").fill("grace")
    page.get_by_label("Password", exact=True).fill(world.PASSWORD)
    page.get_by_label("The same password again").fill(world.PASSWORD)
    forward = page.get_by_role("button", name="Next").last
    with kept_back(page, "**/setup", "POST") as kept:
        with page.expect_request(lambda request: request.method == "POST"):
            forward.click()
        expect(forward).to_be_disabled()
        expect(page.get_by_role("button", name="Back")).to_be_disabled()
        page.get_by_label("Full name").press("Enter")
        assert len(kept) == 1
    expect(page.get_by_role("heading", name="Appliance")).to_be_visible()
    expect(forward).to_be_enabled()


def test_a_form_that_leaves_the_page_is_sent_once(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/groups/")
    form = page.locator("form#new")
    form.get_by_label("Name").fill("Twice")
    sent: list[Route] = []
    page.route("**/admin/groups/", lambda route: sent.append(route) if route.request.method == "POST" else route.fallback())
    where = middle(form.get_by_role("button").last)
    page.mouse.click(*where)

    def left() -> bool:
        page.wait_for_timeout(10)  # in which Playwright tells of what the browser asks for
        return bool(sent)

    until(left)
    page.mouse.click(*where)
    sent[0].continue_()  # a second one would have taken its place
    expect(page.get_by_role("heading", name="Twice")).to_be_visible()
    assert len(sent) == 1
    page.unroute("**/admin/groups/")
    page.go_back()
    form.get_by_label("Name").fill("Once more")  # who has come back may
    form.get_by_role("button").last.click()
    expect(page.get_by_role("heading", name="Once more")).to_be_visible()
    assert Group.select().where(Group.name << ["Twice", "Once more"]).count() == 2


def test_another_button_of_a_form_that_is_sent_is_pressed_nevertheless(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/groups/")
    page.locator("form#new").get_by_label("Name").fill("One")
    dropped = page.evaluate("""() => {
      const form = document.querySelector('form#new'), [one, other] = [form.querySelector('.btn-primary'), document.createElement('button')];
      const dropped = [];
      form.append(other);
      addEventListener('submit', event => { dropped.push(event.defaultPrevented); event.preventDefault(); });
      const press = button => { form.requestSubmit(button); return dropped.pop(); };
      const found = [one, one, other, other, one].map(press);
      dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));
      found.push(press(one));
      dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }));
      return [...found, press(one)];
    }""")
    assert dropped == [False, True, False, True, True, False, False], "the last two: back on the page, and after it was stopped"


def test_a_page_does_not_go_back_to_its_place_under_who_presses_already(busy: Site, browse: Browse) -> None:
    page = browse(busy, height=700)
    steps.sign_in(page, "grace")
    page.goto("/admin/classes/notebook/policy")
    kept: list[Route] = []
    page.route("**/js/page.js*", lambda route: kept.append(route))
    page.get_by_role("button", name="Save the policy").click()
    expect(page.get_by_text("The policy is saved")).to_be_visible()
    assert page.evaluate("scrollY") == 0
    page.mouse.move(*middle(page.locator(".sections a").first))
    page.mouse.down()
    kept[-1].continue_()
    page.unroute("**/js/page.js*")
    page.wait_for_load_state()
    page.mouse.up()
    expect(page).to_have_url(f"{busy.url}/admin/classes/notebook")
