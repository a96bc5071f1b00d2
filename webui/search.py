"""Search: things, pages, settings and actions by their names, as a page and as what a page asks for while somebody types; and the same for a field
that takes a name, which offers those that it may be given."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

from flask import Blueprint, render_template, request, url_for
from flask_login import current_user

from appliance.catalog.search import Match
from appliance.language import Written
from appliance.scenario.applications import Entry
from appliance.services import applications, delegation, packages, search
from webui import guide, navigation
from webui.format import SEED_STATES, STATES
from webui.guard import actor, asks_for_live_part, needs
from webui.guide.markdown import Section
from webui.guide.texts import guides, said, sections
from webui.language import current, in_language, translated
from webui.navigation import May, Page, Place

blueprint = Blueprint("search", __name__)

TITLES = {
    "page": "Pages",
    "machine": "Machines",
    "account": "People",
    "group": "Groups",
    "unit": "Org units",
    "class": "Classes",
    "application": "Applications",
    "seed": "Seeds",
    "setting": "Settings",
    "verb": "Actions",
    "guide": "Guide",
}
ICONS = {
    "machine": "server-2", "account": "user", "group": "users", "unit": "stack-2", "class": "package", "seed": "plant-2",
    "setting": "settings", "verb": "bolt", "package": "package", "application": "wand", "guide": "info-circle",
}  # fmt: skip
PAGES: dict[str, tuple[str, str]] = {
    "machine": ("machines.page", "id"),
    "account": ("accounts.page", "id"),
    "group": ("groups.page", "id"),
    "unit": ("units.page", "id"),
    "class": ("classes.page", "name"),
    "seed": ("seeds.page", "id"),
}
# What a field's names may be of: kinds of things, and what one has to hold over those that it may be given.
OFFERS = {
    "holder": {"account": "people.read", "group": "people.read"},
    "bound": {"account": "quotas.manage", "group": "quotas.manage"},
    "person": {"account": "people.read"},
    "people": {"account": "people.read"},
    "package": {"package": "seeds.read"},
    "packages": {"package": "seeds.read"},
}
SEVERAL = ("people", "packages")  # in one field


@dataclass(frozen=True)
class Hit:
    """What was found: `about` says more of it; it leads to an address or, where it is done at once, sends a form of the page."""

    kind: str
    rank: int
    title: str
    about: str
    icon: str
    url: str
    form: str = ""


@blueprint.get("/search")
@needs("own")
def index() -> str:
    """The page; what was found alone, when a page asks while somebody types, or the names that its field offers."""
    if (kinds := OFFERS.get(request.args.get("offer", ""))) is not None:
        return _offers(kinds)
    text = search.words_of(request.args.get("q", ""))
    alone = request.headers.get("HX-Request") and not asks_for_live_part()
    return render_template("_search.html" if alone else "search.html", text=text, found=groups(hits(text)))


def _offers(kinds: Mapping[str, str]) -> str:
    """Names for a `field`, by what is typed in it: of several, by the last one's beginning. A `kind` leaves out the others."""
    field, kind = request.args.get("field", ""), request.args.get("kind", "")
    typed = request.args.get(field, "")
    text = re.split(r"[\s,]", typed)[-1] if request.args["offer"] in SEVERAL else typed
    if "package" in kinds:
        found = _packages(text) if current_user.may(kinds["package"]) else []
    else:
        found = search.find(current_user.powers, text, {kind: kinds[kind]} if kind in kinds else kinds)
    if "quotas.manage" in kinds.values():
        found = [match for match in found if delegation.may_bind(actor(), delegation.Holder(match.kind, match.id))]
    found = [replace(match, detail=Written(match.detail)) for match in found]
    return render_template("_offers.html", found=found, field=field, ICONS=ICONS)


def _packages(text: str) -> list[Match]:
    """Packages of the release that the form has besides."""
    os = request.args.get("release") or request.args.get("os") or packages.releases()[0].os
    return [Match("package", one.name, one.name, "", one.summary) for one in packages.offers(os, text, search.EACH).packages]


Ranked = Iterable[tuple[int, Callable[[int], Hit]]]  # how well something fits, and what makes a hit of it


@dataclass(frozen=True)
class _Asked:
    """What somebody looks for, found out once for all that is gone through: the text, what they may, and their language."""

    text: str
    may: May
    say: Callable[[str], str]
    spoken: str

    def rank(self, it: Page | Place) -> int | None:
        """How well a page, or a place of one, fits; None for one that is not for them."""
        return search.rank(self.text, self.say(it.title), it.words) if navigation.allowed(it, self.may) else None


