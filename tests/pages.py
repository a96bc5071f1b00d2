"""Pages as people read them."""

import re
from html.parser import HTMLParser

_BREAKS = re.compile(r"(<(textarea|pre)\b.*?</\2>)|\n\s*", re.DOTALL)


def on_one_line(page: str) -> str:
    """A page of HTML without its template's line ends, which are nothing to a reader; what keeps its lines on the page keeps them here."""
    return _BREAKS.sub(lambda match: match[1] or " ", page)


class Page(HTMLParser):
    """The elements of a page that have an id, their attributes and the text in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        self._open = found.get("id", "") if tag in ("div", "small", "textarea", "span") else self._open

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.text[self._open] = self.text.get(self._open, "") + data

    def by(self, **attributes: str) -> dict[str, str]:
        """The attributes of the first element that has these; nothing when there is none."""
        return next((found for _, found in self.elements if attributes.items() <= found.items()), {})


def is_at(field: str, text: str) -> bool:
    """Whether a page says what is wrong at its field `f-FIELD`, which names its words as what describes it, and in a summary that has the focus."""
    page = Page(text)
    found = page.by(id=f"f-{field}")
    ids = found.get("aria-describedby", "").split()
    summary = next((one for _, one in page.elements if "autofocus" in one), {})
    return (
        f"e-{field}" in ids
        and bool(page.text.get(f"e-{field}", "").strip())
        and all(page.by(id=id) for id in ids)
        and (summary.get("role"), summary.get("tabindex")) == ("alert", "-1")
        and bool(page.by(href=f"#f-{field}"))
    )
