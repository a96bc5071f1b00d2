"""The languages that people read: what is written in English in the sources, said in another one.

English is the source, and what is kept, logged and answered to programs. It is put into another language where it is shown: a text by itself
(`text`), or a finished sentence (`sentence`), which is found again by the places that were filled in it: "The lease of m-17 has ended." is
"The lease of %(name)s has ended." So what was kept yesterday by a process that knows no language can be read in each, too.

A language is a folder with LC_MESSAGES/messages.po, read when it is first asked for; `webui/texts.py` has what belongs into it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path

import yaml
from babel import numbers
from babel.messages.pofile import read_po

SOURCE = "en"
LANGUAGES = {"en": "English", "de": "Deutsch"}
PLACE = re.compile(r"%\((\w+)\)s")
_WORD = re.compile(r"[^\W\d_]{3,}")
_END = re.compile(r"(?<=[.!?…])\s+")
_COUNT = re.compile(r"(\d[\d  ]*) (.+)", re.DOTALL)
_SENTENCES = (
    "message",
    "problem",
    "why",
    "error",
    "said",
    "left",
    "words",
    "about",
    "hint",
    "hints",
    "reason",
    "description",
    "lacks",
    "more",
    "comment",
    "changes",
)
_AS_THEY_ARE = (
    "name",
    "title",
    "full_name",
    "who",
    "by",
    "agent",
    "address",
    "text",
    "path",
    "comment",
)  # places that hold what a person wrote


class Written(str):
    """What a person wrote, a name or a title: it is in whatever language they wrote it in, also where a text of ours is called the same."""

    __slots__ = ()


yaml.SafeDumper.add_representer(Written, yaml.SafeDumper.represent_str)


def file(language: str) -> Path:
    """Where the texts of a language are."""
    return Path(__file__).parent / language / "LC_MESSAGES" / "messages.po"


class Catalog:
    """A language's texts. What has none there stays English."""

    def __init__(self, texts: dict[str, str], plurals: dict[str, tuple[str, str]], spoken: Iterable[str] = ()) -> None:
        """`spoken` are the texts that Python fills, of which finished sentences may be."""
        self._texts = texts
        self._plurals = plurals
        self._counted = {noun: said[many] for english, said in plurals.items() for many, noun in enumerate(english.split("\0"))}
        self._patterns: dict[str, list[str]] = defaultdict(list)  # by the longest word of their own
        for english in spoken:
            if words := _WORD.findall(PLACE.sub(" ", english)) if PLACE.search(english) else []:
                self._patterns[max(words, key=len)].append(english)
        self.sentence = lru_cache(4096)(self._sentence)

    def text(self, english: str) -> str:
        """A text as the sources have it."""
        return self._texts.get(english) or self._counted.get(english) or english

    def has(self, english: str) -> bool:
        return english in self._counted or bool(self._texts.get(english))

    def plural(self, number: int, one: str, many: str) -> str:
        """The noun that goes with a number."""
        said = self._plurals.get(f"{one}\0{many}", (one, many))
        return said[number != 1]

    def _sentence(self, english: str) -> str:
        """What was put together: sentences, each with its places filled."""
        return self._whole(english) or self._pieces(english)

    def _whole(self, english: str) -> str | None:
        if said := self._texts.get(english) or self._counted.get(english):
            return said
        if (count := _COUNT.fullmatch(english)) and count[2] in self._counted:
            return f"{count[1]} {self._counted[count[2]]}"
        found = max(self._found(english), key=lambda one: len(PLACE.sub("", one[0])), default=None)
        if found is None:
            return None
        places = {name: value if _base(name) in _AS_THEY_ARE else self._sentence(value) for name, value in found[1].items()}
        return PLACE.sub(lambda place: places.get(place[1], place[0]), self._texts[found[0]])

    def _found(self, english: str) -> Iterator[tuple[str, dict[str, str]]]:
        """The texts that it may be, each with what stands in their places."""
        for word in set(_WORD.findall(english)):
            for text in self._patterns.get(word, ()):
                if (match := _pattern(text).fullmatch(english)) and _is_sure(text, english, match.groupdict()):
                    yield text, match.groupdict()

    def _pieces(self, english: str) -> str:
        if "\n" in english:
            return "\n".join(self._sentence(line) if line.strip() else line for line in english.split("\n"))
        sentences = _END.split(english)
        if len(sentences) == 1:
            return self._halves(english)
        said = []
        while sentences:
            some = next((n for n in range(min(len(sentences), 4), 1, -1) if self._whole(" ".join(sentences[:n]))), 1)
            said.append(self._whole(whole := " ".join(sentences[:some])) or self._halves(whole))
            del sentences[:some]
        return " ".join(said)

    def _halves(self, english: str) -> str:
        """Two in one: a field and what is wrong with it, or what is wrong and what to do. What comes first may be what a person called it."""
        if english.endswith(".") and (said := self._whole(english[:-1])):
            return f"{said}."
        if english[:1].isupper() and (said := self._whole(english[0].lower() + english[1:].removesuffix("."))):
            return f"{said[:1].upper()}{said[1:]}{'.' if english.endswith('.') else ''}"
        for sign in ("; ", ": "):
            parts = english.split(sign)[:5]
            halves = [(sign.join(parts[:at]), english[len(sign.join(parts[:at])) + len(sign) :]) for at in range(1, len(parts))]
            known = [(said, second) for first, second in halves if (said := self._whole(first))]
            for first, second in [*known, *halves]:
                if (said := self._sentence(second)) != second or (sign == "; " and known):
                    return f"{first}{sign}{said}"
        return english


