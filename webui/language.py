"""Pages in the language of whoever asks, which each application finds out by itself (`init_app`); the rescue page knows no catalog."""

import logging
import re
from collections.abc import Callable, Mapping, MutableMapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale, dates
from flask import Flask, current_app, g, has_request_context, request
from flask.templating import DispatchingJinjaLoader
from flask.templating import Environment as FlaskEnvironment
from jinja2 import BaseLoader, Template, nodes
from jinja2 import Environment as AnyEnvironment
from markupsafe import Markup

from appliance import language
from webui.template_texts import Texts

log = logging.getLogger(__name__)

PATTERNS = {  # how times are written in English, and how Babel calls that
    "%A": "EEEE",
    "%a %-d %b": "EEE d MMM",
    "%a %-d %b %Y": "EEE d MMM y",
    "%a %-d %b, %H:%M": "EEE d MMM, HH:mm",
    "%-d %b": "d MMM",
    "%-d %b %Y": "d MMM y",
    "%-d %b %H:%M": "d MMM HH:mm",
    "%-d %b %Y %H:%M": "d MMM y HH:mm",
}
OF_SOME = ("console", "upload")  # scripts that say much, and that a page has which sets `scripts` to their names
_SCRIPT = re.compile(r"""\b(?:inLanguage|say|over|later|Error)\('((?:[^'\\]|\\.)+)'""")


def current() -> str:
    """The language of whoever asks; English where nobody does."""
    if not has_request_context():
        return language.SOURCE
    if "language" not in g:
        g.language = language.SOURCE  # while it is found out
        try:
            g.language = current_app.extensions["language"]()
        except Exception:  # the page of an error is made all the same
            log.warning("the language of a page could not be told", exc_info=True)
    found: str = g.language
    return found


def asked_for() -> str | None:
    """The first language of the browser's that there is; none where it asks for none of them."""
    asked = (one.partition("-")[0].lower() for one in request.accept_languages.values())
    return next((one for one in asked if one in language.LANGUAGES), None)


def text(english: str, **places: object) -> str:
    """A text of the sources in the language of whoever asks, its places filled."""
    said = english if (now := current()) == language.SOURCE else language.catalog(now).text(english)
    return language.PLACE.sub(lambda place: str(places[place[1]]), said) if places else said


def translated(value: Any) -> Any:
    """What Python said in English, in the language of whoever asks; anything else as it is, and what a person wrote."""
    if not isinstance(value, str) or isinstance(value, Markup | language.Written) or (now := current()) == language.SOURCE:
        return value
    return language.catalog(now).sentence(value)


def in_language() -> Callable[[str], str]:
    """What puts texts that Python said into the language of whoever asks, found out once for many of them."""
    return (lambda text: text) if current() == language.SOURCE else translated


def noun(number: int, one: str, many: str) -> str:
    """The noun that goes with a number."""
    return language.catalog(current()).plural(number, one, many)


def dated(moment: datetime | date, pattern: str) -> str:
    """The time as `pattern` says (one of PATTERNS, or hours), with the names and the order of the language."""
    if (now := current()) == language.SOURCE or pattern not in PATTERNS:
        return moment.strftime(pattern)
    return str(
        dates.format_datetime(moment, text(PATTERNS[pattern]), locale=now) if isinstance(moment, datetime) else _day(moment, pattern, now)
    )


def _day(day: date, pattern: str, locale: str) -> str:
    return str(dates.format_date(day, text(PATTERNS[pattern]), locale=locale))


def territories(names: Mapping[str, str]) -> dict[str, str]:
    """Countries, from their English names by two letters, in the language of whoever asks and in its order."""
    if (now := current()) == language.SOURCE:
        return dict(names)
    known = Locale.parse(now).territories
    return dict(sorted(((code, known.get(code, name)) for code, name in names.items()), key=lambda one: one[1].casefold()))


def decimal(value: float, digits: int) -> str:
    """A number with so many digits after its point, or comma."""
    return language.decimal(current(), value, digits)


@cache
def script_texts() -> Mapping[str, tuple[str, ...]]:
    """What the scripts say, by their names."""
    scripts = sorted((Path(__file__).parent / "static/js").glob("*.js"))
    return {script.stem: tuple(sorted({one[1] for one in _SCRIPT.finditer(script.read_text())})) for script in scripts}


@cache
def _for_scripts(spoken: str, *, more: tuple[str, ...]) -> dict[str, str]:
    """What the scripts of every page say in a language, and those of a page that has `more`."""
    texts = language.catalog(spoken)
    said = (english for name, all in script_texts().items() if name not in OF_SOME or name in more for english in all)
    return {english: texts.text(english) for english in said if texts.has(english)}


class Environment(FlaskEnvironment):
    """Flask's, with each template compiled once for each language; in others than English it is called like "de:portal.html"."""

    def _load_template(self, name: str, globals: MutableMapping[str, Any] | None) -> Template:
        spoken = current()
        return super()._load_template(name if spoken == language.SOURCE else f"{spoken}:{name}", globals)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = super()._parse(source, name, filename)
        spoken, marked, _ = (name or "").partition(":")
        if not marked:
            return template
        texts = language.catalog(spoken)
        return Texts(lambda english: texts.text(english) if texts.has(english) else None).translate(template)


class Loader(DispatchingJinjaLoader):
    """Flask's, which finds "de:portal.html" where portal.html is."""

    def get_source(self, environment: AnyEnvironment, template: str) -> tuple[str, str | None, Any]:
        return super().get_source(environment, template.rpartition(":")[2])


class Application(Flask):
    """Flask, in several languages."""

    jinja_environment = Environment

    def create_global_jinja_loader(self) -> BaseLoader:  # type: ignore[override]
        return Loader(self)


def init_app(app: Flask, chosen: Callable[[], str]) -> None:
    """`chosen` says, during a request, in which language its answer should be."""
    app.extensions["language"] = chosen
    app.jinja_env.filters.update(translated=translated, dated=dated, capitalize=capitalized)
    app.context_processor(lambda: {"language": current(), "script_texts": lambda *more: _for_scripts(current(), more=more)})


def capitalized(sentence: str) -> str:
    """Jinja's, but that nouns keep their capital letters where they have some."""
    return sentence.capitalize() if current() == language.SOURCE else sentence[:1].upper() + sentence[1:]
