"""The pages in a real browser: what JavaScript does, what is seen, what the keyboard reaches. Machines are rows here."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

import pytest
from playwright.sync_api import Page, Route, expect

from appliance import catalog
from appliance.catalog import Account, Actor, Class, Lease, Machine, MachineState, Seed, SeedState, options, record
from appliance.services import setup
from appliance.settings import Settings
from tests import world
from tests.browser import axe, steps
from tests.browser.conftest import Site

Serve = Callable[[Callable[[Settings], dict[str, Actor] | None]], Site]
LIVE = "**/live?*"  # the address of the stream
Browse = Callable[..., Page]

ADMIN_PAGES = [
    "/admin/", "/admin/classes/", "/admin/classes/notebook", "/admin/classes/notebook/machine", "/admin/classes/notebook/policy",
    "/admin/classes/notebook/calendar/", "/admin/classes/notebook/rules/", "/admin/classes/notebook/jobs/", "/admin/classes/notebook/forecast/",
    "/admin/scenario/", "/admin/applications/", "/admin/applications/pages", "/admin/own-applications/new",
    "/admin/packages/?q=sql", "/admin/packages/debian-13/postgresql", "/admin/seeds/", "/admin/seeds/3", "/admin/machines/", "/admin/accounts/",
    "/admin/accounts/new", "/admin/accounts/2", "/admin/events/", "/admin/events/record", "/admin/settings/", "/admin/settings/email-and-webhooks/", "/search?q=a",
    "/admin/workflow/", "/admin/server/metrics/", "/admin/server/metrics/?span=day", "/admin/server/metrics/?as=table",
    "/needs/", "/docs/api", "/docs/api/grants", "/guide/", "/guide/integrator", "/guide/reference/settings",
]  # fmt: skip


def fresh(settings: Settings) -> None:
    """An appliance that was never set up."""
    world.machine_class("notebook", world.NOTEBOOK)
    world.engine(world.EMULATED)
    setup.ensure_code(settings)


def is_sideways(page: Page) -> bool:
    """Whether the page can be scrolled sideways."""
    wide: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return wide


def test_the_wizard(serve: Serve, browse: Browse) -> None:
    site = serve(fresh)
    page = browse(site, timezone_id="America/New_York")
    page.goto("/admin/")
    expect(page.get_by_label("Setup code")).to_be_focused()
    page.keyboard.type("WRONG-CODE")
    page.keyboard.press("Enter")
    expect(page.get_by_text("That is not the setup code.").last).to_be_visible()
    expect(page.get_by_label("Setup code")).to_be_focused()
    expect(page.get_by_label("Setup code")).to_have_value("WRONG-CODE")
    page.get_by_label("Setup code").fill((site.settings.state / "setup-code").read_text().strip().lower())
    page.get_by_role("button", name="Begin").click()
    # The keyboard is all it takes.
    expect(page.get_by_label("Name to sign in with")).to_be_focused()
    page.keyboard.type("grace")
    for text in ("Grace Hopper", world.PASSWORD, "something else"):
        page.keyboard.press("Tab")
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_role("link", name="The two passwords differ.").press("Enter")
    expect(page.get_by_label("The same password again")).to_be_focused()
    expect(page.get_by_label("Password", exact=True)).to_have_value(world.PASSWORD)
    page.get_by_label("The same password again").fill(world.PASSWORD)
    steps.next_step(page, "Appliance")
    expect(page.get_by_label("Time zone")).to_have_value("America/New_York")
    page.get_by_label("Name of the appliance").fill("Hillside School")
    steps.next_step(page, "Pools")
    page.locator("#f-buffer-notebook").fill("9")
    expect(page.locator('[data-sum="ready"]')).to_have_text("9 GiB")
    expect(page.get_by_text("That is more than there is.")).to_be_visible()
    page.locator("#f-buffer-notebook").fill("2")
    expect(page.get_by_text("That is more than there is.")).to_be_hidden()
    page.get_by_role("button", name="Back").click()
    expect(page.get_by_label("Name of the appliance")).to_be_visible()  # what is on other steps is there as well, hidden
    expect(page.get_by_label("Name of the appliance")).to_have_value("Hillside School")
    steps.next_step(page, "Pools")
    expect(page.locator("#f-buffer-notebook")).to_have_value("2")
    steps.next_step(page, "Directory")
    page.get_by_label("Use this one").check()
    page.get_by_role("button", name="Next").last.click()
    expect(page.get_by_text("Name at least one server.").last).to_be_visible()
    page.get_by_label("Later").check()
    steps.next_step(page, "Hardware")
    expect(page.get_by_text("This server can hold")).to_be_visible()
    steps.next_step(page, "Review")
    page.get_by_role("button", name="Change").first.click()
    expect(page.get_by_label("Full name")).to_have_value("Grace Hopper")
    for heading in ("Appliance", "Pools", "Directory", "Hardware", "Review"):
        steps.next_step(page, heading)
    page.get_by_role("button", name="Finish and build").click()
    expect(page.get_by_role("heading", name="The appliance is getting ready")).to_be_visible()
    assert Account.get().name == "grace"
    assert options.get("time_zone") == "America/New_York"
    # The build's progress moves without a reload.
    steps.until_live(page)
    with catalog.write():
        Seed.update(state=SeedState.BUILDING, started_at=catalog.now(), task="bootstrap", task_number=3, task_total=20).execute()
    expect(page.get_by_text("Task 3 of 20")).to_be_visible()
    with catalog.write():
        Seed.update(state=SeedState.READY, ended_at=catalog.now()).execute()
    expect(page.get_by_role("heading", name="The appliance is ready")).to_be_visible()


def test_the_wizard_without_javascript(serve: Serve, browse: Browse) -> None:
    site = serve(fresh)
    page = browse(site, java_script_enabled=False)
    steps.set_up(
        page, (site.settings.state / "setup-code").read_text(), "grace", world.PASSWORD, "Hillside School", pools={"notebook": (1, 3)}
    )
    assert Class.get().maximum == 3


def test_signing_in_and_out(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    page.goto("/account")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("do not fit")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(world.PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{busy.url}/account")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert set(cookies) == {"__Host-Http-dpe"}
    assert cookies["__Host-Http-dpe"]["secure"]
    assert cookies["__Host-Http-dpe"]["httpOnly"]
    steps.sign_out(page)
    page.goto("/")
    expect(page.get_by_label("Name")).to_be_visible()


def test_the_button_gives_a_machine_and_the_page_follows_it(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    page.evaluate("window.same = true")
    expect(steps.offer(page, "notebook")).to_contain_text("3 ready, yours at once")
    steps.get_machine(page, "notebook")
    expect(steps.held(page)).to_have_count(2)
    expect(steps.offer(page, "notebook")).to_contain_text("You hold 2 of 2 already.")
    mine = Machine.get(Machine.state == MachineState.ASSIGNED)
    card = page.locator(f"#machine-{mine.number}")
    expect(card).to_contain_text("assigned")
    expect(card.get_by_role("button", name="Open")).to_be_disabled()
    with catalog.write():
        Machine.update(state=MachineState.IN_USE).where(Machine.id == mine.id).execute()
        record("machine.in_use", "It is theirs.", machine_id=mine.id)
    address = steps.open_address(card)
    assert address == f"https://127.0.0.1:{busy.settings.app_port + mine.slot}/lab"
    assert page.evaluate("window.same"), "the page was never loaded again"


def test_waiting_shows_what_is_known_and_ends_by_itself(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "alan")
    card = steps.offer(page, "studio")
    expect(card).to_contain_text("You are next.")
    expect(card).to_contain_text("starting")
    steps.until_live(page)
    with catalog.write():
        Machine.update(step="waiting for the application").where(
            Machine.class_name == "studio", Machine.state == MachineState.CREATING
        ).execute()
    expect(card).to_contain_text("waiting for the application")
    card.get_by_role("button", name="Cancel the request").click()
    expect(card.get_by_role("button", name=re.compile("Get in line for a statistics studio"))).to_be_visible()


def test_extending_is_answered_in_place(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "alan")
    card = steps.held(page).first
    expect(card).to_have_class(re.compile("ends-soon"))
    expect(card).to_contain_text(re.compile(r"1\d min left"))
    card.get_by_role("button", name="Extend").click()
    expect(page.get_by_text("Extended: it is held for another 4 h")).to_be_visible()
    expect(card).not_to_have_class(re.compile("ends-soon"))
    expect(card).to_contain_text("can be extended 2 times")


def test_time_left_is_counted_down(busy: Site, browse: Browse) -> None:
    with catalog.write():
        Lease.update(ends_at=catalog.now() + timedelta(minutes=5)).execute()
    page = browse(busy)
    steps.sign_in(page, "alan")
    left = steps.held(page).first.locator(".held-time-line .left")
    before = left.inner_text()
    expect(left).not_to_have_text(before)


def test_giving_back_asks_and_escape_says_no(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    card = steps.held(page).first
    card.get_by_role("button", name="Give back").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The machine and everything on it is destroyed.")
    # Whoever presses Enter without reading destroys nothing.
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(card).to_be_visible()
    # The page may change under the open question.
    card.get_by_role("button", name="Give back").click()
    with page.expect_response(lambda response: response.request.headers.get("hx-target") == "div#live"), catalog.write():
        record("support.bundle", "Something happened meanwhile.")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Destroy it").click()
    expect(steps.held(page)).to_have_count(0)
    expect(page.get_by_text("is given back and will be destroyed.")).to_be_visible()


def test_an_error_is_a_message_and_the_page_stays(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    with catalog.write():
        Class.update(per_person=1).execute()
    steps.get_machine(page, "notebook")
    expect(page.locator("#messages")).to_contain_text("You hold 1 of 1 already. Give one back first.")
    expect(steps.held(page)).to_have_count(1)


def test_an_ended_session_leads_to_sign_in(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    steps.until_live(page)
    end_sessions()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_session_that_ends_before_the_stream_begins_leads_to_sign_in(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    page.route(LIVE, lambda route: (end_sessions(), route.continue_()))
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_what_happens_before_the_stream_begins_is_shown(busy: Site, browse: Browse) -> None:
    def happen(route: Route) -> None:
        with catalog.write():
            Class.update(enabled=False).execute()
            record("support.bundle", "All classes are withdrawn.")
        route.continue_()

    page = browse(busy)
    steps.sign_in(page, "ada")
    expect(page.get_by_role("heading", name="Statistics studio")).to_be_visible()
    page.route(LIVE, happen)
    page.reload()
    expect(page.get_by_role("heading", name="Statistics studio")).to_have_count(0)


def end_sessions() -> None:
    with catalog.write():
        catalog.Session.delete().execute()
        record("support.bundle", "Everybody is signed out.")


def test_what_is_typed_survives_a_live_page(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/classes/notebook/policy")
    page.get_by_label("Ready and waiting").fill("7")
    page.get_by_label("Maximum").focus()
    with catalog.write():
        Machine.update(state=MachineState.RECLAIMING).where(Machine.class_name == "notebook", Machine.state == MachineState.READY).execute()
        record("support.bundle", "The buffer is gone.")
    expect(page.locator('[data-pool="buffer"]')).to_have_text("0 / 3")
    expect(page.get_by_label("Ready and waiting")).to_have_value("7")
    expect(page.get_by_label("Maximum")).to_be_focused()
    page.get_by_role("button", name="Save the policy").click()
    expect(page.get_by_text("The policy is saved")).to_be_visible()
    assert Class.get_by_id("notebook").buffer == 7


def test_the_overview_is_live(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/")
    expect(page.locator("#pools-notebook [data-pool=creation]")).to_have_text("1")
    world.engine(problem="libvirt cannot be reached.")
    expect(page.locator("#needs")).to_contain_text("libvirt cannot be reached.")
    world.engine()
    expect(page.get_by_text("libvirt cannot be reached.")).to_be_hidden()


def test_a_tab_never_holds_more_than_one_stream(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    for path in ADMIN_PAGES * 2:
        page.goto(path)
    page.goto("/admin/")
    steps.until_live(page)


def test_without_a_stream_the_page_asks_by_itself(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    page.route("**/live?*", lambda route: route.fulfill(status=503))
    steps.sign_in(page, "ada")
    expect(page.locator("#live-dot")).to_have_attribute("data-state", "polling")
    with catalog.write():
        Machine.update(state=MachineState.RECLAIMING).where(Machine.state == MachineState.READY).execute()
    expect(steps.offer(page, "notebook")).to_contain_text("None is ready", timeout=15_000)


def test_a_stop_of_the_server_is_quick_with_streams_open(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    steps.until_live(page)
    seconds = busy.stop()
    assert seconds < 10  # an open stream would hold a server that does not end it for its whole life, five minutes


def test_making_an_account_with_a_generated_password(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "grace")
    page.goto("/admin/accounts/new")
    page.get_by_label("Name to sign in with").fill("emmy")
    page.get_by_role("button", name="Generate").click()
    password = page.get_by_label("Password", exact=True).input_value()
    assert re.fullmatch(r"([a-z2-9]{4}-){3}[a-z2-9]{4}", password)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_text("The account emmy is created.")).to_be_visible()
    theirs = browse(busy)
    steps.sign_in(theirs, "emmy", password)
    theirs.goto("/account")  # nothing opens before it is theirs alone
    expect(theirs.get_by_role("heading", name="Choose a password")).to_be_visible()
    sound(theirs, "new password")
    theirs.get_by_label("New password").fill("a good one of hers")
    theirs.keyboard.press("Enter")
    expect(theirs.get_by_role("heading", name="Hello, emmy")).to_be_visible()


def test_dark_follows_the_system_until_one_chooses(busy: Site, browse: Browse) -> None:
    page = browse(busy, scheme="dark")
    page.goto("/sign-in")
    theme = page.locator("html")
    expect(theme).to_have_attribute("data-bs-theme", "dark")
    steps.sign_in(page, "ada")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(theme).to_have_attribute("data-bs-theme", "light")
    page.reload()
    expect(theme).to_have_attribute("data-bs-theme", "light")
    page.get_by_role("button", name="Switch between light and dark").click()
    page.emulate_media(color_scheme="light")
    expect(theme).to_have_attribute("data-bs-theme", "light")


def test_all_areas_are_in_sight(busy: Site, browse: Browse) -> None:
    """On a desk's screen nothing of the navigation is hidden behind its edge."""
    page = browse(busy, width=1280)
    steps.sign_in(page, "grace")
    page.goto("/admin/server/metrics/")
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    assert links.all_inner_texts()[-2:] == ["Settings", "E-mail and webhooks"]
    links.last.scroll_into_view_if_needed()
    expect(links.last).to_be_in_viewport(ratio=1)
    assert not page.locator("#side").evaluate("side => side.scrollWidth > side.clientWidth")


