"""Reading a directory, and asking it who somebody is. What it says is read in pages, and checked before it is believed."""

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import ldap
import ldap.dn
import ldap.filter
from ldap.controls import SimplePagedResultsControl

from appliance.errors import BadInput, NotAllowed, Unavailable
from appliance.identity.directory_config import DISABLED, Config
from appliance.identity.directory_link import DirectoryRefused, Limit, Link, all_away, opened

PAGE = 500
MOST = 200_000  # entries; more is a server that never comes to an end
LONGEST = 200  # letters of a name or an address

Values = dict[str, list[bytes]]  # an entry's attributes, by lower-case name

SIGN_IN = 8.0  # seconds in which whoever signs in hears an answer, whatever the servers do

PRINCIPAL = {"ad": ["userPrincipalName"], "ldap": []}  # what else a person is called by everywhere, for a kind of directory
ADDRESS = re.compile(r"[^\s\\@\0]{1,64}@[^\s\\@\0]{1,190}")

# What a directory may call somebody: letters of any script, no blanks at the ends, nothing that is punctuation in a path, a list or a page.
NAME = re.compile(r"\w([\w.@'+() *-]{0,62}[\w.)*-])?")


@dataclass(frozen=True)
class Person:
    """Somebody as the directory has them."""

    id: str
    dn: str
    name: str
    full_name: str
    mail: str
    disabled: bool


def search(
    link: Link, base: str, filter: str, attributes: list[str], seen: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[str, Values]]:
    """All entries below `base`, page by page, as DN and attributes; `seen` is told how many there were so far. Referrals are left out."""
    control, count = SimplePagedResultsControl(criticality=True, size=PAGE, cookie=""), 0
    while True:
        message = link.search_ext(base, ldap.SCOPE_SUBTREE, filter, attributes, serverctrls=[control])
        _, entries, _, controls = link.result3(message, timeout=link.give())
        for dn, values in entries:
            if dn is not None:
                count += 1
                yield dn, {name.lower(): found for name, found in values.items()}
        seen(count)
        cookies = [answer.cookie for answer in controls if answer.controlType == SimplePagedResultsControl.controlType]
        if not cookies or not cookies[0]:
            return
        if count > MOST:
            raise BadInput(f"The directory has more than {MOST} entries below {base}.", "Narrow the search base or the filters.")
        control.cookie = cookies[0]


def text(values: Values, attributes: str) -> str:
    """The first value of the first attribute that has one. Raises BadInput for one that is no text or far too long."""
    for name in attributes.split():
        for value in values.get(name.lower(), [])[:1]:
            if len(value) > LONGEST * 4:
                raise BadInput(f"{name} is {len(value)} bytes long")
            try:
                found = " ".join(value.decode().split())
            except UnicodeDecodeError as error:
                raise BadInput(f"{name} is not text") from error
            if not found.isprintable() or len(found) > LONGEST:
                raise BadInput(f"{name} is too long" if len(found) > LONGEST else f"{name} has unprintable letters")
            if found:
                return found
    return ""


def identity(values: Values, attribute: str) -> str:
    """What stays the same when an entry is renamed or moved. Raises BadInput when there is none."""
    found = (values.get(attribute.lower()) or [b""])[0]
    if not found or len(found) > 64:
        raise BadInput(f"it has no {attribute}")
    if attribute.lower() == "objectguid" and len(found) == 16:
        return str(uuid.UUID(bytes_le=found))
    return text(values, attribute).lower()


def person(config: Config, dn: str, values: Values) -> Person:
    """An entry as a person. Raises BadInput, saying of the entry what cannot be used."""
    shape = config.shape
    name = text(values, shape.name)
    if not NAME.fullmatch(name):
        raise BadInput(f"its {shape.name} cannot be a name to sign in with" if name else f"it has no {shape.name}")
    return Person(identity(values, shape.id), dn, name, text(values, shape.full_name)[:100], text(values, shape.mail), is_disabled(values))


def is_disabled(values: Values) -> bool:
    """Whether the directory itself would not let this person in."""
    control, locked, closed = ((values.get(name.lower()) or [b""])[0][:32] for name in DISABLED)
    return bool(control.isdigit() and len(control) <= 10 and int(control) & 2) or locked.lower() == b"true" or closed == b"000001010000Z"


