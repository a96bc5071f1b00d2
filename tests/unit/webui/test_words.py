"""The words of the pages: those of the glossary in webui/README.md and no others for the same things, in headings, labels, buttons and tabs."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import Environment

import webui
from appliance.settings import REPOSITORY
from webui.navigation import GROUPS, SETTINGS, VERBS

ROOT = Path(webui.__file__).parent
TEMPLATES = [path for folder in ("templates", "rescue/templates") for path in sorted((ROOT / folder).rglob("*.html"))]
# What names things to people in Python: pages, the menu at the server's screen, titles of operations, fields, kinds of events and activities.
SOURCES = [
    path
    for place in (
        "webui/**/*.py", "appliance/host/console/*.py", "appliance/host/interface/*.py", "appliance/scenario/policy.py",
        "appliance/catalog/event_kinds.py", "appliance/workflow/kinds.py",
    )
    for path in sorted(REPOSITORY.glob(place))
]  # fmt: skip
ENVIRONMENT = Environment()
LABELS = {"title", "h1", "h2", "h3", "legend", "summary", "button", "a", "label", "th", "dt"}
ATTRIBUTES = ("aria-label", "data-label", "title", "data-confirm-title", "data-confirm-button")
CUT = "\x00"  # where a template puts in something


class Labels(HTMLParser):
    """Collects what is written in elements and attributes that name something, each piece between two insertions by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._open: list[tuple[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ATTRIBUTES:
                self._keep(name, value or "")
        if tag in LABELS:
            self._open.append((tag, []))
        elif self._open:
            self._open[-1][1].append(CUT)

    def handle_endtag(self, tag: str) -> None:
        if tag in LABELS and self._open:
            kind, texts = self._open.pop()
            self._keep(kind, "".join(texts))
        elif self._open:
            self._open[-1][1].append(CUT)

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1][1].append(data)

    def _keep(self, kind: str, text: str) -> None:
        for piece in text.split(CUT):
            if words := " ".join(piece.split()):
                self.found.append((kind, words))


@cache
def labels(path: Path) -> tuple[tuple[str, str], ...]:
    """What a template names things: (element, attribute or "argument", text)."""
    html, arguments, inside = "", [], False
    for _, token, value in ENVIRONMENT.lex(re.sub(r"\{% block title %\}(.*?)\{% endblock %\}", r"<h1>\1</h1>", path.read_text())):
        if token == "data":
            html += value
        elif token in ("variable_begin", "block_begin"):
            inside, html = token == "variable_begin", html + CUT
        elif token == "string" and re.match(r"[A-Z]", value[1:-1]):
            arguments.append(("argument", value[1:-1].strip()))
            if inside:
                html += CUT
    parser = Labels()
    parser.feed(html)
    return (*parser.found, *arguments)


@cache
def python_labels(path: Path) -> tuple[tuple[str, str], ...]:
    """What a module names things: (where, text). Flashes, which are sentences, and any other text that begins like a label and ends like none."""
    tree = ast.parse(path.read_text())
    flashed = {
        id(inner)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "flash"
        for inner in ast.walk(call.args[0])
    }
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            text = " ".join(node.value.split())
            if re.match(r"[A-Z]", text) and (id(node) in flashed or not text.endswith(".")):
                found.append((f"line {node.lineno}", text.rstrip(".")))
    return tuple(found)


def glossary() -> Iterator[tuple[str, str, str, list[str]]]:
    """The lines of the table: word, meaning, what it is elsewhere, what it is never called here."""
    text = (ROOT / "README.md").read_text().split("## Words", 1)[1].split("\n## ", 1)[0]
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith(("| word ", "| ---")):
            word, meaning, elsewhere, never = (cell.strip() for cell in line.strip("|").split("|"))
            yield word, meaning, elsewhere, [one.strip() for one in never.split(",") if one.strip()]


REPLACED = {never.casefold(): word for word, _, _, nevers in glossary() for never in nevers}


def replaced_in(text: str) -> list[str]:
    """Words of the last column that a label is, or begins with where the word ends in "…"."""
    text = text.casefold().rstrip(" ?…:")
    return [never for never in REPLACED if text == never or (never.endswith(" …") and f"{text} ".startswith(never[:-1]))]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_named_is_named_with_the_words_of_the_glossary(path: Path) -> None:
    wrong = [f"{kind}: “{text}” is called “{REPLACED[old]}” here" for kind, text in labels(path) for old in replaced_in(text)]
    assert wrong == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_what_python_names_is_named_with_the_words_of_the_glossary(path: Path) -> None:
    wrong = [f"{where}: “{text}” is called “{REPLACED[old]}” here" for where, text in python_labels(path) for old in replaced_in(text)]
    assert wrong == []


def test_the_collector_sees_what_python_names() -> None:
    seen = {text for path in SOURCES for _, text in python_labels(path)}
    assert {"Granted", "Factory reset", "Restore a copy of the catalog", "Shut down", "Burst", "Orphans", "Create the machine"} <= seen
    assert len(seen) > 400


def test_the_collector_sees_what_people_see() -> None:
    seen = {text for path in TEMPLATES for _, text in labels(path)}
    assert {"Retained disks", "Metrics", "Disable", "Grant a role", "Recovery key", "Started", "Restore selected", "Severity"} <= seen
    assert len(seen) > 600


def test_the_navigation_names_what_the_glossary_explains() -> None:
    explained = {word.casefold() for word, *_ in glossary()}
    titles = {title for group in GROUPS for title in (group.title, *(page.title for page in group.pages))}
    wrong = {
        title
        for title in titles
        if not {title.casefold(), title.casefold().removesuffix("s"), title.casefold().removesuffix("es")} & explained
    }
    assert wrong == set()
    found = {*titles, *(place.title for place in (*SETTINGS, *VERBS))}
    assert [old for title in found for old in replaced_in(title)] == []


def test_one_word_means_one_thing() -> None:
    words = [word.casefold() for word, *_ in glossary()]
    assert sorted(set(words)) == sorted(words)
    nevers = [never.casefold() for _, _, _, nevers in glossary() for never in nevers]
    assert sorted(set(nevers)) == sorted(nevers)
    assert not set(words) & set(nevers)
    assert all(meaning for _, meaning, _, _ in glossary())


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_column_has_one_name_on_every_screen(path: Path) -> None:
    """A phone shows tables as cards, each cell with its column's name before it."""
    columns = {text for kind, text in labels(path) if kind == "th"}
    assert {text for kind, text in labels(path) if kind == "data-label"} <= columns