def test_the_wizard_fits_a_phone(serve: Serve, browse: Browse) -> None:
    site = serve(fresh)
    page = browse(site, width=390)
    steps.set_up(page, (site.settings.state / "setup-code").read_text(), "grace", world.PASSWORD, "Hillside School")
    assert not is_sideways(page)


# Every control has a name, every field a label, every id is there once, and nothing readable is too pale.
LINT = """() => {
  const wrong = [];
  const named = element => (element.getAttribute('aria-label') || element.innerText || element.title || '').trim();
  for (const control of document.querySelectorAll('button, a[href]')) if (control.checkVisibility() && !named(control)) wrong.push(control.outerHTML.slice(0, 120));
  for (const field of document.querySelectorAll('input:not([type=hidden]), select, textarea'))
    if (!field.labels.length && !field.getAttribute('aria-label')) wrong.push(field.outerHTML.slice(0, 120));
  const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push('twice: ' + id);
  if (document.querySelectorAll('h1').length !== 1) wrong.push('headings: ' + document.querySelectorAll('h1').length);
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
  const ground = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) { const colour = rgba(getComputedStyle(at).backgroundColor); layers.push(colour); if (colour[3] === 255) break; }
    return layers.reverse().reduce((under, over) => under.map((v, at) => at < 3 ? v + (over[at] - v) * over[3] / 255 : 255), [255, 255, 255, 255]);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.nodeValue.trim() || !element.checkVisibility({ visibilityProperty: true }) || element.closest('.visually-hidden, [disabled], svg, option, progress')) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(rgba(style.color)), light(ground(element))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5 && !(parseFloat(style.fontSize) >= 24 && ratio >= 3)) wrong.push(`pale ${ratio.toFixed(1)}: ${walker.currentNode.nodeValue.trim().slice(0, 40)} <${element.className}>`);
  }
  return [...new Set(wrong)];
}"""


