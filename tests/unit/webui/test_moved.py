"""Addresses that moved: each that a page ever had is there, or leads to where it is today. `addresses.txt` has those of version 0.1."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask import Flask

from tests.unit.webui.conftest import HOST, Browser
from webui.moved import MOVED

FORMER = [line.split(" ", 1) for line in (Path(__file__).parent / "addresses.txt").read_text().splitlines()]


def test_every_former_address_answers_or_leads_to_one_that_does(app: Flask) -> None:
    assert len(FORMER) > 200
    adapter, moved = app.url_map.bind("appliance.test"), 0
    for methods, rule in FORMER:
        for method in methods.split(","):
            path = re.sub(r"<(\w+:)?\w+>", "7", rule)
            found, arguments = adapter.match(path, method=method)  # it fails when nothing answers there
            if found.startswith("moved."):
                moved += 1
                with app.test_request_context(path, base_url=HOST, method=method):
                    answer = app.view_functions[found](**arguments)
                assert answer.status_code == 308
                assert not adapter.match(urlsplit(answer.location).path, method=method)[0].startswith("moved."), (path, answer.location)
    assert moved >= len(MOVED)


@pytest.mark.parametrize(
    ("former", "today"),
    [
        ("/admin/host/?span=day&as=table", "/admin/server/metrics/?span=day&as=table"),
        ("/admin/disks/kept", "/admin/retained-disks/"),
        ("/admin/units/3", "/admin/org-units/3"),
        ("/admin/grants/why/12?permission=machines.read", "/admin/accounts/12/permissions?permission=machines.read"),
        ("/admin/server/tasks/ab%3Fc", "/admin/server/operations/ab%3Fc"),
        ("/disks/some?x=%C3%A4", "/data-disks/some?x=%C3%A4"),
    ],
)
def test_the_query_is_kept(signed_in: Callable[[str], Browser], former: str, today: str) -> None:
    answer = signed_in("grace").get(former)
    assert (answer.status_code, answer.location) == (308, today)


def test_a_form_that_was_open_during_an_update_still_counts(signed_in: Callable[[str], Browser]) -> None:
    """The method and what was entered go along."""
    grace = signed_in("grace")
    grace.get("/admin/org-units/")
    moved = grace.post("/admin/units/", {"name": "Library"})
    assert moved.status_code == 308
    assert grace.post(moved.location, {"name": "Library"}).status_code == 303
    assert "The org unit Library is created." in grace.get("/admin/org-units/").text


def test_who_may_not_see_a_page_does_not_by_its_former_address(signed_in: Callable[[str], Browser], visitor: Browser) -> None:
    assert signed_in("ada").client.get("/admin/aside/", base_url=HOST, follow_redirects=True).status_code == 403
    assert visitor.client.get("/admin/aside/", base_url=HOST, follow_redirects=True).request.path == "/sign-in"
