"""The guide: what people read who use the appliance, a Markdown file for each kind of them, and reference pages that are made from the code.

A section of a guide whose heading links to a page of the console (`## [Classes](page:classes.index)`) is that page's help: its first sentence is
shown at the page's foot, with a link to the section.
"""

from dataclasses import replace
from functools import cache

from flask import Blueprint, Flask, abort, render_template, request, url_for
from flask_login import current_user
from markupsafe import Markup

from webui import language, navigation
from webui.guard import needs
from webui.guide import reference
from webui.guide.markdown import PAGE, Document, Section
from webui.guide.texts import GUIDES, guides, help_of, said

blueprint = Blueprint("guide", __name__, url_prefix="/guide")


def init_app(app: Flask) -> None:
    app.context_processor(lambda: {"guide_here": here})


def may_read(section: Section) -> bool:
    """Whether it is for whoever asks: one that is about a page of the navigation for those who may open that, others for whom the guide is."""
    page = navigation.current(section.page) if section.page else None
    return is_mine(GUIDES[section.guide]) if page is None else navigation.allowed(page, current_user.may)


def is_mine(text: Document) -> bool:
    """Whether it has something for whoever asks: a page that needs a permission which they hold, or none that needs one."""
    permissions = _permissions(text.name)
    return not permissions or any(map(current_user.may, permissions))


@cache
def _permissions(name: str) -> frozenset[str]:
    """Those that the pages need which a guide is about."""
    pages = (navigation.current(section.page) for section in GUIDES[name].sections if section.page)
    return frozenset(page.permission for page in pages if page) - {""}


def here() -> Section | None:
    """The section about the page that is asked for, in the language of whoever asks."""
    section = help_of(request.endpoint or "")
    return section and said(section, language.current())


def link(target: str) -> str:
    """Where a link of a guide leads: to a page, another text or anywhere else. Empty where that is not for whoever reads."""
    address, _, anchor = target.partition("#")
    if address.startswith(PAGE):
        endpoint = address.removeprefix(PAGE)
        page = navigation.current(endpoint)
        return url_for(endpoint, _anchor=anchor or None) if page is None or navigation.allowed(page, current_user.may) else ""
    if not address.endswith(".md"):
        return target if address == "" or address.startswith(("https://", "/")) else ""
    folder, _, name = address.removesuffix(".md").rpartition("/")
    return url_for("guide.reference_page" if folder else "guide.page", name=name, _anchor=anchor or None)


@blueprint.get("/")
@needs("own")
def index() -> str:
    return render_template(
        "guide/index.html",
        guides=[(name, text) for name, text in guides(language.current()).items() if is_mine(text)],
        references=reference.PAGES,
        may_read=may_read,
    )


@blueprint.get("/<name>")
@needs("own")
def page(name: str) -> str:
    if name not in GUIDES:
        abort(404)
    return _shown(guides(language.current())[name])


@blueprint.get("/reference/<name>")
@needs("own")
def reference_page(name: str) -> str:
    if name not in reference.PAGES:
        abort(404)
    return _shown(replace(reference.PAGES[name].document(), say=language.translated))


def _shown(text: Document) -> str:
    # What is marked safe is made by markdown-it of files of the appliance, without HTML of their own.
    body = Markup(text.html(link))  # noqa: S704
    return render_template("guide/page.html", text=text, body=body, contents=text.sections)
