"""A language in which every text stands between two signs, so that what is not put into languages shows: one rendering finds all of it."""

import re
from functools import cache
from html.parser import HTMLParser

import pytest

from appliance import language

NAME = "fr"  # a language that Babel knows and the appliance does not speak
BEGIN, END = "\1", "\2"
READ = ("title", "aria-label", "placeholder", "data-label", "data-confirm", "data-confirm-title", "data-confirm-button", "alt")
_PART = re.compile(r"(%\(\w+\)s|</?\w+>)")
UNREAD = ("script", "style", "svg", "code", "kbd", "pre", "textarea")


class Marked(language.Catalog):
    """The texts that there are in German, what is their own between the signs: what stands in their places has to be said itself."""

    def __init__(self) -> None:
        german = language.catalog("de")
        texts = {english: _signed(english) for english in german._texts}
        super().__init__(texts, {nouns: tuple(map(_signed, nouns.split("\0", 1))) for nouns in german._plurals})
        self._patterns = german._patterns


def _signed(text: str) -> str:
    """The text with signs around each part that is no place and no tag."""
    return "".join(part if _PART.fullmatch(part) or not part.strip() else f"{BEGIN}{part}{END}" for part in _PART.split(text))


def speak(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on there is the language NAME."""
    known, marked = language.catalog, cache(Marked)
    monkeypatch.setitem(language.LANGUAGES, NAME, "Marked")
    monkeypatch.setattr(language, "catalog", lambda name: marked() if name == NAME else known(name))


def plain(page: bytes) -> bytes:
    """A page without the signs, and without what it brings along for scripts in another language than English."""
    return re.sub(rb" data-texts='[^']*'|[\1\2]", b"", page)


class _Unsaid(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.depth = self.hidden = 0
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in UNREAD
        depth, self.depth = self.depth, 0
        for name, value in attrs:
            if name in READ and value:
                self._read(value)
        self.depth = depth

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in UNREAD

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self._read(data)

    def _read(self, text: str) -> None:
        outside = ""
        for part in re.split(f"([{BEGIN}{END}])", text):
            if part in (BEGIN, END):
                self.depth += 1 if part == BEGIN else -1
            elif self.depth == 0:
                outside += f" {part}"
        if outside.strip():
            self.found.append(" ".join(outside.split()))


def unsaid(page: str, data: re.Pattern[str]) -> list[str]:
    """What a page in the language NAME says and no language has, but for what is `data`: what people, machines and packages are called."""
    return [text for text in _Unsaid(page).found if re.search(r"[^\W\d_]{2,}", data.sub("", text))]