WIDTHS = (320, 390, 768, 1280)

# No text is cut off, sticks out of its box or has to be scrolled to, but where lines stay as they were written, and in a drawing.
CUT = """() => {
  const wrong = [];
  const named = element => element.tagName.toLowerCase() + (element.id && '#' + element.id) + [...element.classList].map(one => '.' + one).join('');
  const seen = element => element.checkVisibility({ visibilityProperty: true }) && !element.closest('svg, canvas, pre, select, textarea, input, .visually-hidden');
  for (const element of document.body.querySelectorAll('*')) {
    const style = getComputedStyle(element);
    if (style.clipPath !== 'none' || style.overflowX === 'visible' || style.textOverflow === 'ellipsis' || element.scrollWidth <= element.clientWidth + 1) continue;
    if (seen(element) && element.innerText && !element.matches('.life-scroll, .diff-lines, .nav-strip')) wrong.push(`cut: ${named(element)} ${element.innerText.trim().slice(0, 40)}`);
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode, range = document.createRange();
    if (!text.nodeValue.trim() || !seen(text.parentElement)) continue;
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    for (let at = text.parentElement; at !== document.body; at = at.parentElement) {
      const style = getComputedStyle(at), { left, right } = at.getBoundingClientRect();
      if (style.overflowX !== 'visible') break;
      if (style.display === 'inline' || style.display === 'contents') continue;
      if (box.right > right + 2 || box.left < left - 2) { wrong.push(`sticks out: ${named(at)} ${text.nodeValue.trim().slice(0, 40)}`); break; }
      if (at.matches('.btn, .badge, .card')) break;
    }
  }
  return [...new Set(wrong)];
}"""