def hits(text: str) -> list[Hit]:
    """All that whoever asks finds by a text."""
    if not text:
        return []
    asked = _Asked(text, current_user.may, in_language(), current())
    found = [_hit(text, match) for match in search.find(current_user.powers, text)]
    found += _best(_pages(asked))
    if asked.may("classes.read"):
        found += _best(_applications(text))
    for kind, places in (("setting", navigation.SETTINGS), ("verb", navigation.VERBS)):
        found += _best(_places(asked, kind, places))
    found += _best(_sections(asked, {asked.say(hit.title) for hit in found}))
    return found or _best(_told(asked))


def _pages(asked: _Asked) -> Ranked:
    for group in navigation.GROUPS:
        for page in group.pages:
            if (rank := asked.rank(page)) is not None:
                yield rank, partial(_page, page, group.title)


def _page(page: Page, above: str, rank: int) -> Hit:
    return Hit("page", rank, page.title, above if above != page.title else "", page.icon, url_for(page.endpoint))


def _applications(text: str) -> Ranked:
    for one in applications.entries():
        if (rank := search.rank(text, one.manifest.title, one.name)) is not None:
            yield rank, partial(_application, one)


def _application(one: Entry, rank: int) -> Hit:
    return Hit("application", rank, one.manifest.title, one.name, one.manifest.icon, url_for("applications.page", application=one.name))


def _places(asked: _Asked, kind: str, places: Iterable[Place]) -> Ranked:
    for place in places:
        if (rank := asked.rank(place)) is not None:
            yield rank, partial(_place, kind, place)


def _place(kind: str, place: Place, rank: int) -> Hit:
    return Hit(kind, rank, place.title, _above(place), ICONS[kind], _url(place), place.form)


@cache
def _guide(spoken: str) -> list[tuple[Section, str]]:
    """The sections of all guides in a language, each with its text as case does not count."""
    return [(one := said(section, spoken), one.text.casefold()) for section in sections()]


def _sections(asked: _Asked, found: Collection[str]) -> Ranked:
    """Sections of the guide by their names, without those that are called like what was found: that leads to them."""
    for section, _ in _guide(asked.spoken):
        if section.title not in found and (rank := search.rank(asked.text, section.title)) is not None and guide.may_read(section):
            yield rank, partial(_section, section)


def _told(asked: _Asked) -> Ranked:
    """Sections of the guide that say something."""
    words = asked.text.casefold().split()
    for section, text in _guide(asked.spoken):
        if all(word in text for word in words) and guide.may_read(section):
            yield search.rank(asked.text, text) or 0, partial(_section, section)


def _section(section: Section, rank: int) -> Hit:
    address = url_for("guide.page", name=section.guide, _anchor=section.anchor)
    return Hit("guide", rank, section.title, guides(current())[section.guide].title, ICONS["guide"], address)


def groups(found: list[Hit]) -> list[tuple[str, list[Hit]]]:
    """What was found below headings: the kind with the best of it first."""
    best: dict[str, int] = {}
    for hit in found:
        best[hit.kind] = min(hit.rank, best.get(hit.kind, hit.rank))
    kinds = sorted(best, key=lambda kind: (best[kind], list(TITLES).index(kind)))
    return [(TITLES[kind], sorted((hit for hit in found if hit.kind == kind), key=lambda hit: hit.rank)[: search.EACH]) for kind in kinds]


def _best(found: Ranked) -> list[Hit]:
    """Of few a hit is made."""
    return [make(rank) for rank, make in sorted(found, key=lambda one: one[0])[: search.EACH]]


def _hit(text: str, match: Match) -> Hit:
    endpoint, argument = PAGES[match.kind]
    rank = search.rank(text, match.name, match.words)
    assert rank is not None, "search.find leaves out what does not fit"
    return Hit(match.kind, rank, Written(match.name), _about(match), ICONS[match.kind], url_for(endpoint, **{argument: match.id}))


def _about(match: Match) -> str:
    if match.kind == "machine":
        return Written(", ".join(filter(None, (translated(STATES[match.detail][0]), match.owner))))
    return SEED_STATES[match.detail][0] if match.kind == "seed" else Written(match.detail)


def _above(place: Place) -> str:
    page = navigation.current(place.endpoint)
    return page.title if page is not None else "Your account" if place.endpoint else ""


def _url(place: Place) -> str:
    return url_for(place.endpoint, _anchor=place.anchor or None) if place.endpoint else ""
