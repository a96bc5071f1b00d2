"""What nginx says by itself: in each language, each page whole, and for whoever asks in which."""

import re
from pathlib import Path

import pytest

from appliance import language
from appliance.access import nginx, pages, published
from appliance.access.published import Published
from appliance.settings import Settings
from webui import auth_request

pytestmark = pytest.mark.i18n


def test_each_page_is_there_in_each_language(tmp_path: Path) -> None:
    pages.write(tmp_path / "pages")
    for spoken in language.LANGUAGES:
        place = tmp_path / "pages" / spoken
        assert {file.stem for file in place.iterdir()} == set(pages.PAGES)
        assert (place.stat().st_mode & 0o777, (place / "down.html").stat().st_mode & 0o777) == (0o755, 0o644), "no root reads them"
        for name, page in pages.PAGES.items():
            text, say = (place / f"{name}.html").read_text(), language.catalog(spoken).text
            assert f'<html lang="{spoken}">' in text
            for english in filter(None, (page.title, page.text, page.link)):
                assert say(english).replace("'", "&#39;") in text
                assert spoken == language.SOURCE or language.catalog(spoken).has(english)
            assert ('http-equiv="refresh"' in text) == bool(page.again)
            assert re.findall(r'href="([^"]*)"', text) == ([page.to] if page.link else [])


def test_a_page_that_waits_shows_that(tmp_path: Path) -> None:
    pages.write(tmp_path)
    waiting = {name for name in pages.PAGES if 'class="wait"' in (tmp_path / f"en/{name}.html").read_text()}
    assert waiting == {"down", "service", "starting", "unreachable"}
    assert '<a href="/rescue/">' in (tmp_path / "de/down.html").read_text()
    assert 'target="_blank" rel="noopener"' in (tmp_path / "de/signed-out.html").read_text()


@pytest.mark.parametrize(
    ("header", "spoken"),
    [
        ("de", "de"), ("de-AT,de;q=0.9,en;q=0.8", "de"), ("DE", "de"), ("fr,de;q=0.5,en;q=0.3", "de"), ("fr, de", "de"),
        ("en", "en"), ("en-US,en;q=0.9,de;q=0.8", "en"), ("fr,en;q=0.5, de;q=0.3", "en"), ("den,dexyz", "en"), ("", "en"), ("*", "en"),
        (" en, de", "en"),
    ],
)  # fmt: skip
def test_the_first_language_of_a_browser_that_there_is_counts(header: str, spoken: str) -> None:
    assert bool(re.search(pages.asked_for("de"), header, re.IGNORECASE)) == (spoken == "de")


def test_whatever_the_door_refers_to_is_there(settings: Settings) -> None:
    published.publish(settings, [Published("www.example.org", "/", "shop")])
    text = nginx.configuration(settings, Path("/house"), Path("/c"), Path("/k"), (1, 26, 3))
    named = re.findall(r"/_dpe/pages/([a-z-]+)\.html", text) + re.findall(r"\$machine_page (\w+);", text)
    assert {*named, *auth_request.PAGES.values()} == set(pages.PAGES)