# What is longer elsewhere and at other times: the time of what was not today, and paths, which are on a phone alone the widest that there is.
LATER = "document.querySelectorAll('time').forEach(one => { if (/^\\d+:/.test(one.textContent)) one.textContent = '30. Nov. 23:45'; })"
ELSEWHERE = (
    "document.querySelectorAll(':not(pre) > code').forEach(one => { one.textContent += '/a/path/without/a/place/to/break'.repeat(3); })"
)

Looks = tuple[tuple[int, Literal["light", "dark"]], ...]  # widths and colours
LOOKS: Looks = ((390, "dark"), (1280, "light"))


def sound(page: Page, context: object = "", but: str = "nothing", looks: Looks = LOOKS) -> None:
    """What holds of every page, on a phone in the dark and on a desk; faults that begin with `but` are none. It is left light, in the width that it had."""
    own = page.viewport_size
    assert own
    for width, scheme in looks:
        page.set_viewport_size({**own, "width": width})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert not is_sideways(page), (context, page.url, width)
        found = page.evaluate(LINT) + axe.findings(page, *(axe.COLOURS if scheme == "dark" else ()))
        assert [one for one in found if not one.startswith(but)] == [], (context, page.url, width, scheme)
    page.set_viewport_size(own)


# A page leads to one thing; a list of machines or offers to one each.
PRIMARY = "[...document.querySelectorAll('main .btn-primary')].filter(one => !one.closest('article') && one.checkVisibility()).map(one => one.innerText.trim())"


