"""The pages on a disk that takes nothing more, and without a catalog: what reads goes on, what must write says why it did not, and where help is."""

import os
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import Actor, Machine, Session, database, now
from appliance.errors import Unavailable
from appliance.services import tokens
from appliance.settings import Settings
from tests.unit.webui.conftest import HOST, Browser

pytestmark = pytest.mark.lost


@pytest.fixture
def full() -> Callable[[], None]:
    """The disk is full from here on, and all the room in the catalog's file is used."""

    def fill() -> None:
        [[pages]], [[unused]] = database.rows("PRAGMA page_count"), database.rows("PRAGMA freelist_count")
        assert unused < 20
        database.rows(f"PRAGMA max_page_count = {pages}")
        for size in (3000, 1000, 200, 1):  # what is left in half-empty pages, too
            with pytest.raises(Unavailable):
                while True:
                    with catalog.write():
                        catalog.record("support.bundle", "x" * size)

    return fill


def test_pages_that_read_go_on_reading_and_what_must_write_says_why(
    ada: Browser, grace: Browser, opened: Settings, full: Callable[[], None], people: dict[str, Actor]
) -> None:
    Session.update(seen_at=now() - timedelta(hours=1)).execute()  # which is noted when it is seen again
    full()
    for path in ("/", "/account"):
        assert ada.get(path).status_code == 200
    for path in ("/admin/", "/admin/events/", "/admin/machines/", "/admin/server/storage/"):
        assert grace.get(path).status_code == 200, path
    refused = ada.post("/request", {"class": "notebook"})
    assert refused.status_code == 503
    assert "The disk is full, so that this could not be kept." in refused.text
    assert "Server &gt; Storage" in refused.text
    assert Machine.select().where(Machine.owner == people["ada"].account_id).count() == 1


def test_a_sign_in_that_cannot_be_kept_says_why(visitor: Browser, people: dict[str, Actor], full: Callable[[], None]) -> None:
    full()
    answer = visitor.sign_in("ada")
    assert answer.status_code == 503
    assert "The disk is full" in answer.text


def test_a_program_is_answered_though_its_use_cannot_be_noted(app: Flask, people: dict[str, Actor], full: Callable[[], None]) -> None:
    token = tokens.create(people["ada"], "script", ["read", "machines"], 30)
    full()
    client, headers = app.test_client(), {"Authorization": f"Bearer {token}"}
    assert client.get("/api/v1/me", base_url=HOST, headers=headers).status_code == 200
    refused = client.post("/api/v1/machines", base_url=HOST, headers=headers, json={"class": "notebook"})
    assert (refused.status_code, refused.mimetype) == (503, "application/problem+json")
    assert refused.json["title"] == "The disk is full, so that this could not be kept."


def test_room_in_the_catalog_s_own_file_lets_people_in_and_work(visitor: Browser, people: dict[str, Actor]) -> None:
    database.keep_slack()
    [[pages]] = database.rows("PRAGMA page_count")
    database.rows(f"PRAGMA max_page_count = {pages}")
    assert visitor.sign_in("ada").status_code == 303
    visitor.get("/")
    assert visitor.post("/request", {"class": "studio"}).status_code == 303


def lose(settings: Settings) -> None:
    """Another file lies where the catalog was."""
    catalog.close()
    for beside in ("-wal", "-shm"):
        settings.catalog.with_name(settings.catalog.name + beside).unlink(missing_ok=True)
    settings.catalog.write_bytes(os.urandom(20_000))


def test_without_a_catalog_each_page_leads_to_the_rescue_page(ada: Browser, visitor: Browser, opened: Settings) -> None:
    lose(opened)
    for browser, path in ((ada, "/"), (ada, "/account"), (visitor, "/sign-in"), (ada, "/no/such/page")):
        answer = browser.get(path)
        assert answer.status_code in (404, 503), path
        assert '<a class="btn" href="/rescue/">' in answer.text, path
    said = ada.get("/").text
    assert "The catalog, which remembers everything, cannot be used" in said
    assert "rescue page" in said
    assert "Something went wrong" not in said


def test_without_a_catalog_what_a_page_asks_for_says_so_in_it(ada: Browser, opened: Settings) -> None:
    lose(opened)
    answer = ada.live("/")
    assert answer.status_code == 503
    assert "cannot be used" in answer.text
    assert "<html" not in answer.text
    api = ada.client.get("/api/v1/me", base_url=HOST)
    assert (api.status_code, api.mimetype) == (503, "application/problem+json")
    assert ada.client.get("/door/check", base_url=HOST).status_code == 503
