"""The reference: pages that are made from what they tell of, so that they are complete and cannot be wrong."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from flask import Flask, current_app

from appliance import settings
from appliance.catalog import document as events
from appliance.identity.roles import CLASS, OWN, PERMISSIONS, ROLES, UNIT
from appliance.services.metrics import METRICS
from appliance.services.needs import KINDS
from appliance.workflow import document as activities
from webui import navigation
from webui.api import SCOPES
from webui.guard import PUBLIC, WITHOUT_PAGES, Need
from webui.guide.markdown import PAGE, Document, table
from webui.guide.texts import help_of

# Heads of tables.
SETTING = ("Setting", "Default", "What", "Where it is set")
METRIC = ("Metric", "Labels", "What")
NEED = ("Kind", "What is so", "Who sees it")
PERMISSION = ("Permission", "Whoever holds it can", "Scope")
ROLE = ("Role", "What", "Permissions")
SCOPE = ("Scope", "What")
ADDRESS = ("Address", "By", "For")
ROLES_OF_PEOPLE, TOKEN_SCOPES = "Roles", "Token scopes"
ABOUT_SCOPES = "What an API token is good for, within its account's permissions."
COMMANDS = settings.REPOSITORY / "appliance/client/README.md"
WHO = {OWN: "everybody who is signed in", PUBLIC: "anybody at all"}
OVER = {
    frozenset[str](): "the appliance alone",
    frozenset({UNIT}): "the appliance, an org unit",
    frozenset({CLASS}): "the appliance, a class",
    frozenset({UNIT, CLASS}): "the appliance, an org unit, a class",
}


@dataclass(frozen=True)
class Reference:
    """A page of the reference: what it is called, what it tells, and what writes that, in Markdown."""

    name: str
    title: str
    about: str
    write: Callable[[], str]

    def document(self) -> Document:
        return _document(self.name)


@cache
def _document(name: str) -> Document:
    """A page, made once: what it tells of changes only with the program."""
    page = PAGES[name]
    return Document(f"reference/{name}", f"# {page.title}\n\n{page.about}\n\n{page.write()}")


def _settings() -> str:
    rows = [(f"`{one.name}`", f"`{one.default}`" if one.default else "", one.help, _where(one)) for one in settings.describe()]
    return table(SETTING, rows)


def _where(one: settings.Described) -> str:
    """On which page, or why on none."""
    if not one.page:
        why = one.only_in_file
        return f"Only there: {why}"
    page = navigation.current(one.page.partition("#")[0])
    return f"[{page.title}]({PAGE}{one.page})" if page else ""


def _permissions() -> str:
    rows = [(f"`{name}`", about, OVER[frozenset(scopes)]) for name, (about, scopes) in PERMISSIONS.items()]
    roles = [(role.title, role.about, ", ".join(f"`{one}`" for one in PERMISSIONS if one in role.permissions)) for role in ROLES.values()]
    return "\n".join(
        [
            table(PERMISSION, rows),
            f"## {ROLES_OF_PEOPLE}\n",
            table(ROLE, roles),
            f"## {TOKEN_SCOPES}\n\n{ABOUT_SCOPES}\n",
            table(SCOPE, [(f"`{name}`", about) for name, about in SCOPES.items()]),
        ]
    )


def _metrics() -> str:
    rows = [(f"`{one.name}`", ", ".join(f"`{label}`" for label in one.labels), one.text) for one in METRICS.values()]
    return table(METRIC, rows)


def _needs() -> str:
    rows = [
        (f"`{one.name}`", " ".join((one.find.__doc__ or "").split()), f"`{one.permission}`" if one.permission != OWN else WHO[OWN])
        for one in KINDS
    ]
    return table(NEED, rows)


def _events() -> str:
    return _below(events.document())


def _activities() -> str:
    return re.sub("^### ", "## ", activities.document(), flags=re.MULTILINE)


def _commands() -> str:
    """What the client's README says, without its files."""
    return re.sub(r"^\| file \|.*\n(\|.*\n)+", "", _below(COMMANDS.read_text()), flags=re.MULTILINE)


def _below(text: str) -> str:
    """A document without its title."""
    return text.partition("\n\n")[2]


def _addresses() -> str:
    parts = groupby(sorted(_routes(current_app)), lambda route: route[0])
    return "\n".join(f"## {title}\n\n{table(ADDRESS, [route[1:] for route in found])}" for title, found in parts)


def _routes(app: Flask) -> Iterator[tuple[str, str, str, str]]:
    """The addresses of pages: what they are about, address, methods, and who may."""
    for rule in app.url_map.iter_rules():
        need = getattr(app.view_functions[rule.endpoint], "need", None)
        if need is None or rule.endpoint.split(".")[0] in (*WITHOUT_PAGES, "moved"):
            continue
        about = help_of(rule.endpoint)
        methods = ", ".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
        yield about.title if about else "Before signing in", f"`{rule.rule}`", methods, _who(need)


def _who(need: Need) -> str:
    if need.own:
        return f"`{need.permission}`, or whose own it is"
    return WHO.get(need.permission, f"`{need.permission}`")


PAGES = {
    page.name: page
    for page in (
        Reference("settings", "Settings of the host", "What a file or the environment sets, and what of it a page does.", _settings),
        Reference("permissions", "Permissions and roles", "What can be granted, and over what.", _permissions),
        Reference("needs", "What needs you", "What the bell and the overview tell of, and whom.", _needs),
        Reference("activities", "Activities", "What sequences can do, and how they are written.", _activities),
        Reference("events", "Events", "Everything that is recorded, by kind.", _events),
        Reference("metrics", "Metrics", "What Prometheus reads at `/metrics`, with an API token of the scope `metrics`.", _metrics),
        Reference("commands", "Commands", "The command `dpe`, and its client for Python.", _commands),
        Reference("addresses", "Addresses", "The addresses of all pages, and who may open them.", _addresses),
    )
}
