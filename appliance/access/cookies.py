"""Cookies at the front door: the appliance's page gets the appliance's own, and a machine gets its own.

Cookies know no ports, so a browser sends those of the appliance and of all machines to every port. What a machine sets for itself alone
(HttpOnly) gets the machine's mark before its name on the way to the browser, and loses it on the way back. What scripts of a page are to
read has to keep its name; every page of this host can read and write that anyway.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Browsers that know `__Host-Http-` take such a cookie from a server's answer alone, never from a script; others see `__Host-`.
SESSION = "__Host-Http-dpe"
RESCUE = "__Host-Http-dpe-rescue"
DOOR = "__Host-Http-dpe-door"  # of a machine's name, where machines have names

# Every cookie of ours has the first of these prefixes. Both are withheld whole: a machine can do without
# them, and a list of names would be one forgotten name away from handing a session over.
RESERVED = ("__host-", "__secure-")

# What a parser somewhere might skip before a name, so that a name cannot hide behind it.
SKIPPED = "".join(map(chr, range(33))) + "\x7f\x85\xa0\"'="

MARKED = re.compile(r"dpe-([0-9a-f]{8})-(.*)", re.DOTALL)
OTHERS = 6 << 10  # bytes of cookies of unknown makers that a machine gets; many servers take 8 KiB in all
EXPIRED_AT_ONCE = 40  # cookies that one answer takes away


def mark(machine_id: str) -> str:
    """What tells one machine's cookies from another's."""
    return machine_id[:8]


def for_machine(header: str, machine_id: str) -> str:
    """Of the Cookie header `header` what this machine may see: its own cookies by the names that it gave them, and those that any script
    may have set; never one whose name is reserved. They keep their bytes and their order."""
    ours, others, names = [], [], set()
    for pair in header.split(";"):
        if not pair.strip() or _is_reserved(pair):
            continue
        marked = MARKED.match(pair.strip())
        if marked is None:
            others.append(pair)
        elif marked[1] == mark(machine_id):
            ours.append(f" {marked[2]}" if pair[:1] == " " else marked[2])
            names.add(_name(marked[2]))
    return ";".join([*ours, *_bounded([pair for pair in others if _name(pair) not in names])]).strip()


def _bounded(pairs: list[str]) -> list[str]:
    """As many of them as no machine's server minds; it is the largest that have to go."""
    room, kept = OTHERS, set()
    for number in sorted(range(len(pairs)), key=lambda number: len(pairs[number])):
        room -= len(pairs[number]) + 1
        if room >= 0:
            kept.add(number)
    return [pair for number, pair in enumerate(pairs) if number in kept]


def from_machine(header: str, machine_id: str) -> list[str]:
    """The Set-Cookie headers that a browser gets for the one that the machine sent."""
    pair, *attributes = header.split(";")
    attributes = [one for one in attributes if _name(one).lower() != "domain"]  # it is for this host alone
    kept = ";".join([pair, *attributes])
    name, _, value = pair.strip().partition("=")
    hidden = ";".join([f"dpe-{mark(machine_id)}-{name.strip()}={value}", *attributes])
    if _is_over(attributes):
        return [kept, hidden]  # whichever it is: those that take a cookie away need not say HttpOnly
    return [hidden] if any(one.strip().lower() == "httponly" for one in attributes) else [kept]


def left_behind(header: str, live: set[str]) -> list[str]:
    """The names in a Cookie header that carry the mark of no machine in `live`, which are marks."""
    found = (MARKED.match(pair.strip()) for pair in header.split(";"))
    return [_name(one[0]) for one in found if one is not None and one[1] not in live]


def expire(names: list[str], path: str) -> list[str]:
    """Set-Cookie headers that take cookies away which a browser sent along to `path`: theirs may be the path of any folder above it."""
    steps = [step for step in path.partition("?")[0].split("/") if step][:8]
    above = ["/" + "/".join(steps[:depth]) for depth in range(len(steps) + 1)]
    places = list(dict.fromkeys(place for one in above for place in (one, one.rstrip("/") + "/")))
    return [f"{name}=; Path={place}; Max-Age=0; Secure" for name in names[: max(1, EXPIRED_AT_ONCE // len(places))] for place in places]


def _name(pair: str) -> str:
    return pair.partition("=")[0].strip()


def _is_over(attributes: list[str]) -> bool:
    said = {_name(one).lower(): one.partition("=")[2].strip() for one in attributes}
    if "max-age" in said:
        return re.fullmatch(r"-\d+|0+", said["max-age"]) is not None
    try:
        return parsedate_to_datetime(said["expires"]) <= datetime.now(UTC)
    except (KeyError, ValueError, TypeError):
        return False


def _is_reserved(pair: str) -> bool:
    # Gateways join repeated Cookie headers with commas, so a pair may hold a second one behind a comma.
    return any(part.lstrip(SKIPPED).lower().startswith(RESERVED) for part in pair.split(","))
