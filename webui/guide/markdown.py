"""Markdown as the guide has it: CommonMark with tables and without HTML, in sections that have addresses."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

PAGE = "page:"  # what a link to a page of the console begins with; its endpoint follows


@dataclass(frozen=True)
class Section:
    """What is below a heading of the second level. `page` is the endpoint of the page of the console that it is about; `text` has no marks."""

    guide: str
    anchor: str
    title: str
    page: str
    text: str

    @property
    def line(self) -> str:
        """Its first sentence."""
        return re.split(r"(?<=[.!?])\s", self.text, maxsplit=1)[0]


class _Renderer(RendererHTML):
    """Links go where `env["link"]` says, those that lead nowhere are text; tables can be scrolled; code has the look of the pages."""

    def link_open(self, tokens: Sequence[Token], at: int, options: OptionsDict, env: Any) -> str:
        target = env["link"](str(tokens[at].attrs["href"]))
        env.setdefault("open", []).append("a" if target else "span")
        return f"<a{self.renderAttrs(Token('link_open', 'a', 1, attrs={'href': target}))}>" if target else "<span>"

    def link_close(self, tokens: Sequence[Token], at: int, options: OptionsDict, env: Any) -> str:
        return f"</{env['open'].pop()}>"

    def table_open(self, tokens: Sequence[Token], at: int, options: OptionsDict, env: Any) -> str:
        return '<div class="table-scroll" tabindex="0"><table class="table">'

    def table_close(self, tokens: Sequence[Token], at: int, options: OptionsDict, env: Any) -> str:
        return "</table></div>"


_APART = re.compile(r"\n(?=</?(?:t[rdh]|thead|tbody|table)\b)|(?<=</th>|</td>|</tr>)\n")  # what nobody sees of a table
_EMPTY = re.compile(r"(?:<td></td>)+(?=</tr>)")
_ENDS = re.compile(r"</t[dhr]>")  # which HTML itself puts there; a table of the reference has hundreds of rows
_markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")


def _said(text: str, say: Callable[[str], str]) -> str:
    """In another language; of what is a link alone, its words."""
    link = re.fullmatch(r"\[([^]]+)\](\([^)]+\))", text)
    return f"[{say(link[1])}]{link[2]}" if link else say(text)


@dataclass(frozen=True)
class Document:
    """A text in Markdown, called `name`. `say` puts a heading, paragraph or cell into another language; anchors and examples stay."""

    name: str
    source: str
    say: Callable[[str], str] | None = None

    @cached_property
    def tokens(self) -> list[Token]:
        found = self._with_anchors()
        if (say := self.say) is None:
            return found
        for token in found:
            if token.type == "inline" and (said := _said(plain := _on_one_line(token), say)) != plain:
                token.children = _markdown.parseInline(said)[0].children
        return found

    @property
    def texts(self) -> list[str]:
        """What there is to put into another language."""
        return [_on_one_line(token) for token in self.tokens if token.type == "inline"]

    def _with_anchors(self) -> list[Token]:
        found = _markdown.parse(self.source)
        taken: set[str] = set()
        for opening, inline in pairwise(found):
            if opening.type == "heading_open":
                anchor = slug(_text(inline))
                while anchor in taken:
                    anchor += "-2"
                taken.add(anchor)
                opening.attrs["id"] = anchor
            elif opening.type in ("fence", "code_block"):
                opening.attrs["tabindex"] = "0"
        return found

    @cached_property
    def title(self) -> str:
        return next(_text(inline) for opening, inline in pairwise(self.tokens) if opening.tag == "h1")

    @cached_property
    def about(self) -> str:
        """The first paragraph."""
        return next(_text(inline) for opening, inline in pairwise(self.tokens) if opening.type == "paragraph_open")

    @cached_property
    def sections(self) -> list[Section]:
        return list(self._sections())

    def _sections(self) -> Iterator[Section]:
        starts = [at for at, token in enumerate(self.tokens) if token.type == "heading_open" and token.tag == "h2"]
        for start, end in pairwise([*starts, len(self.tokens)]):
            heading = self.tokens[start + 1]
            text = " ".join(_text(token) for token in self.tokens[start + 2 : end] if token.type in ("inline", "fence", "code_block"))
            page = next((target for target in _targets(heading) if target.startswith(PAGE)), "")
            anchor = str(self.tokens[start].attrs["id"])
            yield Section(self.name, anchor, _text(heading), page.removeprefix(PAGE), text)

    @cached_property
    def links(self) -> list[str]:
        """Where its links lead, as they are written."""
        return [target for token in self.tokens for target in _targets(token)]

    @cached_property
    def anchors(self) -> set[str]:
        return {str(token.attrs["id"]) for token in self.tokens if token.type == "heading_open"}

    @cached_property
    def code(self) -> list[tuple[str, str]]:
        """Its examples: language and text."""
        return [(token.info, token.content) for token in self.tokens if token.type == "fence"]

    def html(self, link: Callable[[str], str]) -> str:
        """All of it but the title; `link` says where a link leads, empty for nowhere."""
        start = next((at for at, token in enumerate(self.tokens) if token.type == "heading_close" and token.tag == "h1"), -1)
        rendered: str = _markdown.renderer.render(self.tokens[start + 1 :], _markdown.options, {"link": link})
        return _ENDS.sub("", _EMPTY.sub("", _APART.sub("", rendered)))


def slug(text: str) -> str:
    """The id of a heading."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def cell(text: str) -> str:
    """A text as the cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, of cells in Markdown."""
    lines = [heads, ["---"] * len(heads), *([cell(one) for one in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _on_one_line(token: Token) -> str:
    return " ".join(token.content.split())


def _text(token: Token) -> str:
    if token.children is None:
        return token.content
    return "".join(" " if one.type == "softbreak" else one.content for one in token.children)


def _targets(token: Token) -> Iterator[str]:
    for one in token.children or ():
        if one.type == "link_open":
            yield str(one.attrs["href"])
