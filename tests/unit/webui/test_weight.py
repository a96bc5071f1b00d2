"""What pages weigh with 500 people and 300 machines: less than 60 kB each; the page of a sequence, less than 800 elements."""

import gzip
import re
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Class
from appliance.language import LANGUAGES
from appliance.services import class_specs, scenarios
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import REPOSITORY, Settings
from appliance.workflow.load import FOLDER, load
from tests import sequences, world
from tests.unit.webui.conftest import Browser
from webui.guide import reference
from webui.guide.texts import GUIDES

pytestmark = pytest.mark.console_ui

MOST = 60_000  # bytes
ELEMENTS = 800
COLD = 90_000  # bytes, packed
STATIC = REPOSITORY / "webui/static"
SHIPPED = REPOSITORY / "playbooks/scenarios"
# Those that grow with what there is, and those that are large; test_guard and test_guide weigh all others in a small world.
PAGES = [
    "/", "/admin/", "/admin/machines/", "/admin/accounts/", "/admin/org-units/", "/admin/org-units/1", "/admin/groups/", "/admin/groups/1",
    "/admin/grants/", "/admin/quotas/", "/admin/classes/", "/admin/classes/notebook", "/admin/classes/notebook/calendar/",
    "/admin/classes/notebook/policy", "/admin/events/", "/admin/seeds/", "/admin/settings/", "/admin/workflow/", "/admin/workflow/runs/",
    "/search?q=p",
]  # fmt: skip


class _Counter(HTMLParser):
    count = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count += 1


def elements(text: str) -> int:
    counter = _Counter()
    counter.feed(text)
    return counter.count


def crowd(owner: Actor) -> None:
    """500 people, and 300 machines, a third of which one of them holds."""
    with catalog.write():
        like = Account.get(Account.name == "ada")
        fields = {"password": like.password, "org_unit": like.org_unit_id, "created_at": like.created_at}
        rows = [{"name": f"person{n}", "full_name": f"Person Number {n}", **fields} for n in range(500)]
        Account.insert_many(rows).execute()
    world.many_machines(Class.get_by_id("notebook"), 300, owner)


def heavy(browser: Browser, paths: Iterable[str]) -> dict[tuple[str, str], int]:
    """The pages that weigh too much, by language and path, with their bytes."""
    found = {}
    for spoken in LANGUAGES:
        for path in paths:
            answer = browser.get(path, **{"Accept-Language": spoken})
            assert (answer.status_code, f'<html lang="{spoken}"' in answer.text) == (200, True), path
            found[spoken, path] = len(answer.get_data())
    return {page: size for page, size in found.items() if size > MOST}


@pytest.mark.i18n
def test_no_page_is_heavy_in_any_language(grace: Browser, people: dict[str, Actor]) -> None:
    crowd(people["mary"])
    areas = re.findall(r'href="(/docs/api/[a-z-]+)"', grace.get("/docs/api").text)
    assert len(areas) > 20
    references = [f"/guide/reference/{name}" for name in reference.PAGES]
    paths = (*PAGES, "/docs/api", *areas, *references, *(f"/guide/{name}" for name in GUIDES))
    assert heavy(grace, paths) == {}


@pytest.mark.i18n
def test_the_form_of_a_class_is_not_heavy_in_any_language(grace: Browser, opened: Settings) -> None:
    scenarios.follow_folder(replace(opened, scenario=SHIPPED / "notebook"))
    adopt_scenario(class_specs.scenario())
    assert heavy(grace, ["/admin/scenario/new-class", "/admin/scenario/classes/notebook/edit"]) == {}


def test_the_page_of_a_sequence_has_few_elements(grace: Browser) -> None:
    file = FOLDER / "server.yml"
    sequences.shipped("server", load(file, file.read_bytes()).moves)
    page = grace.get("/admin/workflow/sequences/server")
    assert page.status_code == 200
    assert elements(page.text) < ELEMENTS, elements(page.text)
    assert len(page.get_data()) < MOST


def test_a_first_visit_to_the_portal_is_at_most_90_kb(ada: Browser) -> None:
    """As nginx packs it; `tests/bench/pages.py` asks nginx itself."""
    page = ada.get("/").text
    named = dict.fromkeys(re.findall(r'(?:href|src)="/static/([^"#?]+)', page))
    files = [STATIC / name for name in (*named, "vendor/inter-5.3.0/inter-latin-wght-normal.woff2")]
    packed = {file.name: min(file.stat().st_size, len(gzip.compress(file.read_bytes(), 9))) for file in files}
    assert "app.css" in packed
    assert len(gzip.compress(page.encode(), 4)) + sum(packed.values()) < COLD, packed
