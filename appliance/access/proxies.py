"""Reverse proxies in front of the appliance, whose word for where somebody comes from is taken.

Without them all people behind one have its address: guesses are counted for it, and the record shows nothing else. An address that is
trusted can claim to be any other, so nobody is trusted whom an admin did not name, and never the machines.
"""

import ipaddress
import json
from collections.abc import Iterable
from pathlib import Path

from appliance import durable
from appliance.errors import BadInput
from appliance.settings import Settings

MOST = 50
WIDEST = {4: 8, 6: 16}  # bits of the prefix, by IP version
EXAMPLE = "Write one address or network a line, like 192.0.2.7 or 10.1.0.0/24."

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _file(settings: Settings) -> Path:
    return settings.tls / "trusted-proxies.json"


def check_proxies(lines: Iterable[str], settings: Settings) -> list[str]:
    """Addresses and networks as they are kept, each once. Raises BadInput that names the line."""
    machines = [ipaddress.ip_network(one) for one in (settings.subnet, settings.uplink)]
    found: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            found[_one(text, f"Line {number}", machines)] = None
    if len(found) > MOST:
        raise BadInput(f"{len(found)} proxies are too many.", f"Name at most {MOST}, as networks if need be.", field="proxies")
    return list(found)


def _one(text: str, where: str, machines: list[Network]) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise BadInput(f"{where}: {text[:60]!r} is neither an address nor a network.", EXAMPLE, field="proxies") from None
    if network.prefixlen < WIDEST[network.version]:
        raise BadInput(
            f"{where}: {network} is nearly everybody.",
            "Name your proxies alone: who is trusted can claim to come from anywhere.",
            field="proxies",
        )
    if any(network.version == one.version and network.overlaps(one) for one in machines):
        raise BadInput(
            f"{where}: machines have addresses in {network}.",
            "Name your proxies alone: a machine could claim to be anybody.",
            field="proxies",
        )
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)


def trusted(settings: Settings) -> list[str]:
    """The proxies that are trusted now."""
    try:
        return check_proxies(json.loads(_file(settings).read_text()), settings)
    except (FileNotFoundError, BadInput, ValueError, TypeError, AttributeError):  # trusting nobody is what is safe
        return []


def trust(settings: Settings, proxies: list[str]) -> None:
    """Trust these from now on, and no others; the door looks at once."""
    durable.write(_file(settings), json.dumps(proxies))