def same(dn: str) -> str:
    """A DN such that two spellings of the same place are equal. One that is none is returned as it is, in lower case."""
    try:
        parts = ldap.dn.str2dn(dn)
    except ldap.LDAPError:
        return dn.lower()
    lowered = [[(kind.lower(), " ".join(value.lower().split()), 1) for kind, value, _ in sorted(part)] for part in parts]
    return str(ldap.dn.dn2str(lowered))


# -- signing in -----------------------------------------------------------------------------


def authenticate(config: Config, service_password: str, entered: str, password: str) -> Person | None:
    """Who this is, when the directory takes the password for what was entered, a name or an address; else None.

    Raises Unavailable when no server can be asked, NotAllowed when the directory says more than no, and
    BadInput when the appliance cannot read the directory.
    """
    if not password or "\0" in password or not (NAME.fullmatch(entered) or ADDRESS.fullmatch(entered)):
        return None  # a bind with an empty password is no check at all: servers say yes to it
    if all_away(config):
        raise Unavailable("The directory is away.", "Try again in a moment.")
    limit = Limit.within(SIGN_IN)
    if config.sign_in == "direct":
        return _directly(config, entered, password, limit)
    try:
        with opened(config, config.bind_dn, service_password, limit=limit) as link:
            found = _find(link, config, entered)
    except NotAllowed as error:
        raise Unavailable(
            "The directory does not let the appliance look you up.", "Ask your admin to check the reading account."
        ) from error
    if found is None:
        return None
    try:
        with opened(config, found.dn, password, limit=limit):
            return found
    except DirectoryRefused:
        return None


def _find(link: Link, config: Config, entered: str) -> Person | None:
    """Whoever has this name; else whose principal name it is; else whose mail address."""
    shape = config.shape
    attributes = [shape.name, *([*PRINCIPAL[config.kind], shape.mail] if "@" in entered else [])]
    for attribute in dict.fromkeys(attributes):  # one after the other: a name that is meant as one is never another's address
        wanted = ldap.filter.filter_format("(%s=%s)", [attribute, entered])
        found = list(search(link, config.base, f"(&{shape.people}{wanted})", config.reads_whom))
        if len(found) > 1:
            raise BadInput(*_several(len(found), entered, is_name=attribute == shape.name))
        if found:
            return person(config, *found[0])
    return None


def _several(count: int, entered: str, *, is_name: bool) -> tuple[str, str]:
    if is_name:
        hint = "Nobody can tell which one you are. Ask your admin to give them different names."
        return f"The directory has {count} people called {entered}.", hint
    return f"The directory has {count} people with the address {entered}.", "Enter your user name instead."


def _directly(config: Config, entered: str, password: str, limit: Limit) -> Person | None:
    is_dn = "=" in config.template
    bind_dn = config.template.replace("{name}", ldap.dn.escape_dn_chars(entered) if is_dn else entered)
    if not is_dn and "@" in entered:
        bind_dn = entered  # Active Directory takes a principal name as it is
    try:
        with opened(config, bind_dn, password, limit=limit) as link:
            found = _find(link, config, entered if is_dn else _bound_as(link, entered))
    except DirectoryRefused:
        return None
    if found is None or (is_dn and same(found.dn) != same(bind_dn)):
        raise BadInput(
            "The directory took the password, but does not show who that is.",
            "Ask your admin to check the search base and the people's filter.",
        )
    return found


def _bound_as(link: Link, entered: str) -> str:
    """The name of whoever is bound. One person's principal name may be another's name, so the server is asked (RFC 4532)."""
    link.give()
    try:
        who = str(link.whoami_s())
    except (ldap.PROTOCOL_ERROR, ldap.UNWILLING_TO_PERFORM, ldap.INSUFFICIENT_ACCESS):
        who = ""
    if who.startswith("u:"):
        return who.removeprefix("u:").rpartition("\\")[2]
    if "@" in entered:
        raise BadInput("The directory took the password, but does not say who that is.", "Enter your user name instead.")
    return entered
