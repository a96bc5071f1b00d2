"""The rescue page in a real browser, without scripts, wide and on a phone, light and dark; as a process of its own, with dpe-host behind it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from appliance import catalog, layout
from appliance.access import tls
from appliance.host.backup import catalog_copies
from appliance.host.console import rescue
from appliance.host.system import image, processes, support_bundle
from appliance.settings import Settings, load
from tests import world
from tests.browser.conftest import free_port
from tests.browser.test_pages import LOOKS, is_sideways
from tests.hosted import serving
from webui.rescue import create_rescue

PAGES = ("", "logs?source=web", "repair", "repair/part", "repair/catalog", "repair/restore", "repair/bundle", "repair/reset", "nothing")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A busy appliance whose web process does not come, and dpe-host."""
    monkeypatch.setattr(image, "boot_image", lambda: None)
    monkeypatch.setattr(support_bundle, "COMMANDS", {})
    settings = load({}, state=tmp_path / "s")
    layout.prepare(settings)
    catalog.open(settings.catalog)
    world.busy(settings)
    rescue.write_rescue(settings)
    catalog_copies.make(settings)
    (settings.logs / "web.log").write_text("ERROR web: " + "no template " * 40 + "x" * 300 + "\n")
    told = {"since": "2026-11-21T17:58:02+00:00", "restarts": 14, "held": False, "status": "ended with status 3", "pid": 0}
    processes.write_processes(settings, {"web": told})
    with serving(settings):
        yield settings
    catalog.close()


@pytest.fixture
def site(settings: Settings) -> Iterator[str]:
    certificate, key = tls.ensure(settings)
    app: Flask = create_rescue(settings)
    server = make_server("127.0.0.1", free_port(), app, threaded=True, ssl_context=(str(certificate), str(key)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def whole(page: Page) -> None:
    """Nothing is wider than the page, and each field and button has a name."""
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert not is_sideways(page), (page.url, width)
    for control in page.locator("main input:not([type=hidden]), main select, main button").all():
        assert control.evaluate("it => Boolean(it.labels?.length || it.textContent.trim() || it.ariaLabel)"), page.url


def test_it_can_be_used_without_scripts(chromium: Browser, site: str, settings: Settings) -> None:
    context = chromium.new_context(base_url=site, ignore_https_errors=True, java_script_enabled=False)
    page = context.new_page()
    page.goto("/rescue/")
    page.get_by_label("Name").fill("grace")
    page.get_by_label("Password").fill(world.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Status").wait_for()
    expect(page.get_by_text("web does not run (ended with status 3).")).to_be_visible()
    page.get_by_role("link", name="Its log").click()
    expect(page.get_by_text("no template").first).to_be_visible()
    for path in PAGES:
        page.goto(f"/rescue/{path}")
        whole(page)
    page.goto("/rescue/repair")
    page.get_by_role("link", name="Create it").click()
    page.get_by_role("button", name="Create it").click()
    with page.expect_download() as got:
        page.get_by_role("link", name="Download it").click(timeout=30_000)  # the page renews itself until then
    assert got.value.suggested_filename.startswith("dpe-support-")
    page.goto("/rescue/repair/reset")
    page.get_by_label("Type “erase”").fill("yes")
    page.get_by_role("button", name="Erase everything").click()
    expect(page.locator(".form-summary")).to_be_focused()
    page.get_by_role("link", name="Type the word erase").click()
    assert page.get_by_label("Type “erase”").input_value() == "yes"
    whole(page)
    context.close()
