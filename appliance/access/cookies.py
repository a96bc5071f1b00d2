"""The Cookie header that a machine may see: the browser's, without the appliance's own cookies.

Cookies know no ports, so a browser sends the appliance's session along to every machine's application.
"""

# Every cookie of ours has the first of these prefixes. Both are withheld whole: a machine can do without
# them, and a list of names would be one forgotten name away from handing a session over.
RESERVED = ("__host-", "__secure-")

# What a parser somewhere might skip before a name, so that a name cannot hide behind it.
SKIPPED = "".join(map(chr, range(33))) + "\x7f\x85\xa0\"'="


def for_machine(header: str) -> str:
    """`header` without the pairs whose name is reserved; the others keep their bytes and their order."""
    return ";".join(pair for pair in header.split(";") if pair.strip() and not _is_reserved(pair)).strip()


def _is_reserved(pair: str) -> bool:
    # Gateways join repeated Cookie headers with commas, so a pair may hold a second one behind a comma.
    return any(part.lstrip(SKIPPED).lower().startswith(RESERVED) for part in pair.split(","))
