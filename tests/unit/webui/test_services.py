"""A service on the page of its class: where it is, its replicas, and what they do over time."""

import re
from html import unescape

import pytest

from appliance.settings import Settings
from tests import world
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.elastic


def test_a_service_shows_its_address_its_replicas_and_what_they_do(grace: Browser, ada: Browser, opened: Settings) -> None:
    assert 'id="replicas"' not in grace.get("/admin/classes/notebook").text
    world.service(opened)
    page = unescape(grace.get("/admin/classes/website").text)
    shown = page.split('id="replicas"')[1].split("</section>")[0]
    assert f"https://www.example.org:{opened.https_port}/" in shown
    rows = [re.sub(r"<[^>]+>|\s+", " ", row) for row in shown.split("<tr>")[2:]]
    assert [re.findall(r"serving|draining|down", row)[0] for row in rows] == ["serving", "down", "draining"]
    assert re.search(r"/s .* ms", rows[0])
    assert "missing" in rows[1]
    assert "fewer are wanted" in rows[2]
    for title in ("Replicas", "Requests a second", "Latency"):
        assert f">{title}<" in page
    assert "Web site" not in ada.get("/").text  # nobody asks for one
