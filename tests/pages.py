"""Pages as people read them."""

import re
from dataclasses import dataclass, field
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


@dataclass
class Form:
    """One form of a page: where it goes, and what its fields hold."""

    method: str
    action: str
    values: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self.open: Form | None = None
        self.select = self.area = ""
        self.option = False  # whether one is open whose text is its value

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        name, value = has.get("name", ""), has.get("value", "")
        self.option = False  # the one before ends here
        if tag == "form":
            self.open = Form(has.get("method", "get").lower(), has.get("action", "").partition("#")[0])
            self.found.append(self.open)
        elif self.open is None or (not name and tag != "option") or "disabled" in has:
            return
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select and ("selected" in has or self.select not in self.open.values):
            self.open.values[self.select], self.option = value, "value" not in has
        elif tag == "textarea":
            self.area, self.open.values[name] = name, ""
        elif tag == "button":
            self.open.buttons.append((name, value))
        elif tag == "input" and (has.get("type") not in ("checkbox", "radio") or "checked" in has):
            self.open.values[name] = value or ("on" if has.get("type") == "checkbox" else "")

    def handle_endtag(self, tag: str) -> None:
        self.option = False
        if tag == "form":
            self.open = None
        elif tag == "select":
            self.select = ""
        elif tag == "textarea":
            self.area = ""

    def handle_data(self, data: str) -> None:
        if self.open and (self.area or self.option):
            self.open.values[self.area or self.select] += data


def forms_of(text: str) -> list[Form]:
    """A page's forms, as a browser would send them."""
    parser = _Forms()
    parser.feed(text)
    return parser.found
