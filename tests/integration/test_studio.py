"""What a machine is, made in the page by a new admin: no shell, no file, on the real engine.

It builds PostgreSQL with Adminer twice, which takes some minutes: `make soak ONLY=studio` (DPE_TEST_STUDIO=1).
The form itself is walked by tests/browser/test_class_form_pages.py.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import steps
from tests.integration.newcomer import MakeRun, made, visit

__all__ = ["visit"]  # a fixture

PASSWORD = "correct horse battery"
MICRO = Path(__file__).parents[1] / "scenarios/micro"
BUILT, MADE = 1_800_000, 600_000  # milliseconds

pytestmark = [
    pytest.mark.studio,
    pytest.mark.alone,
    pytest.mark.timeout(5400),
    pytest.mark.skipif("DPE_TEST_STUDIO" not in os.environ, reason="takes minutes: make soak ONLY=studio"),
]


@pytest.fixture
def make_run() -> Iterator[MakeRun]:
    with made(MICRO) as running:
        yield running


def save(page: Page) -> None:
    page.get_by_role("button", name="Show changes").click()
    page.get_by_role("button", name="Save as a new version").click()


def section(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Sections of the class").get_by_role("link", name=name).click()


def renewed(page: Page, seed: str) -> None:
    """The page of the class, until its buffer is of that seed: it is replaced gradually."""
    page.goto("/admin/classes/data")
    foot = page.locator(".pools-foot")
    expect(foot.get_by_role("link", name=f"seed {seed}")).to_be_visible(timeout=BUILT)
    expect(foot).to_contain_text("1 of the buffer still on an older one")
    expect(page.locator("[data-pool=buffer]")).to_contain_text(re.compile(r"[12] / 1"))
    expect(foot).not_to_contain_text("still on an older one", timeout=MADE)
    expect(page.locator("[data-pool=buffer]")).to_contain_text("1 / 1", timeout=MADE)


def seed_of(page: Page, machine: str) -> str:
    page.goto(f"/admin/machines?text={machine}&retired=yes")
    page.get_by_role("link", name=machine).first.click()
    return page.locator("dt", has_text=re.compile("^Seed$")).locator("xpath=following-sibling::dd[1]").inner_text()


def test_a_class_is_made_in_the_page_had_by_a_user_changed_and_gone_back_from(
    make_run: MakeRun, visit: Callable[[MakeRun], BrowserContext]
) -> None:
    make_run.start(300)
    ada = visit(make_run).new_page()
    steps.set_up(ada, make_run.setup_code, "ada", PASSWORD, "The lab", pools={"micro": (0, 1)})
    steps.add_account(ada, "nina", PASSWORD)

    # From nothing: an operating system, an application with an option, a size.
    ada.goto("/admin/classes/")
    ada.get_by_role("link", name="New class").click()
    ada.get_by_label("Short name").fill("data")
    ada.locator("#f-title").fill("Database")
    ada.get_by_role("combobox", name="Operating system").select_option("Debian 12 (bookworm)")
    ada.get_by_label("PostgreSQL with Adminer").check()
    ada.locator("[name='applications.postgresql.options.database']").fill("shop")
    ada.locator("[name='size.memory']").fill("512")
    save(ada)
    saved = ada.get_by_text(re.compile(r"Database is saved, as version \d+. Its seed is built now."))
    expect(saved).to_be_visible()
    version = int(re.findall(r"version (\d+)", saved.inner_text())[0])

    # It is built, and a user has it at once, with the database as it was asked for.
    hers = visit(make_run)
    nina = hers.new_page()
    steps.sign_in(nina, "nina", PASSWORD)
    nina.goto("/")
    expect(steps.offer(nina, "data").get_by_text("1 ready, yours at once")).to_be_visible(timeout=BUILT)
    steps.get_machine(nina, "data")
    card = steps.held(nina)
    steps.open_address(card)
    name = card.locator(".mono").inner_text()
    with hers.expect_page() as opened:
        card.get_by_role("link", name="Open").click()
    expect(opened.value.get_by_text("SQL command").first).to_be_visible(timeout=240_000)
    expect(opened.value.locator("body")).to_contain_text("shop")

    # Another package is another seed; the buffer is renewed, and what somebody has stays.
    ada.goto("/admin/classes/data")
    section(ada, "Machine")
    ada.get_by_role("link", name="Edit").click()
    ada.get_by_role("textbox", name="Debian packages").fill("less")
    ada.get_by_role("button", name="Show changes").click()
    expect(ada.locator(".changes")).to_contain_text("Machines are other ones once its seed is built anew.")
    ada.get_by_role("button", name="Save as a new version").click()
    renewed(ada, "v2")
    assert seed_of(ada, name) == "v1"

    # Back to the version before, and to its seed, which is there yet.
    ada.goto("/admin/scenario")
    ada.get_by_role("link", name=f"v{version}", exact=True).click()
    ada.get_by_label("Build these seeds now").uncheck()
    ada.get_by_role("button", name="Go back to this version").click()
    ada.get_by_role("dialog").get_by_role("button", name="Go back").click()
    expect(ada.get_by_text(f"Version {version} counts again, as version {version + 2}.")).to_be_visible()
    ada.goto("/admin/classes/data")
    section(ada, "Seeds")
    ada.get_by_role("button", name="Roll back").click()
    ada.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    renewed(ada, "v1")
    nina.goto("/")
    steps.give_back(nina, steps.held(nina))
    expect(steps.held(nina)).to_have_count(0)
    steps.get_machine(nina, "data")
    steps.open_address(steps.held(nina))
    assert seed_of(ada, steps.held(nina).locator(".mono").inner_text()) == "v1"
