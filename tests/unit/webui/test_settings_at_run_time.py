"""Settings of the host that an admin decides otherwise, while everything runs."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Account, Event, EventKind, Session, options
from appliance.settings import Settings
from tests.pages import is_at
from tests.unit.webui.conftest import Browser


def left(name: str) -> timedelta:
    """How long the session of an account goes on without use."""
    found: Session = Session.get(Session.account == Account.get(Account.name == name).id)
    return found.expires_at - found.seen_at


def test_sessions_end_when_an_admin_says(grace: Browser, opened: Settings) -> None:
    assert left("grace") == timedelta(seconds=opened.session_idle)
    assert 'value="720"' in grace.get("/admin/settings/").text
    assert grace.post("/admin/settings/sessions", {"idle": "30", "longest": "10"}).status_code == 303
    with catalog.write():
        Session.update(seen_at=catalog.now() - timedelta(minutes=5)).execute()
    grace.get("/admin/settings/")
    assert left("grace") == timedelta(minutes=30)
    assert (options.chosen(opened).session_idle, options.chosen(opened).session_longest) == (1800, 36000)
    event = Event.select().where(Event.kind == EventKind.SETTINGS_CHANGED).order_by(Event.id.desc()).get()
    assert event.data["after"] == {"session_idle": 1800, "session_longest": 36000}


WRONG = [
    ("sessions", {"idle": "90", "longest": "1"}, "idle"),
    ("sessions", {"idle": "0", "longest": "1"}, "idle"),
    ("sessions", {"idle": "5", "longest": "9999"}, "longest"),
    ("sessions", {"idle": "x", "longest": "5"}, "idle"),
    ("choices", {"unused_days": "0", "space": "5"}, "unused_days"),
    ("choices", {"unused_days": "5", "space": "0"}, "space"),
    ("choices", {"unused_days": "5", "space": "much"}, "space"),
    ("mirror", {"mirror": "ftp://mirror.example.org/debian"}, "mirror"),
    ("mirror", {"mirror": "https://me:secret@mirror.example.org/"}, "mirror"),
    ("mirror", {"mirror": "https://mirror.example.org/debian trusted=yes"}, "mirror"),
    ("mirror", {"mirror": "https://[::1"}, "mirror"),
]


@pytest.mark.badinput
def test_what_cannot_be_is_said_at_its_field(grace: Browser) -> None:
    grace.get("/admin/settings/")
    for path, sent, field in WRONG:
        answer = grace.post(f"/admin/settings/{path}", sent)
        assert answer.status_code == 400, sent
        assert is_at(field, answer.text), sent
    assert options.get("settings") == {}


def test_seeds_are_built_from_the_mirror_that_an_admin_names(grace: Browser, opened: Settings) -> None:
    grace.get("/admin/settings/")
    assert grace.post("/admin/settings/mirror", {"mirror": " https://mirror.example.org/debian/ "}).status_code == 303
    assert options.chosen(opened).debian_mirror == "https://mirror.example.org/debian"
    assert 'value="https://mirror.example.org/debian"' in grace.get("/admin/settings/").text
    assert grace.post("/admin/settings/mirror", {"mirror": ""}).status_code == 303
    assert options.chosen(opened) == opened


def test_what_people_choose_is_kept_as_long_as_an_admin_says(grace: Browser, opened: Settings) -> None:
    grace.get("/admin/settings/")
    assert grace.post("/admin/settings/choices", {"unused_days": "7", "space": "5"}).status_code == 303
    held = options.chosen(opened)
    assert (held.recipe_days, held.recipe_space) == (7, 5)
    assert 'value="7"' in grace.get("/admin/settings/").text
