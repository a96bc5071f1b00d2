"""The navigation is declared once: each entry leads to a page, is shown to those who may see it, and every page of an admin is in it."""

import re
from collections.abc import Callable

import pytest
from flask import Flask

from appliance.identity.roles import PERMISSIONS, ROLES
from appliance.settings import REPOSITORY as ROOT
from tests.unit.webui.conftest import Browser
from webui.navigation import GROUPS, SETTINGS, VERBS, current, entries

pytestmark = pytest.mark.console_ui

PAGES = [page for group in GROUPS for page in group.pages]


def test_each_entry_asks_for_what_its_page_asks_for(app: Flask) -> None:
    for page in PAGES:
        need = app.view_functions[page.endpoint].need  # type: ignore[attr-defined]
        assert (page.permission or "own") == need.permission, page.endpoint


def test_texts_name_pages_that_there_are() -> None:
    """What sends people to "the page X" names one by its heading, after its group if that is said as well."""
    templates = sorted((ROOT / "webui/templates").rglob("*.html"))
    headings = {found for path in templates for found in re.findall(r"{% block title %}([^{]+){% endblock %}", path.read_text())}
    headings.add("Repair")  # of the rescue page
    names = headings | {page.title for page in PAGES} | {f"{group.title} > {page.title}" for group in GROUPS for page in group.pages}
    said = {
        (path.relative_to(ROOT).as_posix(), found)
        for folder in ("webui", "appliance")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".html", ".py") and "static" not in path.parts
        for found in re.findall(r"[Tt]he page ([A-Z][\w> -]*)", re.sub(r"{#.*?#}|\"\"\".*?\"\"\"", "", path.read_text(), flags=re.DOTALL))
    }
    assert len(said) > 10
    assert {one for one in said if not one[1].startswith(tuple(names))} == set()


def test_each_entry_leads_to_a_page_that_is_called_so(app: Flask, signed_in: Callable[[str], Browser]) -> None:
    """The heading is the entry's own name, so that nobody wonders whether they are where they wanted to be."""
    grace = signed_in("grace")
    with app.test_request_context():
        paths = {page.title: app.url_for(page.endpoint) for page in PAGES if page.endpoint != "portal.index"}  # that one says hello
    found = {title: re.findall(r"<h1>(.*?)</h1>", grace.get(path).text) for title, path in paths.items()}
    assert {title: headings for title, headings in found.items() if headings[:1] != [title]} == {}


def test_every_page_of_an_admin_belongs_to_an_entry(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/admin/") and not rule.endpoint.startswith("moved."):
            assert current(rule.endpoint) in PAGES, rule.endpoint
    named = [name for page in PAGES for name in page.also]
    assert {name for name in named if "." in name} <= set(app.view_functions)
    assert {name for name in named if "." not in name} <= set(app.blueprints)


def test_settings_and_actions_lead_to_a_page_for_whom_it_is(app: Flask, signed_in: Callable[[str], Browser]) -> None:
    """Each is for those who may open its page, or for fewer; and what it points at there has that id."""
    grace = signed_in("grace")
    for place in (*SETTINGS, *VERBS):
        if place.form:
            assert f'id="{place.form}"' in grace.get("/").text
            continue
        need = app.view_functions[place.endpoint].need  # type: ignore[attr-defined]
        assert place.permission == "" or place.permission in PERMISSIONS
        for role in ROLES.values():
            assert place.permission not in role.permissions or need.permission in ("own", *role.permissions), place.title
        with app.test_request_context():
            path = app.url_for(place.endpoint)
        answer = grace.get(path)
        if place.anchor and answer.status_code == 200 and place.endpoint != "backups.index":  # what that shows is dpe-host's to say
            assert f'id="{place.anchor}"' in answer.text, place


@pytest.mark.parametrize(
    ("path", "page", "above"),
    [
        ("/", "My machines", []),
        ("/admin/", "Overview", []),
        ("/admin/server/metrics/", "Metrics", []),
        ("/admin/server/logs", "Logs", []),
        ("/admin/retained-disks/", "Retained disks", []),
        ("/admin/quotas/", "Quotas", []),
        ("/admin/classes/notebook", "Classes", ["Machines", "Classes", "Notebook"]),
        ("/admin/classes/notebook/policy", "Classes", ["Machines", "Classes", "Notebook", "Policy of Notebook"]),
        ("/admin/accounts/1/permissions", "Accounts", ["People", "Accounts", "grace", "Permissions of grace"]),
        ("/admin/workflow/runs/", "Runs", []),
        ("/admin/settings/email-and-webhooks/", "E-mail and webhooks", []),
        ("/admin/events/record", "Events", ["Server", "Events", "Integrity and forwarding"]),
        ("/account/codes", None, ["Your account", "One-time codes"]),
    ],
)
def test_one_entry_is_current_and_the_way_to_what_is_below_it_is_shown(
    signed_in: Callable[[str], Browser], path: str, page: str | None, above: list[str]
) -> None:
    text = signed_in("grace").get(path).text
    side = text.split('id="side"', 1)[1].split("</nav>", 1)[0]
    assert re.findall(r'aria-current="page">(?:<svg.*?</svg>)?([\w -]+)</a>', side, re.DOTALL) == ([page] if page else [])
    trail = text.split('class="crumbs"', 1)[1].split("</nav>", 1)[0] if 'class="crumbs"' in text else ""
    assert [re.sub("<.*?>", "", step).strip() for step in re.findall(r"<li.*?</li>", trail, re.DOTALL)] == above


def test_everybody_sees_what_their_role_lets_them_see() -> None:
    def titles(role: str) -> dict[str, list[str]]:
        found = entries(lambda permission: permission in ROLES[role].permissions, "portal.index")
        return {title: [entry.page.title for entry in some] for title, some in found}

    mine = {"Use": ["My machines", "To do"]}
    assert titles("user") == mine
    assert titles("approver") == {
        **mine, "Machines": ["Overview", "Classes", "Applications", "Machines"], "Data protection": ["Data disks", "Retained disks"],
        "People": ["Accounts", "Org units", "Groups", "Quotas"], "Workflow": ["Lifecycle", "Sequences", "Runs"], "Server": ["Metrics"],
    }  # fmt: skip
    assert titles("owner") == {group.title: [page.title for page in group.pages] for group in GROUPS}
    assert titles("operator")["Server"] == ["Metrics", "Events"]


def test_the_four_kinds_of_copies_are_below_one_heading() -> None:
    [group] = [group for group in GROUPS if group.title == "Data protection"]
    assert [page.endpoint for page in group.pages] == ["data_disks.index", "data_disks.kept", "recovery.index", "backups.index"]


def test_who_has_one_heading_has_their_few_pages_in_the_head(ada: Browser, signed_in: Callable[[str], Browser]) -> None:
    assert 'class="nav-strip"' in ada.get("/").text
    assert 'id="side"' not in ada.get("/").text
    assert 'class="nav-strip"' not in signed_in("grace").get("/").text


def test_all_of_a_page_is_in_its_main_part(signed_in: Callable[[str], Browser]) -> None:
    """A skip over the navigation comes to all that is the page's own."""
    grace = signed_in("grace")
    for path in ("/admin/accounts/new", "/admin/settings/", "/todo/", "/admin/machines/"):
        main = grace.get(path).text.split("<main", 1)[1].split("</main>")[0]
        assert "<h1>" in main, path
        assert 'id="page"' in main
        assert 'id="live"' in main
