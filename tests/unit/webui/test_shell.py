"""The switch for a shell at the server's screen."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.catalog import Event
from appliance.host.system import config
from appliance.settings import Settings
from tests.hosted import Hosted, hosted
from tests.unit.webui.conftest import Browser


@pytest.fixture
def host(opened: Settings, tmp_path: Path) -> Iterator[Hosted]:
    with hosted(opened, tmp_path) as made:
        yield made


def test_an_admin_allows_a_shell_and_takes_it_back(host: Hosted, grace: Browser, opened: Settings) -> None:
    page = grace.get("/admin/server/").text
    assert "The appliance never needs one." in page
    assert "without a password" in page  # the warning of the question
    assert grace.post("/admin/server/shell", {"enabled": "yes"}).status_code == 303
    assert config.read(opened)[0].shell_enabled
    assert 'badge bg-red-lt">allowed' in grace.get("/admin/server/").text
    assert grace.post("/admin/server/shell", {"enabled": "no"}).status_code == 303
    assert not config.read(opened)[0].shell_enabled
    assert [event.message for event in Event.select().where(Event.kind == "host.shell").order_by(Event.id)] == [
        "grace allowed a shell at the server's screen.",
        "grace allowed no more shell at the server's screen.",
    ]


def test_on_a_debian_of_ones_own_there_is_no_such_switch(opened: Settings, tmp_path: Path, grace: Browser) -> None:
    with hosted(opened, tmp_path, in_image=False):
        assert "Console shell" not in grace.get("/admin/server/").text
        assert grace.post("/admin/server/shell", {"enabled": "yes"}).status_code == 503
    assert not config.read(opened)[0].shell_enabled


def test_without_asking_again_nobody_allows_it(host: Hosted, ada: Browser, opened: Settings) -> None:
    assert ada.post("/admin/server/shell", {"enabled": "yes"}).status_code in (403, 404)
    assert not config.read(opened)[0].shell_enabled
