"""The editor of sequences in a real browser: with the keyboard and the mouse, without JavaScript, wide and on a phone."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import Actor, Run, RunState
from appliance.services import sequences
from appliance.settings import Settings
from tests import sequences as office
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import sound

pytestmark = pytest.mark.workflow

Browse = Callable[..., Page]
HERE = "/admin/workflow/sequences/office"


def fill(settings: Settings) -> dict[str, Actor]:
    people = world.busy(settings)
    office.fill(people["grace"])
    return people


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    return serve(fill)


def names(move: str, part: str) -> list[str]:
    return [activity["name"] for activity in sequences.view_sequence("office").moves.get(move, {}).get(part, [])]


def expect_order(page: Page, move: str, part: str, names: list[str]) -> None:
    steps = page.locator(f'[data-list][data-move="{move}"][data-part="{part}"] [data-step]')
    expect(steps).to_have_count(len(names))
    for step, name in zip(steps.all(), names, strict=True):
        expect(step).to_have_id(f"step-{name}")


def test_an_activity_is_added_with_its_form_checked_as_it_is_filled_in(site: Site, browse: Browse) -> None:
    page = browse(site)
    steps.sign_in(page, "grace")
    page.goto(HERE)
    page.locator("#move-assign .step-add a").first.click()
    page.locator('a[href*="kind=wait"]').click()
    page.get_by_label("Time").fill("soon")
    page.get_by_label("Title").click()
    expect(page.locator(".field-error")).to_contain_text("Time cannot be 'soon'; write a number and s, m, h or d")
    page.get_by_label("Time").fill("20s")
    page.get_by_label("Title").fill("Breathe")
    page.get_by_label("Name").focus()
    expect(page.locator(".field-error")).to_have_count(0)
    expect(page.get_by_label("Name")).to_be_focused()  # where the person is does not move under them
    page.get_by_text("When it is done").click()
    page.locator('[name="when.memory.above"]').fill("1024")
    page.get_by_role("button", name="Add it to the draft").click()
    expect(page.locator("#step-wait")).to_contain_text("Breathe")
    expect(page.locator("#step-wait")).to_contain_text("more than 1024 MiB memory")
    assert names("assign", "before") == ["manager", "wait"]


def test_activities_are_moved_by_keys_buttons_and_dragging(site: Site, browse: Browse) -> None:
    look = sequences.view_sequence("office")
    moves = {"stop": {"before": [{"name": name, "kind": "wait", "with": {"time": "1s"}} for name in "abc"]}}
    sequences.save_draft(site.people["grace"], "office", moves, look.stamp)
    page = browse(site)
    steps.sign_in(page, "grace")
    page.goto(HERE)
    page.locator("#arrow-down-a").click()
    expect(page.locator('[data-list][data-move="stop"][data-part="before"] [data-step]').nth(1)).to_have_id("step-a")
    expect(page.locator("#arrow-down-a")).to_be_focused()
    page.keyboard.press("Alt+ArrowDown")
    expect(page.locator('[data-list][data-move="stop"][data-part="before"] [data-step]').nth(2)).to_have_id("step-a")
    assert names("stop", "before") == ["b", "c", "a"]
    page.locator("#step-a .grip").drag_to(page.locator("#step-b"), target_position={"x": 200, "y": 4})
    expect(page.locator('[data-list][data-move="stop"][data-part="before"] [data-step]').first).to_have_id("step-a")
    page.locator("#step-b .grip").drag_to(page.locator('[data-list][data-move="stop"][data-part="after"]'))
    expect(page.locator('[data-list][data-move="stop"][data-part="after"] [data-step]')).to_have_id("step-b")
    assert (names("stop", "before"), names("stop", "after")) == (["a", "c"], ["b"])


def test_what_is_removed_can_be_had_back(site: Site, browse: Browse) -> None:
    page = browse(site)
    steps.sign_in(page, "grace")
    page.goto(HERE)
    page.get_by_role("button", name="Remove A manager says yes").click()
    expect(page.locator("#undo")).to_contain_text("A manager says yes is removed.")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#step-manager")).to_be_visible()
    page.locator("#move-reclaim").get_by_role("button", name="Put back").click()
    expect(page.locator("#step-grace")).to_be_visible()
    assert names("reclaim", "before") == ["grace"]


def test_a_draft_is_tried_and_promoted_on_purpose(site: Site, browse: Browse) -> None:
    page = browse(site)
    steps.sign_in(page, "grace")
    page.goto(HERE)
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_role("alert")).to_contain_text("The draft was not tried yet.")
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_role("link", name="The draft was not tried yet.").click()
    expect(page.get_by_label("Although it was not tried")).to_be_focused()
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#trial")).to_contain_text("It is being tried.")
    with catalog.write():
        Run.update(state=RunState.FAILED, problem="The desk is full.").where(Run.version.is_null(False)).execute()
    expect(page.locator("#trial")).to_contain_text("It was tried, and failed.")
    expect(page.locator("#trial")).to_contain_text("The desk is full.")
    page.get_by_label("Comment, for the history").fill("A pause before it stops")
    page.get_by_label("Before the trial has ended").check()
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("is promoted: what begins from now on goes by it")).to_be_visible()
    page.get_by_role("link", name="History").click()
    expect(page.locator("tr").filter(has_text="A pause before it stops")).to_contain_text("grace")
    page.locator("tr").filter(has_text="As shipped").get_by_role("button", name="Roll back").click()
    page.locator("dialog#confirm").get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("is promoted: what begins from now on goes by it")).to_be_visible()
    assert names("reclaim", "before") == ["grace"]


def test_all_of_it_works_without_javascript(site: Site, browse: Browse) -> None:
    page = browse(site, java_script_enabled=False)
    steps.sign_in(page, "grace")
    page.goto(f"{HERE}/activity?move=start&part=after&number=-1&kind=task")
    page.get_by_role("button", name="Add it to the draft").click()
    expect(page.locator(".field-error")).to_contain_text("text is missing")
    page.get_by_label("Text").fill("Tell the owner.")
    page.get_by_role("button", name="Add it to the draft").click()
    expect(page.locator("#step-task")).to_contain_text("Tell the owner.")
    page.goto(f"{HERE}/activity?move=start&part=after&number=-1&kind=wait")
    page.get_by_label("Time").fill("5s")
    page.get_by_role("button", name="Add it to the draft").click()
    page.locator("#arrow-up-wait").click()
    expect_order(page, "start", "after", ["wait", "task"])
    page.locator("#step-task").get_by_role("button", name="Remove Task").click()
    expect_order(page, "start", "after", ["wait"])
    page.get_by_role("button", name="Undo").click()
    expect_order(page, "start", "after", ["wait", "task"])
    assert names("start", "after") == ["wait", "task"]


def test_pages_of_sequences_fit_and_are_sound(site: Site, browse: Browse) -> None:
    page = browse(site)
    steps.sign_in(page, "grace")
    kinds = [f"/activity?move=stop&part=before&number=-1&kind={kind.name}" for kind in sequences.kinds_of("stop", "before")]
    for path in ("", "/history", "/file", "/kinds?move=stop&part=before", "/activity?move=assign&part=before&number=0", *kinds):
        page.goto(HERE + path)
        sound(page, path)
    page.goto("/admin/workflow/sequences/")
    sound(page)
