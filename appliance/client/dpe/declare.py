"""`dpe apply` and `dpe diff`: a file says how things are to be. Each is put whole, by an id that stays, so that a second time changes nothing.

    policies: {notebook: {buffer: 4}}
    members: {physicists: {accounts: [ada, mary]}}
    grants: {"user:group:physicists:class:notebook": {ends_at: 2027-02-01T00:00:00Z}}
    quotas: {"group:physicists:together:all": {machines: 6}}
    sequences: {notebook: {title: For notebooks, moves: {}}}

What a file does not name stays as it is. Accounts, groups and org units are called by name.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
import yaml

from dpe import output
from dpe.admin import document
from dpe.cli import Context
from dpe.errors import ClientError, NotFound

DIFFERENT = 8  # the exit code of diff
HOLDERS = {"account": "admin/accounts", "group": "admin/groups", "unit": "admin/org-units"}
LIMITS = ("machines", "vcpus", "memory", "disk", "lease_minutes")
SEQUENCES_AS_PUT = {"Accept": "application/yaml, application/json;q=0.9"}
HOLDER = re.compile(r"(?<![^:])(account|group|unit):([^:]+)")


@dataclass(frozen=True)
class Part:
    """A part of the file: where what it names is read and put, and how what was read looks as it is put."""

    read: str
    put: str
    as_put: Callable[[Any], Any]


def _limits(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value is not None}


def _grant(found: Mapping[str, Any]) -> dict[str, Any]:
    terms = {name: found[name] for name in ("starts_at", "ends_at") if found.get(name)}
    return terms | ({"limits": limits} if (limits := _limits(found["limits"])) else {})


PARTS = {
    "policies": Part("admin/classes/{}/policy", "admin/classes/{}/policy", lambda found: found["values"]),
    "members": Part(
        "admin/groups/{}",
        "admin/groups/{}/members",
        lambda found: {name: sorted(found[name]) for name in ("accounts", "groups") if found[name]},
    ),
    "grants": Part("admin/grants/{}", "admin/grants/{}", _grant),
    "quotas": Part("admin/quotas/{}", "admin/quotas/{}", lambda found: _limits(found["limits"])),
    "sequences": Part("sequences/{}", "sequences/{}", lambda found: {name: value for name, value in found.items() if value}),
}


@dataclass(frozen=True)
class Change:
    """What the file says of one thing, and what there is; `etag` is of what there is."""

    part: str
    name: str
    path: str
    wanted: Any
    there: Any
    etag: str

    @property
    def differs(self) -> bool:
        return bool(self.wanted != self.there)

    def lines(self) -> Iterator[str]:
        """As a unified diff."""
        before, after = (
            json.dumps(one, indent=2, sort_keys=True).splitlines() if one is not None else [] for one in (self.there, self.wanted)
        )
        title = f"{self.part}/{self.name}"
        return difflib.unified_diff(before, after, f"there: {title}", f"wanted: {title}", lineterm="")


def changes(client: Any, said: Any) -> Iterator[Change]:
    """All that the file names. Raises ClientError for a file that says something else."""
    if not isinstance(said, dict) or not said or not set(said) <= set(PARTS):
        raise ClientError("That is no file to apply.", f"It has any of {', '.join(PARTS)}, each with names and what they are to be.")
    names = _Names(client)
    for part, things in said.items():
        if not isinstance(things, dict) or not all(isinstance(one, dict) for one in things.values()):
            raise ClientError(f"{part} has no names with what they are to be.", f"Like {part}: {{NAME: {{...}}}}")
        for name, wanted in things.items():
            yield _change(client, names, part, str(name), _whole(part, str(name), _plain(wanted)))


def _change(client: Any, names: "_Names", part: str, name: str, wanted: Any) -> Change:
    kind = PARTS[part]
    id = names.id("group", name) if part == "members" else HOLDER.sub(lambda found: f"{found[1]}:{names.id(found[1], found[2])}", name)
    try:
        answer = client.request("GET", kind.read.format(id), headers=SEQUENCES_AS_PUT)
        found, etag = yaml.safe_load(answer.text), answer.headers.get("ETag", "")
        there = _plain(kind.as_put(found))
    except NotFound:
        if part in ("policies", "members"):
            raise  # these are not made by putting them
        there, etag = None, ""
    return Change(part, name, kind.put.format(id), wanted, there, etag)


class _Names:
    """Ids of accounts, groups and org units by their names; each list is read once, when it is needed."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._lists: dict[str, list[dict[str, Any]]] = {}

    def id(self, kind: str, name: str) -> str:
        if name.isdecimal():
            return name
        if kind not in self._lists:
            self._lists[kind] = list(self.client.items(HOLDERS[kind]))
        return str(self.client.find(self._lists[kind], name, kind)["id"])


def _whole(part: str, name: str, wanted: Any) -> Any:
    """As it is put: members have no order, and a sequence has its own name in it."""
    if part == "members":
        return {kind: sorted(value) for kind, value in wanted.items() if value}
    return {"name": name, **{field: value for field, value in wanted.items() if value}} if part == "sequences" else wanted


def _plain(value: Any) -> Any:
    """As JSON has it; times are compared as moments."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*", value):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.astimezone()).astimezone(UTC).isoformat(timespec="seconds")
    return value


FILE = click.option("-f", "--file", "file", type=click.File("rb"), required=True, help="YAML or JSON; - is standard input.")


@click.command()
@FILE
@click.pass_obj
def diff(context: Context, file: Any) -> None:
    """Show what apply would change. The exit code is 8 if anything would."""
    found = [change for change in changes(context.client, document(file)) if change.differs]
    for change in found:
        for line in change.lines():
            click.echo(output.plain(line))
    if found:
        click.get_current_context().exit(DIFFERENT)


@click.command()
@FILE
@click.pass_obj
def apply(context: Context, file: Any) -> None:
    """Have things be as a file says. What it does not name stays as it is."""
    client = context.client
    for change in list(changes(client, document(file))):
        if change.differs:
            client.put(change.path, change.wanted, change.etag)
        output.done(f"{change.part}/{change.name}: {'changed' if change.differs else 'unchanged'}")
