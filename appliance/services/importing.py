"""Many accounts at once, from a table as a spreadsheet saves it (CSV). All of them, or none."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from appliance import catalog
from appliance.catalog import ROOT, Account, Actor, EventKind, OrgUnit, doorbell, record
from appliance.errors import BadInput, DpeError
from appliance.identity import names, passwords, permissions
from appliance.services import accounts, org_units, password_links

COLUMNS = ("name", "full_name", "email", "password")
LONGEST = 1000  # lines
WITH_PASSWORD = 100  # of them; a password that somebody thought of takes a good part of a second to make safe
SHOWN = 20  # wrong lines
TAKEN, UNUSABLE = "taken", "unusable"  # of a name: by somebody within reach, and for a reason that is not told


class BadLines(BadInput):
    """What is wrong with a table, each with the number of its line."""

    def __init__(self, problems: list[str]) -> None:
        more = f"and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        super().__init__("Nothing was imported.", "Mend what is named, and import the whole table again.", field="table")
        self.problems = [*problems[:SHOWN], *([more] if more else [])]


@dataclass(frozen=True)
class Person:
    """One line of the table."""

    name: str
    full_name: str
    email: str
    password: str


@dataclass(frozen=True)
class Made:
    """A new account: mailed an invitation, or with a `link` to hand over, or with the password of the table, which is to be changed first of all."""

    account: Account
    has_password: bool
    link: str = ""

    @property
    def name(self) -> str:
        found: str = self.account.name
        return found


def read(actor: Actor, data: bytes) -> list[Person]:
    """The people of a table, checked. Raises BadLines, naming every line that is wrong, as far as the actor may know."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadLines([f"Line {line}: this is not UTF-8 text. Save the table as “CSV UTF-8”."]) from error
    head = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    people: list[Person] = []
    problems: list[str] = []
    columns: list[str] = []
    reach = permissions.scope_of(actor, "people.read")
    taken = dict.fromkeys(names.RESERVED, UNUSABLE) | {
        account.name.lower(): TAKEN if reach.everything or account.org_unit_id in reach.units else UNUSABLE
        for account in accounts.everyone()
    }
    try:
        for values in lines:
            if not any(value.strip() for value in values):
                continue
            if not columns:
                columns = _columns(values, lines.line_num)
                continue
            problem = _problem(values, columns, taken)
            if problem:
                problems.append(f"Line {lines.line_num}: {problem}")
                continue
            cells = dict(zip(columns, (value.strip() for value in values), strict=True))
            people.append(Person(*(cells.get(column, "") for column in COLUMNS)))
            taken[cells["name"].lower()] = TAKEN
    except csv.Error as error:
        problems.append(f"Line {lines.line_num}: {error}. A quotation mark is not closed, or stands in the middle of a cell.")
    if problems:
        raise BadLines(problems)
    if not people:
        raise BadLines(
            [f"The table names nobody. Its first line says what the columns are: {', '.join(COLUMNS)}; each further line is a person."]
        )
    if len(people) > LONGEST:
        raise BadLines([f"The table names {len(people)} people; {LONGEST} at a time are taken."])
    if (count := sum(bool(person.password) for person in people)) > WITH_PASSWORD:
        raise BadLines(
            [f"The table brings {count} passwords; {WITH_PASSWORD} at a time are taken. Leave them empty, and they are invited."]
        )
    return people


def _columns(values: list[str], line: int) -> list[str]:
    columns = [value.strip().lower().replace(" ", "_") for value in values]
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown or "name" not in columns or len(set(columns)) < len(columns):
        wrong = (
            f"there is no column {unknown[0]!r}"
            if unknown
            else "the column name is missing"
            if "name" not in columns
            else "a column is there twice"
        )
        raise BadLines([f"Line {line}: {wrong}. The first line names the columns: name, and if you like full_name, email, password."])
    return columns


def _problem(values: list[str], columns: list[str], taken: Mapping[str, str]) -> str:
    """What is wrong with a line; empty when nothing is."""
    if len(values) != len(columns):
        return f"{len(values)} cells where there are {len(columns)} columns."
    cells = dict(zip(columns, (value.strip() for value in values), strict=True))
    name, email, password = cells["name"], cells.get("email", ""), cells.get("password", "")
    if not names.ACCOUNT.fullmatch(name):
        return f"{name[:40]!r} cannot be an account's name: up to 32 letters, digits, dots, dashes and underscores, starting with a letter."
    if name.lower() in taken:
        unusable = taken[name.lower()] == UNUSABLE
        return f"the name {name} cannot be used." if unusable else f"there is already an account {name}, here or further up."
    if email and (email.count("@") != 1 or any(letter.isspace() for letter in email) or len(email) > 200):
        return f"{email[:60]!r} is not an e-mail address."
    if len(cells.get("full_name", "")) > 100:
        return "the full name is longer than 100 letters."
    if password and not passwords.SHORTEST <= len(password) <= passwords.LONGEST:
        return f"the password is too short: it needs at least {passwords.SHORTEST} characters; leave it empty to invite them."
    if not "".join(values).replace("\t", "").isprintable():
        return "there is a character in it that cannot be shown."
    return ""


def units(actor: Actor) -> list[tuple[int, str]]:
    """The org units into which the actor may import people: id, and name with those above it."""
    reach = permissions.scope_of(actor, "people.manage")
    every = {unit.id: unit for unit in OrgUnit.select()}

    def path(unit: OrgUnit) -> str:
        return unit.name if unit.parent_id in (None, ROOT) else f"{path(every[unit.parent_id])} / {unit.name}"

    found = [(id, path(unit)) for id, unit in every.items() if reach.everything or id in reach.units]
    return sorted(found, key=lambda one: (one[0] != ROOT, one[1].lower()))


def people(actor: Actor, data: bytes, unit: int = ROOT, *, here: str = "") -> list[Made]:
    """Make an account in the org unit for everybody in the table. Who has no password there is invited: by mail, or by a link that is told only here.

    `here` is where the actor sees the web page. Raises BadLines, or NotFound or NotAllowed for a unit into which the actor may not bring people.
    """
    org_units.demand_unit(actor, unit)
    wanted = read(actor, data)
    hashed = {person.name: passwords.digest(person.password) if person.password else "" for person in wanted}
    with catalog.write():
        mailed = password_links.can_mail()
        made = [_make(actor, person, hashed[person.name], unit, here, mailed=mailed) for person in wanted]
        record(EventKind.ACCOUNT_IMPORTED, f"{actor.name} imported {len(wanted)} accounts.", actor)
    doorbell.ring()
    return made


def _make(actor: Actor, person: Person, hashed: str, unit: int, here: str, *, mailed: bool) -> Made:
    try:
        account = accounts.insert(
            actor, person.name, hashed, full_name=person.full_name, email=person.email, org_unit_id=unit, must_change=True
        )
    except DpeError as error:  # somebody else was quicker
        raise BadLines([str(error)]) from error
    by_mail = bool(account.email) and mailed
    how = "" if hashed else " and invited them by mail" if by_mail else " and invited them by a link to hand over"
    record(
        EventKind.ACCOUNT_CREATED,
        f"{actor.name} imported the account {person.name}{how}.",
        actor,
        account_id=account.id,
        object=f"account:{person.name}",
        after={"full_name": account.full_name, "email": account.email},
    )
    if hashed:
        return Made(account, has_password=True)
    return Made(account, has_password=False, link=password_links.begin(actor, account, by_mail=by_mail, here=here).link)
