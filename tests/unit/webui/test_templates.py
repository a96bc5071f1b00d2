"""Rules that every template and asset keeps. htmx 4's are easily broken by who remembers htmx 2."""

import json
import re
import zlib
from pathlib import Path

import pytest

import webui

ROOT = Path(webui.__file__).parent
TEMPLATES = sorted((ROOT / "templates").rglob("*.html")) + sorted((ROOT / "templates").rglob("*.svg"))
OURS = sorted((ROOT / "static/js").glob("*")) + sorted((ROOT / "static/css").glob("*"))
# In htmx 4 a child takes these from a parent only when the parent says ":inherited".
INHERITED = ("hx-headers", "hx-boost")
OLD_EVENTS = re.compile(r"htmx:(?!(?:[a-z]+:)*[a-z]+\b(?<!:))[a-z]+[A-Z]|htmx:(after|before)[A-Z]")


def source(path: Path) -> str:
    return re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_template(path: Path) -> None:
    text = source(path)
    assert not re.search(r"<script(?![^>]*\bsrc=)", text), "no inline script: the policy refuses it"
    assert not re.search(r"<style|\sstyle=", text), "no inline style: the policy refuses it"
    assert not re.search(r"\son[a-z]+=|hx-on|javascript:|js:", text), "no inline handler"
    assert not re.search(r"(?:src|href|action)=[\"']https?:", text), "nothing from outside"
    assert "|safe" not in text.replace(" ", ""), "everything is escaped"
    assert not re.search(r"hx-(?:disabled-elt|ext|sse|ws|vars|params|request)\b", text), "htmx 4 does not know this attribute"
    assert not re.search(r"hx-trigger=[\"'][^\"']*\[", text), "a filter is evaluated, and the policy refuses it"
    for name in INHERITED:
        for use in re.findall(rf"<(?:body|main|div|section)[^>]*\s{name}(\S*?)=", text):
            assert use == ":inherited", f"{name} on a parent reaches nobody without :inherited"
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", text, flags=re.DOTALL):
        assert "csrf" in form, "every form that posts carries the token"
    for tag in re.findall(r"<a [^>]*target=\"_blank\"[^>]*>", text):
        assert 'rel="noopener"' in tag


@pytest.mark.parametrize("path", [*TEMPLATES, *sorted((ROOT / "rescue/templates").rglob("*.html"))], ids=lambda path: path.name)
def test_lines_can_be_read_beside_each_other(path: Path) -> None:
    """As long as lines of Python; a break inside a tag, inside an expression or right after a block's end shows nowhere."""
    long = [number for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 140]
    assert long == [] or path.suffix == ".svg"


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_own_asset(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"https?://(?!www\.w3\.org)", text), "nothing from outside"
    assert not re.search(r"\beval\(|new Function|innerHTML|document\.write", text)
    assert not re.search(r"htmx:(?:after|before|on|config)[A-Z]", text), "htmx 4 names its events htmx:phase:action"


def test_vendored_files_are_the_locked_versions_with_their_licences() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    assert "resolved" not in (ROOT / "package-lock.json").read_text()
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    folders = {
        "@fontsource-variable/inter": "inter",
        "@novnc/novnc": "novnc",
        "@tabler/core": "tabler",
        "@tabler/icons": "icons",
        "@xterm/xterm": "xterm",
        "htmx.org": "htmx",
        "uplot": "uplot",
    }
    assert {path.name for path in (ROOT / "static/vendor").iterdir()} == {f"{folders[name]}-{version}" for name, version in wanted.items()}
    for name, version in wanted.items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
        assert (ROOT / f"static/vendor/{folders[name]}-{version}/LICENSE").stat().st_size > 500


def test_no_page_uses_what_was_left_out_of_the_style() -> None:
    """Else `vendor.sh` has to be run again: shrink.mjs keeps of Tabler what pages use."""
    left = set((ROOT / "left-out.txt").read_text().split())
    assert len(left) > 1000
    own = [path.read_text() for path in (*TEMPLATES, *(ROOT / "static/js").glob("*.js"))]
    assert left & {word for text in own for word in re.findall(r"[\w-]+", text)} == set()


def test_the_chevron_of_an_open_fold_points_down() -> None:
    """Wherever a template draws one: the browser's own marker is hidden there."""
    for path in TEMPLATES:
        for summary in re.findall(r"<details class=\"([^\"]*)\".*?<summary[^>]*>(.*?)</summary>", path.read_text(), flags=re.DOTALL):
            assert '"turn"' not in summary[1] or "fold" in summary[0].split(), path.name
    assert ".fold[open] > summary > .turn { transform: rotate(90deg); }" in (ROOT / "static/css/app.css").read_text()


def test_a_first_visit_is_light() -> None:
    """Style, script and font of every page, as nginx compresses them; `make bench ONLY=pages` asks it itself, with the portal's page."""
    static = ROOT / "static"
    named = re.findall(r"filename='([^']+)'", (ROOT / "templates/base.html").read_text())
    assert len(named) >= 7
    shown = [name for name in named if not name.endswith(".png")]  # that is for a phone's home screen, which alone fetches it
    sizes = [len(zlib.compress((static / name).read_bytes(), 4)) for name in shown]
    font = static / "vendor/inter-5.3.0/inter-latin-wght-normal.woff2"
    assert sum(sizes) + font.stat().st_size < 84_000


def test_every_vendored_file_named_in_a_page_is_there() -> None:
    named = {
        found
        for path in [*TEMPLATES, *ROOT.rglob("*.py")]
        for found in re.findall(r"[\"']((?:vendor|css|js|img)/[\w./-]+)[\"']", path.read_text())
    }
    named |= {found.removeprefix("../") for found in re.findall(r'url\("(\.\./[^"]+)"\)', (ROOT / "static/css/app.css").read_text())}
    assert len(named) >= 8
    for name in named:
        assert (ROOT / "static" / name).is_file(), name


def test_every_icon_is_in_the_sprite_and_used() -> None:
    listed = set((ROOT / "icons.txt").read_text().split())
    sprite = set(re.findall(r'<symbol id="([^"]+)"', (ROOT / "static/icons.svg").read_text()))
    assert sprite == listed
    everything = "\n".join(path.read_text() for path in [*TEMPLATES, ROOT / "navigation.py"])
    used = {name for name in listed if re.search(rf"[\"']{re.escape(name)}[\"']", everything)}
    assert listed - used == set()
    for name in re.findall(r"icon\(\"([a-z0-9-]+)\"", everything):
        assert name in listed
