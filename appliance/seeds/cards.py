"""The network cards of machines that are no pool's: of a seed's test boot and of a snapshot's template."""

import hashlib
import ipaddress

from appliance.hypervisor.provider import Card
from appliance.settings import Settings

PLACES = 14  # addresses that lie before the machines' slots: seeds use them from the start, snapshots from the end


def card(id: str, place: int, settings: Settings) -> Card:
    """The card of the machine with this id: its MAC follows from the id, its address from its place among the PLACES."""
    octets = (0x52, 0x54, 0x00, *hashlib.sha256(id.encode()).digest()[:3])
    subnet = ipaddress.ip_network(settings.subnet)
    return Card(":".join(f"{octet:02x}" for octet in octets), str(subnet[2 + place]), subnet.prefixlen, settings.gateway)
