"""People in front of a booted appliance: their browsers, which know it by the address it has, and the wizard as they walk it."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests import world
from tests.browser import steps
from tests.browser.conftest import QUIET
from tests.image.booted import Booted, patience

ADDRESS = "10.0.2.15"
ADMIN = "grace"


@contextlib.contextmanager
def visitors(server: Booted) -> Iterator[Callable[[], Page]]:
    """Call what is given for a page in a browser of one more person. The addresses in it are the appliance's own, applications' ports included."""
    rules = ", ".join(f"MAP {ADDRESS}:{there} 127.0.0.1:{here}" for there, here in server.ports.items())
    expect.set_options(timeout=patience(60_000))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium-headless-shell", args=[*QUIET, f"--host-resolver-rules={rules}"]
        )

        def visit() -> Page:
            context = browser.new_context(base_url=f"https://{ADDRESS}", ignore_https_errors=True)
            context.set_default_timeout(patience(60_000))
            return context.new_page()

        yield visit
        browser.close()


def fill_the_wizard(page: Page, code: str, shots: Path | None = None) -> None:
    """From the code to the last page, where only Finish is left to press."""
    page.goto("/")
    page.get_by_label("Setup code").fill(code)
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="Network")).to_be_visible()
    expect(page.get_by_text(ADDRESS).first).to_be_visible()
    steps.next_step(page, "Administrator account")
    page.get_by_label("Name to sign in with").fill(ADMIN)
    page.get_by_label("Password", exact=True).fill(world.PASSWORD)
    page.get_by_label("The same password again").fill(world.PASSWORD)
    for heading in ("Appliance", "Storage", "Pools", "Directory", "Hardware", "Review"):
        steps.next_step(page, heading)
        if shots:
            page.screenshot(path=shots / f"{heading.split()[-1].strip('?')}.png")


def finish(page: Page) -> None:
    """Press Finish, up to the page that says so."""
    page.get_by_role("button", name="Finish").last.click()
    expect(page.get_by_role("heading", name=re.compile("The appliance is"))).to_be_visible()
