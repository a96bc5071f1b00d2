"""The guides, and which section of them is about which page."""

from functools import cache
from pathlib import Path

from appliance import language
from webui import navigation
from webui.guide.markdown import Document, Section

FOLDER = Path(__file__).parent
GUIDES = {name: Document(name, (FOLDER / f"{name}.md").read_text()) for name in ("user", "delegate", "admin", "integrator")}
# Blueprints beside the navigation, by the endpoint of the page whose section is about them, too.
BESIDE = {
    "auth": "auth.account",
    "security": "auth.account",
    "reauth": "auth.account",
    "saved_views": "search.index",
    "portal": "portal.index",
    "disks": "portal.index",
    "console": "portal.index",
    "device": "device.command_line",
    "api_docs": "api_docs.page",
}


@cache
def guides(spoken: str) -> dict[str, Document]:
    """All of them in a language."""
    say = None if spoken == language.SOURCE else language.catalog(spoken).text
    return {name: Document(name, text.source, say) for name, text in GUIDES.items()}


def said(section: Section, spoken: str) -> Section:
    """The same section in a language."""
    return _said(spoken)[section.guide, section.anchor]


@cache
def _said(spoken: str) -> dict[tuple[str, str], Section]:
    return {(name, one.anchor): one for name, text in reversed(guides(spoken).items()) for one in reversed(text.sections)}


@cache
def sections() -> tuple[Section, ...]:
    """Those of all guides."""
    return tuple(section for text in GUIDES.values() for section in text.sections)


@cache
def help_of(endpoint: str) -> Section | None:
    """The section about the page at an endpoint, or about the one that it is below; None where there is none."""
    about = {section.page: section for section in sections() if section.page}
    page = navigation.current(endpoint)
    wanted = (endpoint, page.endpoint if page else "", BESIDE.get(endpoint.split(".")[0], ""))
    return next((about[one] for one in wanted if one in about), None)
