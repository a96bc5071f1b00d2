"""The form in which a person chooses what their machine is: from the portal, by a favourite's link, to waiting for what was never made."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance import catalog
from appliance.catalog import Actor, Class, Recipe, Seed, SeedState, policies, seeds
from appliance.scenario.schema import ClassSpec
from appliance.settings import Settings
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import sound

pytestmark = pytest.mark.choice

Browse = Callable[..., Page]
CHOICE = {
    "os": ["debian-12", "debian-13"],
    "applications": ["jupyterlab", "postgresql"],
    "packages": True,
    "memory": 4096,
    "disk": 16,
    "lease": 2880,
}


def fill(settings: Settings) -> dict[str, Actor]:
    people = world.busy(settings)
    spec = {**world.NOTEBOOK, "title": "Data studio", "roles": [], "choice": CHOICE}
    with catalog.write():
        Class.create(name="data", **policies.columns(ClassSpec.model_validate(spec).model_dump(mode="json"), {}))
    return people


def test_a_choice_is_made_kept_under_a_name_and_waited_for(serve: Callable[..., Site], browse: Browse) -> None:
    site = serve(fill)
    page = browse(site)
    steps.sign_in(page, "mary")
    page.get_by_role("article", name="Data studio").get_by_role("link", name="Choose what is in it").click()
    page.get_by_label("Debian 12").check()
    page.get_by_label("PostgreSQL with Adminer").check()
    page.get_by_label("Memory", exact=True).fill("9999")
    page.get_by_role("button", name="Show what it takes").click()
    expect(page.get_by_label("Memory", exact=True)).to_have_accessible_description(
        "It cannot have 9999 MiB. Choose 1024 to 4096 MiB. From 1024 to 4096."
    )
    expect(page.get_by_label("PostgreSQL with Adminer")).to_be_checked()
    page.get_by_label("Memory", exact=True).fill("2048")
    page.get_by_role("button", name="Show what it takes").click()
    takes = page.get_by_role("region", name="What it takes")
    expect(takes).to_contain_text("it was never made, and is built first")
    expect(takes).to_contain_text("2 GiB memory")
    page.get_by_label("Name", exact=True).fill("Thesis")
    page.get_by_role("button", name="Keep as a favourite").click()
    page.goto("/choose/data")
    page.get_by_role("link", name="Thesis", exact=True).click()
    expect(page.get_by_label("PostgreSQL with Adminer")).to_be_checked()
    sound(page)
    page.set_viewport_size({"width": 390, "height": 844})
    sound(page)
    page.get_by_role("button", name="Ask for it").click()
    waiting = page.get_by_role("article", name="Data studio: Debian 12, postgresql")
    expect(waiting).to_contain_text("You are next.")
    steps.until_live(page)
    with catalog.write():
        name = Recipe.get().class_name
        seed = Seed.create(
            machine_class=name, version=1, state=SeedState.BUILDING, task="Unpack the operating system", task_number=2, task_total=9
        )
    page.goto("/")  # whoever left comes back
    expect(waiting).to_contain_text("Task 2 of 9")
    sound(page)
    with catalog.write():
        Seed.update(state=SeedState.READY, stored=True).where(Seed.id == seed.id).execute()
        seeds.promote(seed)
    page.goto("/choose/data")
    expect(page.get_by_role("region", name="Built already")).to_contain_text("Debian 12, PostgreSQL with Adminer")
