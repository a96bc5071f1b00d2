"""Reading people, groups and org units of a directory, all of them, before anything here is changed."""

import graphlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ldap
import ldap.dn

from appliance.errors import BadInput
from appliance.identity import directory
from appliance.identity.directory import Person, identity, same, search, text
from appliance.identity.directory_config import Config
from appliance.identity.directory_link import NO_LIMIT, Limit, opened

MEMBERS = ("member", "uniqueMember", "memberUid")
# Nobody's primary group lists them as a member: they carry its number instead. What of people says which it is; groups have the last of it.
PRIMARY = {"ad": ("primaryGroupID", "objectSid"), "ldap": ("gidNumber",)}

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Branch:
    """An org unit of the directory; `parent` is the id of the one above, or empty."""

    id: str
    dn: str
    name: str
    parent: str


@dataclass(frozen=True)
class Circle:
    """A group of the directory with the ids of the people and groups that are in it, and of the org unit where it lies."""

    id: str
    dn: str
    name: str
    home: str
    people: frozenset[str]
    groups: frozenset[str]


@dataclass
class Tree:
    """All that the directory has of us, and in `problems` what of it could not be used, in words for an admin."""

    units: dict[str, Branch] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    groups: dict[str, Circle] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)  # a person's id -> the id of their org unit
    spared: set[str] = field(default_factory=set)  # ids of people who are there, but cannot be read: they stay as they are
    problems: list[str] = field(default_factory=list)


def read_tree(config: Config, password: str, progress: Progress = lambda _: None, limit: Limit = NO_LIMIT) -> Tree:
    """The whole tree. Raises Unavailable, BadInput or NotAllowed when it cannot be read to its end."""
    tree, shape = Tree(), config.shape
    places: dict[str, str] = {}  # a unit's place -> its id
    primary: dict[bytes, set[str]] = {}  # a group's number -> the ids of those whose primary group it is
    with opened(config, config.bind_dn, password, limit=limit) as link:
        progress("Reading org units")
        found = sorted(
            search(link, config.base, shape.units, [shape.id, "ou", "name"]), key=lambda entry: len(ldap.dn.explode_dn(entry[0]))
        )
        for dn, values in found:
            try:
                name = text(values, "ou name")[:100] or dn
                unit = Branch(identity(values, shape.id), dn, name, _above(dn, places))
            except BadInput as error:
                tree.problems.append(f"Org unit {dn} is left out: {error.message}.")
                continue
            tree.units[unit.id] = unit
            places[same(dn)] = unit.id
        asked = [*config.reads_whom, *PRIMARY[config.kind]]
        for dn, values in search(link, config.base, shape.people, asked, lambda count: progress(f"Reading people: {count}")):
            try:
                somebody = directory.person(config, dn, values)
            except BadInput as error:
                tree.problems.append(f"{dn} is left out: {error.message}.")
                _spare(tree, config, values)
                continue
            tree.people[somebody.id] = somebody
            tree.homes[somebody.id] = _above(dn, places)
            if number := _primary_group(config, values):
                primary.setdefault(number, set()).add(somebody.id)
        _without_doubles(tree)
        progress("Reading groups")
        asked = [shape.id, "cn", *MEMBERS, PRIMARY[config.kind][-1]]
        entries = list(search(link, config.base, shape.groups, asked, lambda count: progress(f"Reading groups: {count}")))
        entries = [(dn, _whole(link, dn, values)) for dn, values in entries]
    _groups(tree, config, places, entries, primary)
    return tree


def _primary_group(config: Config, values: directory.Values) -> bytes:
    """What the primary group of this person has as its number; empty when they have none."""
    first = {name: found[0] for name, found in values.items() if found}
    if config.kind == "ldap":
        return first.get("gidnumber", b"")
    number, own = first.get("primarygroupid", b""), first.get("objectsid", b"")
    if not number.isdigit() or len(number) > 10 or int(number) >= 2**32 or len(own) < 12:
        return b""
    return own[:-4] + int(number).to_bytes(4, "little")  # the group is of the person's domain: only a SID's last part differs


def _above(dn: str, places: dict[str, str]) -> str:
    """The id of the nearest org unit above a place; empty when there is none."""
    parts = ldap.dn.str2dn(dn)
    for depth in range(1, len(parts)):
        if unit := places.get(same(ldap.dn.dn2str(parts[depth:]))):
            return unit
    return ""


