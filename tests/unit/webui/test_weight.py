"""What pages weigh with 500 people and 300 machines: less than 60 kB each; the page of a sequence, less than 800 elements."""

import re
from html.parser import HTMLParser

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Class
from appliance.workflow.load import FOLDER, load
from tests import sequences, world
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.console_ui

MOST = 60_000  # bytes
ELEMENTS = 800
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


def test_no_page_is_heavy(grace: Browser, people: dict[str, Actor]) -> None:
    crowd(people["mary"])
    areas = re.findall(r'href="(/docs/api/[a-z-]+)"', grace.get("/docs/api").text)
    assert len(areas) > 20
    weights = {path: grace.get(path) for path in (*PAGES, "/docs/api", *areas)}
    assert {path for path, answer in weights.items() if answer.status_code != 200} == set()
    found = {path: len(answer.get_data()) for path, answer in weights.items()}
    assert {path: size for path, size in found.items() if size > MOST} == {}


def test_the_page_of_a_sequence_has_few_elements(grace: Browser) -> None:
    file = FOLDER / "server.yml"
    sequences.shipped("server", load(file, file.read_bytes()).moves)
    page = grace.get("/admin/workflow/sequences/server")
    assert page.status_code == 200
    assert elements(page.text) < ELEMENTS, elements(page.text)
    assert len(page.get_data()) < MOST