class Source(Catalog):
    """English: what there is already."""

    def __init__(self) -> None:
        super().__init__({}, {})

    def _sentence(self, english: str) -> str:
        return english


def _is_sure(text: str, english: str, places: dict[str, str]) -> bool:
    """Whether what was found stands to reason: enough of it is the text's own, and what stands in its places are no further sentences."""
    sentences = {name: value for name, value in places.items() if _base(name) in _SENTENCES}
    if any(_END.search(value) or ": " in value for name, value in places.items() if name not in sentences):
        return False
    if english.endswith(".") and (last := re.search(r"%\((\w+)\)s$", text)) and last[1] not in sentences:
        return False  # the full stop is not the place's
    own = len(PLACE.sub("", text))
    return 4 * own >= len(english) - sum(map(len, sentences.values()))


def _base(name: str) -> str:
    return name.rstrip("0123456789")


def decimal(spoken: str, value: float, digits: int) -> str:
    """A number with so many digits after its point, or comma."""
    if spoken == SOURCE:
        return f"{value:.{digits}f}"
    return str(numbers.format_decimal(value, f"0.{'0' * digits}" if digits else "0", locale=spoken, group_separator=False))


@cache
def _pattern(english: str) -> re.Pattern[str]:
    parts = PLACE.split(english)  # text, name, text, name, text
    seen: set[str] = set()
    pattern = ""
    for number, part in enumerate(parts):
        pattern += re.escape(part) if number % 2 == 0 else f"(?P={part})" if part in seen else f"(?P<{part}>.+?)"
        seen.update([part] if number % 2 else [])
    return re.compile(pattern, re.DOTALL)


@cache
def catalog(language: str) -> Catalog:
    """The texts of a language; English where it is none of LANGUAGES."""
    if language == SOURCE or language not in LANGUAGES:
        return Source()
    with file(language).open("rb") as opened:
        messages = [message for message in read_po(opened, locale=language) if message.id and not message.fuzzy]
    texts = {str(one.id): str(one.string) for one in messages if not one.pluralizable and one.string}
    plurals = {"\0".join(one.id): (one.string[0], one.string[1]) for one in messages if isinstance(one.string, tuple) and all(one.string)}
    spoken = [str(one.id) for one in messages if str(one.id) in texts and any(file.endswith((".py", ".yml")) for file, _ in one.locations)]
    return Catalog(texts, plurals, spoken)
