"""The web page as an app: its manifest, its service worker, and the page for when there is no connection; and the keys that lead somewhere."""

import re
import struct

import pytest

from appliance import catalog
from appliance.catalog import options
from appliance.settings import REPOSITORY
from tests.unit.webui.conftest import Browser
from webui.navigation import GROUPS

pytestmark = pytest.mark.usefixtures("people")

PAGES = [page for group in GROUPS for page in group.pages]


def test_the_manifest_says_how_it_is_installed(visitor: Browser) -> None:
    assert '<link rel="manifest" href="/app.webmanifest">' in visitor.get("/sign-in").text
    answer = visitor.get("/app.webmanifest")
    assert answer.mimetype == "application/manifest+json"
    said = answer.json
    assert said is not None
    assert (said["start_url"], said["scope"], said["display"]) == ("/", "/", "standalone")
    assert len(said["short_name"]) <= 12
    for icon in said["icons"]:
        with visitor.get(icon["src"]) as found:
            assert (found.status_code, found.mimetype) == (200, icon["type"])
            data = found.data
        if icon["type"] == "image/png":
            width, height = struct.unpack(">II", data[16:24])
            assert f"{width}x{height}" == icon["sizes"]
    for shortcut in said["shortcuts"]:
        assert visitor.get(shortcut["url"]).status_code == 303  # to sign in


@pytest.mark.parametrize(
    ("title", "short"), [("Lab", "Lab"), ("Hillside School", "Hillside"), ("Donaudampfschifffahrt", "Donaudampfsc"[:12])]
)
def test_what_stands_below_its_icon_fits(visitor: Browser, title: str, short: str) -> None:
    with catalog.write():
        options.put("title", title)
    said = visitor.get("/app.webmanifest").json
    assert said is not None
    assert (said["name"], said["short_name"]) == (title, short)


def test_the_service_worker_is_in_charge_of_all_pages_and_never_old(visitor: Browser) -> None:
    answer = visitor.get("/service-worker.js")
    assert (answer.status_code, answer.mimetype, answer.headers["Cache-Control"]) == (200, "text/javascript", "no-cache")


def test_the_page_without_a_connection_needs_nothing_else_and_tells_nothing_of_anybody(grace: Browser) -> None:
    page = grace.get("/offline").text
    assert "cannot be reached" in page
    assert re.findall(r'(?:src|href)="(.*?)"', page) == ["data:,", "/static/css/offline.css", "/"]  # the worker keeps both
    assert "grace" not in page


def test_each_key_leads_to_one_page() -> None:
    keys = [page.key for page in PAGES if page.key]
    assert len(keys) == len(set(keys))
    assert all(re.fullmatch("[a-z]", key) for key in keys)


def test_only_pages_that_somebody_may_see_have_keys(grace: Browser, ada: Browser) -> None:
    assert set(re.findall(r'data-key="(.)"', ada.get("/").text)) == {"m", "t"}
    assert set(re.findall(r'data-key="(.)"', grace.get("/").text)) == {page.key for page in PAGES if page.key}


def test_the_script_is_the_one_that_is_shipped() -> None:
    assert "caches.match(PAGE)" in (REPOSITORY / "webui/static/js/service-worker.js").read_text()