@pytest.mark.a11y
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_and_use_every_page_and_none_scrolls_sideways(busy: Site, browse: Browse, scheme: str) -> None:
    """Each page is loaded once, and then looked at in all widths, as on a phone that is turned."""
    found = {}

    def look(page: Page, name: str) -> None:
        found[name] = page.evaluate(LINT) + axe.findings(page, *(axe.COLOURS if scheme == "dark" else ()))
        if len(first := page.evaluate(PRIMARY)) > 1:
            found[name].append(f"more than one primary action: {first}")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if is_sideways(page):
                found[name].append(f"scrolls sideways at {width}")
            if width in (390, 1280) and scheme == "light":
                found[name] += [f"{one} at {width}" for one in page.evaluate(CUT)]
        if scheme == "light":
            for change, width in ((LATER, 1280), (ELSEWHERE, 390)):
                page.evaluate(change)
                page.set_viewport_size({"width": width, "height": 900})
                found[name] += [f"on another day, or with a long path, {one} at {width}" for one in page.evaluate(CUT)]

    page = browse(busy, scheme=scheme, reduced_motion="reduce")
    page.goto("/sign-in")
    look(page, "/sign-in")
    steps.sign_in(page, "grace")
    machine = Machine.get(Machine.state == MachineState.IN_USE)
    for path in ["/", "/account", *ADMIN_PAGES, f"/admin/machines/{machine.id}", f"/machines/{machine.id}/console", "/no-such-page"]:
        page.goto(path)
        look(page, path)
    person = browse(busy, scheme=scheme, reduced_motion="reduce")
    steps.sign_in(person, "alan")
    look(person, "alan's")
    assert sorted({f"{path}: {one}" for path, wrong in found.items() for one in wrong}) == []


def test_the_keyboard_reaches_everything_in_order(busy: Site, browse: Browse) -> None:
    page = browse(busy)
    steps.sign_in(page, "ada")
    names = []
    for _ in range(14):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '').trim().split('\\n')[0]"
            )
        )
    expected = [
        "Skip to the page",
        "Hillside School",
        "My machines",
        "Switch between light and dark",
        "ada",
        "Sign out",
        "Open",
        "Extend",
        "Give back",
        "Get a notebook",
    ]
    places = [names.index(name) for name in expected]
    assert places == sorted(places)
    page.reload()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#page")).to_be_focused()
