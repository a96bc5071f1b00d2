"""The record of events on its pages: found, taken away, checked, sent on."""

import csv
import io
import json
import re

import pytest

from appliance import catalog
from appliance.catalog import Actor, Event, EventKind, options, record
from appliance.settings import Settings
from tests.unit.catalog.test_events import tamper
from tests.unit.webui.conftest import Browser


@pytest.fixture
def happened(people: dict[str, Actor]) -> None:
    """A change by mary from an address of her own."""
    with catalog.write():
        mary = Actor("mary", people["mary"].account_id, "203.0.113.9")
        before, after = {"email": "<old>@example.org", "full_name": "Mary"}, {"email": "new@example.org", "full_name": "Mary"}
        record("account.changed", "mary changed an account.", mary, object="account:alan", before=before, after=after)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("actor=mary&kind=account", True), ("actor=grace&kind=account", False), ("address=203.0.113.9", True), ("address=203.0.113.8", False),
        ("object=account:alan", True), ("object=account:ada", False), ("since=2020-01-01&until=2999-01-01", True), ("until=2020-01-01", False),
        ("since=2999-01-01", False), ("text=account:al", True),
    ],
)  # fmt: skip
def test_events_are_found_by_all_that_they_carry(grace: Browser, happened: None, query: str, found: bool) -> None:
    assert ("mary changed an account" in grace.get(f"/admin/events/?{query}").text) is found


def test_a_day_is_one_of_the_appliances_time_zone(grace: Browser, happened: None) -> None:
    """At 23:30 UTC it is the next day in Berlin."""
    rows = Event.select().count()
    assert rows
    with catalog.write():
        Event.insert(
            at=catalog.now().replace(year=2026, month=1, day=5, hour=23, minute=30), kind="test", message="Late at night."
        ).execute()
    assert "Late at night" in grace.get("/admin/events/?kind=&since=2026-01-06&until=2026-01-06&text=Late").text
    assert "Late at night" not in grace.get("/admin/events/?since=2026-01-05&until=2026-01-05&text=Late").text


def test_what_changed_is_shown_and_nothing_else(grace: Browser, happened: None) -> None:
    page = grace.get("/admin/events/?object=account:alan").text
    assert "&lt;old&gt;@example.org" in page
    assert "new@example.org" in page
    assert '<th scope="row">full name</th>' not in page


@pytest.mark.badinput
@pytest.mark.parametrize(
    "query", ["since=yesterday", "until=2026-02-30", "since=0001-01-01", "until=9999-12-31", "actor=%00", "object='", "since=%F0%9F%98%80"]
)
def test_a_filter_that_makes_no_sense_is_no_error(grace: Browser, query: str) -> None:
    assert grace.get(f"/admin/events/?{query}").status_code == 200
    assert grace.get(f"/admin/events/export?{query}").status_code == 200


def test_an_export_has_what_the_page_shows_and_is_recorded(grace: Browser, happened: None) -> None:
    answer = grace.get("/admin/events/export?form=jsonl&object=account:alan")
    assert answer.headers["Content-Disposition"].endswith('.jsonl"')
    [line] = [json.loads(text) for text in answer.text.splitlines()]
    assert (line["actor"], line["address"], line["data"]["after"]["email"]) == ("mary", "203.0.113.9", "new@example.org")
    rows = list(csv.DictReader(io.StringIO(grace.get("/admin/events/export?form=csv").text, newline="")))
    assert [int(row["id"]) for row in rows] == [event.id for event in Event.select().order_by(Event.id)][: len(rows)]
    assert [row.actor for row in Event.select().where(Event.kind == "audit.exported")] == ["grace", "grace"]
    assert grace.get("/admin/events/export?form=xml").status_code == 404


def test_the_record_is_checked_by_a_button(grace: Browser, happened: None, opened: Settings) -> None:
    assert "Nobody has had it checked yet" in grace.get("/admin/events/record").text
    assert grace.post("/admin/events/record/check").status_code == 303
    page = grace.get("/admin/events/record").text
    assert "were as they were written" in page
    assert options.get("audit_check")["hash"] in page
    tamper(opened, "DELETE FROM event WHERE id = 2")
    grace.post("/admin/events/record/check")
    assert "Line 2 is missing." in grace.get("/admin/events/record").text
    assert "tampered with" in grace.get("/admin/events/").text


def test_events_are_sent_on_where_an_admin_says(grace: Browser) -> None:
    grace.get("/admin/events/record")
    assert grace.post("/admin/events/record/forwarding", {"host": "logs.example.org", "port": "601", "transport": "tcp"}).status_code == 303
    page = grace.get("/admin/events/record").text
    assert "on the way to logs.example.org port 601 (TCP)" in page
    with catalog.write():
        options.put("syslog_problem", "It does not answer.")
    assert "It does not answer." in grace.get("/admin/events/record").text
    values = {"host": "logs.example.org", "port": "601", "transport": "tcp", "wanted": "no"}
    assert grace.post("/admin/events/record/forwarding", values).status_code == 303
    assert options.get("syslog") == {}


@pytest.mark.badinput
def test_a_receiver_that_cannot_be_is_refused_and_not_lost(grace: Browser) -> None:
    grace.get("/admin/events/record")
    answer = grace.post("/admin/events/record/forwarding", {"host": "two hosts", "port": "99999", "transport": "udp"})
    assert answer.status_code == 400
    assert 'value="two hosts"' in answer.text
    assert 'value="99999"' in answer.text
    assert '<option value="udp" selected>' in answer.text


def test_every_kind_of_event_can_be_chosen(grace: Browser) -> None:
    """Whatever the product may record is in one of the areas that the page offers."""
    offered = re.findall(r'<option value="([a-z]+)">', grace.get("/admin/events/").text)
    assert {kind.area for kind in EventKind} <= set(offered)
