"""What somebody looks for by name, of all that they may see; and what is like a name that there is not."""

from collections.abc import Mapping
from difflib import get_close_matches

from appliance.catalog import search
from appliance.catalog.search import Match
from appliance.identity.permissions import Permissions

# Of each kind of thing: what one has to hold over it to find it.
KINDS = {
    "machine": "machines.read",
    "account": "people.read",
    "group": "people.read",
    "unit": "people.read",
    "class": "classes.read",
    "seed": "seeds.read",
}
LONGEST = 100  # characters
EACH = 6  # of a kind
rank = search.rank


def words_of(text: str) -> str:
    """What is looked for, with one blank between words."""
    return " ".join(text[:LONGEST].split())


def find(powers: Permissions, text: str, kinds: Mapping[str, str] = KINDS, each: int = EACH) -> list[Match]:
    """Things of these kinds, by the permission over them, that the text finds: the best of each kind first, `each` at most."""
    text = words_of(text)
    return [match for kind, permission in kinds.items() for match in search.find(kind, text, powers.reach(permission), each)]


def like(powers: Permissions, name: str, kind: str = "account", permission: str = "people.read") -> str:
    """A hint for who named something of a kind that there is not, or that is not theirs to know: what is called nearly so."""
    known = {one.casefold(): one for one in search.names(kind, powers.reach(permission))}
    near = get_close_matches(name.strip().casefold()[:LONGEST], known, 3, 0.6)
    near = near or [match.name.casefold() for match in search.find(kind, words_of(name), powers.reach(permission), 3)]
    return f"Did you mean {' or '.join(known[one] for one in near if one in known)}?" if near else "Check the name."