def _spare(tree: Tree, config: Config, values: directory.Values) -> None:
    try:
        tree.spared.add(identity(values, config.shape.id))
    except BadInput:
        return


def _without_doubles(tree: Tree) -> None:
    """Of several people with one name to sign in with, nobody is let in anew: the appliance cannot know which is meant."""
    names: dict[str, list[Person]] = {}
    mails: dict[str, list[Person]] = {}
    for somebody in tree.people.values():
        names.setdefault(somebody.name.lower(), []).append(somebody)
        if somebody.mail:
            mails.setdefault(somebody.mail.lower(), []).append(somebody)
    for name, doubles in names.items():
        if len(doubles) > 1:
            tree.problems.append(
                f"{len(doubles)} people are called {name}: {'; '.join(double.dn for double in doubles)}. They are left out."
            )
            for double in doubles:
                del tree.people[double.id], tree.homes[double.id]
                tree.spared.add(double.id)
    for mail, doubles in mails.items():
        if len(doubles) > 1:
            tree.problems.append(f"{len(doubles)} people have the mail address {mail}: {', '.join(double.name for double in doubles)}.")


def _groups(
    tree: Tree, config: Config, units: dict[str, str], entries: list[tuple[str, directory.Values]], primary: dict[bytes, set[str]]
) -> None:
    number = PRIMARY[config.kind][-1].lower()
    people = {same(somebody.dn): somebody.id for somebody in tree.people.values()}
    names = {somebody.name: somebody.id for somebody in tree.people.values()}
    found: dict[str, tuple[str, str, list[bytes], directory.Values]] = {}
    for dn, values in entries:
        try:
            name = text(values, "cn")[:100]
            if not name:
                raise BadInput("it has no cn")
            found[identity(values, config.shape.id)] = dn, name, _members(values), values
        except BadInput as error:
            tree.problems.append(f"Group {dn} is left out: {error.message}.")
    places = {same(dn): id for id, (dn, *_) in found.items()}
    inside: dict[str, set[str]] = {}
    holds: dict[str, set[str]] = {}
    for id, (_, _, members, values) in found.items():
        where = {same(member.decode(errors="replace")) for member in members}
        by_name = {names.get(member.decode(errors="replace")) for member in values.get("memberuid", [])}
        by_number = primary.get((values.get(number) or [b""])[0], set()) & tree.people.keys()
        holds[id] = {people[place] for place in where if place in people} | {id for id in by_name if id} | by_number
        inside[id] = {places[place] for place in where if place in places}
    for circle in break_circles(inside):
        tree.problems.append(
            f"Groups contain each other in a circle: {' → '.join(found[id][1] for id in circle)}. They are taken as separate groups."
        )
    for id, (dn, name, *_) in found.items():
        tree.groups[id] = Circle(id, dn, name, _above(dn, units), frozenset(holds[id]), frozenset(inside[id]))


def _whole(link: Any, dn: str, values: directory.Values) -> directory.Values:
    """Active Directory hands out the members of a large group a range at a time."""
    while ranged := next((name for name in values if name.startswith("member;range=")), None):
        values.setdefault("member", []).extend(values.pop(ranged))
        last = ranged.rpartition("-")[2]
        if last != "*":
            link.give()
            for _, more in link.search_s(dn, ldap.SCOPE_BASE, attrlist=[f"member;range={int(last) + 1}-*"]):
                values |= {name.lower(): found for name, found in more.items() if ";" in name}
    return values


def _members(values: directory.Values) -> list[bytes]:
    return values.get("member", []) + values.get("uniquemember", [])


def break_circles(inside: dict[str, set[str]]) -> list[list[str]]:
    """Take out of `inside` (group -> the groups in it) whatever closes a circle, all of it, and return the circles."""
    circles = []
    while True:
        try:
            graphlib.TopologicalSorter({group: sorted(inside[group]) for group in sorted(inside)}).prepare()
        except graphlib.CycleError as error:
            circle = list(reversed(error.args[1]))
            circles.append(circle)
            for group, member in itertools.pairwise(circle):
                inside[group].discard(member)
        else:
            return circles
