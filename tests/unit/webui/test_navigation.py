"""The navigation is declared once: each entry leads to a page, is shown to those who may see it, and every page of an admin is in it."""

import re
from collections.abc import Callable

import pytest
from flask import Flask

from appliance.identity.roles import ROLES
from tests.unit.webui.conftest import Browser
from webui.navigation import SECTIONS, current, entries

PAGES = [page for section in SECTIONS for page in section.pages]


def test_each_entry_asks_for_what_its_page_asks_for(app: Flask) -> None:
    for page in PAGES:
        need = app.view_functions[page.endpoint].need  # type: ignore[attr-defined]
        assert (page.permission or "own") == need.permission, page.endpoint


def test_every_page_of_an_admin_belongs_to_an_entry(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/admin/") and not rule.endpoint.startswith("moved."):
            assert current(rule.endpoint) in PAGES, rule.endpoint
    named = [name for page in PAGES for name in page.also]
    assert {name for name in named if "." in name} <= set(app.view_functions)
    assert {name for name in named if "." not in name} <= set(app.blueprints)


@pytest.mark.parametrize(
    ("path", "section", "tab"),
    [
        ("/", "My machines", None),
        ("/admin/", "Overview", None),
        ("/admin/server/metrics/", "Server", "Metrics"),
        ("/admin/server/logs", "Server", "Logs"),
        ("/admin/retained-disks/", "Machines", "Retained disks"),
        ("/admin/quotas/", "People", "Quotas"),
        ("/admin/accounts/1/permissions", "People", "Accounts"),
        ("/admin/workflow/runs/", "Workflow", "Runs"),
        ("/admin/settings/email-and-webhooks/", "Settings", None),
    ],
)
def test_one_entry_is_current(signed_in: Callable[[str], Browser], path: str, section: str, tab: str | None) -> None:
    page = signed_in("grace").get(path).text
    head, body = page.split("</nav>", 1)
    assert re.findall(r'aria-current="page">(?:<svg.*?</svg>)?([\w ]+)</a>', head, re.DOTALL) == [section]
    tabs = body.split("people-tabs", 1)[1].split("</nav>")[0] if "people-tabs" in body else ""
    assert re.findall(r'aria-current="page">([\w ]+)</a>', tabs) == ([tab] if tab else [])


def test_everybody_sees_what_their_role_lets_them_see() -> None:
    def titles(role: str) -> list[str]:
        return [section.title for section in entries(lambda permission: permission in ROLES[role].permissions, "portal.index")]

    mine = ["My machines", "To do"]
    assert titles("user") == mine
    assert titles("approver") == [*mine, "Overview", "Classes", "Machines", "Workflow", "Server", "People"]
    assert titles("owner") == [section.title for section in SECTIONS]
    [server] = [one for one in entries(lambda permission: permission in ROLES["operator"].permissions, "") if one.title == "Server"]
    assert [tab.title for tab in server.tabs] == ["Metrics"]
